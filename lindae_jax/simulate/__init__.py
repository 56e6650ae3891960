"""Gradient descent, batched."""

from lindae_jax.simulate.matrices import simulate_matrices
from lindae_jax.simulate.pairs import simulate_pairs
from lindae_jax.simulate.trajectory import (
    DIVERGED,
    INVALID_INPUT,
    NOT_RUN,
    OK,
    Trajectory,
    raise_on_divergence,
    status_message,
)

__all__ = [
    "DIVERGED",
    "INVALID_INPUT",
    "NOT_RUN",
    "OK",
    "Trajectory",
    "raise_on_divergence",
    "simulate_matrices",
    "simulate_pairs",
    "status_message",
]
