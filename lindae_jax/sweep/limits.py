"""Refusing results that disk or memory cannot hold."""

import contextlib
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lindae_jax import checks
from lindae_jax.sweep import extend, grid, store
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes, sizes, variables

# Bytes of the crc32c at the end of each file.
_CHECKSUM = 4


class Room(NamedTuple):
    """Bytes that the files of a sweep's results take, checksums included."""

    total: int
    """Once the sweep is done."""
    missing: int
    """Of those that are not there yet."""


def room(sweep: Sweep, path: Path | None) -> Room:
    """What room a sweep takes in its store.

    Parameters
    ----------
    sweep : Sweep
    path : Path or None
        Of a store that is this sweep's, could be extended to it, or is not there.
    """
    if path is not None and not store.exists(path):
        path = None
    shapes = _shapes_of_new(sweep) if path is None else _shapes_there(sweep, path)
    total = missing = 0
    for name, variable in variables(sweep).items():
        shape, chunk = shapes[name]
        # Files at the end of an axis are as large as all the others.
        file = math.prod(chunk) * np.dtype(variable.dtype).itemsize + _CHECKSUM
        size = grid.num_chunks(shape, chunk) * file
        total += size
        missing += size if path is None else max(0, size - _bytes_in(path / name / "c"))
    return Room(total, missing)


_Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


def _shapes_of_new(sweep: Sweep) -> _Shapes:
    """Shapes of the arrays of a new store, each with that of its files."""
    rows = len(sweep.rows)
    lengths, chunk = sizes(sweep, rows), store.chunk_of(sweep, member_bytes(sweep, rows))
    return {
        name: (variable.shape(lengths, sweep.shape), variable.shape(lengths, chunk))
        for name, variable in variables(sweep).items()
    }


def _shapes_there(sweep: Sweep, path: Path) -> _Shapes:
    """Those of a store's arrays once they are extended to the sweep."""
    rows, runs = extend.rows_and_runs(path, sweep)
    lengths = sizes(sweep, len(rows), len(runs))
    group = store.open_group(path)
    return {
        name: (variable.shape(lengths, sweep.shape), tuple(group[name].chunks))
        for name, variable in variables(sweep).items()
    }


def _bytes_in(folder: Path) -> int:
    """Of files that have their name; others are half-written."""
    total = 0
    for file in folder.rglob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # removed by others at work
            total += file.stat().st_size if file.is_file() else 0
    return total


def refuse_what_does_not_fit(sweep: Sweep, path: Path | None) -> None:
    """Raise if the disk has not the room for what a sweep's store lacks.

    Parameters
    ----------
    sweep : Sweep
    path : Path or None
        Of a store that is this sweep's, could be extended to it, or is not there; None for
        a new one in the current folder.
    """
    folder = Path.cwd()
    if path is not None:
        folder = next(f for f in path.absolute().parents if store.exists(f))
        if not store.exists(path):
            _refuse_unwritable(folder, path)
    free = shutil.disk_usage(folder).free
    refuse_beyond(room(sweep, path).missing, free, f"free space in {folder}")


def _refuse_unwritable(folder: Path, path: Path) -> None:
    """Raise if nothing can be written there: it is no lack of room."""
    try:
        # A file without a name, wherever the system has such: it leaves no trace.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> ValueError:
    """The mistake of a store where one cannot write."""
    return checks.mistake(
        "store must be a path one can write", f"{path} ({error.strerror})", "Name another."
    )


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
