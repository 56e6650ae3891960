"""Initial weights drawn from a seed.

A draw is a pure function of (seed value, what is drawn, hidden unit,
direction): the four are folded, one after the other, into a Threefry key, and
the 64 bits of the last key become one normal number. So a draw does not depend
on its place in a batch, on the shape asked for, on the integer type of the
seed, on the default generator or on `jax_threefry_partitionable`; the first 16
hidden units of 32 are those of a network of 16.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Weights

# What is drawn. The numbers are part of every draw: never change them.
_W1, _W2, _ROTATION = 0, 1, 2


def small(
    seed: ArrayLike,
    *,
    std: ArrayLike,
    num_directions: int | None = None,
    hidden: int | None = None,
    dtype: Any = None,
) -> Weights:
    """Independent normal weights, N(0, std^2).

    Parameters
    ----------
    seed : int or integer array, (...)
        Between 0 and 2^32 - 1; equal values give equal draws.
    std : array_like, (...)
        Standard deviation >= 0, traced; broadcasts against `seed`.
    num_directions : int, optional
        D. Without it, pairs along the first direction only.
    hidden : int, optional
        H. With it, whole matrices in the eigenbasis.
    dtype : optional
        float32 or float64; by default the dtype of `std`, a Python number
        counting as the default float.

    Returns
    -------
    Weights
        `w1`, `w2`: pairs (...) or (..., D); with `hidden` matrices
        (..., H, D) and (..., D, H). Pairs are the first hidden unit. The same
        seed gives the same numbers, whatever is asked for beside them. Members
        whose seed or std is found invalid under tracing are NaN.

    Raises
    ------
    ValueError
        Seed not an integer in [0, 2^32); std negative, infinite or NaN; shapes
        that do not broadcast; `num_directions` or `hidden` below 1; `hidden`
        without `num_directions`; unsupported dtype, or float64 with 64 bits off.

    Notes
    -----
    A float32 and a float64 draw of one seed are the same quantile of the
    normal distribution: they differ by rounding only, less than 1e-6 std.
    """
    if hidden is not None and num_directions is None:
        raise checks.mistake(
            "hidden needs num_directions",
            f"hidden = {hidden}, num_directions = None",
            "Pass num_directions = D for matrices (H, D) and (D, H).",
        )
    num_directions = _count_or_none("num_directions", num_directions)
    hidden = _count_or_none("hidden", hidden)
    seed = _seed(seed)
    (std,) = _cast(dtype, std=std)
    checks.broadcast({"seed": seed, "std": std})
    checks.check_values({"std": (std, "non_negative")})
    return _small(seed, std, num_directions, hidden)


def aligned(
    seed: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    hidden: int,
    num_directions: int,
    *,
    dtype: Any = None,
) -> Weights:
    """Matrices that learn each eigen-direction by itself.

    W1 = R diag(a), W2 = diag(b) R^T in the eigenbasis, R a random orthogonal
    H x H matrix (uniform, by the Haar measure): the paper's orthogonal
    initialisation, section 3.2. Unit j then follows the pair (a_j, b_j)
    exactly; docs/theory.md section 6.

    Parameters
    ----------
    seed : int or integer array, (...)
        Between 0 and 2^32 - 1; decides R alone.
    a, b : array_like, (..., min(H, D))
        The pairs of weights along the first directions.
    hidden, num_directions : int
        H and D.
    dtype : optional
        float32 or float64; by default the dtype of `a` and `b`.

    Returns
    -------
    Weights
        `w1` (..., H, D), `w2` (..., D, H). R for H units is not a part of R
        for more units. A negative seed found under tracing gives NaN.

    Raises
    ------
    ValueError
        Seed not an integer in [0, 2^32); `a` or `b` without min(H, D) entries
        on its last axis; shapes that do not broadcast; `hidden` or
        `num_directions` below 1; unsupported dtype, or float64 with 64 bits off.
    """
    hidden = checks.count("hidden", hidden, 1)
    num_directions = checks.count("num_directions", num_directions, 1)
    seed = _seed(seed)
    a, b = _cast(dtype, a=a, b=b)
    checks.check_served({"a": a, "b": b}, hidden, num_directions)
    checks.broadcast({"seed": seed, "a": a.shape[:-1], "b": b.shape[:-1]})
    return _aligned(seed, a, b, hidden, num_directions)


# --- doors ------------------------------------------------------------------


def _count_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else checks.count(name, value, 1)


def _cast(dtype: Any, **named: ArrayLike) -> tuple[jax.Array, ...]:
    arrays, _ = checks.cast(named)
    if dtype is not None:
        wanted = checks.requested_dtype(dtype)
        arrays = {n: jax.lax.convert_element_type(x, wanted) for n, x in arrays.items()}
    return tuple(arrays.values())


def _seed(seed: Any) -> jax.Array:
    """Seeds as integers, checked on the host where they are concrete."""
    remedy = "Pass integers from 0 to 2^32 - 1."
    if not checks.is_traced(seed):
        host = _on_host(seed)
        # Integers that no integer type holds are objects to NumPy.
        if host.dtype.kind not in "iu" and not all(type(s) is int for s in host.flat):
            raise checks.mistake("seed must be an integer", f"{seed!r}"[:60], remedy)
        bad = (host < 0) | (host > np.uint32(0xFFFFFFFF))
        if bad.any():
            raise checks.mistake("seed must lie in [0, 2^32)", host[bad][0], remedy)
        return jnp.asarray(host.astype(np.uint32))
    if not jnp.issubdtype(seed.dtype, jnp.integer):
        raise checks.mistake("seed must be an integer", f"dtype {seed.dtype}", remedy)
    return seed


def _on_host(seed: Any) -> np.ndarray:
    try:
        return np.asarray(seed)
    except (TypeError, ValueError):
        return np.asarray(None)  # a ragged list, or a key of jax.random


# --- cores ------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(2, 3))
def _small(
    seed: jax.Array, std: jax.Array, num_directions: int | None, hidden: int | None
) -> Weights:
    units, directions = hidden or 1, num_directions or 1
    w1, w2 = _normal(seed, (_W1, _W2), units, directions, std.dtype)
    std = jnp.where(checks.allowed("non_negative", std), std, jnp.nan)
    if num_directions is None:
        return Weights(w1[..., 0, 0] * std, w2[..., 0, 0] * std)
    if hidden is None:
        return Weights(w1[..., 0, :] * std[..., None], w2[..., 0, :] * std[..., None])
    std = std[..., None, None]
    return Weights(w1 * std, jnp.swapaxes(w2, -2, -1) * std)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _aligned(
    seed: jax.Array, a: jax.Array, b: jax.Array, hidden: int, num_directions: int
) -> Weights:
    q, r = jnp.linalg.qr(_normal(seed, (_ROTATION,), hidden, hidden, a.dtype)[0])
    # Without the signs of r's diagonal q is orthogonal but not uniform.
    flip = jnp.diagonal(r, axis1=-2, axis2=-1)[..., None, :] < 0
    served = jnp.where(flip, -q, q)[..., : a.shape[-1]]
    batch = jnp.broadcast_shapes(seed.shape, a.shape[:-1], b.shape[:-1])
    pad = [(0, 0)] * (len(batch) + 1) + [(0, num_directions - a.shape[-1])]
    w1, w2t = (
        jnp.pad(jnp.broadcast_to(served * x[..., None, :], batch + served.shape[-2:]), pad)
        for x in (a, b)
    )
    return Weights(w1, jnp.swapaxes(w2t, -2, -1))


def _normal(
    seed: jax.Array, what: tuple[int, ...], units: int, directions: int, dtype: np.dtype
) -> jax.Array:
    """Standard normal numbers (what, ..., units, directions); NaN for a bad seed."""

    def words(seed: jax.Array, *indices: jax.Array) -> jax.Array:
        key = jax.random.key(seed, impl="threefry2x32")
        return jax.random.key_data(functools.reduce(jax.random.fold_in, indices, key))

    value = seed.astype(jnp.uint32)
    axes = (jnp.asarray(what), value.ravel(), jnp.arange(units), jnp.arange(directions))
    kinds, seeds, unit, direction = jnp.meshgrid(*axes, indexing="ij")
    # One flat batch: nested ones would share hashes, and compile five times as long.
    bits = jax.vmap(words)(*(x.ravel() for x in (seeds, kinds, unit, direction)))
    draws = _quantile(bits[..., 0], bits[..., 1], dtype)
    good = (seed >= 0) & (value.astype(seed.dtype) == seed)
    draws = draws.reshape(len(what), *seed.shape, units, directions)
    return jnp.where(good[..., None, None], draws, jnp.nan)


def _quantile(high: jax.Array, low: jax.Array, dtype: np.dtype) -> jax.Array:
    """The normal number of 64 random bits: a sign, then 63 bits of probability."""
    # The lower tail has all of the floating point numbers near 0 to itself, so
    # that float32 reaches as far out as float64; the sign makes the upper one.
    magnitude = (high & 0x7FFFFFFF).astype(dtype) * 2.0**-32
    probability = magnitude + (low.astype(dtype) + 0.5) * 2.0**-64
    z = jax.scipy.special.ndtri(probability)
    return jnp.where(high >> 31 == 1, -z, z)
