"""Weights in order: what was done to them can be undone, and costs no derivative."""

import jax
import numpy as np
import pytest

from lindae_jax.theory import ordered

pytestmark = pytest.mark.both


def _pairs(dtype):
    values = np.array([-3, -1, -0.0, 0, 1, 3], dtype)
    return tuple(x.ravel() for x in np.meshgrid(values, values))


def _again(w1, w2):
    start, swapped, sign = ordered.ordered(w1, w2)
    small, big = ordered.signed(sign, start.small), ordered.signed(sign, start.big)
    return jax.numpy.where(swapped, small, big), jax.numpy.where(swapped, big, small)


def test_the_larger_one_comes_first_without_a_sign(dtype):
    start, _, _ = ordered.ordered(*_pairs(dtype))
    assert not np.signbit(start.big).any()
    np.testing.assert_array_equal(abs(start.small), start.size)
    assert np.all(start.big >= start.size)
    np.testing.assert_array_equal(start.p, start.big + start.small)
    np.testing.assert_array_equal(start.m, start.big - start.small)


def test_order_and_sign_can_be_undone(dtype):
    pair = _pairs(dtype)
    for found, w in zip(_again(*pair), pair, strict=True):
        np.testing.assert_array_equal(found, w)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_each_weight_has_its_own_slope_also_at_zero_and_where_sizes_are_equal(transform, dtype):
    slopes = jax.vmap(transform(_again, argnums=(0, 1)))(*_pairs(dtype))
    one = np.ones(36, dtype)
    np.testing.assert_array_equal(slopes, ((one, 0 * one), (0 * one, one)))


def test_what_is_not_negative_has_the_slope_of_its_size_but_for_the_sign_of_zero(dtype):
    """Where a zero has a sign, its size falls as it rises."""
    w1, w2 = _pairs(dtype)
    ones = np.ones_like(w2)
    start, slope = jax.jvp(lambda w2: ordered.ordered(w1, w2)[0], (w2,), (ones,))
    sign = np.where(np.signbit(start.small), dtype(-1), dtype(1))
    np.testing.assert_array_equal(slope.size, sign * slope.small)
    np.testing.assert_array_equal(slope.p, slope.big + slope.small)
    np.testing.assert_array_equal(slope.m, slope.big - slope.small)
