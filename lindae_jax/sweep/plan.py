"""What a sweep would take, and how far one has come."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lindae_jax import checks
from lindae_jax.simulate import NOT_RUN
from lindae_jax.sweep import compute, devices, grid, lock, members, store
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes, row_dim, variables

# Below so many eps of learning rate times eigenvalue rounding swallows part of each step.
_RESOLVED = 64
# A trial lasts at least so long, of which the time of the whole is told.
_TRIAL_SECONDS = 0.3


class Plan(NamedTuple):
    """What a sweep would take."""

    dims: dict[str, int]
    num_members: int
    num_rows: int
    chunk: tuple[int, ...]
    num_chunks: int
    num_bytes: int
    seconds: float
    """Expected on the devices at hand, compilation apart."""
    num_swallowed: int
    """Members whose steps the dtype does not resolve."""
    names: tuple[str, ...]
    """What is kept of each."""


def plan(sweep: Sweep, num_devices: int | None = None) -> Plan:
    """What a sweep would take, by a short trial; nothing is written."""
    rows = len(sweep.rows)
    size = member_bytes(sweep, rows)
    chunk = store.chunk_of(sweep, size)
    return Plan(
        dims=sweep.dims,
        num_members=sweep.num_members,
        num_rows=rows,
        chunk=chunk,
        num_chunks=grid.num_chunks(sweep.shape, chunk),
        num_bytes=sweep.num_members * size,
        seconds=_expected_seconds(sweep, chunk, num_devices),
        num_swallowed=num_swallowed(sweep),
        names=tuple(variables(sweep)),
    )


def plan_text(plan: Plan) -> str:
    """A plan in lines."""
    grid_text = " x ".join(f"{dim} {n:,}" for dim, n in plan.dims.items()) or "a single member"
    lines = {
        "grid": grid_text,
        "members": f"{plan.num_members:,}",
        "saves": f"{plan.num_rows:,}",
        "kept": ", ".join(plan.names),
        "chunks": f"{plan.num_chunks:,} of {math.prod(plan.chunk):,} members each",
        "size": bytes_text(plan.num_bytes),
        "time": f"about {_duration(plan.seconds)} on the devices here, compilation apart",
    }
    text = "\n".join(f"{name:<9}{value}" for name, value in lines.items())
    if plan.num_swallowed:
        text += (
            f"\nNote: for {plan.num_swallowed:,} members learning rate times eigenvalue is "
            f"below {_RESOLVED} eps, where rounding swallows part of each step; dtype float64 "
            f"resolves more."
        )
    return text


def num_swallowed(sweep: Sweep) -> int:
    """Members for which alpha lambda is positive and below what the dtype resolves."""
    if sweep.model == "theory":
        return 0
    whole = Box((0,) * len(sweep.shape), sweep.shape)
    rate = members.values(sweep, "learning_rate", whole, sweep.shape).astype(np.float64)
    if sweep.spectrum is None:
        step = rate * members.values(sweep, "eigenvalue", whole, sweep.shape)
    else:
        assert sweep.directions is not None
        eigenvalues = np.asarray(sweep.spectrum.eigenvalues, np.float64)
        chosen = eigenvalues[np.array(sweep.directions) - 1]
        step = rate * chosen[chosen > 0].min(initial=np.inf)
    low = (step > 0) & (step < _RESOLVED * np.finfo(sweep.dtype).eps)
    return int(low.sum()) * (sweep.num_members // low.size)


def _expected_seconds(sweep: Sweep, chunk: tuple[int, ...], num_devices: int | None) -> float:
    place = devices.placement(num_devices)
    fits = devices.members_that_fit(sweep, len(sweep.rows), num_devices)
    lengths = grid.chunk_shape(chunk, fits)
    return sum(
        count * _seconds_of(sweep, box, lengths, place)
        for box, count in _boxes_to_try(sweep, lengths)
    )


def _boxes_to_try(sweep: Sweep, lengths: tuple[int, ...]) -> list[tuple[Box, int]]:
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


def _seconds_of(sweep: Sweep, box: Box, lengths: tuple[int, ...], place: compute.Place) -> float:
    """What a box takes, once its program is compiled."""

    def seconds(trial: Sweep) -> float:
        stretch = compute.Stretch(trial.rows, 0)
        for _ in range(2):  # the first one compiles
            begin = time.perf_counter()
            compute.run(trial, stretch, box, lengths, place)
        return time.perf_counter() - begin

    if sweep.model == "theory":
        return seconds(sweep)
    saves: dict[str, Any] = {"save_every": None, "save_steps": None, "save_log": None}
    twice = dataclasses.replace(sweep, **saves | {"num_steps": 1, "save_every": 1})
    of_saves = seconds(twice) / 2 * len(sweep.rows)
    assert sweep.num_steps is not None
    steps = min(sweep.num_steps, 16)
    while True:
        last = dataclasses.replace(sweep, **saves, num_steps=steps, observe=("mapping",))
        spent = seconds(last)
        if spent > _TRIAL_SECONDS or steps >= sweep.num_steps:
            return of_saves + spent / max(1, steps) * sweep.num_steps
        steps = min(sweep.num_steps, 4 * steps)


# --- how far ------------------------------------------------------------------------


def status_text(path: Path, sweep: Sweep) -> str:
    """How far a store is filled, while others may be filling it.

    Raises
    ------
    ValueError
        Nothing is there, or not this sweep's store.
    """
    if not store.exists(path):
        raise checks.mistake(
            "store must exist to have a status",
            f"{path}, where nothing is",
            "Run the sweep first, or correct the path.",
        )
    results = store.open_for(path, sweep)
    lines = []
    for run in results.runs:
        done = whole = 0
        for chunk in range(results.num_chunks):
            here = results.num_done(run, chunk)
            done += here
            whole += here == results.box(chunk).size
        share = 100 * done / max(1, sweep.num_members)
        upto = results.rows[run.last - 1]
        lines.append(
            f"{row_dim(sweep)} {upto:,}: {done:,} of {sweep.num_members:,} members "
            f"({share:.1f} %), {whole:,} of {results.num_chunks:,} chunks"
        )
    at_work = lock.holders(path / "status" / ".locks")
    lines.append("at work: " + (", ".join(at_work) or "nobody"))
    return "\n".join(lines)


def summary_text(path: Path, sweep: Sweep) -> str:
    """How the members of a store ended."""
    results = store.open_for(path, sweep)
    counts = np.zeros(NOT_RUN + 1, int)
    run = results.runs[-1]
    for chunk in range(results.num_chunks):
        status = results.status(run, chunk)
        counts += np.bincount(status.ravel(), minlength=len(counts))[: len(counts)]
    words = ("OK", "diverged", "with invalid input", "not run yet")
    found = ", ".join(f"{n:,} {word}" for n, word in zip(counts, words, strict=True) if n)
    return f"{sweep.num_members:,} members: {found or 'none'}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} seconds"
    if seconds < 6000:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
