"""What a sweep would take."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lindae_jax.sweep import extend, grid, limits, members, store, trial
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.progress import Progress, progress, run_lines
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes, variables

# Below so many eps of learning rate times eigenvalue rounding swallows part of each step.
_RESOLVED = 64


class Plan(NamedTuple):
    """What a sweep would take."""

    dims: dict[str, int]
    num_members: int
    num_rows: int
    chunk: tuple[int, ...]
    num_chunks: int
    num_bytes: int
    """Of all files of the results, once the sweep is done."""
    seconds: float
    """Expected on the devices at hand, compilation apart; 0 where nothing is left."""
    num_swallowed: int
    """Members whose steps the dtype does not resolve."""
    names: tuple[str, ...]
    """What is kept of each."""
    there: Progress | None = None
    """What a store has already."""
    num_bytes_missing: int = 0
    """Of files that a store does not have yet."""


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
    chunk = chunk or store.chunk_of(sweep, member_bytes(sweep, rows))
    room = limits.room(sweep, path)
    left = 1.0 if there is None else _part_left(sweep, rows, there)
    return Plan(
        dims=sweep.dims,
        num_members=sweep.num_members,
        num_rows=rows,
        chunk=chunk,
        num_chunks=grid.num_chunks(sweep.shape, chunk),
        num_bytes=room.total,
        seconds=left * trial.expected_seconds(sweep, chunk, num_devices) if left else 0.0,
        num_swallowed=num_swallowed(sweep),
        names=tuple(variables(sweep)),
        there=there,
        num_bytes_missing=room.missing,
    )


def _part_left(sweep: Sweep, rows: int, there: Progress) -> float:
    """Of the work of a sweep, that which a store lacks."""
    if sweep.num_steps == 0:
        return 1 - there.runs[0].num_done / sweep.num_members
    whole = rows if sweep.model == "theory" else sweep.num_steps or 0
    done = sum(run.span * run.num_done for run in there.runs)
    return 1 - done / (whole * sweep.num_members)


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
        lines["size"] += f", {bytes_text(plan.num_bytes_missing)} of which are not there yet"
        lines["time"] += ", for what is left"
        if not plan.seconds:
            lines["time"] = "none: nothing is left to compute"
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


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} seconds"
    if seconds < 6000:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
