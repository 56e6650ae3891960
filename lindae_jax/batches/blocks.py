"""Large batches walked in blocks that fit the cache."""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Blocks are made of so many elements: whole vectors of any width, unrolled or not.
VECTORS = 64


def common_shape(arrays: Iterable[Any]) -> tuple[int, ...]:
    """Of arrays that broadcast together."""
    return np.broadcast_shapes(*(x.shape for x in arrays))


def common_size(arrays: Iterable[Any]) -> int:
    """How many elements arrays have that broadcast together."""
    return math.prod(common_shape(arrays))


def in_blocks(
    compute: Callable[..., Sequence[jax.Array]],
    arrays: Sequence[jax.Array],
    num_outputs: int,
    largest: int | None,
    dtypes: Sequence[Any] | None = None,
) -> list[jax.Array]:
    """An elementwise function of arrays that broadcast, a block at a time.

    Nothing is broadcast, padded or copied as a whole: memory beyond the
    outputs is that of a block. The last block overlaps the one before where
    the sizes do not fit, and computes the same values again.

    Parameters
    ----------
    compute : function
        Takes the arrays' parts, which broadcast together, and returns arrays
        of their common shape.
    arrays : sequence of arrays
    num_outputs : int
        How many arrays `compute` returns.
    dtypes : sequence of dtype, optional
        Theirs; by default that of the first of `arrays`.
    largest : int or None
        Elements in a block; None for all at once, without any slicing, as are
        2^31 elements or more, which int32 cannot count.

    Returns
    -------
    list of arrays
        Of the common shape.
    """
    shape = common_shape(arrays)
    if largest is None or math.prod(shape) >= 2**31:
        return list(compute(*arrays))
    if math.prod(shape) <= largest:
        return _whole_vectors(compute, arrays, shape)
    merged, parts = merged_axes(shape, arrays)
    block, steps = _plan(merged, largest)

    def fill(i: jax.Array, outputs: Sequence[jax.Array]) -> Sequence[jax.Array]:
        start = _start(i, merged, block, steps)
        pieces = (_piece(x, start, block) for x in parts)
        values = _whole_vectors(compute, list(pieces), block)
        return [
            jax.lax.dynamic_update_slice(y, value, start)
            for y, value in zip(outputs, values, strict=True)
        ]

    # Of equal arrays XLA would make one and copy it.
    like = of_all(parts)
    empty = [
        jnp.full_like(like, i, shape=merged, dtype=dtype)
        for i, dtype in enumerate(dtypes or [like.dtype] * num_outputs)
    ]
    filled = jax.lax.fori_loop(0, math.prod(steps), fill, empty)
    return [y.reshape(shape) for y in filled]


def of_all(arrays: Sequence[jax.Array]) -> jax.Array:
    """A number computed from all arrays, of the first one's dtype, for its type.

    In a function under `jax.shard_map` that tells along which axes a value varies, and what
    a loop begins with has to vary like what it computes, and branches like each other.
    """
    numbers = (x.reshape(-1)[0].astype(arrays[0].dtype) for x in arrays)
    return functools.reduce(operator.add, numbers)


def _whole_vectors(
    compute: Callable[..., Sequence[jax.Array]],
    arrays: Sequence[jax.Array],
    shape: tuple[int, ...],
) -> list[jax.Array]:
    """The function on 1-D arrays of whole vectors: XLA may leave other lengths to scalar code."""
    size = math.prod(shape)
    padding = -size % VECTORS

    def flat(x: jax.Array) -> jax.Array:
        if x.size == 1:
            return x.reshape(1)
        return jnp.pad(jnp.broadcast_to(x, shape).reshape(-1), (0, padding), mode="edge")

    padded = (size + padding,)
    values = (jnp.broadcast_to(y, padded) for y in compute(*map(flat, arrays)))
    return [y[:size].reshape(shape) for y in values]


def merged_axes(shape: tuple[int, ...], arrays: Sequence[jax.Array]) -> Any:
    """Neighbouring axes made one where no array has one of the two without the other."""
    full = [(1,) * (len(shape) - x.ndim) + x.shape for x in arrays]
    groups: list[list[int]] = []
    for axis, size in enumerate(shape):
        last = groups[-1] if groups else None
        if last and all((f[axis] == 1) == (f[last[-1]] == 1) for f in full) and size > 1:
            last.append(axis)
        elif size > 1:
            groups.append([axis])

    def fold(f: Sequence[int]) -> tuple[int, ...]:
        return tuple(math.prod(f[axis] for axis in group) for group in groups)

    return fold(shape), [x.reshape(fold(f)) for x, f in zip(arrays, full, strict=True)]


def _plan(shape: tuple[int, ...], largest: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of a block, and how many of them lie along each axis.

    Whole trailing axes, rows of the one before, one index of those in front.
    """
    cut, inner = len(shape) - 1, 1
    while cut > 0 and inner * shape[cut] <= largest:
        inner *= shape[cut]
        cut -= 1
    count = -(-shape[cut] // max(1, largest // inner))
    rows = -(-shape[cut] // count)
    rows = min(shape[cut], rows if inner > 1 else -(-rows // VECTORS) * VECTORS)
    block = (1,) * cut + (rows,) + shape[cut + 1 :]
    return block, shape[:cut] + (count,) + (1,) * (len(shape) - cut - 1)


def _start(
    i: jax.Array, shape: tuple[int, ...], block: tuple[int, ...], steps: tuple[int, ...]
) -> list[jax.Array]:
    """Where the i-th block begins, none beyond the end."""
    index = jnp.unravel_index(i, steps)
    return [
        jnp.minimum(j * rows, size - rows)
        for j, rows, size in zip(index, block, shape, strict=True)
    ]


def _piece(x: jax.Array, start: list[jax.Array], block: tuple[int, ...]) -> jax.Array:
    """The part of x that a block covers; broadcast axes stay of length 1."""
    here = [jnp.where(size == 1, 0, s) for s, size in zip(start, x.shape, strict=True)]
    return jax.lax.dynamic_slice(x, here, [*map(min, block, x.shape)])
