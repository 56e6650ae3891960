"""Drawing of arrays on given axes."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lindae_jax.checks import mistake

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Normalize
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

# In inches, of figures with several axes: set in a column of 3.3, where a picture drawn for
# the whole page would be unreadable, their text is 5.5 to 7 points high.
_WIDTH = 5.4
# Of direction numbers; how far apart they stand along a side of the axes, as a part of it.
_LABEL_SIZE, _LABEL_GAP, _LABEL_LIMITS = 9.5, (0.095, 0.075), (0.02, 1.0)

# What a caption says of `root_time`.
ROOT_TIME = "epochs on a scale of square roots"

_CROSS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "x",
    "markersize": 4.5,
    "markeredgewidth": 1.0,
}
# How far the lightest shade goes towards white, and what the darkest leaves of a colour.
_LIGHTEST_SHADE, _DARKEST_SHADE = 0.5, 0.35
_TIE: dict[str, Any] = {"color": "0.8", "linewidth": 0.6, "zorder": 0}
# Its lightness only grows, for colour-blind readers and on a photocopy too.
_MAP = "viridis"
# Beyond this the map is too light for a thin line on white.
_LIGHTEST_LINE = 0.75
_RELIEF = 1.0, 0.68
_MISSING: dict[str, Any] = {
    "facecolor": "0.92",
    "edgecolor": "0.55",
    "hatch": "/////",
    "linewidth": 0,
}


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


def grid(
    rows: int, columns: int, height: float, **options: Any
) -> "tuple[Figure, np.ndarray[Any, Any]]":
    """A figure with its axes, (rows, columns), to be read in one column of a page.

    Parameters
    ----------
    rows, columns : int
    height : float
        Of the figure, in inches.
    **options
        As of matplotlib's `subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def shades(style: Style, num: int) -> list[Style]:
    """Styles from a light to a dark shade of a colour, solid.

    Parameters
    ----------
    style : Style
    num : int
        How many.
    """
    from matplotlib.colors import to_hex, to_rgb

    base = np.array(to_rgb(style.colour))
    # Each channel falls along the way, so that the order survives a photocopy.
    ends = base + _LIGHTEST_SHADE * (1 - base), base * _DARKEST_SHADE
    along = np.linspace(0, 1, num)[:, None]
    colours = np.where(
        along < 0.5,
        ends[0] + 2 * along * (base - ends[0]),
        base + (2 * along - 1) * (ends[1] - base),
    )
    return [Style(to_hex(colour), "solid") for colour in colours]


def dynamics(
    ax: "Axes",
    steps: np.ndarray,
    predicted: np.ndarray,
    measured: np.ndarray,
    style: Style,
    *,
    spacing: float = 0.08,
    width: float = 1.3,
    upright: bool = False,
) -> None:
    """Lines of the predicted curves, crosses or pluses on the measured ones.

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
    spacing : float
        Of the crosses, as a part of the axes.
    width : float
        Of the lines.
    upright : bool
        Whether the crosses stand upright, to be told from others without colour.
    """
    cross = _CROSS | ({"marker": "+", "markersize": 6} if upright else {})
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for line, points in zip(predicted.T, measured.T, strict=True):
        ax.plot(steps, line, color=style.colour, linestyle=style.dashes, linewidth=width)
        place = (steps - low) / (high - low), (points - bottom) / (top - bottom)
        drawn = spaced(*place, column=spacing, height=spacing)
        ax.plot(steps[drawn], points[drawn], color=style.colour, **cross)


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


def root_time(ax: "Axes", ticks: Sequence[int]) -> None:
    """Make a horizontal axis show square roots of epochs, which are spread out at first.

    What is drawn on it is drawn at square roots.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    ticks : sequence of int
        Epochs to be named, ascending; the axis ends at the last.
    """
    places = np.sqrt(ticks)
    ax.set_xlim(-0.02 * places[-1], 1.01 * places[-1])
    ax.set_xticks(places, [str(tick) for tick in ticks])


def label_above(ax: "Axes", x: np.ndarray, labels: Sequence[str]) -> None:
    """Labels above the axes, each tied by a thin line to its x.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x : array, (C,)
        In any order; a label whose x is not within the limits is left out.
    labels : sequence of str
    """
    order, place, at = _placed(ax.get_xlim(), x, _LABEL_GAP[0])
    look: dict[str, Any] = {"transform": ax.transAxes, "fontsize": _LABEL_SIZE}
    for i, tied, text in zip(order, place, at, strict=True):
        bend = [tied, tied, text], [0.0, 1.0, 1.045]
        ax.plot(*bend, transform=ax.transAxes, clip_on=False, **_TIE)
        ax.text(text, 1.055, labels[i], ha="center", va="bottom", **look)


def label_right(ax: "Axes", y: np.ndarray, labels: Sequence[str]) -> None:
    """Labels at the right end of the axes, each tied by a thin line to its y.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    y : array, (C,)
        In any order; a label whose y is not within the limits is left out.
    labels : sequence of str
    """
    order, place, at = _placed(ax.get_ylim(), y, _LABEL_GAP[1])
    look: dict[str, Any] = {"transform": ax.transAxes, "fontsize": _LABEL_SIZE}
    for i, tied, text in zip(order, place, at, strict=True):
        ax.plot([1.0, 1.03], [tied, text], transform=ax.transAxes, clip_on=False, **_TIE)
        ax.text(1.04, text, labels[i], ha="left", va="center", **look)


def _placed(
    limits: tuple[float, float], values: np.ndarray, gap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the values within the limits, ascending: which, where on the axis, where to label."""
    low, high = limits
    place = (np.asarray(values, float) - low) / (high - low)
    shown = np.flatnonzero((place >= 0) & (place <= 1))
    order = shown[np.argsort(place[shown], kind="stable")]
    # Not beyond the ends of the axis, where its other side has text of its own.
    return order, place[order], apart(place[order], gap, _LABEL_LIMITS)


def apart(x: np.ndarray, gap: float, limits: tuple[float, float] = (-np.inf, np.inf)) -> np.ndarray:
    """Ascending positions moved as little as needed to lie at least `gap` apart.

    The least-squares solution: positions that collide are spread around their
    mean (pool adjacent violators), or, at a limit, to its other side.

    Parameters
    ----------
    x : array, (C,)
        Ascending.
    gap : float
    limits : tuple of float
        Smallest and largest position; where they leave no room for all, the
        largest gives way.

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
    means = np.array([float(np.mean(pool)) for pool in pools for _ in pool])
    # Of a monotone fit between bounds it is known that it is the free one, clipped.
    low, high = limits
    return np.maximum(np.minimum(means, high - offsets[-1:].sum()), low) + offsets


def legend(figure: "Figure", entries: dict[str, Style], caption: str) -> None:
    """A row below the axes that names the lines, under a caption.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    entries : dict
        Text -> style of its curves.
    caption : str
    """
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, linewidth=1.3, label=text)
        for text, style in entries.items()
    ]
    legend_row(figure, lines, caption)


def legend_row(figure: "Figure", handles: Sequence[Any], caption: str) -> None:
    """A row below the axes with labels of its own, under a caption.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    handles : sequence of matplotlib artists
        With labels.
    caption : str
    """
    row = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        fontsize=10,
        title=caption,
        title_fontsize=10,
    )
    row.get_title().set_multialignment("center")


def curves(
    ax: "Axes",
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    label: str,
    *,
    log: bool = False,
    log_x: bool = False,
) -> "Colorbar":
    """Curves coloured by a number each, dark to light, with a colour bar.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Best of a figure 4.5 wide, made and written under `settings()`: in a
        column of 3.3 its text is then 8 points high.
    x : array_like, (S,)
    y : array_like, (S, C)
        One column per curve. Points that are not finite are left out.
    values : array_like, (C,)
        What the curves are coloured by.
    label : str
        Of the colour bar.
    log : bool
        Whether the colours follow the logarithm of the values.
    log_x : bool
        Whether the horizontal axis is logarithmic; points at x <= 0, such as
        step 0, are then left out.

    Returns
    -------
    matplotlib.colorbar.Colorbar

    Raises
    ------
    ValueError
        Shapes that do not fit, no curve, values that are not finite, or not
        positive where `log` is set.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    steps, columns, numbers = _numbers("x", x), _numbers("y", y), _numbers("values", values)
    if (steps.ndim, numbers.ndim) != (1, 1) or columns.shape != steps.shape + numbers.shape:
        got = f"y {columns.shape}, x {steps.shape}, values {numbers.shape}"
        raise mistake("y must be (S, C), x (S,) and values (C,)", got, "Transpose or reshape y.")
    if not (numbers.size and np.isfinite(numbers).all()):
        got = f"{np.isfinite(numbers).sum()} finite of {numbers.size}"
        raise mistake("values must all be finite, one or more", got, "Leave other curves out.")
    colours = ListedColormap(matplotlib.colormaps[_MAP](np.linspace(0, _LIGHTEST_LINE, 256)))
    mappable = ScalarMappable(_colour_scale("values", numbers, log), colours)
    if log_x:
        ax.set_xscale("log", nonpositive="mask")
    for line, colour in zip(columns.T, mappable.to_rgba(numbers), strict=True):
        ax.plot(steps, line, color=tuple(colour), linewidth=1.3)
    return _colour_bar(ax, mappable, label)


def heat_map(
    ax: "Axes",
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    label: str,
    *,
    log: bool = False,
    log_x: bool = False,
    log_y: bool = False,
    missing: str = "no value",
    contour: ArrayLike | None = None,
    levels: ArrayLike | None = None,
    contour_label: str | None = None,
) -> "Colorbar":
    """Cells coloured by a number each over two axes, with a colour bar.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Best of a figure as `curves` wants it. A legend above it names the
        contour and the cells without a value, where there are any.
    x, y : array_like, (n,), (m,)
        Centres of the cells, ascending or descending, at least two each.
        Neighbours meet halfway, on a logarithmic axis at the geometric mean.
    z : array_like, (m, n)
        Cells that are not finite are hatched grey.
    label : str
        Of the colour bar.
    log, log_x, log_y : bool
        Whether the colours, the horizontal and the vertical axis are logarithmic.
    missing : str
        What the legend calls the hatched cells.
    contour : array_like, (m, n), optional
        Numbers at the same centres. Black lines show where they reach `levels`,
        interpolated along the axes as drawn, logarithmic or not.
    levels : array_like, () or (L,), optional
        Given with `contour`; written on the lines where there are several.
    contour_label : str, optional
        What the legend calls the lines.

    Returns
    -------
    matplotlib.colorbar.Colorbar
        Its `mappable.set_clim` changes the range of the colours, which is that
        of the finite cells.

    Raises
    ------
    ValueError
        Shapes that do not fit, centres that are not sorted, numbers that are
        not positive on a logarithmic scale, `contour` or `levels` alone.
    """
    logs = log_x, log_y
    centres = _centres("x", x, log_x), _centres("y", y, log_y)
    cells = _cells("z", z, centres)
    colours = _colour_scale("z", cells, log)
    if (contour is None) != (levels is None):
        got = "levels" if contour is None else "contour"
        raise mistake("contour and levels go together", f"{got} alone", "Give both or neither.")
    lines = None if contour is None else _cells("contour", contour, centres)
    at = np.array([]) if levels is None else np.unique(_numbers("levels", levels))

    edges = [_edges(c, is_log) for c, is_log in zip(centres, logs, strict=True)]
    for axis, around, is_log in zip("xy", edges, logs, strict=True):
        limits = around.min(), around.max()
        ax.set(**{f"{axis}scale": "log" if is_log else "linear", f"{axis}lim": limits})
    masked = np.ma.masked_invalid(cells)
    # As one picture: an SVG file of a million cells would be of no use.
    mesh = ax.pcolormesh(*edges, masked, cmap=_MAP, norm=colours, rasterized=True)
    drawn = lines is not None and _contour(ax, centres, logs, lines, at)
    _cell_legend(ax, contour_label if drawn else None, missing if masked.mask.any() else None)
    return _colour_bar(ax, mesh, label)


def relief(ax: "Axes", x: ArrayLike, y: ArrayLike, z: ArrayLike, levels: ArrayLike) -> None:
    """A surface as bands of grey, white at the bottom, light enough to be drawn upon.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : array_like, (n,), (m,)
    z : array_like, (m, n)
    levels : array_like, (L,)
        Where one band ends and the next begins, ascending.
    """
    at = _numbers("levels", levels)
    greys = np.linspace(*_RELIEF, len(at) + 1)
    look: dict[str, Any] = {"levels": at, "extend": "both"}
    ax.contourf(x, y, z, colors=[str(grey) for grey in greys], **look)
    ax.contour(x, y, z, levels=at, colors="0.5", linewidths=0.4, linestyles="solid")


def mark(ax: "Axes", x: float, y: float, style: Style) -> None:
    """A triangle that points at a place on a curve from above; none where it is not finite.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : float
    style : Style
        Of the curve.
    """
    from matplotlib.markers import CARETDOWN

    if np.isfinite([x, y]).all():
        look: dict[str, Any] = {"markersize": 8, "markeredgecolor": "black", "zorder": 4}
        # The marker's own place is its tip.
        ax.plot([x], [y], color=style.colour, marker=CARETDOWN, linestyle="none", **look)


def descents(ax: "Axes", x: np.ndarray, y: np.ndarray, style: Style, width: float = 1.0) -> None:
    """Paths over a surface, a dot where each begins.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : array, (S, C)
        One column per path.
    style : Style
    width : float
        Of the lines.
    """
    look: dict[str, Any] = {"color": style.colour, "zorder": 3}
    ax.plot(x, y, linestyle=style.dashes, linewidth=width, **look)
    # Above all lines: a start may lie on one.
    look["zorder"] = 5
    ax.plot(x[0], y[0], linestyle="none", marker="o", markersize=3.5, **look)


def _numbers(name: str, x: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(x, float)
    except (TypeError, ValueError):
        remedy = "Pass one array, without text."
        raise mistake(f"{name} must be numbers", f"{x!r:.60}", remedy) from None


def _centres(name: str, given: ArrayLike, log: bool) -> np.ndarray:
    x = _numbers(name, given)
    if x.ndim != 1 or len(x) < 2:
        what = f"{name} must be 1-D with at least two centres"
        raise mistake(what, f"shape {x.shape}", "Draw a curve over the other axis instead.")
    with np.errstate(invalid="ignore"):
        steps = np.diff(x)
    sorted_here = np.isfinite(steps) & (np.sign(steps) * np.sign(steps[0]) > 0)
    if not sorted_here.all():
        i = int(np.argmin(sorted_here))
        what = f"{name} must be finite, ascending or descending"
        remedy = "Sort it, and the cells with it."
        raise mistake(what, f"{x[i]} before {x[i + 1]} at index {i}", remedy)
    if log and x.min() <= 0:
        remedy = f"Leave log_{name} out."
        raise mistake(f"{name} must be > 0 on a logarithmic axis", x.min(), remedy)
    return x


def _cells(name: str, given: ArrayLike, centres: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    x, y = centres
    z = _numbers(name, given)
    if z.shape != y.shape + x.shape:
        what = f"{name} must be (m, n), y (m,) and x (n,)"
        got = f"{name} {z.shape}, y {y.shape}, x {x.shape}"
        raise mistake(what, got, f"Transpose or reshape {name}: one row per y.")
    return z


def _edges(centres: np.ndarray, log: bool) -> np.ndarray:
    """Where cells begin and end: the outermost reach as far outwards as inwards."""
    x = np.log(centres) if log else centres
    between = (x[:-1] + x[1:]) / 2
    edges = np.concatenate([[2 * x[0] - between[0]], between, [2 * x[-1] - between[-1]]])
    return np.exp(edges) if log else edges


def _colour_scale(name: str, values: np.ndarray, log: bool) -> "Normalize":
    """From the smallest to the largest finite value."""
    from matplotlib.colors import LogNorm, Normalize

    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (1.0, 1.0)
    if log and low <= 0:
        raise mistake(f"{name} must be > 0 on a logarithmic scale", low, "Leave log out.")
    return LogNorm(low, high) if log else Normalize(low, high)


def _colour_bar(ax: "Axes", mappable: Any, label: str) -> "Colorbar":
    bar = ax.figure.colorbar(mappable, ax=ax, aspect=25, pad=0.02)
    bar.set_label(label)
    return bar


def _contour(
    ax: "Axes",
    centres: tuple[np.ndarray, np.ndarray],
    logs: tuple[bool, bool],
    z: np.ndarray,
    levels: np.ndarray,
) -> bool:
    """Black lines with a white halo; whether there were any to draw."""
    from matplotlib.patheffects import withStroke

    finite = z[np.isfinite(z)]
    inside = [v for v in levels if (finite < v).any() and (finite > v).any()]
    if not inside:
        return False
    # Matplotlib interpolates linearly, which on logarithmic axes must be done in logarithms.
    grid = [np.log(c) if log else c for c, log in zip(centres, logs, strict=True)]
    look: dict[str, Any] = {"colors": "black", "linestyles": "solid", "linewidths": 1.3}
    lines = ax.contour(*grid, np.ma.masked_invalid(z), inside, **look)
    for path in lines.get_paths():
        places = np.where(logs, np.exp(np.where(logs, path.vertices, 0.0)), path.vertices)
        path.vertices = places
    halo: Any = [withStroke(linewidth=3.3, foreground="white")]
    lines.set_path_effects(halo)
    if len(inside) > 1:
        for text in ax.clabel(lines, fontsize=9, fmt="%g"):
            text.set_path_effects(halo)
    return True


def _cell_legend(ax: "Axes", line: str | None, missing: str | None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if line is not None:
        handles.append(Line2D([], [], color="black", linewidth=1.3, label=line))
    if missing is not None:
        # What lies behind the cells shows where there are none.
        ax.patch.set(**_MISSING)
        handles.append(Patch(**_MISSING, label=missing))
    if handles:
        # Beyond its left end there is room above the numbers of the vertical axis.
        place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1)}
        narrow: dict[str, Any] = {"handlelength": 1.5, "columnspacing": 1.2, "borderaxespad": 0.2}
        ax.legend(handles=handles, ncols=2, fontsize=10, **place, **narrow)
