"""Numbers carried as an unevaluated sum of two floats.

Compilers may contract `a * b + c` into one fused operation, which breaks the
textbook error-free product. Here every product that must be exact is one of
half-width factors, cut by masking bits, so that fused or not the result is
the same.
"""

import jax
import jax.numpy as jnp
import numpy as np

TwoFloat = tuple[jax.Array, jax.Array]

# The mask keeps the leading half of the significand: 12 of 24 bits, 26 of 53.
_LAYOUT = {
    np.dtype(np.float32): (np.uint32, 0xFFFFF000, 0x7F800000),
    np.dtype(np.float64): (np.uint64, 0xFFFFFFFFF8000000, 0x7FF0000000000000),
}


def _masked(x: jax.Array, mask_index: int) -> jax.Array:
    layout = _LAYOUT[np.dtype(x.dtype)]
    bits = jax.lax.bitcast_convert_type(x, layout[0])
    mask = jnp.asarray(layout[mask_index], layout[0])
    return jax.lax.bitcast_convert_type(bits & mask, x.dtype)


def _halves(x: jax.Array) -> TwoFloat:
    high = _masked(x, 1)
    return high, x - high


def power_of_two(x: jax.Array) -> jax.Array:
    """The power of two at or below a positive normal x."""
    return _masked(x, 2)


def add(a: jax.Array, b: jax.Array) -> TwoFloat:
    """a + b without error."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _normalised(high: jax.Array, low: jax.Array) -> TwoFloat:
    total = high + low
    return total, low - (total - high)


def plus(a: TwoFloat, b: TwoFloat) -> TwoFloat:
    """a + b to about twice the working precision."""
    high, low = add(a[0], b[0])
    return _normalised(high, low + (a[1] + b[1]))


def times(a: TwoFloat, b: TwoFloat) -> TwoFloat:
    """a * b to about twice the working precision."""
    a1, a2 = _halves(a[0])
    b1, b2 = _halves(b[0])
    rest = (a1 * b2 + a2 * b1) + (a2 * b2 + (a[0] * b[1] + a[1] * b[0]))
    return _normalised(a1 * b1, rest)


def root(a: TwoFloat) -> TwoFloat:
    """Square root of a > 0 to about twice the working precision."""
    high = jnp.sqrt(a[0])
    square = times((high, jnp.zeros_like(high)), (high, jnp.zeros_like(high)))
    return _normalised(high, ((a[0] - square[0]) + (a[1] - square[1])) / (2 * high))
