"""Matrices of many small networks on a processor, each network a lane of its vectors.

XLA computes products of small matrices one by one, and each costs a fraction of a
microsecond of itself. Here a matrix is (..., h, d, lanes), one network after the other
in memory, a product is a sum written out, and all of it are elementwise loops that
vectors fill.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# Where XLA's products are slower: networks of so few directions, or of so few directions
# times weights of an encoder; never more weights than that, for they leave the cache, nor
# units or directions, for the code grows with them. Fewer networks leave lanes idle.
_DIRECTIONS, _WORK = 24, 20_000
_WEIGHTS, _AXIS, _NETWORKS = 2048, 128, 8

# Terms of a sum in one loop: so many can stay in registers.
_TERMS = 32

# A pass over a block of so many weights takes longer than it costs to begin. Its lanes are
# whole vectors, in bytes; eight lanes of eight directions make a loop that is not a vector's.
_BLOCK, _VECTOR, _MOST = 1024, 64, 1024


def number(encoder: jax.Array) -> int | None:
    """Lanes to use for networks of such encoders, (..., H, D); None where products are faster."""
    *batch, num_hidden, num_directions = encoder.shape
    weights = num_hidden * num_directions
    if math.prod(batch) < _NETWORKS or not 0 < weights <= _WEIGHTS:
        return None
    if max(num_hidden, num_directions) > _AXIS:
        return None
    if num_directions > _DIRECTIONS and weights * num_directions > _WORK:
        return None
    size = encoder.dtype.itemsize
    least = 16 if num_directions <= 8 else _VECTOR // size
    lanes = 2 ** int(math.log2(max(1, _BLOCK // weights)))
    return min(max(lanes, least), _MOST // size)


def in_lanes(
    compute: Callable[..., Sequence[jax.Array]], arrays: Sequence[jax.Array], lanes: int
) -> list[jax.Array]:
    """A function of matrices (blocks, h, d, lanes), given and giving (..., h, d)."""
    batch = arrays[0].shape[:-2]
    num = math.prod(batch)

    def placed(x: jax.Array) -> jax.Array:
        matrix = x.shape[-2:]
        x = jnp.broadcast_to(x, batch + matrix).reshape(num, *matrix)
        x = jnp.pad(x, ((0, -num % lanes), (0, 0), (0, 0)), mode="edge")
        return jnp.moveaxis(x.reshape(-1, lanes, *matrix), 1, -1)

    def back(y: jax.Array) -> jax.Array:
        matrix = y.shape[1:3]
        return jnp.moveaxis(y, -1, 1).reshape(-1, *matrix)[:num].reshape(batch + matrix)

    return list(map(back, compute(*map(placed, arrays))))


def product(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """The `einsum` of matrices that have one axis in common, lane by lane.

    Of a step, each other axis is in one of them, and both are in the result.
    """
    inputs, result = axes.replace("...", "").split("->")
    summed = (set(inputs) - set(result) - {","}).pop()

    def part(x: jax.Array, axes: str, k: int) -> jax.Array:
        row = jax.lax.index_in_dim(x, k, axes.index(summed) - 3, keepdims=False)
        # It lies along the one axis of the result, and is the same along the other.
        return jnp.expand_dims(row, -2 if result[0] in axes else -3)

    of_x, of_y = inputs.split(",")
    total = None
    for k in range(x.shape[of_x.index(summed) - 3]):
        if total is not None and k % _TERMS == 0:
            total = once(functools.partial(lambda so_far: so_far, total))
        term = part(x, of_x, k) * part(y, of_y, k)
        total = term if total is None else total + term
    assert total is not None
    return total


def identity(x: jax.Array) -> jax.Array:
    """Ones where row and column are the same direction, for matrices (..., h, d, lanes)."""
    return jnp.eye(x.shape[-2], dtype=x.dtype)[..., None]


def once(function: Callable[[], Any]) -> Any:
    """What it returns, computed once and written, for what uses it many times.

    XLA would put a sum that is used by row and by column into the loop of each use, term by
    term: some hundred times the work. It does not look into a branch, nor, before it has
    done all that could take one away, through the barrier.
    """
    always = jax.lax.optimization_barrier(jnp.bool_(True))
    # Under shard_map the zeros have to vary along the same axes as the results.
    return jax.lax.cond(always, function, lambda: jax.tree.map(jnp.zeros_like, function()))
