"""Zero-mean input noise: what its variance is, how it is drawn.

The dynamics see the noise through its variance alone (`Problem.noise`); the
distributions here are the ones the paper names below its eq. (1).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """Normal noise, N(0, std^2) in each component.

    Parameters
    ----------
    std : array_like, (...)
        Standard deviation, >= 0, in the units of the data; traced.
    """

    std: ArrayLike

    @property
    def variance(self) -> ArrayLike:
        """std^2, the `noise` of a `Problem`; ValueError for a bad `std`."""
        return _checked("std", self.std) ** 2

    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = None) -> jax.Array:
        """Draw independent values.

        Parameters
        ----------
        key : jax.Array
            From `jax.random.key`.
        shape : tuple of int
            Shape of the draw; `std` must broadcast to it.
        dtype : float32 or float64, optional
            Default: JAX's default float.

        Returns
        -------
        jax.Array, shape
            NaN where a traced `std` is negative or not finite.

        Raises
        ------
        ValueError
            `std` negative or not finite, or not broadcastable to `shape`;
            `key` not a key; `shape` not a tuple of integers >= 0; unsupported
            `dtype`.
        """
        return _sample(jax.random.normal, "std", self.std, key, shape, dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Laplace:
    """Double-exponential noise, density exp(-|x|/scale) / (2 scale).

    Parameters
    ----------
    scale : array_like, (...)
        b >= 0, mean absolute value, in the units of the data; traced.
    """

    scale: ArrayLike

    @property
    def variance(self) -> ArrayLike:
        """2 b^2, the `noise` of a `Problem`; ValueError for a bad `scale`."""
        return 2 * _checked("scale", self.scale) ** 2

    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = None) -> jax.Array:
        """Draw independent values; arguments and errors as `Gaussian.sample`."""
        return _sample(jax.random.laplace, "scale", self.scale, key, shape, dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Uniform:
    """Uniform noise on [-half_width, half_width).

    Parameters
    ----------
    half_width : array_like, (...)
        h >= 0, largest magnitude, in the units of the data; traced.
    """

    half_width: ArrayLike

    @property
    def variance(self) -> ArrayLike:
        """h^2/3, the `noise` of a `Problem`; ValueError for a bad `half_width`."""
        return _checked("half_width", self.half_width) ** 2 / 3

    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = None) -> jax.Array:
        """Draw independent values; arguments and errors as `Gaussian.sample`."""
        return _sample(_symmetric_uniform, "half_width", self.half_width, key, shape, dtype)


def _symmetric_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -1.0, 1.0)


def _checked(name: str, value: ArrayLike) -> Any:
    """The parameter, NaN where a traced one is bad; a Python scalar stays one, of no dtype."""
    arrays, _ = checks.cast({name: value})
    checks.check_values({name: (arrays[name], "non_negative")})
    if isinstance(value, int | float):
        return value
    return jnp.where(checks.allowed("non_negative", arrays[name]), arrays[name], jnp.nan)


def _sample(
    draw: Callable, name: str, value: ArrayLike, key: jax.Array, shape: Any, dtype: Any
) -> jax.Array:
    dtype = checks.requested_dtype(dtype)
    parameter = jnp.asarray(_checked(name, value), dtype)
    checks.key(key)
    if not isinstance(shape, tuple | list):
        raise checks.mistake("shape must be a tuple", repr(shape), "Write (n,) for n values.")
    shape = tuple(checks.count("each length in shape", n) for n in shape)
    if checks.broadcast({name: parameter, "shape": shape}) != shape:
        raise checks.mistake(
            f"{name} must broadcast to the shape of the draw",
            f"{name} {parameter.shape}, shape {shape}",
            "Ask for a shape that includes its axes.",
        )
    return _scaled(draw, parameter, key, shape, dtype)


@functools.partial(jax.jit, static_argnames=("draw", "shape", "dtype"))
def _scaled(
    draw: Callable, parameter: jax.Array, key: jax.Array, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    return parameter * draw(key, shape, dtype)
