"""Drawing of predicted against measured curves on a given axis."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Style(NamedTuple):
    """How one family of curves looks."""

    colour: str
    dashes: Literal["solid", "dashed", "dashdot"]


# Three colours of Okabe and Ito that stay apart for colour-blind readers. Their
# greys are 0.40, 0.52 and 0.69, too close for a photocopy, so dashes differ too.
BLUE = Style("#0072B2", "solid")
ORANGE = Style("#E69F00", "dashed")
GREEN = Style("#009E73", "dashdot")

_SETTINGS = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "legend.frameon": False,
    # Without it equal figures would give unequal SVG files.
    "svg.hashsalt": "lindae_jax",
}

_CROSS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "x",
    "markersize": 4.5,
    "markeredgewidth": 1.0,
}
_TIE: dict[str, Any] = {"color": "0.8", "linewidth": 0.6, "zorder": 0}


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's defaults with this library's changes, whatever the user's own.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise ImportError(
            "drawing needs matplotlib; install it with: pip install 'lindae_jax[plot]'"
        ) from error
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


def image(figure: "Figure", kind: str) -> bytes:
    """A figure as the bytes of a file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    kind : str
        "png" (200 dots per inch) or "svg", neither of them dated.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def two_panels(
    titles: tuple[str, str],
    last_step: int,
    xlabel: str,
    ylabel: str,
    *,
    values: tuple[float, float] = (0.0, 1.0),
) -> "Figure":
    """A figure of two axes side by side.

    It is drawn for the width of a page and still readable at half of it.

    Parameters
    ----------
    titles : tuple of str
    last_step : int
        Where the horizontal axes end.
    xlabel, ylabel : str
        The second is written at the left axes only.
    values : tuple of float
        Smallest and largest value to be shown.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.75, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    height = values[1] - values[0]
    for ax, title in zip(panels, titles, strict=True):
        # A curve that rises within the first few steps must not lie on the axis.
        ax.set_xlim(-0.02 * last_step, last_step)
        ax.set_ylim(values[0] - 0.03 * height, values[1] + 0.05 * height)
        ax.set_title(title, pad=24)
        ax.set_xlabel(xlabel)
    panels[0].set_ylabel(ylabel)
    return figure


def dynamics(
    ax: "Axes", steps: np.ndarray, predicted: np.ndarray, measured: np.ndarray, style: Style
) -> None:
    """Lines of the predicted curves, crosses on the measured ones.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its limits decide which points get a cross, so set them first.
    steps : array, (S,)
        Where the curves are known, ascending.
    predicted, measured : array, (S, C)
        One column per curve. Points that are not finite are left out.
    style : Style
        Shared by all the curves.
    """
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for line, points in zip(predicted.T, measured.T, strict=True):
        ax.plot(steps, line, color=style.colour, linestyle=style.dashes, linewidth=1.3)
        drawn = spaced((steps - low) / (high - low), (points - bottom) / (top - bottom))
        ax.plot(steps[drawn], points[drawn], color=style.colour, **_CROSS)


def spaced(
    x: np.ndarray, y: np.ndarray, *, column: float = 0.08, height: float = 0.08
) -> np.ndarray:
    """Indices of the points of a curve that are worth a marker.

    One per column of the plane, so that the markers of several curves at rest
    stand in columns, with more wherever the curve has moved by `height` since.

    Parameters
    ----------
    x, y : array, (S,)
        In units in which both axes are equally long, x ascending.
    column, height : float

    Returns
    -------
    array of int
        Ascending.
    """
    kept: list[int] = []
    for i in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        if kept:
            last = kept[-1]
            new_column = x[i] // column > x[last] // column
            apart = np.hypot(x[i] - x[last], y[i] - y[last])
            if apart < height and not (new_column and apart >= height / 2):
                continue
        kept.append(int(i))
    return np.array(kept, int)


def label_above(ax: "Axes", x: np.ndarray, labels: Sequence[str]) -> None:
    """Labels above the axes, each tied by a thin line to its x.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x : array, (C,)
        In any order; a label whose x is not within the limits is left out.
    labels : sequence of str
    """
    low, high = ax.get_xlim()
    place = (np.asarray(x, float) - low) / (high - low)
    shown = np.flatnonzero((place >= 0) & (place <= 1))
    order = shown[np.argsort(place[shown], kind="stable")]
    for i, at in zip(order, apart(place[order], 0.07), strict=True):
        bend = [place[i], place[i], at], [0.0, 1.0, 1.045]
        ax.plot(*bend, transform=ax.transAxes, clip_on=False, **_TIE)
        ax.text(at, 1.055, labels[i], transform=ax.transAxes, ha="center", va="bottom", fontsize=9)


def label_right(ax: "Axes", y: np.ndarray, labels: Sequence[str]) -> None:
    """Labels at the right end of the axes, each tied by a thin line to its y.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    y : array, (C,)
        In any order; a label whose y is not within the limits is left out.
    labels : sequence of str
    """
    low, high = ax.get_ylim()
    place = (np.asarray(y, float) - low) / (high - low)
    shown = np.flatnonzero((place >= 0) & (place <= 1))
    order = shown[np.argsort(place[shown], kind="stable")]
    for i, at in zip(order, apart(place[order], 0.06), strict=True):
        ax.plot([1.0, 1.03], [place[i], at], transform=ax.transAxes, clip_on=False, **_TIE)
        ax.text(1.04, at, labels[i], transform=ax.transAxes, ha="left", va="center", fontsize=9)


def apart(x: np.ndarray, gap: float) -> np.ndarray:
    """Ascending positions moved as little as needed to lie at least `gap` apart.

    The least-squares solution: positions that collide are spread around their
    mean (pool adjacent violators).

    Parameters
    ----------
    x : array, (C,)
        Ascending.
    gap : float

    Returns
    -------
    array, (C,)
    """
    offsets = gap * np.arange(len(x))
    pools: list[list[float]] = []
    for value in x - offsets:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    means = [float(np.mean(pool)) for pool in pools for _ in pool]
    return np.array(means) + offsets


def legend(figure: "Figure", entries: dict[str, Style], caption: str) -> None:
    """A row below the axes that names the lines, under a caption.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    entries : dict
        Text -> style of its curves.
    caption : str
        One line.
    """
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, linewidth=1.3, label=text)
        for text, style in entries.items()
    ]
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=len(lines),
        fontsize=10,
        title=caption,
        title_fontsize=10,
    )
