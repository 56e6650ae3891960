"""Files that are whole and on the disk once their name is there."""

import asyncio
import contextlib
import os
import uuid
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

_SUFFIX = ".partial"


class DurableStore(LocalStore):
    """Zarr's store in a folder, which here outlives a kill or a power cut at any moment."""

    async def set(self, key: str, value: Any) -> None:
        """Write a file as `write` does."""
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Any) -> None:
        """Do so without an event loop, as zarr may."""
        write(Path(self.root) / key, value.as_buffer_like())


def write(path: Path, content: Any) -> None:
    """Write a file so that at any moment there is the old one or the whole new one.

    Beside its place first, down to the disk, then under its name, which the folder keeps.

    Raises
    ------
    OSError
        With the file's name; what was there is left as it was.
    """
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # Neither is the partial file's name of interest, nor that there are two.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, so that it stays."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.is_dir())]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        _sync(path.parent)


def rename_folder(old: Path, new: Path) -> None:
    """Give a folder whose files are on the disk another name, which stays."""
    old.rename(new)
    _sync(new.parent)


def remove_partial(path: Path) -> None:
    """Remove what killed processes left of a file half-written."""
    for left in path.parent.glob(f".{path.name}.*{_SUFFIX}"):
        left.unlink(missing_ok=True)


def partial_files(folder: Path) -> list[Path]:
    """All files in a folder and below that were left half-written."""
    return [path for path in folder.rglob(f".*{_SUFFIX}") if path.is_file()]


def whole_name(partial: Path) -> str:
    """The name that a half-written file was to have."""
    return partial.name.removesuffix(_SUFFIX)[1:].rpartition(".")[0]


def _sync(folder: Path) -> None:
    # Windows cannot open a folder, nor need it.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
