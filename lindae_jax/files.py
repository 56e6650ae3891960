"""Results written to a folder together, or not at all."""

import errno
import os
import shutil
import uuid
from pathlib import Path

from lindae_jax import checks

_LEAST_FREE_BYTES = 2**24


def check_folder(out: str | os.PathLike) -> None:
    """Try whether results can be written to a folder; leaves no trace.

    Parameters
    ----------
    out : str or path

    Raises
    ------
    ValueError
        `out` is not a path; the folder cannot be made or written; the disk is
        full.
    """
    folder, made = checks.path("out", out), []
    remedy = "Name another folder."
    try:
        made = _make(folder)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = f"{out} ({error.strerror})"
        raise checks.mistake("out must be a folder one can write", reason, remedy) from error
    finally:
        _unmake(made)
    if free < _LEAST_FREE_BYTES:
        raise checks.mistake(
            f"out must have {_LEAST_FREE_BYTES >> 20} MiB left", f"{free >> 20} MiB", remedy
        )


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns those that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        _unmake(missing)
        raise
    return missing


def _unmake(folders: list[Path]) -> None:
    for folder in folders:
        if folder.is_dir():
            folder.rmdir()


def write(folder: Path, files: dict[str, bytes]) -> tuple[Path, ...]:
    """Write all the files, or none.

    Parameters
    ----------
    folder : Path
        Made if need be, with its parents; files of these names are replaced.
    files : dict of str to bytes
        Content by name.

    Returns
    -------
    tuple of Path
        The files, in the order given.

    Raises
    ------
    OSError
        Writing failed, or a folder has such a name; then nothing is left
        behind, nor is a folder made, and files of these names are as before.
    """
    made = _make(folder)
    # Under names of their own first, so that the last steps are renames only.
    partial = {folder / f".{name}.{uuid.uuid4().hex}": folder / name for name in files}
    try:
        for final in partial.values():
            if final.is_dir():  # the one reason for which a rename fails where a write does not
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
        for path, content in zip(partial, files.values(), strict=True):
            path.write_bytes(content)
        for path, final in partial.items():
            path.replace(final)
    except BaseException:
        for path in partial:
            path.unlink(missing_ok=True)
        _unmake(made)
        raise
    return tuple(partial.values())
