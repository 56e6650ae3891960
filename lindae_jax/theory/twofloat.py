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

from lindae_jax.theory.bits import half, multiple, shorter_half

TwoFloat = tuple[jax.Array, jax.Array]


def beyond(total: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """What a + b, |a| >= |b|, has beyond its rounded total."""
    return b - (total - a)


def times(a: TwoFloat, b: TwoFloat) -> TwoFloat:
    """a * b to half a width more than the working precision, not in normal form.

    `b` has to be in it, `a` does not.
    """
    a1, b1 = half(a[0]), half(b[0])
    # Of what is left of each beside its half, the product is left out but for its leading part.
    return a1 * b1, a1 * ((b[0] - b1) + b[1]) + ((a[0] - a1) + a[1]) * b[0]


def scaled(a: TwoFloat, x: jax.Array) -> TwoFloat:
    """a * x, x a float, to half a width more than the working precision, not in normal form."""
    return times(a, (x, jnp.zeros_like(x)))


def hypotenuse(a: jax.Array, b: TwoFloat) -> TwoFloat:
    """sqrt(a^2 + b^2) to half a width more than the working precision.

    For a, b >= 0 with a sum below 2 and a root above 1/2. Its first float is the root of
    what the first floats give.
    """
    b0, b_low = b
    square = a * a + b0 * b0
    c = jnp.sqrt(square)
    a1, b1, c1 = multiple(a), multiple(b0), shorter_half(c)
    # The squares are whole multiples of one number, few enough for their sum to be exact.
    leading = (a1 * a1 + b1 * b1) - c1 * c1
    rest = (a - a1) * (a + a1) + ((b0 - b1) * (b0 + b1) + 2 * b0 * b_low)
    # What is divided by, too, is found while the root is.
    return c, (leading + (rest - (c - c1) * (c + c1))) * (c * (0.5 / square))
