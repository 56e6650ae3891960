"""Powers of two and halves of numbers: exact, whatever the compiler does."""

import jax
import numpy as np
import pytest

from lindae_jax.theory import bits

pytestmark = pytest.mark.both


def _powers(dtype):
    info = np.finfo(dtype)
    return np.ldexp(dtype(1), np.arange(info.minexp, info.maxexp)).astype(dtype)


def test_powers_of_two_and_their_inverses(rng, dtype):
    powers = _powers(dtype)
    x = (powers * rng.uniform(1, 2, powers.size)).astype(dtype)
    np.testing.assert_array_equal(bits.power_of_two(x), powers)
    # The inverse of the largest is not normal; twice that of the smallest is still in the range.
    np.testing.assert_array_equal(bits.inverse_power_of_two(powers[:-1]), 1 / powers[:-1])
    np.testing.assert_array_equal(bits.two_over_power_of_two(powers), 2 / powers)
    np.testing.assert_array_equal(bits.half_of_power_of_two(powers), [0, *powers[:-1]])


@pytest.mark.parametrize("compiled", [False, True])
def test_two_to_the_nearest_whole_number(compiled, rng, dtype):
    find = jax.jit(bits.two_to_minus_nearest) if compiled else bits.two_to_minus_nearest
    n = np.arange(2 - np.finfo(dtype).minexp).astype(dtype)
    for x in (n, n + rng.uniform(-0.49, 0.49, n.size).astype(dtype)):
        power, nearest = find(x)
        np.testing.assert_array_equal(nearest, n)
        np.testing.assert_array_equal(power, [*np.exp2(-n[:-1]), 0])


def test_sizes_in_order(dtype):
    x, y = np.array([[1, -2, 3, -0.0, np.inf], [-2, 1, -3, 0, 1]], dtype)
    np.testing.assert_array_equal(bits.sizes(x, y), ([2, 2, 3, 0, np.inf], [1, 1, 3, 0, 1]))
    for pair in ((np.nan, 1), (1, np.nan), (np.nan, np.nan)):
        assert np.isnan(bits.sizes(*map(dtype, pair))).any()


def test_signs_of_zero_count(dtype):
    signs = np.array([1, -1, 0.0, -0.0, np.inf, -np.inf], dtype)
    x = np.array([[3], [-3], [0.0], [-0.0]], dtype) * np.ones(6, dtype)
    found = np.asarray(bits.signed(signs * np.ones((4, 1), dtype), x))
    np.testing.assert_array_equal(found, x * np.copysign(1, signs))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(x) ^ np.signbit(signs))


def test_least_and_greatest_hand_on_what_is_no_number(dtype):
    x = np.array([-1, 2, np.nan], dtype)
    np.testing.assert_array_equal(bits.at_most(x, 1.0), np.array([-1, 1, np.nan], dtype))
    np.testing.assert_array_equal(bits.at_least(x, 1.0), np.array([1, 2, np.nan], dtype))


def test_products_of_halves_are_exact(rng, dtype):
    x = rng.uniform(-4, 4, (2, 1000)).astype(dtype)
    a, b = np.asarray(jax.jit(bits.half)(x)).astype(np.longdouble)
    assert np.all(abs(a - x[0]) < abs(a) * 2 * np.finfo(dtype).eps ** 0.5)
    np.testing.assert_array_equal((a * b).astype(dtype), a * b)
    shorter = np.asarray(bits.shorter_half(x))
    assert np.all(abs(shorter - x) < 4 * abs(x) * np.finfo(dtype).eps ** 0.5)
    assert np.all(np.frexp(shorter)[0] * 2.0 ** ((np.finfo(dtype).nmant - 1) // 2) % 1 == 0)


def test_sums_of_squares_of_multiples_are_exact(rng, dtype):
    a = rng.uniform(0, 2, 1000).astype(dtype)
    b = ((2 - a) * rng.uniform(0, 1, 1000)).astype(dtype)
    a1, b1 = (np.asarray(jax.jit(bits.multiple)(x)) for x in (a, b))
    step = 2.0 ** -((np.finfo(dtype).nmant - 1) // 2)
    for x, below in ((a, a1), (b, b1)):
        assert np.all(below % step == 0)
        assert np.all(abs(x - below) <= step)
    squares = a1 * a1 + b1 * b1
    exact = a1.astype(np.longdouble) ** 2 + b1.astype(np.longdouble) ** 2
    np.testing.assert_array_equal(squares, exact)
