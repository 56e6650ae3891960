"""What is not allowed, told by arithmetic of bits, for NaN in its place without a comparison.

In a function of some hundred operations comparisons, and choices by them, would be a tenth.
A fault is a whole number, negative where there is one; faults are joined by `|`.
"""

import jax
import jax.numpy as jnp
import numpy as np

# The type of the bits, and what is one in the exponent.
_LAYOUT = {
    np.dtype(np.float32): (np.int32, 0x00800000),
    np.dtype(np.float64): (np.int64, 0x0010000000000000),
}


def negative(x: jax.Array) -> jax.Array:
    """A fault where x < 0; -0 is none. NaN may be one or not."""
    bits, one, _ = _bits(x)
    return bits & (bits - one)


def not_finite(x: jax.Array) -> jax.Array:
    """A fault where x is infinite or NaN."""
    bits, _, step = _bits(x)
    return _size(bits) + step


def not_positive(x: jax.Array) -> jax.Array:
    """A fault where x is not a finite number above 0."""
    bits, one, step = _bits(x)
    return (bits - one) | (bits + step)


def _bits(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    kind, step = _LAYOUT[np.dtype(x.dtype)]
    bits = jax.lax.bitcast_convert_type(x, kind)
    return bits, jnp.asarray(1, kind), jnp.asarray(step, kind)


def _size(bits: jax.Array) -> jax.Array:
    return bits & jnp.asarray(np.iinfo(bits.dtype).max, bits.dtype)


@jax.custom_jvp
def spoilt(x: jax.Array, fault: jax.Array) -> jax.Array:
    """x, or NaN where there is a fault."""
    bits, _, _ = _bits(x)
    width = 8 * x.dtype.itemsize
    everywhere = jax.lax.shift_right_arithmetic(fault, jnp.asarray(width - 1, fault.dtype))
    return jax.lax.bitcast_convert_type(bits | everywhere, x.dtype)


@spoilt.defjvp
def _spoilt_jvp(primals, tangents):
    (x, fault), (tangent, _) = primals, tangents
    # Of what is NaN no slope: in what several share it would make all of them NaN.
    return spoilt(x, fault), jnp.where(fault < 0, 0, tangent)
