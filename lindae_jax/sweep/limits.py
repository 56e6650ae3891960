"""Refusing results that disk or memory cannot hold."""

import contextlib
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lindae_jax import checks
from lindae_jax.sweep import grid, store
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes, variables


def refuse_what_does_not_fit(sweep: Sweep, path: Path | None) -> None:
    """Raise if the disk has not the room for what a sweep's store lacks.

    Parameters
    ----------
    sweep : Sweep
    path : Path or None
        Of a store that is this sweep's or not there; None for a new one in the current folder.
    """
    folder = Path.cwd()
    if path is not None:
        folder = next((f for f in path.absolute().parents if f.is_dir()), Path("/"))
    size, there = member_bytes(sweep, len(sweep.rows)), 0
    chunk: Sequence[int] = store.chunk_of(sweep, size)
    if path is not None and store.exists(path):
        chunk = store.read_state(path)["chunk"]
        there = sum(_bytes_in(path / name / "c") for name in variables(sweep))
    # Those at the grid's end are as large as all the others.
    needed = grid.num_chunks(sweep.shape, chunk) * math.prod(chunk) * size
    free = shutil.disk_usage(folder).free
    refuse_beyond(max(0, needed - there), free, f"free space in {folder}")


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed by others at work
            total += file.stat().st_size if file.is_file() else 0
    return total


def refuse_beyond(needed: int, free: int, where: str) -> None:
    """Raise unless so many bytes are free somewhere."""
    if needed > free:
        raise checks.mistake(
            f"the results must fit into {where}, {bytes_text(free)}",
            bytes_text(needed),
            "Save less, make the grid smaller, or allow it (allow_large, --allow-large).",
        )


def free_memory() -> int:
    """Bytes of memory that can be had, as far as the system tells."""
    with contextlib.suppress(OSError, StopIteration, ValueError), open("/proc/meminfo") as lines:
        # What a system holds of files, to be quick, it gives away.
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(found.split()[1])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every system
        return 2**62
