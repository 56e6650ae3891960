"""A computation that compilers leave where it is."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lindae_jax.batches.blocks import of_all


def apart(function: Callable[..., Any], *arrays: jax.Array) -> Any:
    """`function(*arrays)`, not done again wherever its results are used; no derivatives.

    XLA forgets its barriers before it decides, on a processor, what to compute twice. It
    does not look into a loop of unknown length. Here that is one, or two if some first
    number is NaN. All that the function returns has to depend on its arrays.
    """
    if not all(x.size for x in arrays):
        return function(*arrays)
    number = of_all(arrays)
    known = number == number
    # What the loop begins with and what it computes have to vary alike under shard_map.
    tied = [jnp.where(known, x, x) for x in arrays]
    start = jax.tree.map(
        lambda x: jnp.full_like(number, 0, shape=x.shape, dtype=x.dtype),
        jax.eval_shape(function, *arrays),
    )
    return jax.lax.fori_loop(0, jnp.where(known, 1, 2), lambda _, old: function(*tied), start)
