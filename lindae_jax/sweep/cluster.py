"""A sweep on the workers of dask.distributed."""

import dataclasses
import logging
import warnings
from collections.abc import Iterable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lindae_jax import checks
from lindae_jax.sweep import config, store
from lindae_jax.sweep.results import Unit
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.worker import Worker

_log = logging.getLogger("lindae_jax")

# Lengths of boxes that have fitted the memory of this process, a worker, by what they are of.
_fitted: dict[tuple[str, str, int | None], tuple[int, ...]] = {}


class WorkersLost(RuntimeError):
    """Dask's workers died, or took leave of their scheduler."""


def check(client: Any, sweep: Sweep, num_devices: int | None) -> None:
    """Raise a ValueError for what dask's workers could not do, before there is a store."""
    if not hasattr(client, "submit"):
        remedy = "Pass distributed.Client(address)."
        raise checks.mistake("client must be a client of dask's", checks.brief(client), remedy)
    if num_devices is not None:
        raise checks.mistake(
            "devices and client exclude each other",
            "both",
            "Leave devices out: each of dask's workers uses all that it has.",
        )
    if sweep.dtype == "float64":
        wide = client.run(_has_float64).values()
        if not all(wide):
            raise _narrow(f"{list(wide).count(False)} of {len(wide)} without")


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

    Raises
    ------
    WorkersLost
        Its workers died at the work again and again, or the scheduler did. Where there is
        merely no worker, it waits for one.
    """
    from distributed import KilledWorker, as_completed

    if not client.scheduler_info()["workers"]:
        _log.warning("dask's scheduler has no worker yet; waiting for one")
    results = store.open_for(path, sweep)
    shared = _shared(client, sweep)
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
    try:
        # By its loop it knows the client, which need not be the default one.
        for future in as_completed(list(last.values()), loop=client.loop):
            done = future.result()
            if bar is not None:
                bar.update(done)
    except (KilledWorker, CancelledError) as error:
        raise WorkersLost(
            "dask's workers died or lost their scheduler; what is done is kept. Look at what "
            "ended them, such as too little memory, and run again."
        ) from error


def _shared(client: Any, sweep: Sweep) -> Any:
    """The sweep as a task of its own, which is done again if its worker is lost."""
    if sweep.spectrum is not None:
        # Of a spectrum a sweep uses the eigenvalues alone, far the smaller part.
        small = dataclasses.replace(sweep.spectrum, eigenvectors=jnp.zeros((0, 0)))
        sweep = dataclasses.replace(sweep, spectrum=small)
    with warnings.catch_warnings():
        # Long axes and given weights are large, and sent once.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(_same, sweep, pure=False)


def _same(sweep: Sweep) -> Sweep:
    return sweep


def _has_float64() -> bool:
    return bool(jax.config.read("jax_enable_x64"))


def _narrow(got: str) -> ValueError:
    return checks.mistake(
        "dask's workers need JAX_ENABLE_X64=1 for dtype float64", got, "Start them with it."
    )


def work(sweep: Sweep, path: str, unit: Unit, chunk_size: int | None, before: int | None) -> int:
    """Compute and write one unit, on a worker; members of the chunk done so far."""
    if sweep.dtype == "float64" and not _has_float64():
        raise _narrow("one without, which came later")
    results = store.open_for(Path(path), sweep)
    worker = Worker(sweep, results, lambda problem: problem, chunk_size, None)
    key = path, config.hash_of(config.configuration(sweep)), chunk_size
    # A box that was too large for the memory is not tried again by the next unit.
    worker.lengths = tuple(map(min, worker.lengths, _fitted.get(key, worker.lengths)))
    try:
        computed = worker.compute(unit)
    finally:
        _fitted[key] = worker.lengths
    if computed is not None:
        computed.write()
    return (0 if computed is None else computed.size) + (before or 0)
