"""Exponentials of small and of large numbers, against 40 digits."""

import jax
import numpy as np
import pytest
from mpmath import mp, mpf

from lindae_jax.theory import growth

pytestmark = pytest.mark.both


def _numbers(rng, dtype, low, high, n=2000):
    """Over many decades, with 0 and where a series begins and ends among them."""
    x = np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(dtype)
    x[:4] = 0, 0.05, 0.5, np.log(2)
    return x


def _exact(function, *columns):
    with mp.workdps(40):
        return np.array([float(function(*map(mpf, row.tolist()))) for row in np.stack(columns, 1)])


def test_decay_and_what_it_leaves(rng, dtype, eps):
    """The exponent is a sum of two numbers, the second below half of the digits of the first."""
    # Short of where what is added to a power of two is below the range.
    high = _numbers(rng, dtype, 1e-20, -np.log(np.finfo(dtype).tiny / eps))
    low = (high * rng.uniform(-(eps**0.5), eps**0.5, high.size) / 2).astype(dtype)
    decayed, gone = growth.decay_and_rest(high, low)
    assert decayed.dtype == gone.dtype == dtype
    np.testing.assert_allclose(decayed, _exact(lambda x, y: mp.exp(-x - y), high, low), 2 * eps)
    exact = _exact(lambda x, y: -mp.expm1(-2 * x - 2 * y), high, low)
    np.testing.assert_allclose(gone, exact, 3 * eps)


def test_what_is_far_below_the_range_is_told_and_has_no_slope(dtype):
    v = np.array([1.01, 2, 20, 5e5], dtype) * -np.log(np.finfo(dtype).tiny)
    assert np.all(growth.spent(v))
    assert not growth.spent(v[0] / dtype(1.02))
    ones = np.ones_like(v)
    (decayed, gone), slopes = jax.jvp(growth.decay_and_rest, (v, 0 * v), (ones, 0 * ones))
    np.testing.assert_array_equal(decayed, 0)
    np.testing.assert_array_equal(gone, 1)
    np.testing.assert_array_equal(slopes, 0)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_slopes_of_decay_are_those_of_exponentials(transform, rng, dtype, eps):
    v = rng.uniform(0, 10, 50).astype(dtype)

    def both(x):
        return growth.decay_and_rest(x, np.zeros_like(v))

    first = transform(both)
    decayed, gone = first(v)
    np.testing.assert_allclose(np.diag(decayed), -np.exp(-v), 4 * eps)
    np.testing.assert_allclose(np.diag(gone), 2 * np.exp(-2 * v), 4 * eps)
    ones = (np.ones_like(v),)
    decayed, gone = jax.jvp(lambda x: jax.jvp(both, (x,), ones)[1], (v,), ones)[1]
    np.testing.assert_allclose(decayed, np.exp(-v), 4 * eps)
    np.testing.assert_allclose(gone, -4 * np.exp(-2 * v), 4 * eps)


def test_ratios_that_are_smooth_at_zero(rng, dtype, eps):
    v = _numbers(rng, dtype, 1e-20, 80)
    found = growth.fraction_gone(v)
    np.testing.assert_allclose(found[1:], _exact(lambda x: -mp.expm1(-x) / x, v[1:]), 4 * eps)
    logs = growth.log1p_ratio(v)
    np.testing.assert_allclose(logs[1:], _exact(lambda x: mp.log1p(x) / x, v[1:]), 4 * eps)
    assert found[0] == logs[0] == 1


def test_growth_is_held_down_by_a_rise(rng, dtype, eps):
    rise = _numbers(rng, dtype, 1e-3, 40)
    v = (2 * rise * rng.uniform(-1, 1, rise.size)).astype(dtype)
    found = growth.scaled_growth(v, rise)
    exact = _exact(lambda x, y: mp.exp(-2 * y) * (mp.expm1(x) / x if x else 1), v, rise)
    # An exponent of 80 is known to 80 eps.
    np.testing.assert_allclose(found, exact, 200 * eps)
