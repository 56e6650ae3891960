"""Growth over a time at a rate, in forms that are right where the rate is zero."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.theory import bits


def fraction_gone(v):
    """(1 - exp(-v)) / v for v >= 0, smooth at 0."""
    small = v < 0.5
    safe = jnp.where(small, 1, v)
    return jnp.where(small, unit_growth(jnp.where(small, -v, 0)), -jnp.expm1(-safe) / safe)


_EXPM1 = tuple(1 / float(np.prod(np.arange(1.0, n + 2))) for n in range(15))


def unit_growth(v):
    """(exp(v) - 1) / v for |v| <= 1/2 by its series."""
    return _polynomial(_EXPM1, v)


def log1p_ratio(y):
    """log(1 + y) / y for y >= 0, smooth at 0."""
    small = y < 0.05
    q = jnp.where(small, y / (2 + y), 0)
    # 2 atanh(y / (2 + y)) / y
    q2 = q * q
    series = 1 + q2 * (1 / 3 + q2 * (1 / 5 + q2 * (1 / 7 + q2 * (1 / 9 + q2 / 11))))
    safe = jnp.where(small, 1, y)
    return jnp.where(small, 2 / (2 + y) * series, jnp.log1p(safe) / safe)


def scaled_growth(v, rise):
    """exp(-2 rise) (exp(v) - 1) / v for v <= 2 rise: no overflow, no kink at 0."""
    small = jnp.abs(v) < 0.5
    safe = jnp.where(small, 1, v)
    size = jnp.abs(safe)
    far = jnp.exp(jnp.maximum(safe, 0) - 2 * rise) * (-jnp.expm1(-size) / size)
    return jnp.where(small, jnp.exp(-2 * rise) * unit_growth(jnp.where(small, v, 0)), far)


# log(2) as a sum whose first part has so few digits that its small multiples are exact.
_LOG2 = {
    "float32": (0.693359375, -2.12194440054690581e-4),
    "float64": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
# Of the polynomial below: the least for which a fifth of an eps is lost.
_DEGREE = {"float32": 4, "float64": 9}


@functools.cache
def _beyond_linear(name: str) -> tuple[float, ...]:
    """Coefficients of (exp(r) - 1 - r) / r^2 for |r| <= log(2)/2."""
    polynomial = np.polynomial.Polynomial(_EXPM1[1:])
    end = np.log(2) / 2
    near = np.polynomial.Chebyshev.interpolate(polynomial, _DEGREE[name], (-end, end))
    return tuple(near.convert(kind=np.polynomial.Polynomial).coef.tolist())


@jax.custom_jvp
def decay_and_rest(high, low):
    """exp(-v) and 1 - exp(-2 v) for v = high + low >= 0, both to the last digits.

    One exponential for the two: as 2^-n (1 + x) with x = exp(r) - 1 by its series. Where v is
    `spent` they are any numbers or none, but 0 and 1 where they are differentiated.
    """
    name = high.dtype.name
    log2, log2_rest = _LOG2[name]
    power, n = bits.two_to_minus_nearest((high + low) * (1 / (log2 + log2_rest)))
    r = (n * log2 - high) + (n * log2_rest - low)
    terms, square = _beyond_linear(name), r * r
    even, odd = _polynomial(terms[::2], square), _polynomial(terms[1::2], square)
    x = r + square * (even + r * odd)
    decayed = power + power * x
    # 1 - exp(-v) without a difference of near numbers, for n = 0 too, times 1 + exp(-v).
    return decayed, ((1 - power) - power * x) * (1 + decayed)


def spent(high):
    """Whether exp(-v) is below the range, whatever `low` is."""
    # Where it is not, n is at most one more than the exponent of the smallest normal number.
    return high >= float(np.log(2) * (0.5 - jnp.finfo(high.dtype).minexp))


@decay_and_rest.defjvp
def _decay_and_rest_jvp(primals, tangents):
    # Nobody takes these where it is spent, but what is not finite would spoil slopes.
    over = spent(primals[0])
    decayed, rest = (
        jnp.where(over, end, x) for end, x in zip((0, 1), decay_and_rest(*primals), strict=True)
    )
    moved = tangents[0] + tangents[1]
    return (decayed, rest), (-decayed * moved, 2 * decayed * decayed * moved)


def _polynomial(coefficients, x):
    result = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + c
    return result
