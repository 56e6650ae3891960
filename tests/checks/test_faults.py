"""Faults are where the rules in words have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import checks
from lindae_jax.checks import faults

pytestmark = pytest.mark.both


def _numbers(dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, 1e-30, 1, info.max, np.inf, np.nan]
    sizes = np.array(sizes, dtype)
    return np.concatenate([sizes, -sizes])


@pytest.mark.parametrize("compiled", [False, True])
def test_faults_are_those_of_the_rules(compiled, dtype):
    x = _numbers(dtype)
    found = {name: getattr(faults, name) for name in ("negative", "not_finite", "not_positive")}
    if compiled:
        found = {name: jax.jit(fault) for name, fault in found.items()}
    bad = {name: np.asarray(fault(jnp.asarray(x))) < 0 for name, fault in found.items()}
    # Processors may take what is below the normal numbers for zero; the bits do not.
    normal = (x == 0) | ~(abs(x) < np.finfo(dtype).tiny)
    good = np.asarray(checks.allowed("positive", jnp.asarray(x)))
    np.testing.assert_array_equal(bad["not_positive"][normal], ~good[normal])
    y = jnp.asarray(x)
    joined = np.asarray(found["negative"](y) | found["not_finite"](y)) < 0
    good = np.asarray(checks.allowed("non_negative", y))
    np.testing.assert_array_equal(joined[normal], ~good[normal])
    size = np.asarray(found["not_finite"](y)) < 0
    np.testing.assert_array_equal(size, ~np.isfinite(x))


def test_what_has_a_fault_is_spoilt_and_has_no_slope(dtype):
    x = jnp.array([1, -2, 3], dtype)
    fault = faults.negative(x)
    slopes = jax.vmap(jax.grad(faults.spoilt))(x, fault)
    np.testing.assert_array_equal(faults.spoilt(x, fault), np.array([1, np.nan, 3], dtype))
    np.testing.assert_array_equal(slopes, [1, 0, 1])
