"""Initial weights drawn from a seed.

A draw is a pure function of (seed value, what is drawn, hidden unit,
direction), as in `lindae_jax.draws`: the 64 bits of the last key become one
normal number. So the first 16 hidden units of 32 are those of a network of 16.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks, draws
from lindae_jax.problem import Weights


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
    seed = draws.seeds(seed)
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
    seed = draws.seeds(seed)
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


# --- cores ------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(2, 3))
def _small(
    seed: jax.Array, std: jax.Array, num_directions: int | None, hidden: int | None
) -> Weights:
    units, directions = hidden or 1, num_directions or 1
    w1, w2 = _normal(seed, (draws.W1, draws.W2), units, directions, std.dtype)
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
    q, r = jnp.linalg.qr(_normal(seed, (draws.ROTATION,), hidden, hidden, a.dtype)[0])
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
    axes = jnp.asarray(what), seed.ravel(), jnp.arange(units), jnp.arange(directions)
    kind, seeds, unit, direction = jnp.ix_(*axes)
    bits = draws.words(draws.fold(draws.root(seeds), kind, unit), 0, direction)
    numbers = draws.normal_64(*bits, dtype).reshape(len(what), *seed.shape, units, directions)
    return jnp.where(draws.good(seed)[..., None, None], numbers, jnp.nan)
