"""How long a sweep would take, by trials of a moment."""

import dataclasses
import math
import time
from typing import Any

import jax
import numpy as np

from lindae_jax.sweep import compute, cost, devices, grid, members
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.spec import Sweep

# What all trials of steps together are to last at least, and a save's trial at most.
_SECONDS, _MOST_SECONDS = 0.2, 2.0

# Members of a trial, or points of a flow: enough for all devices, and a moment's work.
_POINTS = 2**17


def expected_seconds(sweep: Sweep, chunk: tuple[int, ...], num_devices: int | None) -> float:
    """What a sweep takes on the devices at hand, compilation apart.

    Parameters
    ----------
    sweep : Sweep
    chunk : tuple of int
        Lengths of a store chunk.
    num_devices : int, optional
    """
    place = devices.placement(num_devices)
    fits = devices.members_that_fit(sweep, len(sweep.rows), num_devices)
    lengths = grid.chunk_shape(chunk, fits)
    tried = boxes_to_try(sweep, lengths)
    budget = _SECONDS / len(tried)
    return sum(count * _seconds_of(sweep, box, lengths, place, budget) for box, count in tried)


def boxes_to_try(sweep: Sweep, lengths: tuple[int, ...]) -> list[tuple[Box, int]]:
    """A box for each width that is compiled, with how many boxes have it."""
    total = grid.num_chunks(sweep.shape, lengths)
    origin = Box((0,) * len(lengths), tuple(map(min, lengths, sweep.shape)))
    along = sweep.dims_of("hidden") if sweep.model == "matrices" else ()
    if not along:
        return [(origin, total)]
    axis, widths = list(sweep.dims).index(along[0]), sweep.axes["hidden"].tolist()
    padded = [members.padded_width(sweep, width) for width in widths]
    found = []
    for width in sorted(set(padded)):
        start, stop = list(origin.start), list(origin.stop)
        start[axis] = padded.index(width)
        stop[axis] = start[axis] + 1
        box = Box(tuple(start), tuple(stop))
        found.append((box, total // len(widths) * padded.count(width)))
    return found


class _Trial:
    """Some members of a box, to be run with other saves than the sweep's."""

    def __init__(self, box: Box, lengths: tuple[int, ...], most: int, place: compute.Place):
        self.lengths, self.place = grid.chunk_shape(lengths, most), place
        stop = (min(a + n, b) for a, n, b in zip(box.start, self.lengths, box.stop, strict=True))
        self.box = Box(box.start, tuple(stop))
        self.size = math.prod(self.lengths)
        # How many such trials the whole box is.
        self.scale = math.prod(lengths) / self.size

    def seconds(self, sweep: Sweep, **saves: Any) -> float:
        """What they take with these saves, once the program is compiled."""
        none: dict[str, Any] = dict.fromkeys(("save_every", "save_steps", "save_log"))
        sweep = dataclasses.replace(sweep, **none | saves)
        stretch = compute.Stretch(sweep.rows, 0)
        for _ in range(2):  # the first one compiles
            begin = time.perf_counter()
            compute.run(sweep, stretch, self.box, self.lengths, self.place)
        return time.perf_counter() - begin


def _seconds_of(
    sweep: Sweep, box: Box, lengths: tuple[int, ...], place: compute.Place, budget: float
) -> float:
    """What a box takes."""
    if sweep.model == "theory":
        return _seconds_of_flow(sweep, box, lengths, place)
    most, estimate = _POINTS, None
    if sweep.model == "matrices":
        one = cost.seconds_of_network(
            dataclasses.replace(sweep, num_steps=0, save_steps=None, save_log=None, save_every=1),
            jax.local_devices()[0].platform,
        )
        most = max(1, int(_SECONDS / one))
        estimate = one if one > _MOST_SECONDS else None
    trial = _Trial(box, lengths, most, place)
    start = trial.seconds(sweep, num_steps=0, observe=("mapping",))
    of_save = estimate
    if of_save is None:
        of_save = max(0.0, trial.seconds(sweep, num_steps=0, save_every=1) - start)
    of_step = _seconds_of_step(sweep, trial, start, budget)
    assert sweep.num_steps is not None
    return trial.scale * (start + of_save * len(sweep.rows) + of_step * sweep.num_steps)


def _seconds_of_step(sweep: Sweep, trial: _Trial, start: float, budget: float) -> float:
    """What a step takes, by as many as last for a while."""
    assert sweep.num_steps is not None
    if sweep.num_steps == 0:
        return 0.0
    steps = 1
    while True:
        spent = trial.seconds(sweep, num_steps=steps, observe=("mapping",)) - start
        if spent > budget or steps >= sweep.num_steps:
            return max(0.0, spent) / steps
        steps = min(sweep.num_steps, 4 * steps)


def _seconds_of_flow(
    sweep: Sweep, box: Box, lengths: tuple[int, ...], place: compute.Place
) -> float:
    """What a box of the theory takes, by some of its members at some of its times."""
    rows = sweep.rows
    trial = _Trial(box, lengths, max(1, _POINTS // min(len(rows), 4)), place)

    def seconds(number: int) -> float:
        chosen = np.linspace(len(rows) - 1, 0, number).round().astype(int)[::-1]
        return trial.seconds(sweep, times=rows[chosen], num_steps=None)

    number = min(len(rows), max(2, _POINTS // trial.size))
    several, once = seconds(number), 0.0
    if number < len(rows) and "first_passage" in sweep.observe:
        # Which is found once, whatever the number of times.
        once = max(0.0, (number * seconds(1) - several) / (number - 1))
    return trial.scale * (once + (several - once) * len(rows) / number)
