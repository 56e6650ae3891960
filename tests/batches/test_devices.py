"""A batch spread over devices is the batch on one, bit by bit; a network cut, within rounding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lindae_jax
from lindae_jax.batches import devices

SPREAD = """
import logging, jax, numpy as np, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from lindae_jax import Problem, simulate_pairs

jax.config.update("jax_numpy_dtype_promotion", "strict")
assert jax.device_count() == 3
rng = np.random.default_rng(7)
here = jax.devices()[1]

def run(shapes, **options):
    values = [rng.uniform(0.1, 1, shape).astype(np.float32) for shape in shapes]
    put = [jax.device_put(x, here) for x in values]
    both = []
    for w1, w2, *fields in (values, put):
        both.append(simulate_pairs(w1, w2, Problem(*fields), num_steps=37, **options))
    many, one = both
    assert one.w1.devices() == {here}
    for x, y in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    return len(many.w1.devices())

n = 60_000
assert run([(n,)] * 6) == 3
assert run([(n,), (), (), (), (), ()]) == 3
assert run([(), (n,), (1, n), (), (), ()]) == 3
assert run([(30, 1), (1, 7000), (7000,), (), (30, 1), ()], save_every=10) == 3
assert run([(n,)] * 6, observe=lambda step, w1, w2, p: (w1 * w2, w1.max()), save_every=9) == 3
assert run([(n,)] * 6, compensated=True) == 3
for odd in ([(n + 1,)] * 6, [(n + 2, 1), (1, 2), (), (2,), (), ()]):
    run(odd, save_every=20)
assert run([(100,)] * 6) == 1  # too few to be worth the way

# What lies on several devices stays on these.
mesh = Mesh(np.array(jax.devices()[1:]), ("mine",))
x = jax.device_put(np.full(n, 0.5, np.float32), NamedSharding(mesh, PartitionSpec("mine")))
got = simulate_pairs(x, x, Problem(np.float32(1.0)), num_steps=3)
assert got.w1.devices() == set(jax.devices()[1:]), got.w1.devices()
with jax.default_device(here):
    got = simulate_pairs(jnp.full(n, 0.5), 0.5, Problem(1.0), num_steps=3)
    assert got.w1.devices() == {here}

# Under the caller's own jit nothing is moved.
assert jax.jit(lambda x: simulate_pairs(x, x, Problem(1.0), num_steps=3).w1)(x).shape == (1, n)
print("same")
"""


def process(code, num_devices):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    environment |= {
        "JAX_NUM_CPU_DEVICES": str(num_devices),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(lindae_jax.__file__).parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_three_devices_do_as_one_does():
    done = process(SPREAD, 3)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "same\n")


@pytest.mark.parametrize(("cores", "times"), [(4, 1), (1, 0)])
def test_the_line_to_write_is_said_once_where_cores_are_idle(monkeypatch, caplog, cores, times):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    devices._hint.cache_clear()
    for _ in range(3):
        devices._hint()
    assert caplog.text.count('jax.config.update("jax_num_cpu_devices", 4)') == times
    devices._hint.cache_clear()


# --- networks whose directions are cut ----------------------------------------------

DIRECTIONS = """
import jax, numpy as np
from lindae_jax import Problem, simulate_matrices
from lindae_jax.batches.layout import lay_out

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 3
rng = np.random.default_rng(11)

def parts(*shape, sums=True):
    spread = lay_out([jax.numpy.zeros(shape)], 4096, 4096, inner=2, sums=sums).spread
    return None if spread is None else (spread.axis, spread.mesh.size)

assert parts(70, 768) == (-1, 3) and parts(1, 70, 768) == (-1, 3)
assert parts(70, 768, sums=False) is None
assert parts(4, 70, 768) == (-1, 3)  # a network more than devices
assert parts(3, 70, 768) == parts(30, 70, 768) == (-3, 3)
assert parts(70, 769) is parts(60, 768) is parts(150, 765) is None  # uneven, small, few each

def run(batch, dtype, hidden=100, directions=768):
    w1 = rng.normal(size=(*batch, hidden, directions)).astype(dtype) / 20
    w2 = rng.normal(size=(*batch, directions, hidden)).astype(dtype) / 20
    fields = rng.uniform(0.01, 0.1, (3, *batch)).astype(dtype)
    problem = Problem(rng.uniform(size=(*batch, directions)).astype(dtype), *fields)

    def go(w1, w2, num_steps=21, **options):
        return simulate_matrices(w1, w2, problem, num_steps=num_steps, **options)

    here = jax.devices()[1]
    one, whole = go(jax.device_put(w1, here), w2), go(w1, w2)
    assert one.w1.devices() == go(w1, jax.device_put(w2, here), 1).w1.devices() == {here}
    for name in ("w1", "w2"):
        x, y = np.asarray(getattr(one, name)), np.asarray(getattr(whole, name))
        assert x.dtype == y.dtype == dtype
        # Sums along the directions, in another order at each step.
        np.testing.assert_allclose(x, y, rtol=0, atol=np.finfo(dtype).eps * 21 * directions**0.5)
    assert not np.any(whole.status)

    def same(x, y):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()

    for cut in (0, 8, 20):
        first = go(w1, w2, cut)
        rest = go(first.w1[-1], first.w2[-1], 21 - cut)
        same(rest.w1, whole.w1), same(rest.w2, whole.w2)
        # Onwards from memory of the host as well.
        same(go(*map(np.asarray, (first.w1[-1], first.w2[-1])), 21 - cut).w2, whole.w2)
    saved = go(w1, w2, save_every=5)
    same(saved.w1[-1], whole.w1[0]), same(saved.w2[-1], whole.w2[0])
    seen = go(w1, w2, save_every=5, observe=lambda step, a, b, p: (a @ b, a.max()))
    assert seen.observed[0].shape == (6, *batch, hidden, hidden)
    same(seen.observed[1], [np.max(row) for row in np.asarray(saved.w1)])
    return {shard.data.shape for shard in whole.w1.addressable_shards}

assert run((), np.float32) == {(1, 100, 256)}
assert run((2, 2), np.float64, 80) == {(1, 2, 2, 80, 256)}
assert run((), np.float32, 600) == {(1, 600, 768)}  # through D x D matrices
print("same")
"""


def test_directions_of_a_network_on_three_devices():
    """Within rounding what one device finds, and bitwise itself, cut and saved anyhow."""
    done = process(DIRECTIONS, 3)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "same\n")


# --- sizes that devices do not divide -----------------------------------------------

ODD = """
import jax

jax.config.update("jax_num_cpu_devices", 3)
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from lindae_jax.batches.layout import lay_out
from lindae_jax import Problem, simulate_pairs, theory

rng = np.random.default_rng(3)
for shape in ((100_001,), (251, 203)):
    w1, w2 = rng.uniform(0.1, 0.5, (2, *shape)).astype(np.float32)
    lam = rng.uniform(0.1, 1, shape[-1:]).astype(np.float32)
    noise = rng.uniform(0, 1, (shape[0],) + (1,) * (len(shape) - 1)).astype(np.float32)
    for options in ({}, {"save_every": 4, "compensated": True}):
        def run(*index):
            problem = Problem(lam[index[-1]], noise[index[0]] if len(index) > 1 else 0.5, 0.0)
            return simulate_pairs(w1[index], w2[index], problem, num_steps=9, **options)

        every = (slice(None),) * len(shape)
        end = (*every[:-1], slice(-5, None))
        whole, part = run(*every), run(*end)
        for one, other in zip(jax.tree.leaves(whole[1:]), jax.tree.leaves(part[1:]), strict=True):
            assert one.shape[one.ndim - len(shape):] == shape
            assert np.asarray(one)[..., -5:].tobytes() == np.asarray(other).tobytes()
    mapping = theory.mapping(9, w1, w2, Problem(lam, 0.5, 0.0))
    assert mapping.shape == shape
    expected = theory.mapping(9, w1[end], w2[end], Problem(lam[-5:], 0.5, 0.0))
    np.testing.assert_allclose(mapping[..., -5:], expected, rtol=1e-6)

# Large matrices keep all cores of a CPU busy from one device; so does a function of one pass.
def parts(*shapes, **options):
    arrays = [jnp.zeros(shape) for shape in shapes]
    spread = lay_out(arrays, 4096, 4096, **options).spread
    return 1 if spread is None else spread.mesh.size

assert parts((4, 200, 100), inner=2) == 1  # half of it more, as padding
assert parts((3, 200, 100), inner=2) == parts((20, 100, 100), inner=2) == 3
assert parts((90_000,), one_pass=True) == 1 and parts((90_001,)) == 3
there = jax.device_put(jnp.zeros(90_000), NamedSharding(jax.make_mesh((3,), "x"), P("x")))
assert lay_out([there], 4096, 4096, one_pass=True).spread.mesh.size == 3

x = np.full(100_001, np.float32(0.3))
seen = simulate_pairs(x, x, Problem(1.0), num_steps=1, observe=lambda step, a, b, p: a.sum())
np.testing.assert_allclose(seen.observed[0], 100_001 * seen.w1[0, 0], rtol=1e-4)
"""


def test_batches_that_devices_do_not_divide():
    """Nothing is seen of how they are cut: shapes, members at the end, sums."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ODD],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
