"""Sums of two floats against 60 digits: half as many digits again as one has."""

import jax
import numpy as np
import pytest
from mpmath import mp, mpf

from lindae_jax.theory import twofloat

pytestmark = pytest.mark.both


def _two(rng, dtype, low, high, n=1000):
    """Sums in normal form, over decades."""
    first = np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(dtype)
    return first, (first * rng.uniform(-0.4, 0.4, n) * np.finfo(dtype).eps).astype(dtype)


def _errors(found, exact):
    """Relative, of sums of two floats."""
    with mp.workdps(60):
        sums = [mpf(a.item()) + mpf(b.item()) for a, b in zip(*found, strict=True)]
        return np.array([float(abs(x / y - 1)) for x, y in zip(sums, exact, strict=True)])


def _sums(number):
    return [mpf(a.item()) + mpf(b.item()) for a, b in zip(*number, strict=True)]


def _beyond(dtype):
    """A unit half a width below the last digit."""
    return float(np.finfo(dtype).eps) ** 1.5


@pytest.mark.parametrize("compiled", [False, True])
def test_products(compiled, rng, dtype):
    a, b = _two(rng, dtype, 1e-6, 1e6), _two(rng, dtype, 1e-6, 1e6)
    times, scaled = twofloat.times, twofloat.scaled
    if compiled:
        times, scaled = jax.jit(times), jax.jit(scaled)
    with mp.workdps(60):
        exact = [x * y for x, y in zip(_sums(a), _sums(b), strict=True)]
        again = [x * y for x, y in zip(exact, _sums(a), strict=True)]
        by_one = [x * mpf(y.item()) for x, y in zip(exact, b[0], strict=True)]
    product = times(a, b)
    assert _errors(product, exact).max() < 8 * _beyond(dtype)
    # A product is not in normal form, and may be a factor all the same.
    assert _errors(times(product, a), again).max() < 16 * _beyond(dtype)
    assert _errors(scaled(product, b[0]), by_one).max() < 16 * _beyond(dtype)


def test_sums_are_exact(rng, dtype):
    decades = 10.0 ** rng.integers(-3, 4, (2, 1000))
    a, b = (rng.uniform(-1, 1, (2, 1000)) * decades).astype(dtype)
    with mp.workdps(60):
        exact = [mpf(x.item()) + mpf(y.item()) for x, y in zip(a, b, strict=True)]
    larger, smaller = np.where(abs(a) < abs(b), b, a), np.where(abs(a) < abs(b), a, b)
    rest = jax.jit(twofloat.beyond)(larger + smaller, larger, smaller)
    assert _errors((larger + smaller, np.asarray(rest)), exact).max() == 0


@pytest.mark.parametrize("compiled", [False, True])
def test_root_of_a_sum_of_squares(compiled, rng, dtype):
    """Also where one of the two is far below the other, or zero."""
    a, b = rng.uniform(0, 1, (2, 2000)).astype(dtype)
    a[:500] *= dtype(1e-6)
    b[500:1000] *= dtype(1e-6)
    a[1000], b[1001] = 0, 0
    total = 2 * np.exp2(-rng.uniform(0, 1, 2000)) / (a + b) * (1 - np.finfo(dtype).eps)
    a, b = (a * total).astype(dtype), (b * total).astype(dtype)
    low = (4 * np.finfo(dtype).eps * b * rng.uniform(-1, 1, 2000)).astype(dtype)
    hypotenuse = jax.jit(twofloat.hypotenuse) if compiled else twofloat.hypotenuse
    found = hypotenuse(a, (b, low))
    with mp.workdps(60):
        both = zip(a, _sums((b, low)), strict=True)
        exact = [mp.sqrt(mpf(x.item()) ** 2 + y**2) for x, y in both]
    assert _errors(found, exact).max() < 16 * _beyond(dtype)
