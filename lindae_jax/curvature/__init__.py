"""Hessians, their eigenvalues, learning rates."""

from lindae_jax.curvature.aligned import aligned_spectrum
from lindae_jax.curvature.lanczos import leading_eigenvalues, matrix_hvp
from lindae_jax.curvature.pair import optimal_learning_rate, pair_hessian, sharpness

__all__ = [
    "aligned_spectrum",
    "leading_eigenvalues",
    "matrix_hvp",
    "optimal_learning_rate",
    "pair_hessian",
    "sharpness",
]
