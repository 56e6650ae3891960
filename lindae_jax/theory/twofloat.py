"""Numbers carried as an unevaluated sum of two floats.

Compilers may contract `a * b + c` into one fused operation, which breaks the
textbook error-free product. Here every product that must be exact is one of
half-width factors, cut by masking bits, so that fused or not the result is
the same.

In normal form the first float is the sum, rounded. Products are not in it: their second
float may reach a half-width's unit of the first.
"""

import jax
import jax.numpy as jnp
import numpy as np

TwoFloat = tuple[jax.Array, jax.Array]

# The mask keeps the leading half of the significand: 12 of 24 bits, 26 of 53.
_LAYOUT = {
    np.dtype(np.float32): (np.uint32, 0xFFFFF000, 0x7F800000, 0x7F000000),
    np.dtype(np.float64): (np.uint64, 0xFFFFFFFFF8000000, 0x7FF0000000000000, 0x7FE0000000000000),
}


def _masked(x: jax.Array, mask_index: int) -> jax.Array:
    layout = _LAYOUT[np.dtype(x.dtype)]
    bits = jax.lax.bitcast_convert_type(x, layout[0])
    mask = jnp.asarray(layout[mask_index], layout[0])
    return jax.lax.bitcast_convert_type(bits & mask, x.dtype)


def _halves(x: jax.Array) -> TwoFloat:
    high = _masked(x, 1)
    return high, x - high


def at_most(x: jax.Array, bound: jax.Array | float) -> jax.Array:
    """The smaller of the two, or x where that is NaN: one instruction.

    jnp.minimum takes several, to hand on a NaN of either.
    """
    return jnp.where(x > bound, bound, x)


def at_least(x: jax.Array, bound: jax.Array | float) -> jax.Array:
    """The larger of the two, or x where that is NaN."""
    return jnp.where(x < bound, bound, x)


def power_of_two(x: jax.Array) -> jax.Array:
    """The power of two at or below a positive normal x."""
    return _masked(x, 2)


def inverse_power_of_two(x: jax.Array) -> jax.Array:
    """1 / x for a power of two x whose inverse is normal."""
    layout = _LAYOUT[np.dtype(x.dtype)]
    bits = jax.lax.bitcast_convert_type(x, layout[0])
    return jax.lax.bitcast_convert_type(jnp.asarray(layout[3], layout[0]) - bits, x.dtype)


def two_to_minus(n: jax.Array) -> jax.Array:
    """2^-n for whole numbers n >= 0; 0 where that is not normal."""
    unsigned, info = _LAYOUT[np.dtype(n.dtype)][0], jnp.finfo(n.dtype)
    one = 1 - info.minexp  # the exponent of 1
    # A number whose last bits are the exponent, pushed to where exponents are.
    shifted = 1.5 * 2.0**info.nmant + (one - at_most(n, one))
    bits = jax.lax.bitcast_convert_type(shifted, unsigned)
    return jax.lax.bitcast_convert_type(bits << jnp.asarray(info.nmant, unsigned), n.dtype)


def add(a: jax.Array, b: jax.Array) -> TwoFloat:
    """a + b without error."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def plus_smaller(a: jax.Array, b: jax.Array) -> TwoFloat:
    """a + b without error where |a| >= |b|."""
    total = a + b
    return total, b - (total - a)


def normalised(high: jax.Array, low: jax.Array) -> TwoFloat:
    """The same sum in normal form."""
    total = high + low
    return total, low - (total - high)


def times(a: TwoFloat, b: TwoFloat) -> TwoFloat:
    """a * b to half a width more than the working precision, not in normal form.

    One of the two factors has to be: the product of the second floats is left out.
    """
    a1, a2 = _halves(a[0])
    b1, b2 = _halves(b[0])
    return a1 * b1, (a1 * b2 + a2 * b1) + (a2 * b2 + (a[0] * b[1] + a[1] * b[0]))


def scaled(a: TwoFloat, x: jax.Array) -> TwoFloat:
    """a * x, x a float, to half a width more than the working precision, not in normal form."""
    a1, a2 = _halves(a[0])
    x1, x2 = _halves(x)
    return a1 * x1, (a1 * x2 + a2 * x1) + (a2 * x2 + a[1] * x)


def excess(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """a^2 + b^2 - c^2 to about the working precision, for a, b >= 0 and c close to its root."""
    large, small = at_least(a, b), at_most(a, b)
    (l1, l2), (s1, s2), (c1, c2) = map(_halves, (large, small, c))
    # Each product of halves is exact, and so are these two differences of near numbers.
    leading = (l1 * l1 - c1 * c1) + s1 * s1
    mixed = 2 * ((l1 * l2 - c1 * c2) + s1 * s2)
    return (leading + mixed) + ((l2 * l2 - c2 * c2) + s2 * s2)
