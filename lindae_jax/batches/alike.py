"""Elements of a batch that need the same work, computed together."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lindae_jax.batches.blocks import common_size, in_blocks

# Elements sorted at a time, many blocks for each kind, and elements in a block: powers of two.
_SORTED, _BLOCK = 2**16, 2**10


def in_kinds(
    compute: Callable[..., Sequence[jax.Array]],
    kind: Callable[..., jax.Array],
    arrays: Sequence[jax.Array],
    num_outputs: int,
) -> list[jax.Array]:
    """An elementwise function as of `in_blocks`, in blocks of elements of one kind.

    For functions that pass over what no element of a block needs, by `where_needed`.
    What they return must not depend on the kind.

    Parameters
    ----------
    compute, arrays, num_outputs
        As for `in_blocks`; `compute` is given arrays with one axis.
    kind : function
        Takes the arrays' parts and returns int32, >= 0 and < 2^15, of their common shape.

    Returns
    -------
    list of arrays
        Of the common shape.
    """

    def sorted_by_kind(*parts: jax.Array) -> list[jax.Array]:
        size = common_size(parts)
        if not _BLOCK < size <= _SORTED:
            return list(compute(*parts))
        index = jnp.arange(size, dtype=jnp.int32)
        # One number each sorts several times faster than a number and an index.
        order = jax.lax.sort(kind(*parts) * _SORTED + index, is_stable=False) & (_SORTED - 1)
        rows = [x if x.size == 1 else _taken(x, order) for x in parts]
        found = in_blocks(compute, rows, num_outputs, _BLOCK)
        return [_put_back(y, order) for y in found]

    return in_blocks(sorted_by_kind, arrays, num_outputs, _SORTED)


def where_needed(
    function: Callable[..., Any],
    active: jax.Array,
    otherwise: Callable[..., Any],
    *arrays: Any,
) -> Any:
    """`function(*arrays)`, or `otherwise(*arrays)` where no element needs that."""
    return jax.lax.cond(active.any(), function, otherwise, *arrays)


def _taken(x: jax.Array, order: jax.Array) -> jax.Array:
    return x.at[order].get(mode="promise_in_bounds", unique_indices=True)


def _put_back(y: jax.Array, order: jax.Array) -> jax.Array:
    return jnp.zeros_like(y).at[order].set(y, mode="promise_in_bounds", unique_indices=True)
