"""The weights of a start, ordered and turned so that the flow is sums of positive terms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax.theory import bits


class Start(NamedTuple):
    """Initial weights in the order and sign in which the solution is positive.

    `big` >= |`small`|; `p` and `m` are their sum and difference.
    """

    big: jax.Array
    small: jax.Array
    p: jax.Array
    m: jax.Array
    size: jax.Array
    """|small|."""


def ordered(w1, w2):
    """The weights in order, whether they were exchanged, and the larger of them as it was."""
    larger, smaller = _sizes(w1, w2)
    small = signed(bits.signed(w1, w2), smaller)
    swapped = _swapped(w1, w2)
    start = Start(larger, small, larger + small, larger - small, smaller)
    return start, swapped, jnp.where(swapped, w2, w1)


@jax.custom_jvp
def _sizes(w1, w2):
    """The larger and the smaller of |w1| and |w2|."""
    return bits.sizes(w1, w2)


@_sizes.defjvp
def _sizes_jvp(primals, tangents):
    w1, w2 = primals
    first, second = (_unit(w) * x for w, x in zip(primals, tangents, strict=True))
    swapped = _swapped(w1, w2)
    # Of equal sizes each is one of the two.
    moved = jnp.where(swapped, second, first), jnp.where(swapped, first, second)
    return _sizes(w1, w2), moved


def _swapped(w1, w2):
    return jnp.abs(w2) > jnp.abs(w1)


def _unit(x):
    """1, or -1 where the sign of x is set."""
    return bits.signed(x, jnp.ones_like(x))


@jax.custom_jvp
def signed(like, x):
    """x, or -x where the other's sign is set, that of -0 too."""
    return bits.signed(like, x)


@signed.defjvp
def _signed_jvp(primals, tangents):
    return signed(*primals), _unit(primals[0]) * tangents[1]
