"""Elements of a batch that need the same work, computed together."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lindae_jax.batches.blocks import in_blocks

# Elements sorted at a time, many blocks for each kind, and elements in a block.
_SORTED, _BLOCK = 2**16, 2**10


def in_kinds(
    compute: Callable[..., Sequence[jax.Array]],
    kind: Callable[..., jax.Array],
    arrays: Sequence[jax.Array],
    num_outputs: int,
) -> list[jax.Array]:
    """An elementwise function as of `in_blocks`, in blocks of elements of one kind.

    For functions that pass over, by `jax.lax.cond`, what no element of a block needs.
    What they return must not depend on the kind.

    Parameters
    ----------
    compute, arrays, num_outputs
        As for `in_blocks`; `compute` is given arrays with one axis.
    kind : function
        Takes the arrays' parts and returns int32, >= 0 and < 2^10, of their common shape.

    Returns
    -------
    list of arrays
        Of the common shape.
    """

    def sorted_by_kind(*parts: jax.Array) -> list[jax.Array]:
        points = jnp.broadcast_arrays(*parts)
        shape, size = points[0].shape, points[0].size
        if size <= _BLOCK:
            return list(compute(*points))
        rows = [x.reshape(-1) for x in points]
        index = jnp.arange(size, dtype=jnp.int32)
        # One number each sorts several times faster than a number and an index.
        order = jax.lax.sort(kind(*rows) * size + index, is_stable=False) % size
        found = in_blocks(compute, [_taken(x, order) for x in rows], num_outputs, _BLOCK)
        return [_put(y, order).reshape(shape) for y in found]

    return in_blocks(sorted_by_kind, arrays, num_outputs, _SORTED)


def _taken(x: jax.Array, order: jax.Array) -> jax.Array:
    return x.at[order].get(mode="promise_in_bounds", unique_indices=True)


def _put(y: jax.Array, order: jax.Array) -> jax.Array:
    """What `_taken` undoes."""
    return jnp.zeros_like(y).at[order].set(y, mode="promise_in_bounds", unique_indices=True)
