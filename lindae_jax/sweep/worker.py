"""Computing chunk after chunk, each while the one before is written."""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from lindae_jax.sweep import compute, devices, grid
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.results import Results, Run, Unit
from lindae_jax.sweep.spec import Sweep

_log = logging.getLogger("lindae_jax")


class Worker:
    """Computes units, in boxes of one shape that the device's memory holds."""

    def __init__(
        self,
        sweep: Sweep,
        results: Results,
        place: compute.Place,
        chunk_size: int | None,
        num_devices: int | None,
    ):
        self.sweep, self.results, self.place = sweep, results, place
        fits = devices.members_that_fit(sweep, len(results.rows), num_devices)
        self.num_devices = num_devices or jax.local_device_count()
        self.lengths = self._shaped(grid.chunk_shape(results.chunk, chunk_size or fits))

    def compute(self, unit: Unit, bar: Any = None) -> "Computed | None":
        """The members of a unit that are missing; None if none are."""
        boxes = self.results.missing(unit)
        if not boxes:
            return None
        computed = Computed(self.results, unit.run, grid.around(boxes))
        for box in boxes:
            self._fill(computed, unit, box, bar)
        return computed

    def _fill(self, computed: "Computed", unit: Unit, box: Box, bar: Any) -> None:
        lengths = self._lengths(unit, box)
        todo = list(grid.parts(box, lengths))[::-1]
        while todo:
            part = todo.pop()
            try:
                computed.add(part, self._compute(unit.run, part, lengths))
            except jax.errors.JaxRuntimeError as error:
                lengths = self._smaller(lengths, error)
                todo = [p for large in (*todo, part) for p in grid.parts(large, lengths)]
                continue
            if bar is not None:
                bar.update(part.size)

    def _lengths(self, unit: Unit, box: Box) -> tuple[int, ...]:
        if box == self.results.box(unit.chunk):
            return self.lengths
        # Part of it is there already: padding would compute that again.
        return self._shaped(tuple(map(min, self.lengths, box.shape)))

    def _shaped(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths made a little larger, for what happens to odd ones."""
        if math.prod(lengths) == 1:
            # One pair would be compiled as scalars, which round otherwise than vectors.
            alone = self.sweep.model == "matrices" or not lengths
            return lengths if alone else (*lengths[:-1], 2)
        if any(n % self.num_devices == 0 for n in lengths):
            return lengths
        # Devices take equal parts of an axis, or else exchange what they have in the end.
        axis = lengths.index(max(lengths))
        whole = -(-lengths[axis] // self.num_devices) * self.num_devices
        return (*lengths[:axis], whole, *lengths[axis + 1 :])

    def _compute(self, run: Run, part: Box, lengths: tuple[int, ...]) -> dict[str, Any]:
        reached = self.results.reached(run, part)
        stretch = self.results.stretch(run)
        return compute.run(self.sweep, stretch, part, lengths, self.place, reached)

    def _smaller(self, lengths: tuple[int, ...], error: Exception) -> tuple[int, ...]:
        least = 1 if self.sweep.model == "matrices" else 2
        smaller = grid.halved(lengths) if math.prod(lengths) > least else None
        if "RESOURCE_EXHAUSTED" not in str(error) or smaller is None:
            raise error
        _log.warning("out of memory with %d members at a time; halving", math.prod(lengths))
        self.lengths = tuple(map(min, self.lengths, smaller))
        return smaller


class Computed:
    """Members within a box that have been computed, on their way to the results.

    Those of the last part are still on the devices, from which `write` fetches them while
    the devices compute what comes next.

    Parameters
    ----------
    results : Results
    run : Run
    box : Box
    """

    def __init__(self, results: Results, run: Run, box: Box):
        self.results, self.run, self.box = results, run, box
        self.size = 0
        self.found: dict[str, np.ndarray] | None = None
        self.last: tuple[Box, dict[str, Any]] | None = None

    def add(self, part: Box, arrays: dict[str, Any]) -> None:
        """Take a part that has been computed, and fetch the one before."""
        self._fetch()
        self.size += part.size
        self.last = part, arrays

    def write(self) -> None:
        """Keep all of it in the results."""
        self._fetch()
        assert self.found is not None
        self.results.write(self.run, self.box, self.found)

    def _fetch(self) -> None:
        if self.last is None:
            return
        part, arrays = self.last
        self.last = None
        host = {name: self._fetched(name, x, part) for name, x in arrays.items()}
        if part == self.box:
            self.found = host
            return
        if self.found is None:
            self.found = self.results.read(self.run, self.box)
        inner = part.within(self.box).slices
        for name, values in host.items():
            before = (slice(None),) * len(self.results.variables[name].before)
            self.found[name][(*before, *inner)] = values

    def _fetched(self, name: str, x: Any, part: Box) -> np.ndarray:
        """A part on the host, without what was padded."""
        before = (slice(None),) * len(self.results.variables[name].before)
        return np.asarray(x)[(*before, *(slice(0, n) for n in part.shape))]


def overlapped(worker: Worker, units: Iterator[Unit], bar: Any) -> None:
    """Compute each unit while the one before is written: a kill loses these two at most."""
    writing: list[Future] = []
    run: int | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="lindae-write") as writer:
        for unit in units:
            if run != unit.run.number:
                # A run goes on from weights of the one before, which have to be written.
                _wait_for(writing)
            run = unit.run.number
            computed = worker.compute(unit, bar)
            _wait_for(writing)
            if computed is not None:
                writing.append(writer.submit(computed.write))
        _wait_for(writing)


def _wait_for(writing: list[Future]) -> None:
    while writing:
        writing.pop().result()
