"""Figure 4: what noise and decay make of the norm of the weights."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lindae_jax import plot, theory
from lindae_jax.figures import agreement, landscape
from lindae_jax.problem import Problem

TITLE = "Figure 4: the norm of the weights under noise and under decay"
SEE = (
    "Both end at the same mapping, but only decay goes on shrinking the weights, unless they were "
    "small from the start (purple)."
)

_EIGENVALUE, _NOISE = 1.0, 0.1
_NUM_STARTS, _SEED = 10, 49
_SMALL = 0.03, 0.01
_LEARNING_RATE, _LAST = 0.004, 5_000
_TICKS = 0, 100, 500, 1_500, 3_000, 5_000
_STYLES = plot.GREEN._replace(dashes="solid"), plot.ORANGE._replace(dashes="solid")
_SMALL_STYLE = plot.Style("#7A0150", "solid")


def numbers(*, quick: bool = False) -> dict[str, Any]:
    """Mapping and weights under noise and under the equivalent decay, and both losses.

    The last start is the small one.

    Parameters
    ----------
    quick : bool
        Fewer points on curves and surfaces.
    """
    starts = np.random.default_rng(_SEED).uniform(-2, 2, (2, _NUM_STARTS))
    w1, w2 = jnp.asarray(np.c_[starts, _SMALL])
    noise = jnp.asarray([_NOISE, 0.0])
    decay = theory.equivalent_decay(_EIGENVALUE, noise)[::-1]
    problem = Problem(_EIGENVALUE, noise[:, None], decay[:, None], _LEARNING_RATE)
    epochs = agreement.epochs(_LAST, 101 if quick else 401, power=2)
    both = agreement.compare(w1, w2, problem, epochs)
    flow = theory.weights(jnp.asarray(epochs)[:, None, None], w1, w2, problem)
    at_each = Problem(_EIGENVALUE, noise, decay, _LEARNING_RATE)
    fixed_point = np.asarray(theory.fixed_point(at_each))
    below = np.where(both.theory[:1] < fixed_point[:, None], both.theory, -np.inf)
    return {
        "eigenvalue": _EIGENVALUE,
        "noise": noise,
        "decay": decay,
        "learning_rate": _LEARNING_RATE,
        "seed": _SEED,
        "fixed_point": fixed_point,
        "peak": below.max(axis=(0, 2)),
        "half_time_of_small_start": theory.time_to_mapping(fixed_point / 2, *_SMALL, at_each),
        "epoch": both.epoch,
        "mapping": {"theory": both.theory, "simulated": both.simulated},
        "norm": {"theory": np.hypot(*flow), "simulated": np.hypot(both.w1, both.w2)},
        "w1": both.w1,
        "w2": both.w2,
        "difference": both.difference.max(axis=-1),
        "difference_at_half_rate": both.difference_at_half_rate.max(axis=-1),
        **agreement.numbers([both]),
        "surface": landscape.numbers(_EIGENVALUE, noise, decay, 41 if quick else 81),
    }


def draw(numbers: dict[str, Any]) -> Any:
    """Surface, mapping and norm from top to bottom, noise at the left, decay at the right.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.lines import Line2D

    figure, axes = plot.grid(3, 2, 7.6, sharey="row", height_ratios=(1.25, 1, 1))
    amounts = f"noise {numbers['noise'][0]:.3g}", f"decay {numbers['decay'][1]:.3g}"
    for k, column in enumerate(axes.T):
        landscape.draw(column[0], numbers["surface"], k)
        for part, style, width in _PARTS:
            path = numbers["w1"][:, k, part], numbers["w2"][:, k, part]
            plot.descents(column[0], *path, style or landscape.PATH, width)
            for ax, name in zip(column[1:], ("mapping", "norm"), strict=True):
                _dynamics(ax, numbers, name, (k, part), style or _STYLES[k])
        _magnify(column[1], numbers, k)
        column[0].set_title(amounts[k])
        column[2].set_xlabel("epochs")
    for ax, label in zip(axes[:, 0], ("w2", "mapping w1 w2", "norm of the weights"), strict=True):
        ax.set_ylabel(label)
    small = Line2D([], [], color=_SMALL_STYLE.colour, linewidth=2.2, label="small start")
    landscape.legend(
        figure,
        f"lines: theory, crosses: gradient descent; {plot.ROOT_TIME}\n"
        "insets: mappings near w* (dashed), which decay overshoots",
        small,
    )
    return figure


# All starts but the small one, then that one, over them.
_PARTS = (slice(-1), None, 1.0), (slice(-1, None), _SMALL_STYLE, 2.2)


def _dynamics(
    ax: Any, numbers: dict[str, Any], name: str, at: tuple[int, slice], style: plot.Style
) -> None:
    time, curves, (k, part) = np.sqrt(numbers["epoch"]), numbers[name], at
    plot.root_time(ax, _TICKS)
    ax.set_ylim(_LIMITS[name])
    both = curves["theory"][:, k, part], curves["simulated"][:, k, part]
    plot.dynamics(ax, time, *both, style, spacing=0.13)


def _magnify(ax: Any, numbers: dict[str, Any], k: int) -> None:
    """The mappings around w* once more, for on a scale with the starts the overshoot is lost."""
    inset = ax.inset_axes(_PLACE)
    time, star = np.sqrt(numbers["epoch"]), numbers["fixed_point"][k]
    for part, style, width in _PARTS:
        look = {"color": (style or _STYLES[k]).colour, "linewidth": width}
        inset.plot(time, numbers["mapping"]["theory"][:, k, part], **look)
    inset.axhline(star, color=landscape.MINIMUM.colour, linestyle="dashed", linewidth=1.3)
    inset.set(xlim=ax.get_xlim(), ylim=_MAGNIFIED, xticks=[])
    inset.tick_params(axis="y", labelsize=9.5)
    inset.spines[["top", "right"]].set_visible(True)


_LIMITS = {"mapping": (-3.1, 3.1), "norm": (0.0, 2.6)}
# Of the magnified part: left, bottom, width and height as parts of the axes; its mappings.
_PLACE, _MAGNIFIED = (0.5, 0.07, 0.48, 0.43), (0.86, 0.97)


def caption(numbers: dict[str, Any]) -> str:
    """What to see, where the mathematics differs from the paper, and the distances found.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    apart, halved = numbers["largest_difference"], numbers["ratio"]
    last = numbers["norm"]["simulated"][-1]
    spread = [f"{norm.min():.3f} to {norm.max():.3f}" for norm in last]
    small = f"{last[0, -1]:.3f} and {last[1, -1]:.3f}"
    early, late = numbers["half_time_of_small_start"]
    return (
        f"Eleven starts, one of them small, under noise {numbers['noise'][0]:g} (left) and the "
        f"equivalent decay {numbers['decay'][1]:.3g} (right). Both lead to the same mapping, but "
        f"noise leaves a curve of minima, on which weights of any size stay where they arrive "
        f"(norms {spread[0]}), whereas decay goes on shrinking the weights along it until all "
        f"have the least norm (norms {spread[1]}). From the small start the norms are the same "
        f"in the end, {small}: such a start regularises by itself. The norm is the root of "
        f"w1^2 + w2^2. "
        f"Unlike the paper, which has decay shrink the minima to a single point, we find two, "
        f"w1 = w2 = sqrt(w*) and its negative. Nor is the mapping the same all along: from "
        f"unequal weights decay first overshoots (here up to {numbers['peak'][1]:.3f} from below "
        f"w* = {numbers['fixed_point'][1]:.3f}), since it weighs less against learning the larger "
        f"the weights, and sinks to w* as they slide along the valley; and the small start, whose "
        f"two curves the paper calls almost identical, is at half of w* at epoch {early:,.0f} "
        f"under noise and {late:,.0f} under decay. "
        f"Theory and gradient descent at rate {numbers['learning_rate']:g} are at most "
        f"{apart:.2g} apart, and {halved:.3f} of that at half the rate."
    )
