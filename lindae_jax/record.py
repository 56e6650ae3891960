"""Numbers as JSON holds them, with the versions that computed them."""

import importlib.metadata
import math
import os
import platform
from typing import Any

import numpy as np

from lindae_jax.version import __version__


def plain(x: Any) -> Any:
    """Numbers as JSON holds them.

    Parameters
    ----------
    x : array, number, str, path, None, or lists, tuples and dicts of them

    Returns
    -------
    Of lists, dicts, strings, bools and Python's numbers. What is not finite is
    None; a float32 keeps its own few digits.
    """
    if isinstance(x, dict):
        return {name: plain(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if x is None or isinstance(x, str):
        return x
    if isinstance(x, os.PathLike):
        return os.fspath(x)
    number = np.asarray(x)
    if number.ndim:
        return [plain(value) for value in number]
    if number.dtype.kind in "biu":
        return number.item()
    # By way of its text a float32 keeps its own few digits.
    return float(str(number)) if np.isfinite(number) else None


def arrays(x: Any) -> Any:
    """What `plain` made, read back: lists of numbers as arrays, None as NaN.

    Parameters
    ----------
    x : dict, list, number, str or None

    Returns
    -------
    The same dicts. A list of numbers, or of such lists of one length, is a
    NumPy array; other lists stay lists.
    """
    if isinstance(x, dict):
        return {name: arrays(value) for name, value in x.items()}
    if x is None:
        return math.nan
    if not isinstance(x, list):
        return x
    items = [arrays(value) for value in x]
    rows = [isinstance(item, int | float | np.ndarray) for item in items]
    return np.array(items) if all(rows) and len({np.shape(i) for i in items}) == 1 else items


def versions(*names: str) -> dict[str, str]:
    """Versions of Python, of this library and of others.

    Parameters
    ----------
    *names : str
        Of what it computes with, as they are installed.
    """
    # Its own is there even where it runs without having been installed.
    found = {"python": platform.python_version(), "lindae_jax": __version__}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
