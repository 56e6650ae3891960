"""Sweeps that are killed, interrupted, starved of disk, damaged, or run twice at a time."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray

from lindae_jax import Spectrum, checks, cli
from lindae_jax.simulate import NOT_RUN
from lindae_jax.sweep import Busy, Sweep, cluster, compute, config, results, store

CHILD = Path(__file__).with_name("faults_child.py")

# Chunks of 2 x 3 members, 8 of them along the eigenvalue.
EIGENVALUES = np.geomspace(0.1, 3, 16).tolist()
AXES = {"eigenvalue": EIGENVALUES, "noise": [0, 0.1, 0.5], "init_w1": 0.1, "init_w2": 0.2}
SWEEP = {"axes": AXES, "num_steps": 50, "save_every": 10, "observe": ["mapping", "norm"]}
MEMBERS, CHUNKS = 6, 8
NAMES = ("mapping", "norm", "final_w1", "final_w2", "status")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", MEMBERS)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder where what one process has compiled is there for the next."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(autouse=True)
def _compiled_once(programs, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(programs))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    # It is loud about names of processor features that this processor would not have.
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The store of a run that nothing happened to."""
    path = tmp_path_factory.mktemp("whole") / "sweep.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_MEMBERS", MEMBERS)
        complete(path)
    return path


@pytest.fixture
def start(tmp_path):
    """A function that starts a child on tmp_path/sweep.zarr; what is left of them is killed."""
    children = []

    def begin(**order):
        order = {"store": str(tmp_path / "sweep.zarr"), "sweep": SWEEP, "members": MEMBERS} | order
        child = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        children.append((child, watchdog))
        return child

    yield begin
    for child, watchdog in children:
        watchdog.cancel()
        child.kill()
        child.communicate()


def until(child, word):
    """What a child tells until it says a word."""
    told = []
    while not told or told[-1] != word:
        line = child.stdout.readline()
        assert line, f"the child ended before it said {word!r}: {told}"
        told.append(line.strip())
    return told


def told_until_killed(child):
    told = child.stdout.read().split()
    assert child.wait() == -signal.SIGKILL
    return told


def complete(path, **options):
    """Run the rest in this process."""
    return Sweep(**SWEEP).run(path, progress=False, **options)


def files(path):
    """All that a store holds but its metadata: chunk files, and whatever does not belong."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "zarr.json" and ".locks" not in file.parts
    }


def assert_same(path, whole):
    """The arrays are bitwise those of the whole store, and nothing else lies there."""
    ours, theirs = files(path), files(whole)
    assert ours.keys() == theirs.keys()
    assert ours == theirs
    got, wanted = xarray.open_zarr(path).load(), xarray.open_zarr(whole).load()
    for name in wanted.variables:
        assert got[name].values.tobytes() == wanted[name].values.tobytes(), name
    assert (got.status != NOT_RUN).all()


def by_chunk(dataset, name):
    """An array with the number of the chunk in front."""
    values = dataset[name].values
    return np.moveaxis(values.reshape(len(values), CHUNKS, MEMBERS), 1, 0)


def assert_half_filled(path, whole):
    """Chunks that are done: those are right, the others NaN; numbers of the former."""
    got, wanted = xarray.open_zarr(path), xarray.open_zarr(whole)
    missing = (by_chunk(got, "status") == NOT_RUN).any((1, 2))
    done = np.flatnonzero(~missing).tolist()
    # The one after those that are done was being written.
    untouched = [c for c in np.flatnonzero(missing) if c != len(done)]
    assert (by_chunk(got, "status")[missing] == NOT_RUN).all()
    for name in NAMES:
        ours, theirs = by_chunk(got, name), by_chunk(wanted, name)
        assert ours[done].tobytes() == theirs[done].tobytes()
        if name != "status":
            assert np.isnan(ours[untouched]).all()
            assert (np.isnan(ours[missing]) | (ours[missing] == theirs[missing])).all()
    return done


def assert_resumes(path, whole, told):
    """At most two chunks are lost, a rerun computes only what is missing, all is bitwise right."""
    done = assert_half_filled(path, whole)
    assert told.count("begun") - len(done) <= 2
    assert len(done) >= told.count("written")
    with pytest.MonkeyPatch.context() as patch:
        again = record_writes(patch)
        complete(path)
    assert again == [c for c in range(CHUNKS) if c not in done]
    assert_same(path, whole)
    return done


def record_writes(patch):
    """The numbers of the chunks that are written from now on."""
    written = []
    original = results.Results.write

    def write(self, run, box, found):
        written.append(box.start[0] // self.chunk[0])
        original(self, run, box, found)

    patch.setattr(results.Results, "write", write)
    return written


# --- kills ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "at", "done"),
    [
        # Chunk 3 has been computed, chunk 2 is being written or has been.
        ("computing", 4, None),
        # Chunk 3 is being written: it counts only once its status has its name.
        ("fsynced", "norm/c/0/3/0", 3),
        ("durable", "final_w2/c/0/3/0", 3),
        ("beside", "status/c/0/3/0", 3),
        ("fsynced", "status/c/0/3/0", 3),
        ("renamed", "status/c/0/3/0", 4),
        ("durable", "status/c/0/3/0", 4),
        # Chunk 3 has been written, chunk 4 has not.
        ("between", 4, 4),
    ],
)
def test_killed_at_a_moment(start, whole, tmp_path, moment, at, done):
    told = told_until_killed(start(moment=moment, at=at, action="kill"))
    found = assert_resumes(tmp_path / "sweep.zarr", whole, told)
    assert found == list(range(done)) if done else found in ([0, 1], [0, 1, 2])


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_moment(start, whole, tmp_path, seed):
    child = start(slow=0.004, linger=True)
    told = until(child, "begun")
    # Compiling and writing take about a second.
    time.sleep(np.random.default_rng(seed).uniform(0, 1))
    child.kill()
    assert_resumes(tmp_path / "sweep.zarr", whole, told + told_until_killed(child))


def test_killed_while_the_store_is_made(start, whole, tmp_path):
    told_until_killed(start(moment="making", action="kill"))
    path = tmp_path / "sweep.zarr"
    left = {entry.name for entry in tmp_path.iterdir()}
    assert "sweep.zarr" not in left
    assert any(name.endswith(".partial") for name in left)
    complete(path)
    assert_same(path, whole)
    assert {entry.name for entry in tmp_path.iterdir()} == {"sweep.zarr"}


def test_interrupted(start, whole, tmp_path):
    # Ctrl-C while chunk 3 is computed; what is being written is finished first.
    child = start(moment="computing", at=4, action="wait")
    told = until(child, "waiting")
    child.send_signal(signal.SIGINT)
    told += child.stdout.read().split()
    assert child.wait() == -signal.SIGINT
    assert not list((tmp_path / "sweep.zarr").rglob("*.partial"))
    assert assert_resumes(tmp_path / "sweep.zarr", whole, told) == [0, 1, 2]


# --- a full disk ------------------------------------------------------------------


def test_full_disk(start, whole, tmp_path):
    # From chunk 3 on, no file may become longer than 64 bytes.
    child = start(moment="between", at=3, action="limit")
    told = child.stdout.read().split()
    assert child.wait() == 1
    said = child.stderr.read()
    assert "OSError: [Errno 27] File too large: '" in said
    assert "-> None" not in said
    path = tmp_path / "sweep.zarr"
    assert files(path).items() <= files(whole).items()  # nothing half-written
    assert assert_resumes(path, whole, told) == [0, 1, 2]


# --- damage -----------------------------------------------------------------------


@pytest.fixture
def copy(whole, tmp_path):
    path = tmp_path / "copy.zarr"
    for name, content in files(whole).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    for file in whole.rglob("zarr.json"):
        (path / file.relative_to(whole)).write_bytes(file.read_bytes())
    return path


def truncate(file):
    file.write_bytes(file.read_bytes()[:-5])


def empty(file):
    file.write_bytes(b"")


def flip(file):
    content = bytearray(file.read_bytes())
    content[9] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, empty, flip])
@pytest.mark.parametrize("name", ["mapping", "final_w1", "status"])
def test_damaged_chunk(copy, whole, caplog, monkeypatch, damage, name):
    damage(copy / name / "c" / "0" / "5" / "0")
    damaged = xarray.open_zarr(copy)[name]
    # What cannot be read is never wrong numbers; the rest is not affected.
    with pytest.raises((ValueError, RuntimeError), match=r"(?i)checksum|size"):
        damaged.load()
    wanted = xarray.open_zarr(whole)[name].isel(eigenvalue=slice(0, 10))
    assert damaged.isel(eigenvalue=slice(0, 10)).identical(wanted)
    assert_mended(copy, whole, caplog, monkeypatch)


@pytest.mark.parametrize("name", ["mapping", "final_w1"])
def test_deleted_chunk_of_one_variable(copy, whole, caplog, monkeypatch, name):
    (copy / name / "c" / "0" / "5" / "0").unlink()
    assert_mended(copy, whole, caplog, monkeypatch)


def test_deleted_rows_of_an_extended_chunk(copy, tmp_path, monkeypatch):
    # Each run's rows lie in files of their own, all of which have to be there.
    longer = Sweep(**SWEEP | {"num_steps": 90})
    longer.run(copy, progress=False)
    before = files(copy)
    (copy / "mapping" / "c" / "1" / "5" / "0").unlink()
    written = record_writes(monkeypatch)
    longer.run(copy, progress=False)
    assert written == [5, 5]
    assert files(copy) == before


@pytest.mark.parametrize("damage", [Path.unlink, truncate, flip])
@pytest.mark.parametrize("name", ["step/c/0", "end/c/0", "eigenvalue/c/0", "init_w1/c"])
def test_damaged_coordinate(copy, whole, damage, name):
    # Lost with a chunk: what is computed anew must be computed at the right steps.
    (copy / "status" / "c" / "0" / "5" / "0").unlink()
    damage(copy / name)
    larger = Sweep(**SWEEP | {"axes": AXES | {"noise": [0, 0.1, 0.5, 1]}})
    before = files(copy)
    with pytest.raises(store.Refused, match=r"lost or damaged\. Run the very sweep"):
        larger.run(copy, progress=False)
    assert files(copy) == before
    complete(copy)
    assert_same(copy, whole)


def test_damaged_steps_of_a_store_that_has_others_than_its_sweep(tmp_path):
    # Logarithmic saves to a later end: those that are there stay.
    path, settings = tmp_path / "a.zarr", {"save_every": None, "save_log": 4}
    Sweep(**SWEEP | settings).run(path, progress=False)
    longer = Sweep(**SWEEP | settings | {"num_steps": 90})
    longer.run(path, progress=False)
    (path / "end" / "c" / "1").unlink()
    longer.run(path, progress=False)
    np.testing.assert_array_equal(xarray.open_zarr(path).end, [50, 90])
    truncate(path / "step" / "c" / "0")
    with pytest.raises(store.Refused, match="step lost or damaged"):
        longer.run(path, progress=False)


def assert_mended(path, whole, caplog, monkeypatch):
    """Only chunk 5 is computed again, with a warning."""
    written = record_writes(monkeypatch)
    with caplog.at_level(logging.WARNING, "lindae_jax"):
        complete(path)
    assert [r.message for r in caplog.records] == [
        f"chunk 5 of {path} is damaged; it is computed again"
    ]
    assert written == [5]
    assert_same(path, whole)


# --- another configuration --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"axes": AXES | {"noise": [0, 0.2, 0.5]}}, r"axes\.noise: .*0\.2.* here, .*0\.1.* in the"),
        ({"axes": AXES | {"init_w1": 0.3}}, r"axes\.init_w1: 0\.3 here, 0\.1 in the store"),
        ({"num_steps": 40}, r"rows: .*40\] here, .*50\] in the store"),
        ({"keep_weights": False}, "keep_weights: false here, true in the store"),
        ({"observe": ["mapping"]}, "observe: .*mapping.* here, .*mapping.*norm.* in the store"),
    ],
)
def test_other_configuration(copy, change, shown):
    def everything():
        return {f: f.read_bytes() if f.is_file() else None for f in sorted(copy.rglob("*"))}

    before = everything()
    with pytest.raises(ValueError, match=shown):
        Sweep(**SWEEP | change).run(copy, progress=False)
    assert everything() == before


# --- several processes ------------------------------------------------------------


def test_second_writer(start, whole, tmp_path):
    path = tmp_path / "sweep.zarr"
    first = start(moment="computing", at=4, action="wait")
    told = until(first, "waiting")
    time.sleep(0.2)  # chunk 2 may still be being written
    before = files(path)
    with pytest.raises(Busy, match="another process is at work on this store, share 0/1"):
        complete(path)
    with pytest.raises(Busy, match="share 0/1"):
        complete(path, takeover=True)  # a lock tells for certain that someone is there
    with pytest.raises(Busy, match="share 0/1 of this store"):
        complete(path, process=(1, 2), takeover=True)
    assert files(path) == before
    first.kill()
    assert_resumes(path, whole, told + told_until_killed(first))


def test_shares(start, whole, tmp_path):
    path = tmp_path / "sweep.zarr"
    first = start(process=[0, 2], moment="computing", at=2, action="wait")
    until(first, "waiting")
    with pytest.raises(Busy, match="share 0/2"):
        complete(path, process=(0, 2))
    with pytest.raises(Busy, match=r"share 0/2 of this store.*same N"):
        complete(path, process=(0, 3))
    half = complete(path, process=(1, 2))
    assert (by_chunk(half, "status")[1::2] != NOT_RUN).all()
    first.communicate("\n")
    assert first.returncode == 0
    assert_same(path, whole)


def test_shares_from_the_start(start, whole, tmp_path):
    # Both find no store, and one of them makes it.
    pair = [start(process=[i, 2], moment="making", action="wait") for i in range(2)]
    for child in pair:
        until(child, "waiting")
    for child in pair:
        child.stdin.write("\n")
        child.stdin.flush()
    told = [child.stdout.read().split() for child in pair]
    assert [child.wait() for child in pair] == [0, 0]
    assert [t.count("written") for t in told] == [CHUNKS // 2] * 2
    assert_same(tmp_path / "sweep.zarr", whole)
    assert not list(tmp_path.glob(".*"))


def test_dead_share(start, whole, tmp_path):
    # What one process leaves undone, a rerun with another N completes.
    path = tmp_path / "sweep.zarr"
    told_until_killed(start(process=[0, 2], moment="between", at=2, action="kill"))
    for share in range(3):
        complete(path, process=(share, 3))
    assert_same(path, whole)


def test_killed_where_there_are_no_locks(copy, whole, monkeypatch):
    # What stands for the lock was left behind; nobody can tell that its process is dead.
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (copy / "status" / "c" / "0" / "5" / "0").unlink()
    left = copy / "status" / ".locks" / "0-of-1.taken"
    left.parent.mkdir()
    left.touch()
    before = files(copy)
    with pytest.raises(Busy, match=r"or was: this file system has no locks.*--takeover"):
        complete(copy)
    assert files(copy) == before
    complete(copy, takeover=True)
    assert_same(copy, whole)
    complete(copy)  # which needs no takeover any more


# --- dask -------------------------------------------------------------------------

# Chunks of one eigenvalue, enough that a worker dies before the last.
MANY = {"axes": AXES | {"eigenvalue": np.geomspace(0.1, 3, 60).tolist()}}


TOML = """
num_steps = 10

[axes]
eigenvalue = [0.5, 1.0, 2.0]
init_w1 = 0.1
init_w2 = 0.1
"""


@contextlib.contextmanager
def two_workers():
    from distributed import Client, LocalCluster

    local = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **local) as cluster,
        # As the command line makes it.
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_networks_on_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 2)
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    sweep = Sweep(
        {"hidden": 8, "noise": np.linspace(0, 1, 5), "seed": range(3), "learning_rate": 0.1},
        *(2_000,),
        model="matrices",
        spectrum=Spectrum.from_data(x),
        observe=["weights"],
    )
    with two_workers() as client:
        sweep.run(tmp_path / "a.zarr", progress=False, client=client)
        again = sweep.run(tmp_path / "a.zarr", progress=False, client=client)
        first = dataclasses.replace(sweep, num_steps=1)
        stepped = first.run(tmp_path / "first.zarr", progress=False, client=client)
        # These workers were started without 64 bits.
        with pytest.raises(ValueError, match=r"^dask's workers need JAX_ENABLE_X64=1 .* 2 of 2"):
            cluster.check(client, dataclasses.replace(sweep, dtype="float64"), None)
        (tmp_path / "s.toml").write_text(TOML)
        command = ["sweep", str(tmp_path / "s.toml"), "--store", str(tmp_path / "toml.zarr")]
        assert cli.main([*command, "--scheduler", client.scheduler.address]) == 0
    assert (xarray.open_zarr(tmp_path / "toml.zarr").status == 0).all()
    for one, other, bound in (
        (sweep.run(progress=False), again, 5e4),
        (first.run(progress=False), stepped, 8 * 16**0.5),
    ):
        assert (other.status == 0).all()
        for name in ("w1", "w2"):
            largest = np.abs(one[name]).max(("unit", "input"))
            assert (np.abs(one[name] - other[name]) <= bound * 2.0**-23 * largest).all()


def test_worker_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 3)
    sweep = Sweep(**SWEEP | MANY)
    sweep.run(tmp_path / "whole.zarr", progress=False)
    path = tmp_path / "sweep.zarr"
    with two_workers() as client:
        pids = client.run(os.getpid)
        left = []

        def kill_one():
            done = path / "status" / "c" / "0"
            while len(list(done.glob("*/0"))) < 3:
                time.sleep(0.01)
            os.kill(next(iter(pids.values())), signal.SIGKILL)
            left.append(60 - len(list(done.glob("*/0"))))

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        sweep.run(path, progress=False, client=client)
        killer.join(timeout=60)
    assert left[0] > 0
    assert_same(path, tmp_path / "whole.zarr")


class Client:
    """Stands for dask's: it takes tasks, and fails at them as it is told."""

    loop = None

    def __init__(self, error=None):
        self.error, self.given = error, []

    def submit(self, function, *arguments, **options):
        if function is cluster._same:
            warnings.warn("Sending large graph of size 12 MiB.", UserWarning, stacklevel=2)
        self.given.append(arguments)
        return self

    def run(self, function):
        return {"tcp://one": True, "tcp://two": False}

    def scheduler_info(self):
        return {"workers": {}}

    def result(self):
        raise self.error


@pytest.mark.parametrize("name", ["KilledWorker", "CancelledError"])
def test_dead_workers_are_an_error_that_says_how_to_go_on(tmp_path, monkeypatch, name):
    distributed = pytest.importorskip("distributed")
    error = getattr(distributed, name)
    error = error("work", None, 3) if name == "KilledWorker" else error("work")
    monkeypatch.setattr(distributed, "as_completed", lambda futures, loop: iter(futures))
    path = tmp_path / "sweep.zarr"
    with pytest.raises(RuntimeError, match=r"^dask's workers died .* kept.* run again\.$"):
        complete(path, client=Client(error))
    complete(path)


def test_no_eigenvector_is_sent_and_what_is_large_is_sent_without_a_warning():
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    axes, spectrum = {"hidden": 8, "noise": [0.0, 0.1]}, Spectrum.from_data(x)
    sweep = Sweep(axes, 5, model="matrices", spectrum=spectrum)
    client = Client()
    cluster._shared(client, sweep)
    ((sent,),) = client.given
    assert sent.spectrum.eigenvectors.size == 0
    assert config.configuration(sent) == config.configuration(sweep)
    assert sweep.spectrum.eigenvectors.shape == (16, 16)


def test_workers_without_64_bits_are_told_before_there_is_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "requested_dtype", lambda dtype: None)  # as if they were on here
    sweep = Sweep(**SWEEP, dtype="float64")
    words = r"^dask's workers need JAX_ENABLE_X64=1 for dtype float64; got 1 of 2 without\. Start"
    with pytest.raises(ValueError, match=words):
        sweep.run(tmp_path / "a.zarr", progress=False, client=Client())
    assert not any(tmp_path.iterdir())


def test_a_worker_remembers_what_its_memory_holds(tmp_path, monkeypatch):
    real, sizes = compute.run, []

    def limited(sweep, stretch, box, lengths, *rest):
        sizes.append(np.prod(lengths))
        if sizes[-1] > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(sweep, stretch, box, lengths, *rest)

    sweep, path = Sweep(**SWEEP), tmp_path / "sweep.zarr"
    store.make(path, sweep, (2, 3))
    monkeypatch.setattr(compute, "run", limited)
    for unit in store.open_for(path, sweep).units():
        assert cluster.work(sweep, str(path), unit, None, None) == MEMBERS
    # One unit finds out, none tries again.
    assert [size for size in sizes if size > 3] == [6, 4]
