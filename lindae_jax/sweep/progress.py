"""How far a store is filled, while others may be filling it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lindae_jax import checks
from lindae_jax.simulate import NOT_RUN
from lindae_jax.sweep import extend, grid, lock, store
from lindae_jax.sweep.spec import Sweep

_WORDS = "OK", "diverged", "with invalid input", "not run yet"


class Reached(NamedTuple):
    """One run of a store."""

    upto: float
    """The last step, or time, of the run."""
    span: int
    """How many steps it takes, or times."""
    counts: np.ndarray
    """Members by status."""
    num_whole: int
    """Chunks that are done."""
    num_damaged: int
    """Chunks that cannot be read; running the sweep computes them again."""

    @property
    def num_done(self) -> int:
        """Members that have been computed."""
        return int(self.counts[:NOT_RUN].sum())


class Progress(NamedTuple):
    """A store, as far as it is filled."""

    dim: str
    """The axis of saves, or of times."""
    num_members: int
    num_chunks: int
    runs: list[Reached]


def progress(path: Path) -> Progress:
    """How far a store is filled; nothing is changed.

    Raises
    ------
    store.Refused
        It is not a sweep's.
    """
    state, group = store.read_state(path), store.open_group(path)
    status, chunk = group["status"], state["chunk"]
    shape, dim = status.shape[1:], str(status.metadata.dimension_names[0])
    rows, boxes = store.coordinate(path, group, dim), range(grid.num_chunks(shape, chunk))
    found = []
    for first, last, offset in state["runs"]:
        counts, whole, damaged = np.zeros(NOT_RUN + 1, int), 0, 0
        for box in (grid.chunk_box(shape, chunk, i) for i in boxes):
            try:
                here = np.asarray(status[(last - 1, *box.slices)])
            except store.UNREADABLE:
                damaged += 1
                continue
            counts += np.bincount(here.ravel(), minlength=len(counts))
            whole += not (here == NOT_RUN).any()
        span = int(rows[last - 1]) - offset if dim == "step" else last - first
        found.append(Reached(rows[last - 1].item(), span, counts, whole, damaged))
    return Progress(dim, int(np.prod(shape, dtype=int)), len(boxes), found)


def status_text(path: Path, sweep: Sweep) -> str:
    """How far a store is filled, in lines.

    Raises
    ------
    ValueError
        Nothing is there, or not this sweep's store, nor one that it could extend.
    """
    if not store.exists(path):
        raise checks.mistake(
            "store must exist to have a status",
            f"{path}, where nothing is",
            "Run the sweep first, or correct the path.",
        )
    grows = extend.rows_of(path, sweep) is not None
    lines = run_lines(progress(path))
    if grows:
        lines.append("this sweep goes beyond the store; running it extends it")
    at_work = lock.holders(path / "status" / ".locks")
    lines.append("at work: " + (", ".join(at_work) or "nobody"))
    return "\n".join(lines)


def run_lines(found: Progress) -> list[str]:
    """A line for each run of a store."""
    lines = []
    for run in found.runs:
        share = 100 * run.num_done / max(1, found.num_members)
        damaged = f", {run.num_damaged:,} damaged" if run.num_damaged else ""
        lines.append(
            f"{found.dim} {run.upto:,}: {run.num_done:,} of {found.num_members:,} members "
            f"({share:.1f} %), {run.num_whole:,} of {found.num_chunks:,} chunks{damaged}"
        )
    return lines


def summary_text(path: Path) -> str:
    """How the members of a store ended."""
    found = progress(path)
    last = found.runs[-1]
    parts = [f"{n:,} {word}" for n, word in zip(last.counts, _WORDS, strict=True) if n]
    if unread := found.num_members - int(last.counts.sum()):
        parts.append(f"{unread:,} in damaged chunks")
    return f"{found.num_members:,} members: {', '.join(parts) or 'none'}"
