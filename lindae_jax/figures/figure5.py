"""Figure 5: whole autoencoders on images, beside the theory of their directions."""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import bars, checks, plot, theory
from lindae_jax import data as data_sets
from lindae_jax.figures import sources
from lindae_jax.losses import matrix_loss
from lindae_jax.problem import Problem, Weights
from lindae_jax.reproduce import NETWORKS, Settings, prepare
from lindae_jax.reproduce.settings import usual
from lindae_jax.reproduce.training import kept_epochs, predict, problem_of, start, stop_if_diverged
from lindae_jax.simulate import simulate_matrices
from lindae_jax.simulate.directions import balanced_pair, mapping, singular_values
from lindae_jax.simulate.passage import first_passage

TITLE = "Figure 5: training on images beside the theory"
SEE = (
    "Crosses of training lie near the lines of the theory; decay lowers and delays what is "
    "learned, noise only lowers it."
)

DATA = "mnist", "cifar10"
_QUICK_STEPS = 2_000
# Epochs between two looks at singular values and losses.
_EVERY = 50
# The theory says that training has converged if it is so near to w* at the end.
_CONVERGED = 0.005
STARTS = "each", "mean"
_STYLES = plot.BLUE, plot.ORANGE, plot.GREEN


def check(*, data: Any = None, root: Any = None, num_samples: Any = None, **others: Any) -> None:
    """Try whether the data can be read.

    Raises
    ------
    ValueError, ImportError
        As of `data.load`; a start that there is not.
    """
    if others.get("start_of_theory", "each") not in STARTS:
        got = repr(others["start_of_theory"])
        raise checks.mistake("start_of_theory must be 'each' or 'mean'", got, "Name one of them.")
    for name in sources.names(DATA, data, others.get("quick", False)):
        data_sets.load(name, root, num_samples=num_samples, split=usual(str(name))["split"])


def numbers(
    *,
    data: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    num_samples: int | None = None,
    quick: bool = False,
    start_of_theory: str = "each",
) -> dict[str, Any]:
    """Singular values and mappings of AE, WDAE and DAE over training, beside the theory.

    Parameters
    ----------
    data, root, num_samples : optional
        As of `reproduce`; by default MNIST and CIFAR-10, with the paper's settings.
    quick : bool
        The digits, if no data are named; fewer epochs.
    start_of_theory : {"each", "mean"}
        Where the theory's curves start: each direction by itself, from |A_j + B_j|^2 / 4
        (docs/theory.md, section 6), or all of them from the mean singular value of W2 W1,
        as the authors' code has it.

    Raises
    ------
    ValueError, ImportError
        As of `check`.
    FloatingPointError
        Training diverged.
    """
    check(
        data=data,
        root=root,
        num_samples=num_samples,
        quick=quick,
        start_of_theory=start_of_theory,
    )
    num_steps = _QUICK_STEPS if quick else None
    found = []
    for name in sources.names(DATA, data, quick):
        settings, eigenvalues, _ = prepare(
            name,
            root=root,
            num_samples=num_samples,
            num_steps=num_steps,
            float64=jnp.result_type(float) == jnp.float64,
        )
        found.append(_of_data(settings, eigenvalues, start_of_theory))
    return {
        "networks": list(NETWORKS),
        "start_of_theory": start_of_theory,
        "data": found,
    }


def _of_data(settings: Settings, eigenvalues: np.ndarray, start_of_theory: str) -> dict[str, Any]:
    columns = np.array(settings.directions) - 1
    problem, weights = problem_of(settings, eigenvalues), start(settings)
    each = dataclasses.replace(problem, eigenvalue=problem.eigenvalue[columns]).per_direction()
    pairs = {
        "each": balanced_pair(weights.w1[:, columns], weights.w2[columns]),
        "mean": _mean_pair(weights, len(columns)),
    }
    epochs = np.union1d(kept_epochs(settings.num_steps), np.arange(0, settings.num_steps, _EVERY))
    curves, fixed_point, half_time = predict(each, pairs[start_of_theory], epochs)
    other = theory.time_to_mapping(fixed_point / 2, *pairs["mean"], each)
    reached = _train(settings, problem, weights, columns, fixed_point)
    at = np.searchsorted(epochs, reached["epoch"])
    converged = (fixed_point > 0) & (abs(curves[-1] - fixed_point) <= _CONVERGED * fixed_point)
    last = reached["singular_value"][-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(converged, abs(last - fixed_point) / fixed_point, np.nan)
    return {
        "settings": dataclasses.asdict(settings),
        "eigenvalue": eigenvalues[columns],
        "epoch": epochs,
        "theory": curves,
        "fixed_point": fixed_point,
        "half_time": half_time,
        "half_time_from_the_mean": np.where(fixed_point > 0, np.asarray(other), np.nan),
        "converged": converged,
        "nothing_to_reach": fixed_point == 0,
        "relative_difference_where_converged": apart,
        "largest_difference": abs(reached["singular_value"] - curves[at]).max(axis=0),
        "saved": reached,
    }


def _mean_pair(weights: Weights, num: int) -> Weights:
    root = jnp.sqrt(singular_values(*weights).mean())
    return Weights(*[jnp.full(num, root)] * 2)


def _train(
    settings: Settings,
    problem: Problem,
    weights: Weights,
    columns: np.ndarray,
    fixed_point: np.ndarray,
) -> dict[str, np.ndarray]:
    """What is kept of the training, and when each mapping first reaches half of w*."""
    w1, w2 = (jnp.broadcast_to(w, (len(NETWORKS), *w.shape)) for w in weights)
    every: list[np.ndarray] = []
    kept = [_costly(w1, w2, problem)]
    done, total = 0, settings.num_steps
    with bars.bar(True, "cli", total=total, desc=settings.data, unit=" epochs") as bar:
        while done < total:
            length = min(_EVERY, total - done)
            part = simulate_matrices(
                w1, w2, problem, num_steps=length, save_every=1, observe=_observe
            )
            stop_if_diverged(np.asarray(part.status), done + length, settings, problem)
            every.append(np.asarray(part.observed)[done > 0 :][..., columns])
            w1, w2 = part.w1[-1], part.w2[-1]
            kept.append(_costly(w1, w2, problem))
            done += length
            bar.update(length)
    epoch = np.minimum(np.arange(len(kept)) * _EVERY, total)
    along = np.concatenate(every)
    values, losses = (
        np.stack([np.asarray(x) for x in column]) for column in zip(*kept, strict=True)
    )
    level = np.where(fixed_point > 0, fixed_point / 2, np.nan)
    passage = first_passage(np.arange(total + 1), along, level)
    return {
        "epoch": epoch,
        "singular_value": values[..., columns],
        "mapping": along[epoch],
        "loss": losses,
        "half_time": np.where(np.isnan(level), np.nan, np.asarray(passage)),
    }


def _observe(step: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    return mapping(w1, w2)


@jax.jit
def _costly(w1: jax.Array, w2: jax.Array, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """What costs as much as an epoch or more: singular values and loss."""
    return singular_values(w1, w2), matrix_loss(w1, w2, problem)


def draw(numbers: dict[str, Any]) -> Any:
    """A row per data set: AE and WDAE at the left, AE and DAE at the right.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sets = numbers["data"]
    figure, axes = plot.grid(len(sets), 2, 0.9 + 2.7 * len(sets), sharey=True)
    for row, found in zip(axes, sets, strict=True):
        for ax, network, title in zip(row, (1, 2), ("Weight decay", "Noise"), strict=True):
            _draw_one(ax, found, network)
            ax.set_title(f"{title}, {sources.title(found['settings']['data'])}", pad=24)
        row[0].set_ylabel("mapping")
    for ax in axes[-1]:
        ax.set_xlabel("epochs")
    caption = (
        "lines: theory; crosses (AE) and pluses: singular values\nin training; numbers: directions"
    )
    plot.legend(figure, dict(zip(NETWORKS, _STYLES, strict=True)), caption)
    return figure


def _draw_one(ax: Any, found: dict[str, Any], network: int) -> None:
    epoch, saved = found["epoch"], found["saved"]
    labels = [str(int(j)) for j in found["settings"]["directions"]]
    measured = np.full_like(found["theory"], np.nan)
    measured[np.searchsorted(epoch, saved["epoch"])] = saved["singular_value"]
    ax.set(xlim=(-0.02 * epoch[-1], epoch[-1]), ylim=(-0.03, 1.05))
    ax.locator_params(axis="x", nbins=5)
    for k in (0, network):
        curves = found["theory"][:, k], measured[:, k]
        plot.dynamics(ax, epoch, *curves, _STYLES[k], upright=k > 0)
    plot.label_above(ax, saved["half_time"][0], labels)
    plot.label_right(ax, found["theory"][-1, network], labels)


def caption(numbers: dict[str, Any]) -> str:
    """What to see, and how far theory and training are apart.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    compared = numbers["start_of_theory"] == "each"
    parts = [_words(found, compared) for found in numbers["data"]]
    where = {
        "each": "Unlike the paper, whose published code begins all curves of the theory at one "
        "number, the mean singular value of W2 W1, we begin each direction's at its own start, a "
        "quarter of |A_j + B_j|^2.",
        "mean": "As in the authors' published code, all curves of the theory begin at one "
        "number, the mean singular value of W2 W1. Unlike the paper, we can also begin each "
        "direction's at its own start.",
    }[numbers["start_of_theory"]]
    return (
        "Linear autoencoders from small random weights learn one direction after the other, the "
        "largest eigenvalue first. Decay lowers what is reached and delays it, so that fewer "
        "directions are learned in a given time; noise lowers it too, and does "
        "not delay: by the theory the DAE is even a little sooner at half of its own end. "
        f"{where} What is drawn of the networks are the singular values of W2 W1, as in "
        "the paper; they are the mappings of the directions only where these are aligned with "
        "the network, positive and in order. " + " ".join(parts)
    )


def _words(found: dict[str, Any], compared: bool) -> str:
    """Of one data set; compared with the start from the mean, if the theory has another."""
    settings = found["settings"]
    done = np.asarray(found["converged"], bool)
    fixed_point = np.asarray(found["fixed_point"])
    pending = _named(settings, ~done & (fixed_point > 0))
    text = (
        f"{sources.title(settings['data'])} ({settings['num_samples']:,} images, "
        f"{settings['hidden']} hidden units, decay {settings['decay']:g}, "
        f"noise {settings['noise']:g})"
    )
    if done.any():
        apart = np.nanmax(found["relative_difference_where_converged"])
        text += (
            f": where the theory has converged by epoch {settings['num_steps']:,}, training is "
            f"within {100 * apart:.2g} % of the predicted fixed points"
        )
    late, usual = _late(found, "half_time"), _late(found, "half_time_from_the_mean")
    if np.isfinite([late, usual]).all():
        text += (
            f"{';' if done.any() else ':'} the AE comes to half of a fixed point {late:.1f} % "
            f"later than predicted (median of the directions that do)"
        )
        text += f", {usual:.0f} % later than predicted from the mean singular value" * compared
    text += f". Not yet converged: {pending}" if pending else ""
    nothing = _named(settings, fixed_point == 0)
    return text + (f". Not to be learned at all (w* = 0): {nothing}." if nothing else ".")


def _named(settings: dict[str, Any], which: np.ndarray) -> str:
    """Networks with those of their directions that are marked, (3, K)."""
    directions = np.array(settings["directions"])
    parts = [
        f"{name} {', '.join(str(int(j)) for j in directions[row])}"
        for name, row in zip(NETWORKS, np.asarray(which, bool), strict=True)
        if row.any()
    ]
    return "; ".join(parts)


def _late(found: dict[str, Any], which: str) -> float:
    """Per cent by which the AE is later than predicted, the median over what it reaches."""
    measured, predicted = (
        np.asarray(x, float)[0] for x in (found["saved"]["half_time"], found[which])
    )
    known = np.isfinite(measured) & np.isfinite(predicted) & (predicted > 0)
    return float(np.median(100 * (measured / predicted - 1)[known])) if known.any() else np.nan
