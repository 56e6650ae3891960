"""The parameters of a sweep: which there are, their ranges, their values."""

import math
from typing import Any, NamedTuple

import numpy as np

from lindae_jax import checks

MODELS = ("pairs", "matrices", "theory")
INITS = ("given", "small", "aligned")

DEFAULTS = {"noise": 0.0, "decay": 0.0, "learning_rate": 0.01, "seed": 0, "init_std": 0.001}


class _Kind(NamedTuple):
    """How a parameter is checked and shown."""

    rule: str
    units: str
    symbol: str
    words: str


KINDS = {
    "eigenvalue": _Kind(
        "non_negative", "squared units of the data", "lambda", "eigenvalue of the second moment"
    ),
    "noise": _Kind(
        "non_negative", "squared units of the data", "epsilon", "variance of the input noise"
    ),
    "decay": _Kind("non_negative", "squared units of the data", "gamma", "weight decay"),
    "learning_rate": _Kind(
        "positive", "1 / squared units of the data", "alpha", "step size of gradient descent"
    ),
    "init_w1": _Kind("finite", "1", "w_1", "encoder weight at the start"),
    "init_w2": _Kind("finite", "1", "w_2", "decoder weight at the start"),
    "init_std": _Kind("size", "1", "sigma", "size of the weights at the start"),
    "seed": _Kind("seed", "1", "seed", "seed of the weights at the start"),
    "hidden": _Kind("width", "1", "H", "hidden units"),
}


def accepted(model: str, init: str) -> tuple[str, ...]:
    """Parameters that a model with a kind of start has."""
    if model == "matrices":
        start = () if init == "given" else ("seed", "init_std")
        return ("noise", "decay", "learning_rate", "hidden", *start)
    starts = {
        "given": ("init_w1", "init_w2"),
        "small": ("seed", "init_std"),
        "aligned": ("init_std",),
    }
    return ("eigenvalue", "noise", "decay", "learning_rate", *starts[init])


def parameter(name: str, values: Any, dtype: str) -> np.ndarray:
    """Values of a parameter, checked: float64 or int64, () or (n,).

    Parameters
    ----------
    name : str
        A key of `KINDS`.
    values : number or 1-D array_like
    dtype : str
        In which they will be computed with, so that they must not leave their range there.

    Raises
    ------
    ValueError
        The message begins with `axes.NAME`.
    """
    label = f"axes.{name}"
    array = numbers(values)
    if array is None or array.ndim > 1:
        raise checks.mistake(
            f"{label} must be a number or a list of numbers",
            checks.brief(values) if array is None else f"shape {array.shape}",
            "A list makes it an axis of the grid.",
        )
    if array.size == 0:
        raise checks.mistake(f"{label} must have a value", "an empty list", "Pass at least one.")
    if KINDS[name].rule in ("seed", "width"):
        return _whole(label, array, *((0, 2**32 - 1) if name == "seed" else (1, 2**31 - 1)))
    return within(label, array, KINDS[name].rule, dtype)


def numbers(values: Any) -> np.ndarray | None:
    """Values as an array of real numbers; None if they are anything else."""
    mixed = isinstance(values, list | tuple) and any(isinstance(x, bool | np.bool_) for x in values)
    try:
        array = np.asarray(None if mixed or isinstance(values, str | bytes) else values)
    except (TypeError, ValueError):  # traced, or a ragged list
        return None
    if array.dtype.kind == "O" and all(type(x) in (int, float) for x in array.flat):
        # Python's integers know no largest: beyond the range they are infinite.
        array = np.array([_as_float(x) for x in array.flat]).reshape(array.shape)
    return array if array.dtype.kind in "iuf" else None


def within(label: str, array: np.ndarray, rule: str, dtype: str) -> np.ndarray:
    """The values in float64, if a rule allows them and a dtype can tell them from 0."""
    values = array.astype(np.float64) + 0.0  # without a negative zero
    checks.check_host(label, values, rule)
    info = np.finfo(dtype)
    size = abs(values[np.isfinite(values)])
    far = size[(size > float(info.max)) | ((size > 0) & (size < float(info.tiny)))]
    if far.size:
        wider = ', or pass dtype = "float64"' if dtype == "float32" else ""
        raise checks.mistake(
            f"{label} must be 0 or between {info.tiny:.2g} and {info.max:.2g} in size, the range "
            f"of {dtype}",
            f"{far[0]:g}",
            f"Rescale it{wider}.",
        )
    return values


def flag(name: str, value: Any) -> bool:
    """A setting that is on or off; ValueError for what merely counts as such."""
    if not isinstance(value, bool):
        raise checks.mistake(
            f"{name} must be true or false", checks.brief(value), "Pass one of them."
        )
    return value


def count(name: str, value: Any, least: int = 0) -> int:
    """An integer >= least, of which a mistake is told in words that TOML has too."""
    try:
        return checks.count(name, value, least)
    except ValueError:
        raise checks.mistake(
            f"{name} must be an integer >= {least}",
            checks.brief(value),
            f"Pass an integer >= {least}.",
        ) from None


def _as_float(x: float) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def _whole(label: str, array: np.ndarray, least: int, most: int) -> np.ndarray:
    bad = (array != np.floor(array)) | (array < least) | (array > most)
    if array.dtype.kind == "f" or bad.any():
        raise checks.mistake(
            f"{label} must be integers from {least} to {most}",
            array[bad][0] if bad.any() else array.flat[0],
            "Write whole numbers, without a point.",
        )
    return array.astype(np.int64)
