"""Whole Hessians of small networks, the slow way."""

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.losses import matrix_loss


@jax.jit
def whole_hessian(w1, w2, problem):
    """All second derivatives of the loss of one network, (2 H D, 2 H D)."""

    def loss(flat):
        first, second = jnp.split(flat, 2)
        return matrix_loss(first.reshape(w1.shape), second.reshape(w2.shape), problem)

    return jax.hessian(loss)(jnp.concatenate([w1.ravel(), w2.ravel()]))


def aligned_weights(rng, a, b, hidden, directions):
    """R diag(a) and diag(b) R^T in NumPy, R random orthogonal; with the R."""
    batch, m = a.shape[:-1], a.shape[-1]
    rotation, _ = np.linalg.qr(rng.normal(size=(*batch, hidden, hidden)))
    pad = [(0, 0)] * (len(batch) + 1) + [(0, directions - m)]
    w1, w2 = (np.pad(rotation[..., :m] * x[..., None, :], pad) for x in (a, b))
    return w1, np.swapaxes(w2, -2, -1), rotation
