"""Curvature of the loss of a weight pair."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.losses import pair_loss
from lindae_jax.problem import Problem


def pair_hessian(w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Hessian of the pair loss in (w1, w2), by automatic differentiation.

    [[a w2^2 + gamma, 2 a w - lambda], [2 a w - lambda, a w1^2 + gamma]] with
    a = lambda + epsilon, w = w1 w2: docs/theory.md section 5.

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Where the Hessian is taken.
    problem : Problem
        Its fields broadcast against the weights; the learning rate plays no part.

    Returns
    -------
    jax.Array, (..., 2, 2)
        NaN for members whose problem is found invalid under tracing.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast.
    """
    (w1, w2), problem = checks.door(problem, w1=w1, w2=w2)
    return _pair_hessian(w1, w2, problem)


def sharpness(w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Top eigenvalue of the pair Hessian, where the weights are.

    At w1 = w2 = 1 it is 2 lambda + 3 epsilon + gamma; at a minimum without
    decay (lambda + epsilon)(w1^2 + w2^2); at one with decay and without noise
    2 (lambda - gamma); at the origin lambda + gamma: docs/theory.md section 5.

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Where the Hessian is taken.
    problem : Problem
        Its fields broadcast against the weights; the learning rate plays no part.

    Returns
    -------
    jax.Array, (...)
        At least 0; gradient descent is unstable at a minimum whose sharpness
        exceeds 2 / learning_rate. NaN for members whose problem is found
        invalid under tracing. Where both eigenvalues are equal there is no
        derivative, and that of their mean is returned.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast.
    """
    (w1, w2), problem = checks.door(problem, w1=w1, w2=w2)
    return _sharpness(w1, w2, problem)


def optimal_learning_rate(w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """1 / sharpness: the fastest rate along the steepest direction.

    The paper takes it at w1 = w2 = 1, which gives
    1 / (2 lambda + 3 epsilon + gamma); its equation (8) is the ratio of two
    such rates.

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Where the Hessian is taken.
    problem : Problem
        Its fields broadcast against the weights; its learning rate plays no part.

    Returns
    -------
    jax.Array, (...)
        Infinite where the sharpness is 0, and without a derivative there. NaN
        for members whose problem is found invalid under tracing.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast.
    """
    return 1 / sharpness(w1, w2, problem)


@jax.jit
def _pair_hessian(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    def hessian(w1: jax.Array, w2: jax.Array, *fields: jax.Array) -> jax.Array:
        def loss(w: jax.Array) -> jax.Array:
            return pair_loss(w[0], w[1], Problem(*fields))

        return jax.hessian(loss)(jnp.stack([w1, w2]))

    # Axis by axis: a batch made flat would leave the devices that it is spread over.
    fields = problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate
    return jnp.vectorize(hessian, signature="(),(),(),(),(),()->(2,2)")(w1, w2, *fields)


@jax.jit
def _sharpness(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    hessian = _pair_hessian(w1, w2, problem)
    return eigenvalues(hessian[..., 0, 0], hessian[..., 1, 1], hessian[..., 0, 1])[1]


def eigenvalues(
    first: jax.Array, second: jax.Array, off_diagonal: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Both eigenvalues, ascending, of symmetric 2 x 2 matrices.

    Where they coincide they have no derivative; that of their mean is given.
    """
    mean = 0.5 * (first + second)
    half = 0.5 * (first - second)
    equal = (half == 0) & (off_diagonal == 0)
    # The derivative of hypot at the origin is 0/0: keep it out of both branches.
    radius = jnp.hypot(jnp.where(equal, 1, half), off_diagonal)
    radius = jnp.where(equal, 0, radius)
    return mean - radius, mean + radius
