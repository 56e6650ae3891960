"""Shapes, counts, keys, paths and matrices of data."""

import contextlib
import operator
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lindae_jax.checks.messages import brief, mistake
from lindae_jax.checks.tracing import is_traced


def broadcast(named: dict[str, Any]) -> tuple[int, ...]:
    """The common shape of named arrays (or shapes); ValueError names them all."""
    shapes = {n: x if isinstance(x, tuple) else np.shape(x) for n, x in named.items()}
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{n} {s}" for n, s in shapes.items() if s)
        raise mistake(
            "shapes must broadcast together", listed, "Add axes of length 1 where they differ."
        ) from None


def count(name: str, value: Any, minimum: int = 0) -> int:
    """A static Python int >= minimum (NumPy integers are taken too)."""
    remedy = f"Pass an integer >= {minimum}."
    if isinstance(value, bool) or is_traced(value):
        raise mistake(f"{name} must be an integer >= {minimum}", brief(value), remedy)
    try:
        number = operator.index(value)
    except TypeError:
        raise mistake(f"{name} must be an integer >= {minimum}", brief(value), remedy) from None
    if number < minimum:
        raise mistake(f"{name} must be an integer >= {minimum}", brief(number), remedy)
    return number


def key(x: Any) -> None:
    """Raise unless x is one key of jax.random, of the new kind or the old."""
    dtype = getattr(x, "dtype", None)
    single = False
    if dtype == np.uint32:
        with contextlib.suppress(TypeError, ValueError):
            single = jax.random.wrap_key_data(x).shape == ()
    elif dtype is not None:
        single = jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and x.shape == ()
    if not single:
        raise mistake(
            "key must be one jax.random key",
            f"{type(x).__name__}" if dtype is None else f"{dtype} of shape {x.shape}",
            "Make one with jax.random.key(0).",
        )


def path(name: str, x: Any) -> Path:
    """A path given as such or as text."""
    if isinstance(x, str) and re.match(r"[a-z][a-z0-9+.-]+://", x, re.IGNORECASE):
        raise mistake(
            f"{name} must be a path of this machine's file system", repr(x), "Copy it afterwards."
        )
    try:
        return Path(x)
    except TypeError:
        raise mistake(
            f"{name} must be text or a pathlib.Path", repr(x)[:60], "Name a file or folder."
        ) from None


def data_matrix(name: str, x: Any) -> None:
    """Raise unless x has the shape of data: (N, D), N and D at least 1."""
    if np.ndim(x) != 2:
        raise mistake(
            f"{name} must be 2-D, one sample per row",
            f"shape {np.shape(x)}",
            "Reshape it to (num_samples, num_features).",
        )
    if 0 in np.shape(x):
        raise mistake(
            f"{name} must have at least one row and one column",
            f"shape {np.shape(x)}",
            "Check how it was selected.",
        )


def finite_rows(name: str, x: np.ndarray, first: int = 0) -> None:
    """Raise on the first value that is NaN or infinite of a matrix, whose rows count from `first`.

    Block by block, for it may be large.
    """
    rows = max(1, 2**20 // x.shape[1])
    for start in range(0, len(x), rows):
        bad = ~np.isfinite(x[start : start + rows])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise mistake(
                f"{name} must be finite",
                f"{x[start + row, column]} at row {first + start + row}, column {column}",
                "Remove or fill in missing values first.",
            )
