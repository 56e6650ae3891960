"""Keeping two processes off the same work."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Seconds that a lock is asked for: whoever looks at it has it for a moment too.
_PATIENCE = 0.2

# By these a file system says that it has no locks at all.
_NO_LOCKS = errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP

# Seconds to wait for another process to extend the store.
_GATE_PATIENCE = 60.0


class Busy(RuntimeError):
    """Another process is at the same work."""


class _NoLocksError(Exception):
    """The file system has none."""


@contextlib.contextmanager
def held(folder: Path, share: tuple[int, int], takeover: bool = False) -> Iterator[None]:
    """Hold one share of a store's chunks while the context lasts.

    A lock of the operating system, which a killed process does not leave behind. Where a
    file system has none, the mere file counts.

    Parameters
    ----------
    folder : Path
        Where the locks of this store are; made if need be.
    share : tuple of int
        (I, N): every N-th chunk, from the I-th on.
    takeover : bool
        Where there are no locks: go on although a file is there.

    Raises
    ------
    Busy
        Another process holds this share, or one that overlaps with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{share[0]}-of-{share[1]}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise Busy(f"cannot make the lock {path} ({error.strerror})") from error
    marker = None
    try:
        marker = _take(descriptor, path, takeover)
        _refuse_overlap(folder, share, takeover)
        yield
    finally:
        os.close(descriptor)
        if marker is not None:
            marker.unlink(missing_ok=True)


@contextlib.contextmanager
def gate(folder: Path) -> Iterator[None]:
    """Pass one by one: in here a store may be extended, and shares of it be taken.

    Raises
    ------
    Busy
        Another process has been in here for a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "gate").open("a") as stream:
        try:
            _lock(stream.fileno(), patience=_GATE_PATIENCE)
        except BlockingIOError:
            raise Busy("another process is extending this store. Wait for it.") from None
        except _NoLocksError:
            pass  # the shares' files are all there is
        yield


def holders(folder: Path) -> list[str]:
    """Names of the shares that some process holds now, as I/N."""
    return [_words(path) for path in _shares(folder) if _state(path) != "free"]


def _shares(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-of-*[0-9]"))


def _words(path: Path) -> str:
    return path.name.replace("-of-", "/")


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.taken")


def _take(descriptor: int, path: Path, takeover: bool) -> Path | None:
    """None where the lock was had; where there are none, the file that stands for it."""
    busy = f"another process is at work on this store, share {_words(path)}"
    try:
        _lock(descriptor, patience=_PATIENCE)
    except BlockingIOError:
        # Where one process does the whole, there is no other share to be had.
        other = "" if path.name.endswith("-of-1") else ", or take others with --process I/N"
        raise Busy(f"{busy}. Wait for it{other}.") from None
    except _NoLocksError:
        try:
            _marker(path).touch(exist_ok=takeover)
        except FileExistsError:
            raise Busy(
                f"{busy}, or was: this file system has no locks to tell. If none is, pass "
                f"takeover (--takeover)."
            ) from None
        return _marker(path)
    return None


def _refuse_overlap(folder: Path, share: tuple[int, int], takeover: bool) -> None:
    for path in _shares(folder):
        other = tuple(int(x) for x in path.name.split("-of-"))
        # Shares of the same N have no chunk in common; those of another N may have.
        if other[1] == share[1]:
            continue
        state = _state(path)
        # A lock tells for certain; a mere file may have been left behind.
        if state == "held" or (state == "marked" and not takeover):
            raise Busy(
                f"another process is at work on share {_words(path)} of this store. "
                f"Wait for it, or split the work by the same N."
            )


def _state(path: Path) -> str:
    """Whether a share is "free", "held", or, where there are no locks, "marked" as held."""
    with path.open() as stream:
        try:
            # Shared: who may only read can ask so, and it meets the holder's all the same.
            _lock(stream.fileno(), shared=True)
        except BlockingIOError:
            return "held"
        except _NoLocksError:
            return "marked" if _marker(path).exists() else "free"
    return "free"


def _lock(descriptor: int, patience: float = 0.0, shared: bool = False) -> None:
    """Lock a file; BlockingIOError if that is not to be had in time."""
    if fcntl is None:
        raise _NoLocksError
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise _NoLocksError from None
            raise Busy(f"cannot tell whether others are at work ({error.strerror})") from error
        time.sleep(min(patience / 10, 0.05))
