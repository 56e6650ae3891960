"""Random numbers as pure functions of a seed with the indices of a draw.

A seed's value is a Threefry key, and folding an integer into a key gives
another: bit for bit what `jax.random` does with `impl="threefry2x32"`, whatever
its settings. What is drawn (0 to 6, below) is folded in first, then indices, one
after the other. So a draw does not depend on its place in a batch, on the shape
asked for, on the integer type of the seed or on any generator's state.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks

Key = tuple[jax.Array, jax.Array]
"""Two words, uint32, that broadcast against each other: one key or many."""

# What is drawn, and what is folded or hashed into its key. The numbers are part of every
# draw: never change them, nor use one again. 4 was never given out.
W1, W2 = 0, 1  # initial weights: hidden unit, direction
ROTATION = 2  # orthogonal initial weights: row, column
SAMPLED = 3  # noise of `simulate_sampled`: step, row, column; rows from 2^31 on are candidates
NETWORK_NOISE = 5  # noise of `simulate_networks`: epoch; sample with component
SHUFFLE = 6  # order of the samples there: epoch; sample


# --- seeds --------------------------------------------------------------------


def seeds(x: Any) -> jax.Array:
    """Seeds as integers, checked on the host where they are concrete.

    Raises
    ------
    ValueError
        If they are not integers, or not in [0, 2^32).
    """
    remedy = "Pass integers from 0 to 2^32 - 1."
    if not checks.is_traced(x):
        host = checks.on_host(x)
        # Integers that no integer type holds are objects to NumPy.
        if host.dtype.kind not in "iu" and not all(type(s) is int for s in host.flat):
            raise checks.mistake("seed must be an integer", f"{x!r}"[:60], remedy)
        bad = (host < 0) | (host > np.uint32(0xFFFFFFFF))
        if bad.any():
            raise checks.mistake("seed must lie in [0, 2^32)", host[bad][0], remedy)
        return jnp.asarray(host.astype(np.uint32))
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise checks.mistake("seed must be an integer", f"dtype {x.dtype}", remedy)
    return x


def good(seed: jax.Array) -> jax.Array:
    """Where traced seeds are as `seeds` wants them."""
    return (seed >= 0) & (seed.astype(jnp.uint32).astype(seed.dtype) == seed)


# --- words --------------------------------------------------------------------


def root(seed: jax.Array) -> Key:
    """The words of `jax.random.key(seed, impl="threefry2x32")`, one key for each seed."""
    return jnp.zeros_like(seed, jnp.uint32), seed.astype(jnp.uint32)


def fold(key: Key, *numbers: ArrayLike) -> Key:
    """The words of `jax.random.fold_in(key, number)`, for one number after the other.

    By that function, which compiles fast; for numbers that are many, `words(key, 0, number)`
    are the same.
    """

    def one(high: jax.Array, low: jax.Array, number: jax.Array) -> jax.Array:
        data = jax.random.wrap_key_data(jnp.stack([high, low]), impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(data, number))

    several = jnp.vectorize(one, signature="(),(),()->(k)")
    for number in numbers:
        both = several(*key, jnp.asarray(number, jnp.uint32))
        key = both[..., 0], both[..., 1]
    return key


def words(key: Key, high: ArrayLike, low: ArrayLike) -> Key:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), as in `jax.random`; elementwise.

    Written out because that one makes the CPU pass over memory in each round, which
    takes 5 times as long.
    """
    third = key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)
    keys = key[0], key[1], third
    high, low = jnp.asarray(high, jnp.uint32) + key[0], jnp.asarray(low, jnp.uint32) + key[1]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            high = high + low
            low = high ^ ((low << np.uint32(turn)) | (low >> np.uint32(32 - turn)))
        high = high + keys[(group + 1) % 3]
        low = low + keys[(group + 2) % 3] + np.uint32(group + 1)
    return high, low


# --- normal numbers -------------------------------------------------------------


def normal_64(high: jax.Array, low: jax.Array, dtype: np.dtype) -> jax.Array:
    """The normal number of 64 random bits: a sign, then 63 bits of probability."""
    # The lower tail has all of the floating point numbers near 0 to itself, so
    # that float32 reaches as far out as float64; the sign makes the upper one.
    magnitude = (high & 0x7FFFFFFF).astype(dtype) * 2.0**-32
    probability = magnitude + (low.astype(dtype) + 0.5) * 2.0**-64
    z = jax.scipy.special.ndtri(probability)
    return jnp.where(high >> 31 == 1, -z, z)


def normal_32(word: jax.Array, dtype: np.dtype) -> jax.Array:
    """The normal number of 32 random bits, at most 6.3: the middle of those of 64."""
    return normal_64(word, jnp.full_like(word, 0x7FFFFFFF), dtype)


def normal_24(word: jax.Array, dtype: np.dtype) -> jax.Array:
    """The normal number of the upper 24 of 32 random bits, at most 5.42; the cheapest."""
    # float32 holds every middle between two neighbours: symmetric, never infinite,
    # of equal quantiles in float64.
    middle = (jax.lax.bitcast_convert_type(word, jnp.int32) >> 8).astype(dtype) + 0.5
    return math.sqrt(2) * jax.lax.erf_inv(middle * 2.0**-23)
