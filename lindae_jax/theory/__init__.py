"""Closed forms of the learning dynamics: no loop over epochs, no randomness."""

from lindae_jax.theory.fixed import equivalent_decay, fixed_point
from lindae_jax.theory.rates import learning_rate_ratio, optimal_learning_rate
from lindae_jax.theory.solution import mapping, weights
from lindae_jax.theory.times import time_to_mapping

__all__ = [
    "equivalent_decay",
    "fixed_point",
    "learning_rate_ratio",
    "mapping",
    "optimal_learning_rate",
    "time_to_mapping",
    "weights",
]
