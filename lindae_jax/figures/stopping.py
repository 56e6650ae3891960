"""Early stopping as a choice of directions, on images held out."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import data as data_sets
from lindae_jax import initial, plot, theory
from lindae_jax.problem import Problem
from lindae_jax.reproduce import DEFAULTS, NETWORKS
from lindae_jax.simulate import simulate_matrices
from lindae_jax.simulate.directions import mapping
from lindae_jax.spectrum import Spectrum

TITLE = "Early stopping as a choice of directions"
SEE = (
    "The error on noisy images falls and rises again; at its lowest the plain autoencoder has "
    "learned just the directions that vary more than the noise."
)

_START, _SEED = 0.01, 0
# Of the noise in the images held out: less than is best, so that stopping still helps.
_NOISE, _DECAY = 1 / 3, 1 / 10
_STYLES = plot.BLUE, plot.ORANGE, plot.GREEN
# Training goes on so far beyond the last of the best epochs.
_BEYOND = 2.5


def check(*, data: Any = None, root: Any = None, num_samples: Any = None, **_: Any) -> None:
    """Try whether the data can be read.

    Raises
    ------
    ValueError, ImportError
        As of `data.load`.
    """
    _images(data, root, num_samples)


def _images(data: Any, root: Any, num_samples: Any) -> tuple[np.ndarray, np.ndarray]:
    """Those to train on and those held out."""
    name = "digits" if data is None else data
    root = None if data is None else root  # nobody's folder is that of the digits
    train = data_sets.load(name, root, num_samples=num_samples, split="train")
    return train, data_sets.load(name, root, split="held_out")


def numbers(
    *,
    data: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    num_samples: int | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Error on noisy images held out, over training, as predicted and as measured.

    Parameters
    ----------
    data, root, num_samples : optional
        As of `reproduce`, the samples of the training set; by default the digits.
    quick : bool
        Fewer saves.

    Raises
    ------
    ValueError, ImportError
        As of `check`.
    """
    images, held_out = _images(data, root, num_samples)
    spectrum = Spectrum.from_data(images)
    rotated = np.asarray(held_out @ np.asarray(spectrum.eigenvectors))
    moments = jnp.asarray(rotated.T @ rotated / len(rotated))
    known = DEFAULTS.get(str(data or "digits"), {})
    hidden = known.get("hidden", min(256, max(1, images.shape[1] // 2)))
    reach = min(hidden, images.shape[1])
    eigenvalue = jnp.asarray(spectrum.eigenvalues)
    noise = float(eigenvalue[reach // 3])
    problem = Problem(
        eigenvalue,
        noise=jnp.asarray([0, 0, _NOISE * noise]),
        decay=jnp.asarray([0, _DECAY * noise, 0]),
        learning_rate=known.get("learning_rate", 0.5 / float(eigenvalue[0])),
    )
    found = _compared(problem, moments, noise, hidden, reach, 150 if quick else 400)
    return {
        "data": str(data or "digits"),
        "num_samples": len(images),
        "num_held_out": len(held_out),
        "networks": list(NETWORKS),
        "hidden": hidden,
        "start": _START,
        "learning_rate": problem.learning_rate,
        "validation_noise": noise,
        "noise": problem.noise,
        "decay": problem.decay,
        "eigenvalue": eigenvalue[:reach],
        **found,
    }


def _compared(
    problem: Problem, moments: jax.Array, noise: float, hidden: int, reach: int, num: int
) -> dict[str, Any]:
    """Errors (S, 3) and mappings at the best epochs (3, K), by theory and in training."""
    moment = jnp.diagonal(moments)
    early = np.unique(np.geomspace(1, 2**24, 2_000).round())
    foretold = _errors(_flow(early, problem, reach), moment, noise)
    epoch = np.unique(np.geomspace(1, _last(early, foretold), num).round()).astype(int)
    flow = _flow(epoch, problem, reach)
    predicted = _errors(flow, moment, noise)
    diagonal = np.full(reach, _START, problem.eigenvalue.dtype)
    start = initial.aligned(_SEED, diagonal, diagonal, hidden, len(moment))
    w1, w2 = (jnp.broadcast_to(w, (3, *w.shape)) for w in start)
    run = simulate_matrices(
        *(w1, w2, problem),
        num_steps=int(epoch[-1]),
        save_steps=tuple(epoch.tolist()),
        observe=_observer(moments, noise),
    )
    measured, curves = (np.asarray(x) for x in run.observed)
    ideal = moment / (moment + noise)
    found: dict[str, Any] = {
        "epoch": epoch,
        "predicted": predicted,
        "measured": measured,
        "least_possible": float((noise * ideal[:reach]).sum() / 2 + moment[reach:].sum() / 2),
        "ideal_mapping": ideal[:reach],
    }
    for name, errors, maps in (("predicted", predicted, flow), ("measured", measured, curves)):
        at = errors.argmin(axis=0)
        found[f"{name}_best_epoch"] = [_lowest(epoch, e) for e in errors.T]
        found[f"{name}_best_error"] = errors.min(axis=0)
        found[f"{name}_mapping"] = np.stack([maps[i, k, :reach] for k, i in enumerate(at)])
    return found


def _flow(epoch: np.ndarray, problem: Problem, reach: int) -> np.ndarray:
    """Mappings (S, 3, K) of the theory."""
    t = jnp.asarray(epoch, problem.eigenvalue.dtype)[:, None, None]
    each = Problem(problem.eigenvalue[:reach], problem.noise, problem.decay, problem.learning_rate)
    return np.asarray(theory.mapping(t, _START, _START, each.per_direction()))


def _errors(w: np.ndarray, moment: jax.Array, noise: float) -> np.ndarray:
    """Expected error of mappings w (S, 3, K) on noisy images: docs/theory.md, section 10."""
    reach = w.shape[-1]
    left, beyond = np.square(1 - w) @ np.asarray(moment[:reach]), float(moment[reach:].sum())
    return (left + beyond + noise * np.square(w).sum(axis=-1)) / 2


def _observer(moments: jax.Array, noise: float) -> Any:
    """The same error of whole networks, from all second moments of the images."""

    def observe(step: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> Any:
        high = jax.lax.Precision.HIGHEST
        whole = jnp.matmul(w2, w1, precision=high)
        rest = jnp.eye(len(moments), dtype=w1.dtype) - whole
        missed = (jnp.matmul(rest, moments, precision=high) * rest).sum((-2, -1))
        return (missed + noise * jnp.square(whole).sum((-2, -1))) / 2, mapping(w1, w2)

    return observe


def _last(epoch: np.ndarray, errors: np.ndarray) -> int:
    """Where training may end: well beyond the best epochs."""
    best = epoch[errors.argmin(axis=0)]
    return int(_BEYOND * best[best < epoch[-1]].max(initial=1_000))


def _lowest(epoch: np.ndarray, errors: np.ndarray) -> float:
    """The epoch of the least error, by a parabola in log epoch; NaN if it only falls."""
    i = int(errors.argmin())
    if not 0 < i < len(epoch) - 1:
        return float("nan")
    x = np.log(epoch[i - 1 : i + 2].astype(float))
    a, b, _ = np.polyfit(x - x[1], errors[i - 1 : i + 2].astype(float), 2)
    shift = -b / (2 * a) if a > 0 else 0.0
    return float(np.exp(x[1] + np.clip(shift, x[0] - x[1], x[2] - x[1])))


def draw(numbers: dict[str, Any]) -> Any:
    """Errors over training, and the mappings that the best epochs have chosen.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plot.grid(1, 2, 3.6)
    left, right = axes[0]
    _draw_errors(left, numbers)
    _draw_mappings(right, numbers)
    plot.legend(
        figure,
        dict(zip(NETWORKS, _STYLES, strict=True)),
        "lines: theory, crosses: training, triangles: predicted best epoch\n"
        "dotted: the best mapping of these directions, and the error it leaves",
    )
    return figure


def _draw_errors(ax: Any, numbers: dict[str, Any]) -> None:
    x = np.log10(numbers["epoch"])
    low = numbers["least_possible"]
    top = 1.05 * numbers["predicted"][:, 0][numbers["epoch"] > 10].max()
    ax.set(xlim=(0.9, x[-1]), ylim=(low - 0.08 * (top - low), top))
    ax.set(title="error on noisy images held out", xlabel="epochs", ylabel="error")
    ax.axhline(low, color="0.4", linestyle="dotted", linewidth=1.2)
    for k, style in enumerate(_STYLES):
        columns = slice(k, k + 1)
        plot.dynamics(
            ax, x, numbers["predicted"][:, columns], numbers["measured"][:, columns], style
        )
        best = numbers["predicted_best_epoch"][k], numbers["predicted_best_error"][k]
        plot.mark(ax, np.log10(best[0]), best[1], style)
    ticks = np.arange(1, int(x[-1]) + 1)
    ax.set_xticks(ticks, [f"$10^{t}$" for t in ticks])


def _draw_mappings(ax: Any, numbers: dict[str, Any]) -> None:
    x = np.log10(numbers["eigenvalue"])
    ax.set(xlim=(x[-1] - 0.05, x[0] + 0.05), ylim=(-0.03, 1.05))
    ax.set(title="chosen at the best epoch", xlabel="eigenvalue", ylabel="mapping")
    ax.plot(x, numbers["ideal_mapping"], color="0.4", linestyle="dotted", linewidth=1.2)
    for k, style in enumerate(_STYLES):
        plot.dynamics(
            ax,
            x,
            numbers["predicted_mapping"][k][:, None],
            numbers["measured_mapping"][k][:, None],
            style,
        )
    ticks = np.arange(int(np.ceil(x[-1])), int(np.floor(x[0])) + 1)
    ax.set_xticks(ticks, [f"$10^{{{t}}}$" for t in ticks])


def _chosen(numbers: dict[str, Any]) -> str:
    """How sharply the best epoch of the AE tells directions apart."""
    w = np.asarray(numbers["measured_mapping"][0])
    counts = int((w >= 0.9).sum()), int(((w > 0.1) & (w < 0.9)).sum()), int((w <= 0.1).sum())
    return (
        f"{counts[0]} directions (to 0.9 or more) and not learned {counts[2]} (0.1 or less), with "
        f"{counts[1]} between, of variances near that of the noise"
    )


def caption(numbers: dict[str, Any]) -> str:
    """What to see, and how well the best epochs are predicted.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    foretold, found = numbers["predicted_best_epoch"], numbers["measured_best_epoch"]
    epochs = ", ".join(
        f"{name} {a:,.0f} predicted and {b:,.0f} measured"
        for name, a, b in zip(NETWORKS, foretold, found, strict=True)
    )
    error = numbers["measured_best_error"]
    return (
        f"Reconstruction of noisy images that were held out (variance "
        f"{numbers['validation_noise']:.3g} per pixel), during training from a small aligned "
        f"start. As the directions are learned one by one, stopping keeps those whose variance "
        f"exceeds the noise and leaves out the others: at its best epoch the AE has learned "
        f"{_chosen(numbers)}. Noise and decay do the same softly; here both are weaker than would "
        f"be best (noise {numbers['noise'][2]:.3g}, decay {numbers['decay'][1]:.3g}), so that "
        f"stopping still helps, later and less. Best epochs: {epochs}; errors there "
        f"{error[0]:.3g}, {error[1]:.3g} and {error[2]:.3g}, where "
        f"{numbers['least_possible']:.3g} is the least that any mapping of these directions "
        f"could leave. Unlike the paper, which speaks of a validation error that begins to rise, "
        f"we find that it does so with noisy images only: of clean ones the identity is best, and "
        f"every step is towards it."
    )
