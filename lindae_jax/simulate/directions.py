"""What a whole autoencoder does along each eigen-direction."""

import jax
import jax.numpy as jnp

from lindae_jax.problem import Weights


def mapping(w1: jax.Array, w2: jax.Array) -> jax.Array:
    """Diagonal of W2 W1 in the eigenbasis.

    Parameters
    ----------
    w1 : array, (..., H, K)
        Columns of the encoder in the eigenbasis, for the directions wanted.
    w2 : array, (..., K, H)
        Rows of the decoder for the same directions.

    Returns
    -------
    jax.Array, (..., K)
    """
    return jnp.sum(w1 * jnp.swapaxes(w2, -1, -2), axis=-2)


def singular_values(w1: jax.Array, w2: jax.Array) -> jax.Array:
    """Singular values of W2 W1, descending, without ever forming it where H < D.

    Parameters
    ----------
    w1 : array, (..., H, D)
        In any basis.
    w2 : array, (..., D, H)

    Returns
    -------
    jax.Array, (..., min(H, D))
        In step with `mapping` only where the network is aligned, its mappings not negative
        and in order.
    """
    factors = w2, w1
    if w1.shape[-2] < w1.shape[-1]:
        # Orthogonal factors change no singular value: what is left is H x H.
        first, second = (jnp.linalg.qr(x, mode="r") for x in (w2, jnp.swapaxes(w1, -1, -2)))
        factors = first, jnp.swapaxes(second, -1, -2)
    product = jnp.matmul(*factors, precision=jax.lax.Precision.HIGHEST)
    return jnp.linalg.svd(product, compute_uv=False)


def balanced_pair(w1: jax.Array, w2: jax.Array) -> Weights:
    """The pair that each direction behaves like from small weights.

    Only the sum of encoder and decoder grows while the weights are small, so that a
    direction behaves as if balanced: docs/theory.md, section 6.

    Parameters
    ----------
    w1 : array, (..., H, K)
        As in `mapping`.
    w2 : array, (..., K, H)

    Returns
    -------
    Weights
        Of arrays (..., K), both the same.
    """
    half = jnp.linalg.norm(w1 + jnp.swapaxes(w2, -1, -2), axis=-2) / 2
    return Weights(half, half)
