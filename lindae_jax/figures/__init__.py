"""The figures of the paper, each from numbers that are kept beside it."""

from lindae_jax.figures.run import FIGURES, Job, compute, draw, make, prepare, save, save_gallery

__all__ = ["FIGURES", "Job", "compute", "draw", "make", "prepare", "save", "save_gallery"]
