"""Optimal learning rates, as the paper defines them."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Problem


def optimal_learning_rate(problem: Problem) -> jax.Array:
    """Optimal learning rate of the paper: 1 / (2 lambda + 3 epsilon + gamma).

    The reciprocal of the top Hessian eigenvalue at w1 = w2 = 1, the paper's
    supplement; docs/theory.md section 5. `curvature.optimal_learning_rate`
    takes it from the Hessian at any weights.

    Parameters
    ----------
    problem : Problem
        Fields (...); its learning rate is not used.

    Returns
    -------
    jax.Array, (...)
        The rate, infinite (and without a derivative) where
        lambda = epsilon = gamma = 0, NaN for invalid values under tracing.

    Raises
    ------
    ValueError
        Eigenvalue, noise or decay NaN, infinite or negative; learning rate not
        finite and positive; fields that do not broadcast; a dtype other than
        float32, float64 or integers.
    """
    _, problem = checks.door(problem)
    return _optimal_learning_rate(problem)


@jax.jit
def _optimal_learning_rate(problem: Problem) -> jax.Array:
    sharpness = 2 * problem.eigenvalue + 3 * problem.noise + problem.decay
    return jnp.where(checks.valid(problem), 1 / sharpness, jnp.nan)


def learning_rate_ratio(eigenvalue: ArrayLike, noise: ArrayLike, decay: ArrayLike) -> jax.Array:
    """Ratio R of the optimal rate of a DAE to that of a WDAE, eq. (8).

    R = (2 lambda + gamma) / (2 lambda + 3 epsilon).

    Parameters
    ----------
    eigenvalue, noise, decay : array_like, (...)
        lambda, the DAE's epsilon, the WDAE's gamma; all >= 0.

    Returns
    -------
    jax.Array, (...)
        R, 1 where all three are 0, infinite where only lambda = epsilon = 0,
        NaN for invalid values under tracing.

    Raises
    ------
    ValueError
        A value NaN, infinite or negative; shapes that do not broadcast; a dtype
        other than float32, float64 or integers.
    """
    _, problem = checks.door(Problem(eigenvalue, noise, decay, 1.0))
    return _learning_rate_ratio(problem)


@jax.jit
def _learning_rate_ratio(problem: Problem) -> jax.Array:
    above = 2 * problem.eigenvalue + problem.decay
    below = 2 * problem.eigenvalue + 3 * problem.noise
    ratio = jnp.where((above == 0) & (below == 0), 1, above / jnp.where(below == 0, 1, below))
    ratio = jnp.where((above > 0) & (below == 0), jnp.inf, ratio)
    return jnp.where(checks.valid(problem), ratio, jnp.nan)
