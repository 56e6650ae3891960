"""Modified Bessel functions of moderate order and argument against mpmath."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from lindae_jax.theory import bessel

ORDERS = [-0.5, -1e-6, 0.0, 1e-6, 0.5, 1.0, 4.0, 4.7, 12.0, 39.0]
ARGUMENTS = [0.25, 0.3, 1.0, 3.5, 10.0, 38.0]


def corners(dtype):
    pairs = [p for p in itertools.product(ORDERS, ARGUMENTS) if np.hypot(*p) < 42]
    return np.array(pairs, dtype).T


def exact(nu, x):
    nu, x = mp.mpf(float(nu)), mp.mpf(float(x))
    i, next_i, k, next_k = (f(n, x) for f in (mp.besseli, mp.besselk) for n in (nu, nu + 1))
    eta = mp.sqrt(nu**2 + x**2) - nu * mp.asinh(nu / x)
    return next_i / i, next_k / k, mp.exp(eta) * k


@pytest.mark.both
def test_ratios_equal_mpmath(dtype):
    nu, x = corners(dtype)
    found = np.stack(jax.jit(bessel.ratios)(nu, x)).T
    assert found.dtype == dtype
    with mp.workdps(40):
        expected = [exact(*point) for point in zip(nu, x, strict=True)]
        off = [
            [float(abs(mp.mpf(float(a)) / b - 1)) for a, b in zip(mine, right, strict=True)]
            for mine, right in zip(found, expected, strict=True)
        ]
    # K's sums are of some twenty terms of size 1, each right to an eps or two.
    assert np.max(off) <= 8 * np.finfo(dtype).eps


@pytest.mark.both
def test_the_slope_of_k_is_that_of_its_recurrence(dtype):
    """In forward and in reverse mode, with j = K_{nu+1}/K_nu."""
    nu, x = map(jnp.asarray, corners(dtype))

    def log_k(nu, x):
        w = jnp.sqrt(nu * nu + x * x)
        return jnp.log(bessel.ratios(nu, x).k_scaled) - (w - nu * jnp.arcsinh(nu / x))

    both = bessel.ratios(nu, x)
    slope = jax.jvp(lambda x: log_k(nu, x), (x,), (jnp.ones_like(x),))[1]
    # K'/K = nu / x - j
    size = jnp.abs(nu / x) + both.k
    assert (jnp.abs(slope - (nu / x - both.k)) <= 64 * jnp.finfo(dtype).eps * size).all()
    backward = jax.grad(lambda x: log_k(nu, x).sum())(x)
    np.testing.assert_allclose(backward, slope, rtol=64 * jnp.finfo(dtype).eps)
