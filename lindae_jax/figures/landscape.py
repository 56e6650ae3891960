"""The loss of a weight pair seen from above, with its minima."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from lindae_jax import plot, theory
from lindae_jax.losses import pair_loss
from lindae_jax.problem import Problem

# Of the window, in both weights; the starts lie within 2.
_EDGE = 2.3
# Above the least loss: the lowest band is the valley, the highest the outer corners.
_LEVELS = 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30
_NUM_MINIMA = 60

MINIMUM = plot.BLUE
PATH = plot.Style("black", "dashed")
_SADDLE: dict[str, Any] = {
    "linestyle": "none",
    "marker": "*",
    "markersize": 10,
    "markerfacecolor": "#D55E00",
    "markeredgecolor": "black",
    "markeredgewidth": 0.6,
    "zorder": 4,
}
_POINT: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 7,
    "markeredgecolor": "white",
    "zorder": 6,
}


def numbers(eigenvalue: float, noise: ArrayLike, decay: ArrayLike, num: int) -> dict[str, Any]:
    """Losses on a grid of weights, and where they are least.

    Parameters
    ----------
    eigenvalue : float
    noise, decay : array_like, (P,)
        One pair per surface.
    num : int
        Points along each weight.

    Returns
    -------
    dict
        weight (num,); loss (P, num, num), a row per w2; least (P,);
        minimum_w1, minimum_w2 (P, M): without decay both branches of the
        hyperbola w1 w2 = w*, with it the two points at which w1 = w2.
    """
    problem = Problem(eigenvalue, jnp.asarray(noise), jnp.asarray(decay))
    weight = jnp.linspace(-_EDGE, _EDGE, num)
    w2, w1 = weight[:, None, None], weight[:, None]
    loss = pair_loss(w1, w2, problem)
    root = jnp.sqrt(theory.fixed_point(problem))
    rows = [_minima(float(w), bool(g)) for w, g in zip(root, problem.decay, strict=True)]
    return {
        "weight": np.asarray(weight),
        "loss": np.moveaxis(np.asarray(loss), -1, 0),
        "least": np.asarray(pair_loss(root, root, problem)),
        "minimum_w1": np.array([w1 for w1, _ in rows]),
        "minimum_w2": np.array([w2 for _, w2 in rows]),
    }


def _minima(root: float, decays: bool) -> tuple[np.ndarray, np.ndarray]:
    """NaN between the branches, and instead of them around lone points."""
    if decays:
        alone = np.full(2 * _NUM_MINIMA + 1, np.nan)
        alone[[0, -1]] = root, -root
        return alone, alone
    branch = root * (_EDGE / root) ** np.linspace(-1, 1, _NUM_MINIMA)
    w1 = np.concatenate([branch, [np.nan], -branch])
    return w1, root**2 / w1


def draw(ax: Any, surface: dict[str, Any], index: int) -> None:
    """A surface with its saddle and its minima.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    surface : dict
        As of `numbers`.
    index : int
        Which one.
    """
    weight, above = surface["weight"], surface["loss"][index] - surface["least"][index]
    plot.relief(ax, weight, weight, above, _LEVELS)
    w1, w2 = surface["minimum_w1"][index], surface["minimum_w2"][index]
    alone = np.isfinite(w1).sum() == 2
    # Two lone points would vanish under what ends there, a valley would hide what crosses it.
    look: dict[str, Any] = _POINT if alone else {"linewidth": 2.2, "zorder": 3.5}
    ax.plot(w1, w2, color=MINIMUM.colour, **look)
    ax.plot(0, 0, **_SADDLE)
    ax.set(xlim=(-_EDGE, _EDGE), ylim=(-_EDGE, _EDGE), aspect="equal", xticks=[-2, 0, 2])
    ax.set(yticks=[-2, 0, 2], xlabel="w1")


def legend(figure: Any, caption: str, *others: Any) -> None:
    """A row that names what is drawn on surfaces, under a caption.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    caption : str
    *others : matplotlib.lines.Line2D
        Further entries, with labels.
    """
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        "w*, least loss": {"color": MINIMUM.colour, "linewidth": 2.2},
        "saddle": {**_SADDLE, "zorder": 1},
        "descent": {"color": PATH.colour, "linestyle": PATH.dashes, "linewidth": 1.0},
    }
    entries = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    plot.legend_row(figure, [*entries, *others], caption)
