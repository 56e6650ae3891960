"""Running a sweep into memory or into a store."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lindae_jax import bars, checks
from lindae_jax.sweep import cluster, devices, extend, lock, mend, store
from lindae_jax.sweep.limits import (
    free_memory,
    refuse_beyond,
    refuse_what_does_not_fit,
    unwritable,
)
from lindae_jax.sweep.parameters import flag
from lindae_jax.sweep.results import Results, Run
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import coordinates, member_bytes, sizes, variables
from lindae_jax.sweep.worker import Worker, overlapped

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
    flag("progress", progress)
    flag("resume", resume)
    flag("takeover", takeover)
    flag("allow_large", allow_large)
    if chunk_size is not None:
        chunk_size = checks.count("chunk_size", chunk_size, 1)
    place = devices.placement(num_devices)

    def worker(results: Results) -> Worker:
        return Worker(sweep, results, place, chunk_size, num_devices)

    if store_path is None:
        _refuse_without_store(process=process, client=client)
        results = _in_memory(sweep, allow_large)
        with _bar(results, progress) as bar:
            overlapped(worker(results), results.units(), bar)
        return _dataset(xarray, results)
    path = checks.path("store", store_path)
    share = _share(process, client)
    if client is not None:
        cluster.check(client, sweep, num_devices)
    fresh = _make(path, sweep, resume=resume, allow_large=allow_large)
    if not fresh:
        mend.mend(path, sweep)
    if not fresh and not allow_large and extend.rows_of(path, sweep) is not None:
        refuse_what_does_not_fit(sweep, path)
    with _held(path, sweep, share, fresh, takeover):
        results = store.open_for(path, sweep)
        if not fresh:
            _verify(results, path, share)
        with _bar(results, progress, share, fresh) as bar:
            if client is not None:
                cluster.run(client, sweep, path, results.units(share), chunk_size, bar)
            else:
                overlapped(worker(results), results.units(share), bar)
    return xarray.open_zarr(path)


def _share(process: tuple[int, int] | None, client: Any) -> tuple[int, int]:
    """The share asked for, or that of this process where nobody asked."""
    if process is not None:
        return devices.checked_share(process)
    if client is not None:
        # Dask's workers do the whole, whatever counts the process that asks them.
        return 0, 1
    share = devices.default_share()
    if share[1] > 1:
        # The result will have gaps, which who does not think of Slurm would not expect.
        words = "computing share %d/%d of the chunks only, as counted by Slurm or JAX; see process"
        _log.warning(words, *share)
    return share


@contextlib.contextmanager
def _held(
    path: Path, sweep: Sweep, share: tuple[int, int], fresh: bool, takeover: bool
) -> Iterator[None]:
    """Hold a share of a store that has room for the sweep."""
    locks = path / "status" / ".locks"
    with contextlib.ExitStack() as stack:
        if not fresh:
            extend.rows_of(path, sweep)  # refused before anything is written, locks too
        with lock.gate(locks):
            if not fresh and extend.extend(path, sweep, lambda: lock.holders(locks)):
                _log.info("extended %s", path)
            stack.enter_context(lock.held(locks, share, takeover))
        yield


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
        raise unwritable(path, error) from error
    return True


def _verify(results: Results, path: Path, share: tuple[int, int]) -> None:
    store.tidy(results, path, share)
    for chunk in range(share[0], results.num_chunks, share[1]):
        if not store.verify(results, path, chunk):
            _log.warning("chunk %d of %s is damaged; it is computed again", chunk, path)


# --- results ----------------------------------------------------------------------


def _in_memory(sweep: Sweep, allow_large: bool) -> Results:
    rows = sweep.rows
    size = member_bytes(sweep, len(rows))
    if not allow_large:
        refuse_beyond(sweep.num_members * size, free_memory(), "memory")
    lengths = sizes(sweep, len(rows))
    arrays = {
        name: np.full(variable.shape(lengths, sweep.shape), variable.fill, variable.dtype)
        for name, variable in variables(sweep).items()
    }
    runs = [Run(0, len(rows), 0, 0)]
    return Results(sweep, arrays, store.chunk_of(sweep, size), runs, rows)


def _dataset(xarray: Any, results: Results) -> "xarray.Dataset":
    sweep = results.sweep
    data = {
        name: (variable.dims(sweep), results.arrays[name], variable.attrs)
        for name, variable in results.variables.items()
    }
    along = {name: (c.dims, c.values, c.attrs) for name, c in coordinates(sweep).items()}
    return xarray.Dataset(data, along, store.attributes(sweep, sweep.rows))


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


def _bar(
    results: Results, progress: bool, share: tuple[int, int] = (0, 1), fresh: bool = True
) -> Any:
    """A bar of members."""
    units = list(results.units(share))
    counts = progress and not fresh and sys.stderr.isatty()
    done = 0 if not counts else sum(results.num_done(unit.run, unit.chunk) for unit in units)
    total = sum(results.box(unit.chunk).size for unit in units)
    options = {"total": total, "initial": done, "unit_scale": True}
    return bars.bar(progress, "sweep", desc="sweep", unit=" members", **options)
