"""A sweep on the workers of dask.distributed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lindae_jax import checks
from lindae_jax.sweep import store
from lindae_jax.sweep.results import Unit
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.worker import Worker


def run(
    client: Any,
    sweep: Sweep,
    path: Path,
    units: Iterable[Unit],
    chunk_size: int | None,
    bar: Any,
) -> None:
    """Have every unit computed and written by some worker.

    Workers write to the store themselves, so all of them must see its path. Units of one
    chunk go one after the other; the scheduler gives those of a lost worker to another.
    """
    from distributed import as_completed

    results = store.open_for(path, sweep)
    # A task of its own, for it may be large; with its worker lost, it is done again.
    shared = client.submit(_same, sweep, pure=False)
    last: dict[int, Any] = {}
    for unit in units:
        if not results.missing(unit):
            continue
        last[unit.chunk] = client.submit(
            work,
            *(shared, str(path.absolute()), unit, chunk_size, last.get(unit.chunk)),
            pure=False,
            retries=2,
        )
    for future in as_completed(list(last.values())):
        done = future.result()
        if bar is not None:
            bar.update(done)


def _same(sweep: Sweep) -> Sweep:
    return sweep


def work(sweep: Sweep, path: str, unit: Unit, chunk_size: int | None, before: int | None) -> int:
    """Compute and write one unit, on a worker; members of the chunk done so far."""
    checks.requested_dtype(sweep.dtype)  # which is the worker's own to have switched on
    results = store.open_for(Path(path), sweep)
    worker = Worker(sweep, results, lambda problem: problem, chunk_size, None)
    computed = worker.compute(unit)
    if computed is not None:
        computed.write()
    return (0 if computed is None else computed.size) + (before or 0)
