"""Floats taken apart and made by their bits, at the cost of one or two instructions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class _Layout(NamedTuple):
    """Of the bits of a float."""

    kind: type
    half: int
    """What keeps the leading half of the digits."""
    less: int
    fixed: int
    """What keeps, of a number from 4 to 8, those above 2^-12 or 2^-26."""
    exponent: int
    sign: int
    inverse: int
    """What the exponents of a power of two and of its inverse add up to."""


_LAYOUT = {
    np.dtype(np.float32): _Layout(
        *(np.uint32, 0xFFFFF000, 0xFFFFE000, 0xFFFFFC00),
        *(0x7F800000, 0x80000000, 0x7F000000),
    ),
    np.dtype(np.float64): _Layout(
        *(np.uint64, 0xFFFFFFFFF8000000, 0xFFFFFFFFF0000000, 0xFFFFFFFFFE000000),
        *(0x7FF0000000000000, 0x8000000000000000, 0x7FE0000000000000),
    ),
}


def _layout(x: jax.Array) -> _Layout:
    return _LAYOUT[np.dtype(x.dtype)]


def _bits(x: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, _layout(x).kind)


def _number(bits: jax.Array, like: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, like.dtype)


def _constant(value: int, like: jax.Array) -> jax.Array:
    return jnp.asarray(value, _layout(like).kind)


def _masked(x: jax.Array, mask: int) -> jax.Array:
    return _number(_bits(x) & _constant(mask, x), x)


def half(x: jax.Array) -> jax.Array:
    """The leading half of the digits of x: 12 of 24 bits, 26 of 53."""
    return _masked(x, _layout(x).half)


def shorter_half(x: jax.Array) -> jax.Array:
    """A digit less than that."""
    return _masked(x, _layout(x).less)


def multiple(x: jax.Array) -> jax.Array:
    """A multiple of 2^-11 or, in float64, 2^-25 as near as that to an x from 0 to 2."""
    return _masked(x + 4, _layout(x).fixed) - 4


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
    return _masked(x, _layout(x).exponent)


def inverse_power_of_two(x: jax.Array) -> jax.Array:
    """1 / x for a power of two x whose inverse is normal."""
    return _number(_constant(_layout(x).inverse, x) - _bits(x), x)


def half_of_power_of_two(x: jax.Array) -> jax.Array:
    """x / 2 for a power of two, 0 for the least normal one."""
    one = 1 << jnp.finfo(x.dtype).nmant
    return _number(_bits(x) - _constant(one, x), x)


def two_over_power_of_two(x: jax.Array) -> jax.Array:
    """2 / x for a power of two x, if that is normal, which it is of the largest."""
    return _number(_constant(_layout(x).exponent, x) - _bits(x), x)


def two_to_minus_nearest(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """2^-n and n, the whole number nearest to x >= 0.

    For a power that is normal; for the next n it is 0.
    """
    info = jnp.finfo(x.dtype)
    # A number whose last bits are the exponent, pushed to where exponents are.
    most = 1.5 * 2.0**info.nmant + (1 - info.minexp)
    shifted = most - x
    return _number(_bits(shifted) << _constant(info.nmant, x), x), most - shifted


def signed(sign: jax.Array, x: jax.Array) -> jax.Array:
    """x, or -x where the sign of the other is set, that of -0 too."""
    return _number(_bits(x) ^ (_bits(sign) & _constant(_layout(x).sign, x)), x)


def sizes(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The larger and the smaller of |x| and |y|, one instruction each; NaN in one of them."""
    a, b = jnp.abs(x), jnp.abs(y)
    return at_least(a, b), at_most(b, a)
