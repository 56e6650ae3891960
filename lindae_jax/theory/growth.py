"""Growth over a time at a rate, in forms that are right where the rate is zero."""

import jax.numpy as jnp
import numpy as np


def fraction_gone(v):
    """(1 - exp(-v)) / v for v >= 0, smooth at 0."""
    small = v < 0.5
    safe = jnp.where(small, 1, v)
    return jnp.where(small, unit_growth(jnp.where(small, -v, 0)), -jnp.expm1(-safe) / safe)


_EXPM1 = tuple(1 / float(np.prod(np.arange(1.0, n + 2))) for n in range(15))


def unit_growth(v):
    """(exp(v) - 1) / v for |v| <= 1/2 by its series."""
    result = jnp.full_like(v, _EXPM1[-1])
    for c in reversed(_EXPM1[:-1]):
        result = result * v + c
    return result


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
