"""Growth over a time at a rate, in forms that are right where the rate is zero."""

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


# log(2) as a sum whose first part has so few digits that its small multiples are exact. Of
# exp(r) - 1 for |r| <= log(2)/2, the terms that count.
_LOG2 = {
    "float32": (0.693359375, -2.12194440054690581e-4),
    "float64": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
_TERMS = {"float32": 7, "float64": 13}


@jax.custom_jvp
def decay_and_rest(high, low):
    """exp(-v/2) and 1 - exp(-v) for v = high + low >= 0, both to the last digits.

    One exponential for the two: as 2^-n (1 + x) with x = exp(r) - 1 by its series. What is
    below the range is 0.
    """
    name = high.dtype.name
    (log2, log2_rest), terms = _LOG2[name], _TERMS[name]
    n = jnp.round((high + low) * (1 / (2 * (log2 + log2_rest))))
    r = (n * log2 - high / 2) + (n * log2_rest - low / 2)
    square = r * r
    even, odd = (_polynomial(_EXPM1[start:terms:2], square) for start in (1, 2))
    over = spent(high)
    x = jnp.where(over, 0, r + square * (even + r * odd))
    power = jnp.where(over, 0, bits.two_to_minus(n))
    decayed = power + power * x
    # 1 - exp(-v/2) without a difference of near numbers, for n = 0 too, times 1 + exp(-v/2).
    return decayed, ((1 - power) - power * x) * (1 + decayed)


def spent(high):
    """Whether exp(-v/2) is below the range: 0 in `decay_and_rest`, whatever `low` is."""
    # Where it is not, n is at most one more than the exponent of the smallest normal number.
    return high >= float(2 * np.log(2) * (0.5 - jnp.finfo(high.dtype).minexp))


@decay_and_rest.defjvp
def _decay_and_rest_jvp(primals, tangents):
    decayed, rest = decay_and_rest(*primals)
    moved = tangents[0] + tangents[1]
    return (decayed, rest), (-decayed * moved / 2, decayed * decayed * moved)


def _polynomial(coefficients, x):
    result = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + c
    return result
