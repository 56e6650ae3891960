"""Where learning ends, with the decay that ends where noise does."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Problem


def fixed_point(problem: Problem) -> jax.Array:
    """Fixed point w* of the mapping.

    w* = max(0, (lambda - gamma) / (lambda + epsilon)): the limit of w(t) for
    every start but w1 + w2 = 0, which runs into the saddle at 0. It is the
    paper's lambda / (lambda + epsilon) (section 4) with decay added;
    docs/theory.md section 4. Where lambda = epsilon = 0 it is defined as 0.

    Parameters
    ----------
    problem : Problem
        Fields (...).

    Returns
    -------
    jax.Array, (...)
        w*, NaN for invalid values under tracing. At gamma = lambda, a kink, the
        derivative is half of that below it; at lambda = epsilon = 0 it is 0.

    Raises
    ------
    ValueError
        Eigenvalue, noise or decay NaN, infinite or negative; learning rate not
        finite and positive; fields that do not broadcast; a dtype other than
        float32, float64 or integers.
    """
    _, problem = checks.door(problem)
    return _fixed_point(problem)


@jax.jit
def _fixed_point(problem: Problem) -> jax.Array:
    star = stable_mapping(problem.eigenvalue, problem.noise, problem.decay)
    return jnp.where(checks.valid(problem), star, jnp.nan)


def stable_mapping(eigenvalue: jax.Array, noise: jax.Array, decay: jax.Array) -> jax.Array:
    """w* of unchecked arrays."""
    a = eigenvalue + noise
    return jnp.where(a > 0, jnp.maximum(eigenvalue - decay, 0) / jnp.where(a > 0, a, 1), 0)


def equivalent_decay(eigenvalue: ArrayLike, noise: ArrayLike) -> jax.Array:
    """Decay gamma whose fixed point is that of the noise epsilon.

    gamma = lambda epsilon / (lambda + epsilon) (the paper's section 5), 0 where
    lambda = epsilon = 0.

    Parameters
    ----------
    eigenvalue, noise : array_like, (...)
        lambda >= 0 and epsilon >= 0.

    Returns
    -------
    jax.Array, (...)
        gamma, NaN for invalid values under tracing.

    Raises
    ------
    ValueError
        A value NaN, infinite or negative; shapes that do not broadcast; a dtype
        other than float32, float64 or integers.
    """
    # Decay and learning rate are given values that pass every check.
    _, problem = checks.door(Problem(eigenvalue, noise, 0.0, 1.0))
    return _equivalent_decay(problem)


@jax.jit
def _equivalent_decay(problem: Problem) -> jax.Array:
    a = problem.eigenvalue + problem.noise
    # The quotient first: the product of two tiny or huge numbers leaves the range.
    larger = jnp.maximum(problem.eigenvalue, problem.noise)
    smaller = jnp.minimum(problem.eigenvalue, problem.noise)
    gamma = smaller * (larger / jnp.where(a > 0, a, 1))
    return jnp.where(checks.valid(problem), gamma, jnp.nan)
