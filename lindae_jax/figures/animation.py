"""Animation: descent on the loss surface beside the mapping that it learns."""

import io
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lindae_jax import plot, theory
from lindae_jax.figures import agreement, landscape
from lindae_jax.problem import Problem

TITLE = "Animation: gradient descent under noise and under decay"
SEE = (
    "Noise leaves each pair of weights where it meets the valley of least loss, decay draws it on "
    "to the smallest weights and lets the small start wait longer."
)

_EIGENVALUE, _NOISE = 1.0, 0.5
# A seed with starts in all four quadrants that lie apart and none of whose mappings exceeds 2.
_NUM_STARTS, _SEED = 11, 397
_SMALL = 0.02, 0.02
_LEARNING_RATE, _LAST = 0.004, 3_000
_STYLES = plot.GREEN._replace(dashes="solid"), plot.ORANGE._replace(dashes="solid")
_SMALL_STYLE = plot.Style("#7A0150", "solid")
# All starts but the small one, then that one, over them.
_PARTS = (slice(-1), None, 0.9), (slice(-1, None), _SMALL_STYLE, 2.2)
_HEAD: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "zorder": 5}
_TICKS = 0, 100, 500, 1_500, 3_000
# Of each picture and of the last one, in milliseconds.
_PAUSE, _LAST_PAUSE = 80, 2_500
_DOTS_PER_INCH = 120


def numbers(*, quick: bool = False) -> dict[str, Any]:
    """Weights and mapping under noise and under the equivalent decay, and both losses.

    One picture per epoch kept. The last start is the small one.

    Parameters
    ----------
    quick : bool
        Fewer pictures and fewer points on the surfaces.
    """
    starts = np.random.default_rng(_SEED).uniform(-2, 2, (2, _NUM_STARTS))
    w1, w2 = jnp.asarray(np.c_[starts, _SMALL])
    noise = jnp.asarray([_NOISE, 0.0])
    decay = theory.equivalent_decay(_EIGENVALUE, noise)[::-1]
    fixed_point = theory.fixed_point(Problem(_EIGENVALUE, noise, decay))
    problem = Problem(_EIGENVALUE, noise[:, None], decay[:, None], _LEARNING_RATE)
    # Most happens in the beginning: there the pictures follow each other more closely.
    epochs = agreement.epochs(_LAST, 31 if quick else 91, power=2)
    both = agreement.compare(w1, w2, problem, epochs)
    small = Problem(_EIGENVALUE, noise, decay, _LEARNING_RATE)
    half_time = theory.time_to_mapping(fixed_point / 2, *_SMALL, small)
    below = np.where(both.theory[:1] < np.asarray(fixed_point)[:, None], both.theory, -np.inf)
    return {
        "eigenvalue": _EIGENVALUE,
        "noise": noise,
        "decay": decay,
        "learning_rate": _LEARNING_RATE,
        "seed": _SEED,
        "fixed_point": fixed_point,
        "peak": below.max(axis=(0, 2)),
        "half_time_of_small_start": half_time,
        "epoch": both.epoch,
        "mapping": {"theory": both.theory, "simulated": both.simulated},
        "w1": both.w1,
        "w2": both.w2,
        **agreement.numbers([both]),
        "surface": landscape.numbers(_EIGENVALUE, noise, decay, 41 if quick else 81),
    }


def draw(numbers: dict[str, Any]) -> Any:
    """Surface on the left, mapping on the right, noise above, decay below: the last picture.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, moving = _scene(numbers)
    for part in moving:
        part.show(len(numbers["epoch"]) - 1)
    return figure


def animate(numbers: dict[str, Any]) -> bytes:
    """A picture per epoch kept, one after the other, again and again.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    bytes
        Of a GIF file.
    """
    from PIL import Image

    pictures = [Image.fromarray(picture) for picture in _pictures(numbers)]
    # One palette for all: with palettes of their own, or dithered, what stands still would
    # flicker.
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in _common(pictures[-1]) for level in colour])
    first, *others = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    pauses = [_PAUSE] * len(others) + [_LAST_PAUSE]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=pauses, loop=0)
    return buffer.getvalue()


def _common(picture: Any) -> list[tuple[int, int, int]]:
    """Up to 256 colours, the commonest first, none nearly alike: Pillow would mix those up."""
    found: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for _, colour in sorted(picture.getcolors(2**24), reverse=True):
        found.setdefault(tuple(level >> 3 for level in colour), colour)
    return list(found.values())[:256]


def _pictures(numbers: dict[str, Any]) -> list[np.ndarray]:
    """One per epoch, (height, width, 3); what stands still is drawn only once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure, moving = _scene(numbers)
    figure.set_dpi(_DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    for part in moving:
        part.artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for index in range(len(numbers["epoch"])):
        canvas.restore_region(still)
        for part in moving:
            part.show(index)
            part.artist.axes.draw_artist(part.artist)
        pictures.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pictures


class _Curves(NamedTuple):
    """Lines or markers that grow from picture to picture."""

    artist: Any
    x: np.ndarray
    y: np.ndarray
    """(S, C), NaN where nothing is to be drawn."""
    trail: bool
    """Whether what was drawn stays."""

    def show(self, index: int) -> None:
        """Draw up to a row, or that row alone."""
        rows = slice(0 if self.trail else index, index + 1)
        # One curve after the other, with a gap between them.
        gap: dict[str, Any] = {"pad_width": ((0, 1), (0, 0)), "constant_values": np.nan}
        self.artist.set_data(*(np.pad(x[rows], **gap).T.ravel() for x in (self.x, self.y)))


class _Clock(NamedTuple):
    """The epoch in words."""

    artist: Any
    epoch: np.ndarray

    def show(self, index: int) -> None:
        """Write the epoch of a row."""
        self.artist.set_text(f"epoch {self.epoch[index]:,.0f}")


def _scene(numbers: dict[str, Any]) -> tuple[Any, list[_Curves | _Clock]]:
    """The figure with all that stands still, and what moves in it."""
    from matplotlib.lines import Line2D

    figure, axes = plot.grid(2, 2, 6.0, sharex="col", width_ratios=(1, 1.25))
    moving: list[_Curves | _Clock] = []
    for k, (left, right) in enumerate(axes):
        landscape.draw(left, numbers["surface"], k)
        plot.root_time(right, _TICKS)
        right.set_ylim(-1.6, 2.1)
        for part, style, width in _PARTS:
            moving += _paths(left, numbers, (k, part), style or landscape.PATH, width)
            moving += _dynamics(right, numbers, (k, part), style or _STYLES[k], width)
    clock = axes[0, 1].text(0.98, 0.05, "", transform=axes[0, 1].transAxes, ha="right")
    axes[0, 0].set(title="loss", xlabel="")
    axes[0, 1].set_title("mapping w1 w2")
    axes[1, 1].set_xlabel("epochs")
    amounts = f"noise {numbers['noise'][0]:.3g}", f"decay {numbers['decay'][1]:.3g}"
    for ax, amount in zip(axes[:, 0], amounts, strict=True):
        ax.set_ylabel(f"{amount}\n\nw2")
    small = Line2D([], [], color=_SMALL_STYLE.colour, linewidth=2.2, label="small start")
    landscape.legend(figure, f"lines: theory, crosses: gradient descent\n{plot.ROOT_TIME}", small)
    return figure, [*moving, _Clock(clock, numbers["epoch"])]


def _paths(
    ax: Any, numbers: dict[str, Any], at: tuple[int, slice], style: plot.Style, width: float
) -> list[_Curves]:
    """Where descent has been on a surface, and where it is."""
    k, part = at
    path = numbers["w1"][:, k, part], numbers["w2"][:, k, part]
    look = {"color": style.colour}
    (line,) = ax.plot([], [], linestyle=style.dashes, linewidth=width, zorder=3, **look)
    (head,) = ax.plot([], [], **_HEAD, **look)
    return [_Curves(line, *path, trail=True), _Curves(head, *path, trail=False)]


def _dynamics(
    ax: Any, numbers: dict[str, Any], at: tuple[int, slice], style: plot.Style, width: float
) -> list[_Curves]:
    """The lines of the theory at once, then the crosses of descent, and where it is."""
    k, part = at
    time, curves = np.sqrt(numbers["epoch"]), numbers["mapping"]
    theory, simulated = (curves[name][:, k, part] for name in ("theory", "simulated"))
    before = len(ax.lines)
    plot.dynamics(ax, time, theory, simulated, style, spacing=0.13)
    moving = []
    for crosses, curve in zip(ax.lines[before + 1 :: 2], simulated.T, strict=True):
        kept = np.isin(time, crosses.get_xdata())
        y = np.where(kept, curve, np.nan)[:, None]
        moving.append(_Curves(crosses, time[:, None], y, trail=True))
    (head,) = ax.plot([], [], color=style.colour, **_HEAD)
    times = np.broadcast_to(time[:, None], simulated.shape)
    return [*moving, _Curves(head, times, simulated, trail=False)]


def caption(numbers: dict[str, Any]) -> str:
    """What to see, where the mathematics differs from the paper, and the distances found.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    apart, halved = numbers["largest_difference"], numbers["ratio"]
    early, late = numbers["half_time_of_small_start"]
    norm = np.hypot(numbers["w1"][-1], numbers["w2"][-1])
    spread = [f"{n.min():.2f} to {n.max():.2f}" for n in norm]
    return (
        f"Twelve starts, one of them small (purple), under noise {numbers['noise'][0]:g} (above) "
        f"and the equivalent decay {numbers['decay'][1]:.3g} (below), which lead to the same "
        f"mapping w* = {numbers['fixed_point'][0]:.3g}. On the left each pair of weights goes down "
        f"the loss, on the right its mapping moves along the line that theory has drawn in "
        f"advance, on a scale of square roots, for most happens in the beginning. Under noise all "
        f"come to rest where they first meet the valley (norms of the weights {spread[0]}); under "
        f"decay they go on to one of the two lowest points (norms {spread[1]}). "
        f"Unlike the paper, which has both learn the same mapping over time, we see them differ "
        f"on the way: the small start is halfway up at epoch {early:,.0f} under noise and at "
        f"{late:,.0f} under decay, and from unequal weights decay rises beyond w*, to "
        f"{numbers['peak'][1]:.3f}, before it sinks back. "
        f"Theory and gradient descent at rate {numbers['learning_rate']:g} are at most "
        f"{apart:.2g} apart, and {halved:.3f} of that at half the rate."
    )
