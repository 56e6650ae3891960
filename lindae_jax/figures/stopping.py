"""Early stopping as a choice of directions, on images held out."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import bars, checks, initial, plot, theory
from lindae_jax import data as data_sets
from lindae_jax.figures import sources
from lindae_jax.problem import Problem, Weights
from lindae_jax.reproduce import DEFAULTS, NETWORKS
from lindae_jax.simulate import raise_on_divergence, simulate_matrices
from lindae_jax.simulate.directions import mapping
from lindae_jax.simulate.products import product
from lindae_jax.spectrum import Spectrum

TITLE = "Early stopping as a choice of directions"
SEE = (
    "Triangles mark where theory expects the error on noisy images to be least; on the right, "
    "which directions have been learned by then."
)
DATA = sources.DIGITS

_START, _SEED = 0.01, 0
# Of the noise in the images held out: less than is best, so that stopping still helps.
_NOISE, _DECAY = 1 / 3, 1 / 10
_STYLES = plot.BLUE, plot.ORANGE, plot.GREEN
# Training goes on so far beyond the last of the best epochs.
_BEYOND = 2.5
# Hidden units and epochs at most, else and in a quick run: the more units, the smaller the noise
# and the later the best epochs. With as many as Figure 5 has, CIFAR-10 would take days.
_MOST_HIDDEN, _MOST_EPOCHS = (64, 32), (100_000, 10_000)


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
    (name,) = sources.names(DATA, data, quick=False)
    train = data_sets.load(name, root, num_samples=num_samples, split="train")
    held_out = data_sets.load(name, root, split="held_out")
    dtype = np.dtype(jnp.result_type(float))
    return train.astype(dtype, copy=False), held_out.astype(dtype, copy=False)


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
        Fewer saves, and at most half the hidden units and a tenth of the epochs that
        there may be else.

    Raises
    ------
    ValueError, ImportError
        As of `check`.
    FloatingPointError
        Training diverged.

    Notes
    -----
    On two cores the digits take seconds, MNIST (64 hidden units) a minute, CIFAR-10 a few.
    """
    images, held_out = _images(data, root, num_samples)
    spectrum = Spectrum.from_data(images)
    root_moments = _root_moments(held_out @ np.asarray(spectrum.eigenvectors))
    known = DEFAULTS.get(str(data or "digits"), {})
    hidden = known.get("hidden", max(1, images.shape[1] // 2))
    hidden = min(hidden, _MOST_HIDDEN[quick])
    eigenvalue = jnp.asarray(spectrum.eigenvalues)
    reach = min(hidden, _rank(np.asarray(eigenvalue)))
    noise = float(eigenvalue[reach // 3])
    problem = Problem(
        eigenvalue,
        noise=jnp.asarray([0, 0, _NOISE * noise]),
        decay=jnp.asarray([0, _DECAY * noise, 0]),
        learning_rate=known.get("learning_rate", 0.5 / float(eigenvalue[0])),
    )
    found = _compared(problem, root_moments, noise, hidden, reach, quick)
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


def _rank(eigenvalues: np.ndarray) -> int:
    """How many directions the data have; a `Spectrum` of data is exactly 0 beyond."""
    rank = int((eigenvalues > 0).sum())
    if not rank or not np.isfinite(eigenvalues[0]):
        raise checks.mistake(
            "data must have a second moment that is neither 0 nor infinite",
            f"largest eigenvalue {eigenvalues[0]:.3g}",
            "Rescale the data.",
        )
    return rank


def _root_moments(x: np.ndarray) -> jax.Array:
    """R with R^T R the second moments of rows x: errors found through it do not cancel."""
    return jnp.asarray(np.linalg.qr(x / np.sqrt(x.dtype.type(len(x))), mode="r"))


def _compared(
    problem: Problem, root_moments: jax.Array, noise: float, hidden: int, reach: int, quick: bool
) -> dict[str, Any]:
    """Errors (S, 3) and mappings at the best epochs (3, K), by theory and in training."""
    moment = jnp.square(root_moments).sum(0)
    early = np.unique(np.geomspace(1, 2**24, 2_000).round())
    last = _last(early, _errors(_flow(early, problem, reach), moment, noise), _MOST_EPOCHS[quick])
    epoch = np.unique(np.geomspace(1, last, 150 if quick else 400).round()).astype(int)
    flow = _flow(epoch, problem, reach)
    predicted = _errors(flow, moment, noise)
    diagonal = np.full(min(hidden, len(moment)), _START, problem.eigenvalue.dtype)
    start = initial.aligned(_SEED, diagonal, diagonal, hidden, len(moment))
    measured, curves = _train(start, problem, epoch, _observer(root_moments, noise))
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


def _train(
    start: Weights, problem: Problem, epochs: np.ndarray, observe: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (S, 3) and mappings (S, 3, D), each epoch kept a call for the bar's sake."""
    w1, w2 = (jnp.broadcast_to(w, (len(NETWORKS), *w.shape)) for w in start)
    done, rows = 0, []
    with bars.bar(True, "cli", total=int(epochs[-1]), desc="training", unit=" epochs") as bar:
        for epoch in map(int, epochs):
            part = simulate_matrices(w1, w2, problem, num_steps=epoch - done, observe=observe)
            raise_on_divergence(part)
            w1, w2 = part.w1[-1], part.w2[-1]
            rows.append([np.asarray(row[-1]) for row in part.observed])
            bar.update(epoch - done)
            done = epoch
    measured, curves = map(np.stack, zip(*rows, strict=True))
    return measured, curves


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


def _observer(root_moments: jax.Array, noise: float) -> Any:
    """The same error of whole networks, from all second moments of the images."""

    def observe(step: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> Any:
        # Without ever forming W2 W1, which is D x D.
        coded = product("md,...hd->...mh", root_moments, w1)
        missed = root_moments - product("...mh,...dh->...md", coded, w2)
        squares = product("...hd,...kd->...hk", w1, w1) * product("...dh,...dk->...hk", w2, w2)
        error = jnp.square(missed).sum((-2, -1)) + noise * squares.sum((-2, -1))
        return error / 2, mapping(w1, w2)

    return observe


def _last(epoch: np.ndarray, errors: np.ndarray, most: int) -> int:
    """Where training may end: well beyond the best epochs, if that is not too far."""
    best = epoch[errors.argmin(axis=0)]
    return min(most, int(_BEYOND * best[best < epoch[-1]].max(initial=1_000)))


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
        "lines: theory; crosses (AE), pluses: training\n"
        "triangles: predicted best epoch\n"
        "dotted: the best mapping of these directions, and the error it leaves",
    )
    return figure


def _draw_errors(ax: Any, numbers: dict[str, Any]) -> None:
    x = np.log10(numbers["epoch"])
    low = numbers["least_possible"]
    top = 1.05 * numbers["predicted"][:, 0][numbers["epoch"] > 10].max()
    ax.set(xlim=(0.9, x[-1]), ylim=(low - 0.08 * (top - low), top))
    ax.set(title="error on noisy held-out data", xlabel="epochs", ylabel="error")
    ax.axhline(low, color="0.4", linestyle="dotted", linewidth=1.2)
    for k, style in enumerate(_STYLES):
        columns = slice(k, k + 1)
        plot.dynamics(
            ax,
            x,
            numbers["predicted"][:, columns],
            numbers["measured"][:, columns],
            style,
            upright=k > 0,
        )
        best = numbers["predicted_best_epoch"][k], numbers["predicted_best_error"][k]
        plot.mark(ax, np.log10(best[0]), best[1], style)
    _label_decades(ax)


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
            upright=k > 0,
        )
    _label_decades(ax)


def _label_decades(ax: Any) -> None:
    """Powers of ten on an axis of logarithms, or whatever is round where there is but one."""
    low, high = ax.get_xlim()
    ticks = np.arange(int(np.ceil(low)), int(np.floor(high)) + 1)
    if len(ticks) > 1:
        ax.set_xticks(ticks, [f"$10^{{{t}}}$" for t in ticks])
    else:
        ax.xaxis.set_major_formatter(lambda x, _: f"{10**x:.2g}")


def caption(numbers: dict[str, Any]) -> str:
    """What to see, and how well the best epochs are predicted.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    error = numbers["measured_best_error"]
    return (
        f"Reconstruction of noisy data that were held out ({sources.title(numbers['data'])}, "
        f"{numbers['num_held_out']:,} samples, noise of variance "
        f"{numbers['validation_noise']:.3g} per component), during training from a small aligned "
        f"start ({numbers['hidden']} hidden units). {_chosen(numbers)} {_regularised(numbers)} "
        f"Best epochs: {_epochs(numbers)}; errors there {error[0]:.3g}, {error[1]:.3g} and "
        f"{error[2]:.3g}, where {numbers['least_possible']:.3g} is the least that any mapping of "
        f"these directions could leave. Unlike the paper, which speaks of a validation error that "
        f"begins to rise, we expect that of noisy data only: of clean ones the identity is best, "
        f"and every step is towards it."
    )


def _chosen(numbers: dict[str, Any]) -> str:
    """How sharply the best epoch of the AE tells directions apart."""
    w, variance = np.asarray(numbers["measured_mapping"][0]), np.asarray(numbers["eigenvalue"])
    relative = variance / numbers["validation_noise"]
    learned, left = w >= 0.9, w <= 0.1
    between = relative[~learned & ~left]
    found = (
        f"the AE has learned {learned.sum()} directions (to 0.9 or more), and not learned "
        f"{left.sum()} (0.1 or less)"
    )
    if len(between):
        found += (
            f"; the {len(between)} between have variances of {between.min():.2g} to "
            f"{between.max():.2g} times that of the noise"
        )
    if not np.isfinite(numbers["measured_best_epoch"][0]):
        return f"Where its error is least in this run, {found}."
    some = learned.any() and left.any()
    if not (some and (relative[learned] > 1).all() and (relative[left] < 1).all()):
        return f"At its best epoch {found}."
    return (
        f"As the directions are learned one by one, stopping keeps those whose variance exceeds "
        f"the noise and leaves out the others: at its best epoch {found}."
    )


def _regularised(numbers: dict[str, Any]) -> str:
    """What noise and decay make of it, as far as this run shows it."""
    amounts = f"noise {numbers['noise'][2]:.3g}, decay {numbers['decay'][1]:.3g}"
    best = np.asarray(numbers["measured_best_epoch"], float)
    gain = np.asarray(numbers["measured"][-1] - numbers["measured_best_error"])
    helps = np.isfinite(best).all() and (gain > 0).all()
    if helps and (best[1:] > best[0]).all() and (gain[1:] < gain[0]).all():
        return (
            f"Noise and decay do the same softly; here both are weaker than would be best "
            f"({amounts}), so that stopping still helps, later and less."
        )
    return f"The other networks have {amounts}, less than would be best."


def _epochs(numbers: dict[str, Any]) -> str:
    """Predicted beside measured, where the error has a least one within the run."""
    last = numbers["epoch"][-1]

    def words(epoch: float) -> str:
        return f"{epoch:,.0f}" if np.isfinite(epoch) else f"none up to {last:,}"

    pairs = zip(
        *(NETWORKS, numbers["predicted_best_epoch"], numbers["measured_best_epoch"]), strict=True
    )
    return ", ".join(f"{name} {words(a)} predicted and {words(b)} measured" for name, a, b in pairs)
