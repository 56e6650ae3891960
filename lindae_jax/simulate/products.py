"""Arithmetic on the matrices of many networks at once."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lindae_jax.problem import Problem

# Without the precision GPUs and TPUs round the factors to TF32 or bfloat16. Named axes and
# no transposed arrays: XLA would write those to memory at every step.
product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def transpose(matrix: jax.Array) -> jax.Array:
    """The last two axes exchanged."""
    return jnp.swapaxes(matrix, -2, -1)


def identity(x: jax.Array) -> jax.Array:
    """Ones where row and column are the same direction, for matrices (..., h, d)."""
    return jnp.eye(x.shape[-1], dtype=x.dtype)


def per_matrix(problem: Problem) -> tuple[jax.Array, ...]:
    """The fields with the two axes of a matrix."""
    others = problem.noise, problem.decay, problem.learning_rate
    return problem.eigenvalue[..., None, :], *(x[..., None, None] for x in others)


def in_groups(
    compute: Callable[..., Sequence[jax.Array]], arrays: Sequence[jax.Array], largest: int | None
) -> list[jax.Array]:
    """A function of matrices, on so many networks at a time that a block holds them."""
    *batch, num_hidden, num_directions = arrays[0].shape
    num = math.prod(batch)
    size = max(1, (largest or 0) // max(1, num_hidden * num_directions))
    if largest is None or num <= size:
        return list(compute(*arrays))
    num_groups = -(-num // size)
    size = -(-num // num_groups)

    def grouped(x: jax.Array) -> jax.Array:
        x = jnp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(num, *x.shape[-2:])
        x = jnp.pad(x, ((0, num_groups * size - num), (0, 0), (0, 0)), mode="edge")
        return x.reshape(num_groups, size, *x.shape[-2:])

    results = jax.lax.map(lambda group: compute(*group), tuple(map(grouped, arrays)))
    return [y.reshape(-1, *y.shape[-2:])[:num].reshape(arrays[0].shape) for y in results]
