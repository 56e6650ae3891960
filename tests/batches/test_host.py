"""Large arrays of NumPy are read where they are, and the results are those of a copy."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Problem, simulate_pairs
from lindae_jax.batches import host
from lindae_jax.batches.host import OnHost

NUM_PAIRS = 2**18 + 5


@pytest.fixture
def taken(monkeypatch):
    """How many parts were copied of arrays that stayed."""
    found = []
    copy_to = OnHost.copy_to

    def counted(self, memory, index):
        found.append(index)
        return copy_to(self, memory, index)

    monkeypatch.setattr(OnHost, "copy_to", counted)
    return found


def settings(dtype, shape=(NUM_PAIRS,)):
    rng = np.random.default_rng(8)
    w1, w2, eigenvalue, noise = rng.uniform(0.1, 0.9, (4, *shape)).astype(dtype)
    return w1, w2, eigenvalue, noise


def run(w1, w2, eigenvalue, noise, **options):
    return simulate_pairs(w1, w2, Problem(eigenvalue, noise, 0.01, 0.1), num_steps=9, **options)


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(x, jax.Array)
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.both
@pytest.mark.parametrize("options", [{}, {"save_every": 4}, {"compensated": True}])
def test_a_run_from_numpy_is_the_run_from_jax_bit_by_bit(options, taken, dtype):
    given = settings(dtype)
    kept = [x.copy() for x in given]
    found = run(*given, **options)
    assert taken
    del taken[:]
    assert_same(found, run(*map(jnp.asarray, given), **options))
    assert not taken
    assert all(map(np.array_equal, given, kept))


@pytest.mark.parametrize("kind", ["columns", "every other", "backwards", "broadcast"])
def test_arrays_may_lie_in_memory_as_they_like(kind, taken):
    w1, w2, eigenvalue, noise = settings(np.float32, (3, NUM_PAIRS))
    w1 = {
        "columns": np.asfortranarray,
        "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        "backwards": lambda x: x[::-1, ::-1],
        "broadcast": lambda x: np.broadcast_to(x[1], x.shape),
    }[kind](w1)
    found = run(w1, w2, eigenvalue[0], noise[:, :1])
    assert taken
    assert_same(found, run(*map(jnp.asarray, (w1, w2, eigenvalue[0], noise[:, :1]))))


def test_numbers_are_cast_as_the_call_asks(taken):
    """Integers beside float32, and float64 where JAX has none."""
    w1, w2, eigenvalue, _ = settings(np.float32)
    whole = (1000 * w1).astype(int)
    wide = eigenvalue.astype(float) + (0 if jax.config.jax_enable_x64 else 1e-9)
    found = run(w1, w2, wide, whole)
    assert taken
    assert_same(found, run(w1, w2, *map(jnp.asarray, (wide, whole))))


def test_a_file_is_read_as_an_array(tmp_path, taken):
    given = settings(np.float32)
    np.save(tmp_path / "w1.npy", given[0])
    found = run(np.load(tmp_path / "w1.npy", mmap_mode="r"), *given[1:])
    assert taken
    assert_same(found, run(*map(jnp.asarray, given)))


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (-1, "-1.0"), (1e300, "inf")])
def test_a_bad_value_is_found_before_anything_is_computed(value, shown, taken):
    w1, w2, eigenvalue, noise = settings(np.float32)
    wide = noise.astype(float)
    wide[-2] = value
    message = rf"^noise must be finite and >= 0; got {shown} at index \({NUM_PAIRS - 2},\)"
    with jax.enable_x64(False), pytest.raises(ValueError, match=message):
        run(w1, w2, eigenvalue, wide)
    assert not taken


def test_weights_need_not_be_finite(taken):
    w1, *others = settings(np.float32)
    w1[7] = np.inf
    found = run(w1, *others)
    assert taken
    assert found.status[7] != 0
    assert (found.status == 0).sum() == NUM_PAIRS - 1


def test_other_kinds_of_arrays_are_for_jax_to_understand():
    w1 = settings(np.float32)[0]
    assert host.may_stay(w1, w1.dtype)
    assert not host.may_stay(np.ma.masked_array(w1, w1 > 0.5), w1.dtype)


def test_what_is_put_somewhere_or_traced_or_watched_is_taken_as_a_whole(taken):
    given = w1, w2, _, noise = settings(np.float32)
    whole = run(*map(jnp.asarray, given))
    assert run(jax.device_put(w1, jax.devices()[0]), *given[1:]).w1.committed
    assert_same(jax.jit(lambda x: run(*given))(0.0), whole)
    half = jnp.full((), 0.5, w1.dtype)
    moved, _ = jax.jvp(lambda e: run(w1, w2, e, noise).w1, (half,), (half,))
    watched = run(*given, observe=last_weight)
    np.testing.assert_array_equal(watched.observed, whole.w1[:, -1])
    assert not taken
    np.testing.assert_array_equal(moved, run(w1, w2, half, noise).w1)
    assert taken


def test_a_mesh_of_the_caller_is_no_hindrance():
    """There JAX puts what is new on the mesh, and all is copied."""
    given = settings(np.float32)
    with jax.set_mesh(jax.make_mesh((1,), ("x",))):
        found = run(*given)
    assert_same(found, run(*map(jnp.asarray, given)))


@pytest.mark.parametrize("shape", [(1, 0), (0, 1)])
def test_a_batch_of_no_members_is_empty(shape):
    w1 = np.ones((NUM_PAIRS, 1) if shape[1] == 0 else (1, NUM_PAIRS), np.float32)
    found = run(w1, np.ones(shape, np.float32), 1.0, 0.5)
    assert found.w1.shape == (1, *np.broadcast_shapes(w1.shape, shape))


def last_weight(step, w1, w2, problem):
    return w1[-1]


def test_small_arrays_are_copied(taken):
    few = [x[: host._LEAST_BYTES // 4 - 1] for x in settings(np.float32)]
    run(*few)
    assert not taken


# What is held beside inputs and outputs, of which each is 38 MiB, when all is compiled.
MEMORY = """
import re
import jax

jax.config.update("jax_num_cpu_devices", {devices})
import numpy as np
from lindae_jax import Problem, simulate_pairs

def resident(which):
    with open("/proc/self/status") as status:
        return int(re.search(rf"^{{which}}:\\s+(\\d+) kB", status.read(), re.M)[1]) / 1024

def run(num):
    shape = (num,) if {rows} == 1 else ({rows}, num // {rows})
    w1, w2, *fields = (np.full(shape, x, "{dtype}") for x in (0.1, 0.2, 1.0, 0.5, 0.1, 0.01))
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = resident("VmRSS")
    found = jax.block_until_ready(simulate_pairs(w1, w2, Problem(*fields), num_steps=9))
    held = sum(x.nbytes for x in (found.w1, found.w2, found.status)) / 2**20
    return resident("VmHWM") - before - held

run(10**7)
print(run(10**7))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux counts this")
@pytest.mark.parametrize(("devices", "rows", "dtype"), [(1, 1, "f4"), (2, 3, "f8")])
def test_little_is_held_beside_inputs_and_outputs(devices, rows, dtype):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(devices=devices, rows=rows, dtype=dtype)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 40
