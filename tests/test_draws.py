"""Keys, words and normal numbers against those of other makers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.extend import random as hashes
from scipy import stats

from lindae_jax import draws

pytestmark = pytest.mark.both

SEEDS = np.array([0, 1, 77, 2**31, 2**32 - 1], np.uint32)
NUMBERS = np.array([0, 5, 2**31, 2**32 - 1], np.uint32)


def key_data(seed, *numbers):
    key = jax.random.key(seed, impl="threefry2x32")
    return jax.random.key_data(functools.reduce(jax.random.fold_in, numbers, key))


def assert_same(key, expected):
    """Bitwise; the two words are on the last axis of what is expected."""
    got = jnp.stack(jnp.broadcast_arrays(*key), -1)
    assert got.dtype == np.uint32
    np.testing.assert_array_equal(got, expected)


# --- keys ----------------------------------------------------------------------


def test_a_seed_is_the_key_of_jax():
    assert_same(draws.root(jnp.asarray(SEEDS)), jax.vmap(key_data)(SEEDS))
    for seed in (jnp.int8(100), jnp.int32(100), jnp.uint32(100)):
        assert_same(draws.root(seed), key_data(np.uint32(100)))


def test_folding_is_that_of_jax():
    """Many keys with many numbers, one after the other, by broadcasting."""
    grid = np.ix_(SEEDS, NUMBERS, NUMBERS)
    got = draws.fold(draws.root(jnp.asarray(grid[0])), 3, *grid[1:])
    flat = [x.ravel() for x in np.broadcast_arrays(*grid)]
    expected = jax.vmap(lambda seed, i, j: key_data(seed, 3, i, j))(*flat)
    assert_same(got, expected.reshape(5, 4, 4, 2))
    one = draws.root(jnp.uint32(77))
    assert_same(draws.fold(one), key_data(np.uint32(77)))
    assert_same(draws.fold(one, 2**31), key_data(np.uint32(77), np.uint32(2**31)))
    assert_same(draws.words(one, 0, NUMBERS), jax.vmap(key_data, (None, 0))(SEEDS[2], NUMBERS))


def test_words_are_the_hashes_of_jax(rng):
    key = draws.fold(draws.root(jnp.uint32(2**32 - 5)), 5)
    count = rng.integers(2**32, size=2000, dtype=np.uint32)
    got = draws.words(key, jnp.asarray(count[:1000]), jnp.asarray(count[1000:]))
    expected = hashes.threefry_2x32(jnp.stack(key), jnp.asarray(count))
    assert_same(got, np.asarray(expected).reshape(2, 1000).T)


def test_configuration_is_of_no_consequence():
    expected = draws.fold(draws.root(jnp.uint32(3)), 1, 2)
    for option, value in (
        ("jax_threefry_partitionable", False),
        ("jax_threefry_partitionable", True),
        ("jax_default_prng_impl", "rbg"),
    ):
        before = getattr(jax.config, option)
        jax.config.update(option, value)
        try:
            got = jax.jit(lambda seed: draws.fold(draws.root(seed), 1, 2))(jnp.uint32(3))
        finally:
            jax.config.update(option, before)
        assert_same(got, jnp.stack(expected))


def test_nothing_is_drawn_twice():
    kinds = draws.W1, draws.W2, draws.ROTATION, draws.SAMPLED, draws.NETWORK_NOISE, draws.SHUFFLE
    # They are part of every draw that was ever made.
    assert kinds == (0, 1, 2, 3, 5, 6)


# --- seeds -----------------------------------------------------------------------


@pytest.mark.parametrize("integer", [np.int8, np.int32, np.uint32, np.int64, np.uint64, int])
def test_seeds_become_words(integer):
    for seed in (integer(100), [integer(100)] * 2):
        got = draws.seeds(seed)
        assert got.dtype == np.uint32
        np.testing.assert_array_equal(got, np.full(np.shape(seed), 100))


def test_traced_seeds_are_good_where_words_hold_them():
    for integer in (jnp.int8, jnp.int32, jnp.int64 if jax.config.jax_enable_x64 else jnp.int32):
        got = jax.jit(lambda x: draws.good(draws.seeds(x)))(jnp.asarray([-1, 0, 100], integer))
        assert got.tolist() == [False, True, True]
    if jax.config.jax_enable_x64:
        wide = jnp.asarray([2**32 - 1, 2**32])
        assert jax.jit(draws.good)(wide).tolist() == [True, False]


# --- normal numbers -----------------------------------------------------------------


WORDS = np.random.default_rng(5).integers(2**32, size=(2, 10_000), dtype=np.uint32)


def test_normal_numbers_are_quantiles(dtype, eps):
    """Of the probabilities as they are documented, by SciPy."""
    high, low = WORDS.astype(np.float64)
    for words, got in (
        (high % 2**31 + (low + 0.5) / 2**32, draws.normal_64(*jnp.asarray(WORDS), dtype)),
        (high % 2**31 + 0.5, draws.normal_32(jnp.asarray(WORDS[0]), dtype)),
    ):
        assert got.dtype == dtype
        expected = stats.norm.ppf(words / 2**32) * np.where(high >= 2**31, -1, 1)
        # The quantile's own rounding: absolute where it passes 0.
        np.testing.assert_allclose(got, expected, rtol=0, atol=20 * eps)
    got = draws.normal_24(jnp.asarray(WORDS[0]), dtype)
    middle = (WORDS[0].view(np.int32) >> 8) + 0.5
    assert got.dtype == dtype
    expected = np.sqrt(2) * scipy.special.erfinv(middle * 2.0**-23)
    # 1 - x^2 is rounded to eps, by which the inverse of erf moves by e^(z^2/2) sqrt(pi)/4.
    assert (np.abs(got - expected) < eps * (20 + np.exp(expected**2 / 2))).all()


def test_the_ends_of_24_bits_are_finite(dtype):
    ends = jnp.asarray([0x7FFFFFFF, 0x80000000, 0, 0xFFFFFFFF], jnp.uint32)
    z = np.asarray(draws.normal_24(ends, dtype), np.float64)
    np.testing.assert_array_equal(z[::2], -z[1::2])
    assert 5.41 < z[0] < 5.43
    assert 0 < z[2] < 1e-6


def test_the_ends_of_the_quantile_are_finite(dtype):
    """All bits 0 and all bits 1: the extreme draws, and the smallest ones."""
    high = jnp.asarray([0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], jnp.uint32)
    for low in (0, 0xFFFFFFFF):
        z = draws.normal_64(high, jnp.full(4, low, jnp.uint32), dtype)
        np.testing.assert_allclose(z[1::2], 0, atol=1e-6)
        # 2^-33 of the probability lies beyond 6.2; with all 64 bits 0, beyond 9.
        assert z[0] < -6.2
        assert z[2] > 6.2
