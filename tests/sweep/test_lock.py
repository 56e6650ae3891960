"""Two processes at one store: who is refused, who is not, what a killed one leaves."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from lindae_jax.sweep import Busy, lock

fcntl = pytest.importorskip("fcntl", reason="there are none on Windows")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "status" / ".locks"


@pytest.fixture
def no_locks(monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)


def test_the_same_share_is_refused_while_it_is_held(folder):
    for _ in range(2):
        with lock.held(folder, (0, 2)):
            assert lock.holders(folder) == ["0/2"]
            with (
                pytest.raises(Busy, match=r"at work on this store, share 0/2.*--process I/N"),
                lock.held(folder, (0, 2)),
            ):
                pass
        assert lock.holders(folder) == []


def test_shares_of_one_number_stand_side_by_side(folder):
    with lock.held(folder, (0, 2)), lock.held(folder, (1, 2)):
        assert lock.holders(folder) == ["0/2", "1/2"]


@pytest.mark.parametrize("other", [(0, 3), (2, 3), (0, 1)])
@pytest.mark.parametrize("takeover", [False, True])
def test_shares_of_another_number_are_refused(folder, other, takeover):
    with (
        lock.held(folder, (0, 2)),
        pytest.raises(Busy, match=r"share 0/2 of this store.*by the same N"),
        lock.held(folder, other, takeover),
    ):
        pass
    # Whoever was refused holds nothing.
    with lock.held(folder, other):
        pass


def test_takeover_breaks_no_lock(folder):
    with (
        lock.held(folder, (0, 1)),
        pytest.raises(Busy, match="share 0/1"),
        lock.held(folder, (0, 1), takeover=True),
    ):
        pass


def test_an_error_inside_frees_the_share(folder):
    with pytest.raises(OSError, match="full"), lock.held(folder, (0, 1)):
        raise OSError("full")
    assert lock.holders(folder) == []


def test_a_look_at_the_locks_refuses_nobody(folder):
    # Looking takes the lock for a moment, for which whoever wants it waits.
    folder.mkdir(parents=True)
    with (folder / "0-of-1").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        timer = threading.Timer(0.02, fcntl.flock, (stream, fcntl.LOCK_UN))
        timer.start()
        with lock.held(folder, (0, 1)):
            pass
        timer.join()


def test_a_killed_process_leaves_no_lock(folder):
    code = (
        "import sys; from pathlib import Path; from lindae_jax.sweep import lock\n"
        "with lock.held(Path(sys.argv[1]), (0, 1)):\n"
        "    print('held', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Busy), lock.held(folder, (0, 1)):
            pass
        child.kill()
    assert child.returncode == -signal.SIGKILL
    with lock.held(folder, (0, 1)):
        assert lock.holders(folder) == ["0/1"]


def test_a_lock_that_cannot_be_made(folder):
    (folder / "0-of-1").mkdir(parents=True)
    with pytest.raises(Busy, match="cannot make the lock"), lock.held(folder, (0, 1)):
        pass


# --- file systems without locks ---------------------------------------------------------


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_file_stands_for_them(folder):
    for _ in range(2):
        with lock.held(folder, (0, 2)), lock.held(folder, (1, 2)):
            assert lock.holders(folder) == ["0/2", "1/2"]
            with pytest.raises(Busy, match="no locks to tell"), lock.held(folder, (0, 2)):
                pass
            with pytest.raises(Busy, match="share 0/2 of this store"), lock.held(folder, (0, 3)):
                pass
        assert lock.holders(folder) == []


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_file_left_behind_is_taken_over(folder):
    with lock.held(folder, (0, 2)):
        (left,) = folder.glob("*.taken")
    left.touch()
    with pytest.raises(Busy), lock.held(folder, (1, 3)):
        pass
    with lock.held(folder, (1, 3), takeover=True):
        assert lock.holders(folder) == ["0/2", "1/3"]
    with pytest.raises(Busy), lock.held(folder, (0, 2)):
        pass
    with lock.held(folder, (0, 2), takeover=True):
        assert lock.holders(folder) == ["0/2"]
    assert lock.holders(folder) == []


def test_without_the_module(folder, monkeypatch):
    # As on Windows.
    monkeypatch.setattr(lock, "fcntl", None)
    with (
        lock.held(folder, (0, 1)),
        pytest.raises(Busy, match="--takeover"),
        lock.held(folder, (0, 1)),
    ):
        pass
    with lock.held(folder, (0, 1)):
        pass


# --- trouble that is neither --------------------------------------------------------------


def test_a_share_is_seen_where_locks_ask_for_the_right_to_write(folder, monkeypatch):
    # As those of NFS do, which are locks of byte ranges.
    real = fcntl.flock

    def flock(descriptor, kind):
        read_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        if kind & fcntl.LOCK_EX and read_only:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.held(folder, (0, 2)):
        assert lock.holders(folder) == ["0/2"]
        with pytest.raises(Busy, match="share 0/2"), lock.held(folder, (1, 3)):
            pass
    assert lock.holders(folder) == []


def test_a_lock_that_fails_is_not_taken_for_none(folder, monkeypatch):
    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    with lock.held(folder, (0, 2)):
        monkeypatch.setattr(fcntl, "flock", fail)
        with pytest.raises(Busy, match=r"cannot tell .* \(Input/output error\)"):
            lock.holders(folder)
        with pytest.raises(Busy, match="cannot tell"), lock.held(folder, (1, 2)):
            pass
        with pytest.raises(Busy, match="cannot tell"), lock.gate(folder):
            pass
