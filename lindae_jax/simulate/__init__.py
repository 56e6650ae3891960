"""Gradient descent, batched."""

from lindae_jax.simulate.matrices import simulate_matrices
from lindae_jax.simulate.networks import identity_mapping, simulate_networks
from lindae_jax.simulate.pairs import simulate_pairs
from lindae_jax.simulate.sampled import sampled_moments, simulate_sampled
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
    "identity_mapping",
    "raise_on_divergence",
    "sampled_moments",
    "simulate_matrices",
    "simulate_networks",
    "simulate_pairs",
    "simulate_sampled",
    "status_message",
]
