"""Refusing results that disk or memory cannot hold."""

import os
import shutil
from pathlib import Path

from lindae_jax import checks
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import bytes_text, member_bytes


def refuse_what_does_not_fit(sweep: Sweep, path: Path) -> None:
    """Raise if the disk has not the room for a sweep's results."""
    folder = next((f for f in path.absolute().parents if f.is_dir()), Path("/"))
    needed = sweep.num_members * member_bytes(sweep, len(sweep.rows))
    refuse_beyond(needed, shutil.disk_usage(folder).free, f"free space in {folder}")


def refuse_beyond(needed: int, free: int, where: str) -> None:
    """Raise unless so many bytes are free somewhere."""
    if needed > free:
        raise checks.mistake(
            f"the results must fit into {where}, {bytes_text(free)}",
            bytes_text(needed),
            "Save less, make the grid smaller, or allow it (allow_large, --allow-large).",
        )


def free_memory() -> int:
    """Bytes of memory that nobody uses, as far as the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every system
        return 2**62
