"""What a sweep would take."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lindae_jax.sweep import compute, devices, extend, grid, members, store
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.progress import Progress, progress, run_lines
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes, variables

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
    there: Progress | None = None
    """What a store has already."""


def plan(sweep: Sweep, num_devices: int | None = None, path: Path | None = None) -> Plan:
    """What a sweep would take, by a short trial; nothing is written.

    Parameters
    ----------
    sweep : Sweep
    num_devices : int, optional
    path : Path, optional
        Of a store, in which part of it may be there already.

    Raises
    ------
    store.Refused
        What is there is not a store of this sweep, nor one that it could extend.
    """
    rows, there, chunk = len(sweep.rows), None, None
    if path is not None and store.exists(path):
        grown = extend.rows_of(path, sweep)
        there, chunk = progress(path), tuple(store.read_state(path)["chunk"])
        rows = rows if grown is None else len(grown)
    size = member_bytes(sweep, rows)
    chunk = chunk or store.chunk_of(sweep, size)
    seconds = _expected_seconds(sweep, chunk, num_devices)
    return Plan(
        dims=sweep.dims,
        num_members=sweep.num_members,
        num_rows=rows,
        chunk=chunk,
        num_chunks=grid.num_chunks(sweep.shape, chunk),
        num_bytes=sweep.num_members * size,
        seconds=seconds * (1 if there is None else _part_left(sweep, there)),
        num_swallowed=num_swallowed(sweep),
        names=tuple(variables(sweep)),
        there=there,
    )


def _part_left(sweep: Sweep, there: Progress) -> float:
    """Of the work of a sweep, that which a store lacks."""
    whole = len(sweep.rows) if sweep.model == "theory" else sweep.num_steps or 0
    done = sum(run.span * run.num_done for run in there.runs)
    return max(0.0, 1 - done / max(1, whole * sweep.num_members))


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
    if plan.there is not None:
        lines["there"] = "\n         ".join(run_lines(plan.there))
        lines["time"] += ", for what is left"
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


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} seconds"
    if seconds < 6000:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
