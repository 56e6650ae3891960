"""A draw is a function of (seed, what is drawn, hidden unit, direction) alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lindae_jax import initial

pytestmark = pytest.mark.both

draw = functools.partial(initial.small, std=0.1, hidden=3, num_directions=4)


def assert_same(a, b):
    """Bitwise."""
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


# --- what a draw is ------------------------------------------------------------


def threefry(key, word):
    """Threefry-2x32 with 20 rounds of the words (0, word), from its definition."""
    mask, rotations = 0xFFFFFFFF, ((13, 15, 26, 6), (17, 29, 16, 24))
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = keys[0], (word + keys[1]) & mask
    for group in range(5):
        for r in rotations[group % 2]:
            x = (x + y) & mask
            y = ((y << r | y >> (32 - r)) & mask) ^ x
        x = (x + keys[(group + 1) % 3]) & mask
        y = (y + keys[(group + 2) % 3] + group + 1) & mask
    return x, y


def normal(*path):
    """The normal number of (seed, what, unit, direction)."""
    high, low = functools.reduce(threefry, path[1:], (0, path[0]))
    half = ((high & 0x7FFFFFFF) + (low + 0.5) / 2**32) / 2**32
    return (-1 if high >> 31 == 0 else 1) * -stats.norm.ppf(half)


def test_draws_are_the_documented_hash(dtype, eps):
    """Against a Threefry and a normal quantile of other makers."""
    seeds = np.array([0, 1, 77, 2**32 - 1])
    w1, w2 = initial.small(seeds, std=1.0, hidden=2, num_directions=3)
    assert w1.dtype == dtype
    for index in np.ndindex(4, 2, 3):
        n, h, d = index
        # The quantile's own rounding: absolute where it passes 0.
        assert abs(w1[n, h, d] - normal(seeds[n], 0, h, d)) < 10 * eps
        assert abs(w2[n, d, h] - normal(seeds[n], 1, h, d)) < 10 * eps


def test_draws_are_standard_normal_and_independent():
    """Kolmogorov-Smirnov at 10^5 draws; correlations within five standard errors."""
    w1, w2 = (np.asarray(w, float) for w in initial.small(np.arange(10**5), std=2.0))
    for w in (w1, w2):
        assert stats.kstest(w / 2, "norm").pvalue > 1e-3
    wide = initial.small(5, std=1.0, hidden=250, num_directions=400)
    v1, v2 = np.asarray(wide.w1, float), np.asarray(wide.w2, float).T
    pairs = [(w1 / 2, w2 / 2), (v1, v2), (v1[:, 1:], v1[:, :-1]), (v1[1:], v1[:-1])]
    for x, y in pairs:
        assert abs((x * y).sum()) < 5 * np.sqrt(x.size)


@pytest.mark.x64
def test_float32_is_the_same_quantile_as_float64():
    """They differ by rounding, and the far tail is there in both."""
    seeds = np.arange(10**5)
    single, double = (initial.small(seeds, std=1.0, dtype=d) for d in ("float32", "float64"))
    assert single.w1.dtype == np.float32
    difference = np.abs(np.asarray(single.w1, np.float64) - np.asarray(double.w1))
    assert difference.max() < 1e-6


# --- what a draw does not depend on ------------------------------------------------


def test_prefix_in_hidden_units_and_directions():
    """A smaller network is a corner of a larger one; a pair its first entry."""
    w1, w2 = initial.small(7, std=0.1, hidden=6, num_directions=9)
    assert (w1.shape, w2.shape) == ((6, 9), (9, 6))
    assert_same((w1[:3, :4], w2[:4, :3]), draw(7))
    row = initial.small(7, std=0.1, num_directions=9)
    assert_same((w1[0], w2[:, 0]), row)
    assert_same((row.w1[0], row.w2[0]), initial.small(7, std=0.1))


def test_place_in_the_batch():
    """Alone, in a batch, in another order, under vmap and jit: the same."""
    seeds = np.array([[3, 0, 41], [2**32 - 1, 3, 8]])
    w1, w2 = draw(seeds)
    assert w1.shape == (2, 3, 3, 4)
    for index in np.ndindex(seeds.shape):
        assert_same((w1[index], w2[index]), draw(int(seeds[index])))
    assert_same((w1[:, ::-1], w2[:, ::-1]), draw(seeds[:, ::-1]))
    mapped = jax.jit(jax.vmap(jax.vmap(draw)))(jnp.asarray(seeds.astype(np.uint32)))
    assert_same((w1, w2), mapped)


@pytest.mark.parametrize("integer", [np.int8, np.int32, np.uint32, np.int64, np.uint64, int])
def test_integer_type_of_the_seed(integer):
    """The value counts."""
    assert_same(draw(integer(100)), draw(100))
    if integer is not int:
        assert_same(draw(np.full(2, 100, integer)), draw([100, 100]))


def test_traced_integer_type_of_the_seed():
    for integer in (jnp.int32, jnp.uint32, jnp.int8):
        assert_same(jax.jit(draw)(jnp.asarray(100, integer)), draw(100))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("jax_threefry_partitionable", False),
        ("jax_threefry_partitionable", True),
        ("jax_default_prng_impl", "rbg"),
    ],
)
def test_configuration(option, value):
    """The user's random number settings are not ours."""
    before = getattr(jax.config, option)
    expected, rotated = draw(3), initial.aligned(3, [1.0, 2.0], [1.0, 2.0], 2, 3)
    jax.config.update(option, value)
    try:
        initial._small.clear_cache()
        initial._aligned.clear_cache()
        assert_same(draw(3), expected)
        assert_same(initial.aligned(3, [1.0, 2.0], [1.0, 2.0], 2, 3), rotated)
    finally:
        jax.config.update(option, before)


# --- scale, shape, dtype ------------------------------------------------------------


def test_std_broadcasts_against_the_seed_and_is_traced(dtype):
    """One column of seeds times one row of deviations; equal seeds, equal directions."""
    std = jnp.asarray([0.1, 0.2, 0.0], dtype)
    w1, w2 = initial.small(np.arange(2)[:, None], std=std, hidden=3, num_directions=4)
    assert (w1.shape, w2.shape) == ((2, 3, 3, 4), (2, 3, 4, 3))
    unit = initial.small(np.arange(2), std=jnp.ones((), dtype), hidden=3, num_directions=4)
    np.testing.assert_array_equal(w1, unit.w1[:, None] * std[:, None, None])
    np.testing.assert_array_equal(w2, unit.w2[:, None] * std[:, None, None])
    slope = jax.grad(lambda s: initial.small(4, std=s).w1)(jnp.asarray(0.5, dtype))
    assert slope == initial.small(4, std=jnp.ones((), dtype)).w1


def test_result_dtype_follows_std(dtype):
    """A Python number is the default float; a request wins."""
    assert initial.small(0, std=1).w1.dtype == dtype
    assert initial.small(0, std=np.float32(1)).w1.dtype == np.float32
    assert initial.small(0, std=1.0, dtype="float32").w2.dtype == np.float32


# --- aligned ---------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [1, 2, 5, 7])
def test_aligned_matrices_map_each_direction_by_its_pair(rng, dtype, eps, hidden):
    """W2 W1 = diag(a b), W1^T W1 = diag(a^2), W2 W2^T = diag(b^2), 0 beyond min(H, D)."""
    m = min(hidden, 5)
    a, b = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, 3, m)))
    w1, w2 = (np.asarray(w, float) for w in initial.aligned(np.arange(3), a, b, hidden, 5))
    assert (w1.shape, w2.shape) == ((3, hidden, 5), (3, 5, hidden))
    a, b = (np.pad(np.asarray(x, float), [(0, 0), (0, 5 - m)]) for x in (a, b))
    for got, diagonal in (
        (w2 @ w1, a * b),
        (w1.swapaxes(1, 2) @ w1, a * a),
        (w2 @ w2.swapaxes(1, 2), b * b),
    ):
        # Householder factors of H columns: a few eps of each entry's scale.
        np.testing.assert_allclose(got, np.eye(5) * diagonal[:, None], atol=100 * eps)


def test_rotation_is_uniform():
    """Haar measure: no entry has a preferred sign, and each squares to 1/H on average."""
    one = jnp.ones(3, jnp.float32)
    rotation = np.asarray(initial.aligned(np.arange(4000), one, one, 3, 3).w1, float)
    # Entries have variance 1/3, their squares 2/(H+2) H^-2 (H-1) = 4/45.
    assert (np.abs(rotation.mean(0)) < 5 * np.sqrt(1 / 3 / 4000)).all()
    assert (np.abs((rotation**2).mean(0) - 1 / 3) < 5 * np.sqrt(4 / 45 / 4000)).all()
    assert abs(np.linalg.det(rotation).mean()) < 5 / np.sqrt(4000)


def test_aligned_does_not_depend_on_the_place_in_the_batch(rng, dtype):
    a, b = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, 3)))
    w1, w2 = initial.aligned(np.array([4, 9]), a, b, 3, 5)
    assert_same((w1[1], w2[1]), initial.aligned(9, a, b, 3, 5))
    assert not np.allclose(w1[0], w1[1])


# --- mistakes ----------------------------------------------------------------------------


def test_bad_seed_or_std_under_jit_is_nan():
    """Members concerned, and nothing else."""
    w1, w2 = jax.jit(lambda s: initial.small(s, std=1.0))(jnp.asarray([5, -5]))
    assert_same((w1[0], w2[0]), initial.small(5, std=1.0))
    assert np.isnan(w1[1])
    assert np.isnan(w2[1])
    w1, _ = jax.jit(lambda std: initial.small(5, std=std))(jnp.asarray([1.0, -1.0, jnp.inf]))
    np.testing.assert_array_equal(np.isnan(w1), [False, True, True])
