"""How far gradient descent is from its flow, at a learning rate and at half of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import theory
from lindae_jax.problem import Problem
from lindae_jax.simulate import Trajectory, simulate_pairs


class Agreement(NamedTuple):
    """Theory beside training at the epochs kept, S of them, as NumPy arrays."""

    epoch: np.ndarray
    """(S,)"""
    theory: np.ndarray
    """Mapping w1 w2 of the flow, (S, ...)."""
    simulated: np.ndarray
    """Mapping of gradient descent, (S, ...)."""
    w1: np.ndarray
    w2: np.ndarray
    """Weights of gradient descent, (S, ...)."""
    difference: np.ndarray
    """Largest distance of the two mappings, (...)."""
    difference_at_half_rate: np.ndarray
    """The same at half the learning rate and twice the epochs, (...)."""


def compare(
    w1: ArrayLike, w2: ArrayLike, problem: Problem, epochs: Sequence[int] | np.ndarray
) -> Agreement:
    """Train pairs of weights by gradient descent, beside the flow of the same start.

    Descent is a first-order method for the flow, so that half the learning
    rate, at twice the epoch, halves their distance. What each step rounds off
    is carried along: in float32 it would otherwise be seen beside a small
    distance.

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Initial weights.
    problem : Problem
        Its fields broadcast against the weights.
    epochs : sequence or array of int, (S,)
        Those kept, strictly increasing.
    """
    steps = np.asarray(epochs)
    half = Problem(problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate / 2)
    trained, flow = _both(w1, w2, problem, steps)
    simulated = np.asarray(trained.w1 * trained.w2)
    half_trained, half_flow = _both(w1, w2, half, 2 * steps)
    half_simulated = np.asarray(half_trained.w1 * half_trained.w2)
    return Agreement(
        *(steps, flow, simulated, np.asarray(trained.w1), np.asarray(trained.w2)),
        np.abs(simulated - flow).max(axis=0),
        np.abs(half_simulated - half_flow).max(axis=0),
    )


def numbers(agreements: Sequence[Agreement]) -> dict[str, Any]:
    """The largest distances of some comparisons and what halving the rate makes of them.

    Parameters
    ----------
    agreements : sequence of Agreement
    """
    whole = max(a.difference.max() for a in agreements)
    half = max(a.difference_at_half_rate.max() for a in agreements)
    return {
        "largest_difference": whole,
        "largest_difference_at_half_rate": half,
        "ratio": half / whole,
    }


def epochs(last: int, num: int, *, power: int = 1) -> np.ndarray:
    """Epochs from 0 to the last one, evenly spaced or, with a higher power, dense at first.

    Parameters
    ----------
    last : int
    num : int
        How many, fewer where several round to the same epoch.
    power : int
    """
    return np.unique(np.round(last * np.linspace(0, 1, num) ** power).astype(int))


def _both(
    w1: ArrayLike, w2: ArrayLike, problem: Problem, steps: np.ndarray
) -> tuple[Trajectory, np.ndarray]:
    run: dict[str, Any] = {"num_steps": int(steps[-1]), "save_steps": steps.tolist()}
    trained = simulate_pairs(w1, w2, problem, **run, compensated=True)
    t = jnp.asarray(steps, trained.w1.dtype).reshape(-1, *(1,) * (trained.w1.ndim - 1))
    return trained, np.asarray(theory.mapping(t, w1, w2, problem))
