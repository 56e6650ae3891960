"""Running a sweep: chunk after chunk, computing and writing at a time."""

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lindae_jax import checks
from lindae_jax.problem import Weights
from lindae_jax.sweep import cluster, compute, devices, extend, grid, lock, store
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.results import Results, Run, Unit
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, coordinates, member_bytes, row_dim, variables

if TYPE_CHECKING:
    import xarray

_log = logging.getLogger("lindae_jax")


def run(
    sweep: Sweep,
    store_path: str | os.PathLike | None,
    *,
    chunk_size: int | None,
    num_devices: int | None,
    progress: bool,
    resume: bool,
    process: tuple[int, int] | None,
    client: Any,
    takeover: bool,
    allow_large: bool,
) -> "xarray.Dataset":
    """What `Sweep.run` does."""
    xarray = _xarray()
    checks.requested_dtype(sweep.dtype)
    if chunk_size is not None:
        chunk_size = checks.count("chunk_size", chunk_size, 1)
    place = devices.placement(num_devices)
    if store_path is None:
        _refuse_without_store(process=process, client=client)
        worker = Worker(sweep, _in_memory(sweep, allow_large), place, chunk_size, num_devices)
        with _bar(worker.results, progress) as bar:
            for unit in worker.results.units():
                worker.results.write(unit.run, *worker.results_of(unit, bar))
        return _dataset(xarray, worker.results)
    path = checks.path("store", store_path)
    share = devices.default_share() if process is None else process
    share = devices.checked_share(share)
    fresh = _make(path, sweep, resume=resume, allow_large=allow_large)
    locks = path / "status" / ".locks"
    with contextlib.ExitStack() as stack:
        if not fresh:
            extend.rows_of(path, sweep)  # refused before anything is written, locks too
        with lock.gate(locks):
            if not fresh and extend.extend(path, sweep, lock.holders(locks)):
                _log.info("extending %s", path)
            stack.enter_context(lock.held(locks, share, takeover))
        results = store.open_for(path, sweep)
        if not fresh:
            _verify(results, path, share)
        with _bar(results, progress, share, fresh) as bar:
            if client is not None:
                cluster.run(client, sweep, path, results.units(share), chunk_size, bar)
            else:
                worker = Worker(sweep, results, place, chunk_size, num_devices)
                _overlapped(worker, results.units(share), bar)
    return xarray.open_zarr(path)


def _make(path: Path, sweep: Sweep, *, resume: bool, allow_large: bool) -> bool:
    """Make the store; False if there is one already."""
    if store.exists(path):
        if not resume:
            raise checks.mistake(
                "store must not exist with resume=False", f"{path}", "Name another, or resume."
            )
        return False
    if not allow_large:
        refuse_what_does_not_fit(sweep, path)
    try:
        store.make(path, sweep, store.chunk_of(sweep, member_bytes(sweep, len(sweep.rows))))
    except OSError as error:
        raise checks.mistake(
            "store must be a path one can write", f"{path} ({error.strerror})", "Name another."
        ) from error
    return True


# --- units of work ---------------------------------------------------------------


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

    def results_of(self, unit: Unit, bar: Any = None) -> tuple[Box, dict[str, np.ndarray]]:
        """The members of a unit that are missing, with what is kept of them."""
        box = self.results.missing(unit)
        if box is None:
            box = self.results.box(unit.chunk)
            box = Box(box.start, box.start)
            return box, self.results.empty(unit.run, box)
        found = self.results.empty(unit.run, box)
        lengths = self._lengths(unit, box)
        todo = list(grid.parts(box, lengths))[::-1]
        while todo:
            part = todo.pop()
            try:
                got = self._compute(unit.run, part, lengths)
                if bar is not None:
                    bar.update(part.size)
            except jax.errors.JaxRuntimeError as error:
                lengths = self._smaller(lengths, error)
                todo = [p for large in (*todo, part) for p in grid.parts(large, lengths)]
                continue
            if part == box:
                found = got
                continue
            inner = part.within(box).slices
            for name, values in got.items():
                before = (slice(None),) * len(self.results.variables[name].before)
                found[name][(*before, *inner)] = values
        return box, found

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

    def _compute(self, run: Run, part: Box, lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
        reached: Weights | None = self.results.reached(run, part)
        stretch = self.results.stretch(run)
        # A part cut from one that was too large for the memory may be shorter than others.
        return compute.run(self.sweep, stretch, part, lengths, self.place, reached)

    def _smaller(self, lengths: tuple[int, ...], error: Exception) -> tuple[int, ...]:
        smaller = None if math.prod(lengths) <= 2 else grid.halved(lengths)
        if "RESOURCE_EXHAUSTED" not in str(error) or smaller is None:
            raise error
        _log.warning("out of memory with %d members at a time; halving", math.prod(lengths))
        self.lengths = tuple(map(min, self.lengths, smaller))
        return smaller


def _overlapped(worker: Worker, units: Iterator[Unit], bar: Any) -> None:
    """Compute each unit while the one before is written: a kill loses these two at most."""
    writing: list[Future] = []
    run: int | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="lindae-write") as writer:
        for unit in units:
            if run != unit.run.number:
                # A run goes on from weights of the one before, which have to be written.
                _wait_for(writing)
            run = unit.run.number
            box, found = worker.results_of(unit, bar)
            _wait_for(writing)
            if box.size:
                writing.append(writer.submit(worker.results.write, unit.run, box, found))
        _wait_for(writing)


def _wait_for(writing: list[Future]) -> None:
    while writing:
        writing.pop().result()


def _verify(results: Results, path: Path, share: tuple[int, int]) -> None:
    for chunk in range(share[0], results.num_chunks, share[1]):
        if not store.verify(results, path, chunk):
            _log.warning("chunk %d of %s is damaged; it is computed again", chunk, path)


# --- results ----------------------------------------------------------------------


def _in_memory(sweep: Sweep, allow_large: bool) -> Results:
    rows = sweep.rows
    size = member_bytes(sweep, len(rows))
    if not allow_large:
        _refuse_beyond(sweep.num_members * size, _free_memory(), "memory")
    sizes = {row_dim(sweep): len(rows), "end": 1}
    arrays = {}
    for name, variable in variables(sweep).items():
        before = tuple(sizes[dim] for dim in variable.before)
        shape = (*before, *sweep.shape, *variable.after.values())
        arrays[name] = np.full(shape, variable.fill, variable.dtype)
    runs = [Run(0, len(rows), 0, 0)]
    return Results(sweep, arrays, store.chunk_of(sweep, size), runs, rows)


def _dataset(xarray: Any, results: Results) -> "xarray.Dataset":
    sweep = results.sweep
    data = {
        name: (
            (*variable.before, *sweep.dims, *variable.after),
            results.arrays[name],
            variable.attrs,
        )
        for name, variable in results.variables.items()
    }
    along = {name: (c.dims, c.values, c.attrs) for name, c in coordinates(sweep).items()}
    if sweep.model != "theory":
        along["end"] = (("end",), results.rows[-1:], store.END)
    return xarray.Dataset(data, along, store.attributes(sweep))


# --- limits -----------------------------------------------------------------------


def refuse_what_does_not_fit(sweep: Sweep, path: Path) -> None:
    """Raise if the disk has not the room for a sweep's results."""
    folder = next((f for f in path.absolute().parents if f.is_dir()), Path("/"))
    needed = sweep.num_members * member_bytes(sweep, len(sweep.rows))
    _refuse_beyond(needed, shutil.disk_usage(folder).free, f"free space in {folder}")


def _refuse_beyond(needed: int, free: int, where: str) -> None:
    if needed > free:
        raise checks.mistake(
            f"the results must fit into {where}, {bytes_text(free)}",
            bytes_text(needed),
            "Save less, make the grid smaller, or allow it (allow_large, --allow-large).",
        )


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every system
        return 2**62


def _refuse_without_store(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise checks.mistake(
                f"{name} needs a store, in which processes meet", "store = None", "Name one."
            )


# --- around it ----------------------------------------------------------------------


def _xarray() -> Any:
    try:
        import xarray
        import zarr  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "sweeps need xarray and zarr; install them with: pip install 'lindae_jax[sweep]'"
        ) from error
    return xarray


@contextlib.contextmanager
def _bar(
    results: Results, progress: bool, share: tuple[int, int] = (0, 1), fresh: bool = True
) -> Iterator[Any]:
    """A bar of members, silent where standard error is no terminal; None if not wanted."""
    if not progress:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "the progress bar needs tqdm; install it with: pip install 'lindae_jax[sweep]'"
        ) from error
    units = list(results.units(share))
    done = 0 if fresh else sum(results.num_done(unit.run, unit.chunk) for unit in units)
    with tqdm(
        total=sum(results.box(unit.chunk).size for unit in units),
        initial=done,
        desc="sweep",
        unit=" members",
        unit_scale=True,
        disable=None,
        leave=False,
    ) as bar:
        yield bar
