"""The four numbers that decide how one eigen-direction learns."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """One eigen-direction of a linear autoencoder, or a batch of them.

    All four fields are traced data and broadcast against each other and
    against the weights. Nothing is validated here, so that a `Problem` can be
    built, mapped and differentiated under any JAX transformation; the public
    functions check what they are given.

    Parameters
    ----------
    eigenvalue : array_like, (...)
        lambda >= 0, eigenvalue of the second-moment matrix X^T X / N.
    noise : array_like, (...)
        epsilon >= 0, variance of the additive input noise, per component.
    decay : array_like, (...)
        gamma >= 0, coefficient of the penalty gamma/2 (|W1|^2 + |W2|^2).
    learning_rate : array_like, (...)
        alpha > 0, step size of full-batch gradient descent.

    Notes
    -----
    The paper (Pretorius, Kroon and Kamper, ICML 2018) sums over the N samples
    where this library takes means: its Sigma, its noise term and N times its
    decay, each divided by N, are the numbers here. See docs/theory.md.
    """

    eigenvalue: Any
    noise: Any = 0.0
    decay: Any = 0.0
    learning_rate: Any = 0.01

    def per_direction(self) -> "Problem":
        """Problem of the D scalar directions of a matrix problem.

        A matrix problem has `eigenvalue` (..., D) and its other fields (...),
        one per network. Here an axis is appended to those three, so that they
        broadcast against the directions.

        Returns
        -------
        Problem
            `eigenvalue` (..., D), the other fields (..., 1). Python scalars
            stay scalars, for they broadcast as they are and keep out of the
            result's dtype.
        """
        return Problem(
            self.eigenvalue,
            _append_axis(self.noise),
            _append_axis(self.decay),
            _append_axis(self.learning_rate),
        )


class Weights(NamedTuple):
    """A pair of weights: scalars of one direction, or whole matrices."""

    w1: Any
    w2: Any


def _append_axis(x: ArrayLike) -> ArrayLike:
    return x if isinstance(x, int | float) else jnp.asarray(x)[..., None]
