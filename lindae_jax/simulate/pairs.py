"""Gradient descent of scalar weight pairs, one pair per eigen-direction."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Problem, Weights
from lindae_jax.simulate import trajectory
from lindae_jax.simulate.trajectory import Trajectory

# Steps taken per pass over the weights. XLA fuses them into one sweep through
# memory; beyond about 16 the two outputs of the fusion recompute too much.
_UNROLL = 8


def simulate_pairs(
    w1: ArrayLike,
    w2: ArrayLike,
    problem: Problem,
    *,
    num_steps: int,
    save_every: int | None = None,
    save_steps: Sequence[int] | None = None,
    observe: Callable[[jax.Array, jax.Array, jax.Array, Problem], Any] | None = None,
) -> Trajectory:
    """Full-batch gradient descent of weight pairs.

    One step, both weights from their old values (the paper's section 3.2 with
    decay; docs/theory.md section 1):
    g = lambda - (lambda + epsilon) w1 w2;
    w1 += alpha (g w2 - gamma w1); w2 += alpha (g w1 - gamma w2).

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Initial weights. They need not be finite: a diverged run can be continued.
    problem : Problem
        Its fields broadcast against the weights; all are traced, so other
        values of the same shape do not compile again.
    num_steps : int
        Steps to take, in epochs, below 2^31; 0 returns the start. Another
        number does not compile again while the number of saves is the same.
    save_every : int, optional
        Save steps 0, k, 2k, ... and num_steps.
    save_steps : sequence of int, optional
        Save these steps, strictly increasing in [0, num_steps], and num_steps.
        With neither of the two, only num_steps is saved.
    observe : function, optional
        Pure function (step, w1, w2, problem) -> pytree of arrays, called at
        each save; what it returns replaces the weights, of which only the last
        row is kept. It is static: each new function object compiles anew.

    Returns
    -------
    Trajectory
        `step` (saves,), `w1`, `w2` (saves, ...), `status` (...), `observed`.
        Status DIVERGED: a weight is not finite at the last save.
        INVALID_INPUT: a bad value was found under tracing, the weights are NaN.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast,
        num_steps negative, not an integer or not below 2^31, save_every below
        1, save_steps not increasing within [0, num_steps], both of them given,
        observe not a function.

    Notes
    -----
    Bitwise, a run cut into segments equals one run, a batch equals its members
    run one by one, and the saves change nothing.
    Differentiable in forward mode (`jax.jvp`, `jax.jacfwd`).
    """
    steps = trajectory.schedule(num_steps, save_every, save_steps)
    trajectory.check_observe(observe)
    (w1, w2), problem = checks.door(problem, w1=w1, w2=w2)
    return _simulate(w1, w2, problem, steps, observe)


@functools.partial(jax.jit, static_argnums=4)
def _simulate(
    w1: jax.Array, w2: jax.Array, problem: Problem, steps: jax.Array, observe: Any
) -> Trajectory:
    good = checks.valid(problem)
    shape = jnp.broadcast_shapes(good.shape, w1.shape, w2.shape)
    good = jnp.broadcast_to(good, shape)
    w1, w2, observed = trajectory.follow(
        functools.partial(_advance, problem),
        lambda weights: weights,
        Weights(jnp.where(good, w1, jnp.nan), jnp.where(good, w2, jnp.nan)),
        steps,
        None if observe is None else lambda *row: observe(*row, problem),
    )
    finite = jnp.isfinite(w1[-1]) & jnp.isfinite(w2[-1])
    return Trajectory(steps, w1, w2, trajectory.status(good, finite), observed)


def _advance(problem: Problem, weights: Weights, num_steps: jax.Array) -> Weights:
    """Take a traced number of steps: passes of `_UNROLL` steps, then the rest one by one."""
    step = functools.partial(
        _step,
        eigenvalue=problem.eigenvalue,
        total=problem.eigenvalue + problem.noise,
        learning_rate=problem.learning_rate,
        shrinkage=problem.learning_rate * problem.decay,
    )

    def sweep(_: Any, weights: Weights) -> Weights:
        for _ in range(_UNROLL):
            weights = step(weights)
        return weights

    weights = jax.lax.fori_loop(0, num_steps // _UNROLL, sweep, weights)
    return jax.lax.fori_loop(0, num_steps % _UNROLL, lambda _, w: step(w), weights)


def _step(
    weights: Weights,
    eigenvalue: jax.Array,
    total: jax.Array,
    learning_rate: jax.Array,
    shrinkage: jax.Array,
) -> Weights:
    """One step; total = lambda + epsilon, shrinkage = alpha gamma.

    Every sum has exactly one product among its terms. So the compiler has no
    choice of which product to fuse into a multiply-add, and each step rounds
    alike wherever it stands: unrolled, in the remainder, vectorised or not.
    """
    w1, w2 = weights
    gain = learning_rate * (eigenvalue - total * (w1 * w2))
    return Weights((w1 - shrinkage * w1) + gain * w2, (w2 - shrinkage * w2) + gain * w1)
