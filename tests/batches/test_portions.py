"""A batch computed in portions is the batch computed at once, and holds little besides."""

import math
import os
import subprocess
import sys

import pytest

from lindae_jax.batches import portions

AT_ONCE = """
import jax

jax.config.update("jax_num_cpu_devices", 3)
import jax.numpy as jnp
import numpy as np
from lindae_jax import Problem, simulate_pairs, theory
from lindae_jax.batches import host, layout, portions
from lindae_jax.batches.layout import lay_out

rng = np.random.default_rng(5)
one = jax.devices()[0]

def uniform(*shape):
    return jnp.asarray(rng.uniform(0.1, 0.9, shape), jnp.float32)

def watched(spread, arrays, rows=1):
    rows_seen.append(rows)
    stayed.append(any(isinstance(x, host.OnHost) for x in arrays))
    return portions.portions(spread, arrays, rows)

# Results, in portions of 8,192 members or fewer.
portions._BYTES, portions._BYTES_EACH, portions._LEAST = 2**15, 0, 2**11
host._LEAST_BYTES = 1000
rows_seen, stayed, layout.portions = [], [], watched
for shape in ((100_001,), (90_003,), (3, 30_001), (2, 1, 40_001), (251, 203)):
    row = shape[-1:]
    settings = Problem(uniform(*row), 0.5, uniform(shape[0], *(1,) * (len(shape) - 1)), 0.1)
    w1, w2 = uniform(*shape), uniform(*row)
    assert portions.portions(lay_out([w1], 512, 512).spread, [w1]) is not None
    options = {"save_every": 4, "compensated": True} if len(shape) == 2 else {}

    def run(put):
        problem = jax.tree.map(put, settings)
        return simulate_pairs(put(w1), put(w2), problem, num_steps=9, **options)

    alone = run(lambda x: jax.device_put(x, one))
    # As they are, and from arrays of NumPy that stay where they are.
    for put in (lambda x: x, np.asarray, np.asfortranarray):
        many = run(put)
        assert jax.tree.structure(many) == jax.tree.structure(alone)
        for x, y in zip(jax.tree.leaves(many), jax.tree.leaves(alone), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), shape
    if shape[0] == 251:
        mapping = theory.mapping(9, w1, w2, settings)
        there = [jax.device_put(x, one) for x in (w1, w2)]
        np.testing.assert_allclose(mapping, theory.mapping(9, *there, settings), rtol=2e-6)

assert stayed.count(True) == 2 * 5
assert set(rows_seen) == {1, 8}  # four saves of four arrays, not two
few, many = (portions.portions(lay_out([w1], 512, 512).spread, [w1], rows) for rows in (1, 8))
assert many.spread.shape[0] * 3 < few.spread.shape[0]

# Of a batch in one piece parts are its own memory, but for the last portion's, which need
# not begin where memory is shared. Nothing of the batch is changed.
for shape in ((100_003,), (9_001, 7), (1, 20_002, 16)):
    x = uniform(*shape)
    kept, begin = np.array(x), x.unsafe_buffer_pointer()
    own = []

    def double(spread, x):
        for shard in x.addressable_shards:
            own.append(0 <= shard.data.unsafe_buffer_pointer() - begin < kept.nbytes)
        return [x, 2 * x]

    same, twice = portions.portions(lay_out([x], 512, 512).spread, [x]).call(double, x)
    assert np.array_equal(same, kept) and np.array_equal(twice, 2 * kept)
    assert np.array_equal(x, kept)
    assert len(own) >= 3 * (x.nbytes // portions._BYTES) and all(own[:-3]), (shape, own)
print("same")
"""


def test_portions_are_the_whole_bit_by_bit():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_ONCE],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "same\n")


@pytest.mark.parametrize("num", [2, 3, 8])
@pytest.mark.parametrize(
    "shape",
    [
        (3 * 10**7 + 1,),
        (60_001,),
        (10**6 + 1,),
        (5001, 6001),
        (5001, 60_001),
        (3, 60_001),
        (3, 10**7),
        (3, 2, 50_001),
        (1, 60_001, 16),
        (2, 2**19 + 1),
        (100, 10**6 + 1),
        (101, 101, 101),
        (1001, 1001, 1001),
    ],
)
def test_portions_are_few_and_small_and_divide_evenly(shape, num):
    most = 2**19
    axis, portion = portions._cut(shape, num, most)
    number = math.prod(-(-n // m) for n, m in zip(shape, portion, strict=True))
    members = math.prod(portion)
    assert portion[axis] % num == 0
    assert members <= 1.2 * most
    assert number * members <= 1.15 * math.prod(shape)
    assert number <= 2 * max(1, math.prod(shape) / most)
