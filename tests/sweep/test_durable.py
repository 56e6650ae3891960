"""Files that a kill leaves whole: in what order they come to be, what failures leave."""

import contextlib
import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from zarr.core.buffer import default_buffer_prototype

from lindae_jax.sweep import Sweep, durable, store

AXES = {"eigenvalue": np.linspace(0.5, 2, 6), "init_w1": 0.1, "init_w2": 0.2}
SWEEP = Sweep(AXES, 20, save_every=10, observe=["mapping", "norm"])
NAMES = ["mapping", "norm", "final_w1", "final_w2", "status"]


def under(root):
    """All paths under a folder, from it on."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def path_of(descriptor, root):
    """The path under a folder that a descriptor is open on."""
    status = os.fstat(descriptor)
    for path in [root, *root.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # renamed by another of zarr's threads
            if os.path.samestat(path.stat(), status):
                return path
    raise AssertionError(status)


@pytest.fixture
def events(tmp_path, monkeypatch):
    """What is brought to the disk and what gets its name, in order, relative to tmp_path."""
    found = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def record(word, path):
        found.append((word, path.relative_to(tmp_path).as_posix()))

    def recorded_fsync(descriptor):
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        record("sync folder" if folder else "sync", path_of(descriptor, tmp_path))
        fsync(descriptor)

    def recorded_replace(old, new):
        record("replace", Path(new))
        replace(old, new)

    def recorded_rename(old, new, **kw):
        record("rename", Path(new))
        rename(old, new, **kw)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(os, "rename", recorded_rename)
    return found


# --- one file -----------------------------------------------------------------------


def test_beside_then_the_disk_then_its_name_then_the_folder(events, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []

    def see(original):
        def call(*args):
            # What is there just before each step.
            seen.append(sorted(file.read_bytes() for file in tmp_path.iterdir()))
            original(*args)

        return call

    monkeypatch.setattr(os, "fsync", see(os.fsync))
    monkeypatch.setattr(os, "replace", see(os.replace))
    durable.write(path, b"new!")
    (_, partial), *rest = events
    assert events[0][0] == "sync"
    assert partial.startswith(".file.")
    assert partial.endswith(".partial")
    assert rest == [("replace", "file"), ("sync folder", ".")]
    assert seen == [[b"new!", b"old"], [b"new!", b"old"], [b"new!"]]
    assert path.read_bytes() == b"new!"


def test_new_folders_stay(events, tmp_path):
    durable.write(tmp_path / "a" / "b" / "c" / "file", b"x")
    # Each folder that has a new one in it, from the top.
    assert [e for e in events if "partial" not in e[1]] == [
        *[("sync folder", name) for name in (".", "a", "a/b")],
        ("replace", "a/b/c/file"),
        ("sync folder", "a/b/c"),
    ]


class Full:
    """A file of which half can be written."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stream.close()

    def write(self, content):
        self.stream.write(content[: len(content) // 2])
        self.stream.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


def full_disk(monkeypatch):
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: Full(opened(path, mode)))
    return OSError


def failing_fsync(monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    return OSError


def failing_replace(monkeypatch):
    def fail(old, new):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    return OSError


def interrupt(monkeypatch):
    def fail(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fail)
    return KeyboardInterrupt


FAILURES = [full_disk, failing_fsync, failing_replace]


@pytest.mark.parametrize("failure", [*FAILURES, interrupt])
@pytest.mark.parametrize("old", [None, b"old"])
def test_failure_leaves_what_was_there(tmp_path, monkeypatch, failure, old):
    path = tmp_path / "file"
    if old:
        path.write_bytes(old)
    with monkeypatch.context() as patch, pytest.raises(failure(patch)):
        durable.write(path, b"something new")
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == ({"file": old} if old else {})


def test_remove_partial_of_one_file(tmp_path):
    for name in (".1.ab.partial", ".1.cd.partial", ".11.ab.partial", "1", ".1"):
        (tmp_path / name).touch()
    durable.remove_partial(tmp_path / "1")
    assert under(tmp_path) == {".11.ab.partial", "1", ".1"}
    durable.remove_partial(tmp_path / "no such folder" / "1")


def test_zarr_writes_so_without_an_event_loop_too(tmp_path, events):
    value = default_buffer_prototype().buffer.from_bytes(b"x")
    durable.DurableStore(tmp_path).set_sync("a", value)
    assert [word for word, _ in events] == ["sync", "replace", "sync folder"]
    assert (tmp_path / "a").read_bytes() == b"x"


# --- a store --------------------------------------------------------------------------


def test_status_comes_last_of_a_chunk(events, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 2)
    SWEEP.run(tmp_path / "s", progress=False)
    assert SWEEP.num_members == 6  # three chunks of two
    for chunk in range(3):
        ends = tuple(f"{name}/c/0/{chunk}" for name in NAMES)
        ours = [(word, p) for word, p in events if p.endswith(ends) or f"/.{chunk}." in p]
        ours = [(w, p) for w, p in ours if p.startswith(tuple(f"s/{name}/c/0/" for name in NAMES))]
        expected = [(word, name) for name in NAMES for word in ("sync", "replace")]
        assert [(word, p.split("/")[1]) for word, p in ours] == expected
        for name in NAMES:
            # The folder follows at once, before anything of the next variable.
            after = events.index(("replace", f"s/{name}/c/0/{chunk}")) + 1
            assert events[after] == ("sync folder", f"s/{name}/c/0")
    # One chunk after the other.
    marks = [p for word, p in events if word == "replace" and p.startswith("s/status/c")]
    assert marks == [f"s/status/c/0/{chunk}" for chunk in range(3)]


def test_a_store_is_whole_when_it_gets_its_name(events, tmp_path, monkeypatch):
    whole = []
    rename = os.rename

    def see(old, new, **kw):
        whole.append(under(Path(old)))
        rename(old, new, **kw)

    monkeypatch.setattr(os, "rename", see)
    store.make(tmp_path / "s", SWEEP, (2,))
    assert whole == [under(tmp_path / "s")]
    # All of it is on the disk before, and then the folder that has the name.
    assert events[-2:] == [("rename", "s"), ("sync folder", ".")]
    written = {path.split("/", 1)[1] for word, path in events[:-2] if word == "replace"}
    files = {name for name in under(tmp_path / "s") if (tmp_path / "s" / name).is_file()}
    assert written == files
    assert under(tmp_path) == {"s", *(f"s/{name}" for name in whole[0])}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_store_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, failure):
    with monkeypatch.context() as patch, pytest.raises(failure(patch)):
        store.make(tmp_path / "s", SWEEP, (2,))
    assert under(tmp_path) == set()


def test_what_killed_processes_left_of_a_store_is_removed(tmp_path):
    for name in (".s[1].ab.partial", ".s1.ab.partial", ".s[1].other"):
        (tmp_path / name / "mapping").mkdir(parents=True)
    store.make(tmp_path / "s[1]", SWEEP, (2,))
    assert {p.name for p in tmp_path.iterdir()} == {"s[1]", ".s1.ab.partial", ".s[1].other"}


def test_another_process_was_faster(tmp_path, monkeypatch):
    # It has made the store, and removed ours as something left behind.
    path = tmp_path / "s"
    write = store._write_new

    def overtaken(partial, sweep, chunk):
        monkeypatch.setattr(store, "_write_new", write)
        (partial / "mapping").mkdir(parents=True)
        store.make(path, sweep, chunk)
        assert not partial.exists()
        raise FileNotFoundError(partial / "mapping" / "zarr.json")

    monkeypatch.setattr(store, "_write_new", overtaken)
    store.make(path, SWEEP, (2,))
    assert store.open_for(path, SWEEP).chunk == (2,)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
