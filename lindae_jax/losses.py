"""The loss of a pair of weights or of whole matrices."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Problem


def pair_loss(w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Expected loss of one eigen-direction with scalar weights.

    lambda/2 (1 - w1 w2)^2 + epsilon/2 (w1 w2)^2 + gamma/2 (w1^2 + w2^2):
    docs/theory.md section 1, a summand of the
    paper's equation (4), with decay.

    Parameters
    ----------
    w1, w2 : array_like, (...)
        The two weights.
    problem : Problem
        Its fields broadcast against the weights; the learning rate plays no
        part in the value.

    Returns
    -------
    jax.Array, (...)
        The loss; NaN for members whose problem is found invalid under tracing.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast.
    """
    (w1, w2), problem = checks.door(problem, w1=w1, w2=w2)
    return _pair_loss(w1, w2, problem)


def matrix_loss(w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Expected loss of a whole linear autoencoder, in the eigenbasis.

    1/2 tr[(I - W) Lambda (I - W)^T] + epsilon/2 tr(W W^T)
    + gamma/2 (|W1|^2 + |W2|^2) with W = W2 W1: equation (1) of the paper with
    its bracket closed and divided by N; docs/theory.md section 1.

    Parameters
    ----------
    w1 : array_like, (..., H, D)
        Encoder, its columns along the eigenvectors.
    w2 : array_like, (..., D, H)
        Decoder, its rows along the eigenvectors.
    problem : Problem
        `eigenvalue` (..., D), the other fields (...).

    Returns
    -------
    jax.Array, (...)
        The loss; NaN for members whose problem is found invalid under tracing.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, matrices that do not fit each other
        or the eigenvalues, batch shapes that do not broadcast.
    """
    (w1, w2), problem, _ = checks.matrix_door(problem, w1=w1, w2=w2)
    return _matrix_loss(w1, w2, problem)


@jax.jit
def _pair_loss(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    # NaN goes in rather than out, so that derivatives are NaN as well.
    eigenvalue = jnp.where(checks.valid(problem), problem.eigenvalue, jnp.nan)
    w = w1 * w2
    return 0.5 * (
        eigenvalue * (1 - w) ** 2 + problem.noise * w**2 + problem.decay * (w1**2 + w2**2)
    )


@jax.jit
def _matrix_loss(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    good = checks.valid(problem.per_direction()).all(-1, keepdims=True)
    eigenvalue = jnp.where(good, problem.eigenvalue, jnp.nan)
    w = jnp.matmul(w2, w1, precision=jax.lax.Precision.HIGHEST)
    residual = jnp.eye(w.shape[-1], dtype=w.dtype) - w
    return 0.5 * (
        jnp.sum(residual**2 * eigenvalue[..., None, :], axis=(-2, -1))
        + problem.noise * _squares(w)
        + problem.decay * (_squares(w1) + _squares(w2))
    )


def _squares(matrix: jax.Array) -> jax.Array:
    return jnp.sum(matrix**2, axis=(-2, -1))
