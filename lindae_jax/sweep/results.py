"""The arrays that a sweep fills: which of its rows and members are there, which are not."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lindae_jax.problem import Weights
from lindae_jax.simulate import NOT_RUN
from lindae_jax.sweep import grid
from lindae_jax.sweep.compute import Stretch
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import row_dim, variables


class Run(NamedTuple):
    """Rows that are computed in one go: the first run, and each that goes on from it."""

    first: int
    last: int
    """Rows first to last - 1 of the result."""
    offset: int
    """The step from which it goes on."""
    number: int
    """0 for the first."""


class Unit(NamedTuple):
    """The rows of one run, of one chunk."""

    run: Run
    chunk: int


class Results:
    """Arrays by name, of NumPy or of zarr, with how they are cut into units of work.

    Parameters
    ----------
    sweep : Sweep
    arrays : dict
        Variable -> array.
    chunk : tuple of int
        Lengths of a chunk along the grid's axes.
    runs : list of Run
    rows : array
        Steps or times of all runs.
    """

    def __init__(
        self,
        sweep: Sweep,
        arrays: dict[str, Any],
        chunk: tuple[int, ...],
        runs: list[Run],
        rows: np.ndarray,
    ):
        self.sweep, self.arrays, self.chunk, self.runs, self.rows = sweep, arrays, chunk, runs, rows
        self.variables = variables(sweep)

    @property
    def num_chunks(self) -> int:
        """Chunks of the grid."""
        return grid.num_chunks(self.sweep.shape, self.chunk)

    def box(self, chunk: int) -> Box:
        """The members of a chunk."""
        return grid.chunk_box(self.sweep.shape, self.chunk, chunk)

    def units(self, share: tuple[int, int] = (0, 1)) -> Iterator[Unit]:
        """Units of a share of the chunks; what goes on from a run comes after it."""
        for run in self.runs:
            for chunk in range(share[0], self.num_chunks, share[1]):
                yield Unit(run, chunk)

    def stretch(self, run: Run) -> Stretch:
        """The rows of a run."""
        return Stretch(self.rows[run.first : run.last], run.offset)

    def status(self, run: Run, chunk: int) -> np.ndarray:
        """The members of a chunk at the end of a run."""
        return np.asarray(self.arrays["status"][(run.last - 1, *self.box(chunk).slices)])

    def missing(self, unit: Unit) -> list[Box]:
        """Boxes of the members of a unit that are not done."""
        box = self.box(unit.chunk)
        todo = self.status(unit.run, unit.chunk) == NOT_RUN
        return [inner.moved(box.start) for inner in grid.boxes_of(todo)]

    def reached(self, run: Run, box: Box) -> Weights | None:
        """The weights of members at the end of the run before; None at the start."""
        if run.number == 0 or self.sweep.model == "theory":
            return None
        kept = "weights" in self.sweep.observe
        names = ("w1", "w2") if kept else ("final_w1", "final_w2")
        row = run.first - 1 if kept else run.number - 1
        return Weights(*(np.asarray(self.arrays[n][(row, *box.slices)]) for n in names))

    def read(self, run: Run, box: Box) -> dict[str, np.ndarray]:
        """What there is of a box, to be filled part by part."""
        return {
            name: np.array(self.arrays[name][(*self._before(variable.before, run), *box.slices)])
            for name, variable in self.variables.items()
        }

    def write(self, run: Run, box: Box, results: dict[str, np.ndarray]) -> None:
        """Keep the results of a box: the status last, so that it tells what is done."""
        for name, variable in self.variables.items():
            values = results[name]
            if name == "first_passage" and run.number:
                # What an earlier run found stands, so that writing twice does no harm.
                values = np.fmin(np.asarray(self.arrays[name][box.slices]), values)
            self.arrays[name][(*self._before(variable.before, run), *box.slices)] = values

    def num_done(self, run: Run, chunk: int) -> int:
        """Members of a chunk of which a run is done."""
        return int(np.count_nonzero(self.status(run, chunk) != NOT_RUN))

    def file_rows(self, name: str, run: Run) -> range:
        """Which of a variable's files, cut along its rows, a run has a part in."""
        rows = self._before(self.variables[name].before, run)
        if not rows:
            return range(1)
        length = self.arrays[name].chunks[0]
        return range(rows[0].start // length, -(-rows[0].stop // length))

    def _before(self, dims: tuple[str, ...], run: Run) -> tuple[slice, ...]:
        if dims == (row_dim(self.sweep),):
            return (slice(run.first, run.last),)
        return (slice(run.number, run.number + 1),) if dims else ()
