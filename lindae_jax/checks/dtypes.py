"""The one floating dtype of a call, and how inputs come to it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.checks.messages import mistake
from lindae_jax.checks.tracing import is_traced


def result_dtype(named: dict[str, Any]) -> np.dtype:
    """The one floating dtype of a call.

    The JAX result type of the array inputs; Python scalars and lists of them
    do not count, integer arrays count only when nothing else does, as the
    default float (float32, or float64 with `jax_enable_x64`).

    Raises
    ------
    ValueError
        For float16, bfloat16, complex, boolean or non-numeric input.
    """
    best = None
    for name, x in named.items():
        # numpy.float64 is a float to Python, an array with a dtype to JAX.
        if isinstance(x, int | float) and not isinstance(x, bool | np.generic):
            continue
        if isinstance(x, list | tuple):
            _as_numbers(name, x)
            continue
        dtype = getattr(x, "dtype", None)
        if dtype is None or not (
            dtype in (np.float32, np.float64) or jnp.issubdtype(dtype, jnp.integer)
        ):
            raise mistake(
                f"{name} must be real numbers, float32 or float64 (or integers)",
                f"{type(x).__name__}" if dtype is None else f"dtype {dtype}",
                f"Convert it first, for instance with jnp.asarray({name}, jnp.float32).",
            )
        if jnp.issubdtype(dtype, jnp.floating) and not getattr(x, "weak_type", False):
            canonical = jax.dtypes.canonicalize_dtype(dtype)
            best = canonical if best is None else np.promote_types(best, canonical)
    return jax.dtypes.canonicalize_dtype(float) if best is None else best


def requested_dtype(dtype: Any) -> np.dtype:
    """A dtype asked for by name; None is the default float.

    Raises
    ------
    ValueError
        If it is not float32 or float64, or float64 while `jax_enable_x64` is off.
    """
    default = jax.dtypes.canonicalize_dtype(float)
    if dtype is None:
        return default
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise mistake("dtype must be float32 or float64", repr(dtype), "Name one of them.") from (
            error
        )
    if wanted not in (np.float32, np.float64):
        raise mistake("dtype must be float32 or float64", str(wanted), "Name one of them.")
    if wanted == np.float64 and default != np.float64:
        raise mistake(
            "dtype float64 needs 64-bit mode",
            "jax_enable_x64 = False",
            'Call jax.config.update("jax_enable_x64", True) before the first array is made.',
        )
    return wanted


def _as_numbers(name: str, x: Any) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise mistake(f"{name} must be real numbers", repr(x)[:60], "Pass an array of numbers.")
    return array


def on_host(x: Any) -> np.ndarray:
    """An array of NumPy; of what cannot be one, such as a ragged list, that of None."""
    try:
        return np.asarray(x)
    except (TypeError, ValueError):
        return np.asarray(None)


def _as_double(x: int | float) -> np.float64:
    try:
        return np.float64(x)
    except OverflowError:
        # Python's integers know no largest: beyond the range they are infinite.
        return np.float64(np.inf if x > 0 else -np.inf)


def cast_one(x: Any, dtype: np.dtype) -> jax.Array:
    """An input as an array of JAX of the dtype, the same one where it is that already."""
    if isinstance(x, list | tuple):
        x = np.asarray(x)
    elif isinstance(x, int | float):
        x = _as_double(x)
    if isinstance(x, np.ndarray | np.generic) and x.dtype != dtype:
        # Host arrays are cast on the host: float64 input must not be put on
        # the device in a wider type than the call asks for.
        with np.errstate(over="ignore"):
            x = x.astype(dtype)
    if is_traced(x):
        return jax.lax.convert_element_type(x, dtype)
    if isinstance(x, jax.Array) and x.dtype == dtype and not x.weak_type:
        return x
    # Under the caller's jit a concrete value stays concrete, so that it can be checked.
    with jax.ensure_compile_time_eval():
        return jax.lax.convert_element_type(x, dtype)
