"""How linear denoising, weight-decayed autoencoders learn: closed forms beside simulators."""

from lindae_jax import curvature, data, initial, losses, noise, simulate, spectrum, theory
from lindae_jax.problem import Problem, Weights
from lindae_jax.simulate import (
    DIVERGED,
    INVALID_INPUT,
    NOT_RUN,
    OK,
    Trajectory,
    raise_on_divergence,
    simulate_matrices,
    simulate_networks,
    simulate_pairs,
    simulate_sampled,
    status_message,
)
from lindae_jax.spectrum import Spectrum
from lindae_jax.sweep import Sweep
from lindae_jax.version import __version__ as __version__

__all__ = [
    # what goes in
    "Problem",
    "Spectrum",
    "Sweep",
    "Weights",
    # gradient descent, with how it ended
    "DIVERGED",
    "INVALID_INPUT",
    "NOT_RUN",
    "OK",
    "Trajectory",
    "raise_on_divergence",
    "simulate_matrices",
    "simulate_networks",
    "simulate_pairs",
    "simulate_sampled",
    "status_message",
    # modules
    "curvature",
    "data",
    "initial",
    "losses",
    "noise",
    "simulate",
    "spectrum",
    "theory",
]
