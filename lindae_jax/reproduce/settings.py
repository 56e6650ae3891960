"""Settings of the main job: checks, data, spectrum, defaults."""

import contextlib
import dataclasses
import functools
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lindae_jax import checks
from lindae_jax.data import load
from lindae_jax.spectrum import Spectrum

# MNIST and CIFAR-10 as in the paper's Figure 5 (section 6).
DEFAULTS: dict[str, dict[str, Any]] = {
    "any": {"split": "all", "num_steps": 5_000, "init_std": 0.001},
    "digits": {
        "split": "train",
        "hidden": 32,
        "noise": 0.03,
        "decay": 0.03,
        "learning_rate": 0.05,
        "directions": (1, 2, 4, 8, 16),
    },
    "mnist": {
        "split": "train",
        "hidden": 256,
        "noise": 0.5,
        "decay": 0.5,
        "learning_rate": 0.01,
        "directions": (1, 4, 8, 16, 32),
    },
    "cifar10": {
        "num_samples": 30_000,
        "hidden": 512,
        "noise": 0.5,
        "decay": 0.5,
        "learning_rate": 0.001,
        "directions": (1, 4, 8, 16, 32),
    },
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All numbers of a run; every default is filled in.

    Parameters
    ----------
    data : str
        "digits", "mnist", "cifar10" or a file.
    root : str, optional
        Folder of the files of MNIST or CIFAR-10.
    split : str
        Which rows: "train" (the first floor(5n/6)) or "all".
    num_samples, num_inputs, hidden : int
        N, D and H.
    noise : float
        epsilon of the DAE, variance per component.
    decay : float
        gamma of the WDAE.
    learning_rate : float
        alpha of all three.
    num_steps : int
        Epochs; one full-batch step each.
    init : str
        "small" or "aligned".
    init_std : float
        Standard deviation of the small weights; value of the aligned ones.
    seed : int
        Decides the weights, the same for all three networks.
    directions : tuple of int
        Those reported, from 1 on.
    float64 : bool
        In float64, else in float32.
    """

    data: str
    root: str | None
    split: str
    num_samples: int
    num_inputs: int
    hidden: int
    noise: float
    decay: float
    learning_rate: float
    num_steps: int
    init: str
    init_std: float
    seed: int
    directions: tuple[int, ...]
    float64: bool

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return np.dtype(np.float64 if self.float64 else np.float32)

    @property
    def num_learnable(self) -> int:
        """K = min(H, D), how many directions a network can learn."""
        return min(self.hidden, self.num_inputs)


def prepare(
    data: str | os.PathLike = "digits",
    *,
    root: str | os.PathLike | None = None,
    num_samples: int | None = None,
    hidden: int | None = None,
    noise: float | None = None,
    decay: float | None = None,
    learning_rate: float | None = None,
    num_steps: int | None = None,
    init: str = "small",
    init_std: float | None = None,
    seed: int = 0,
    directions: Sequence[int] | str | None = None,
    float64: bool = False,
) -> tuple[Settings, np.ndarray, float]:
    """All that precedes training: checks, data, spectrum, defaults.

    Parameters
    ----------
    data : str or path
        This and all the others as of `reproduce`.
    root, num_samples, hidden, noise, decay, learning_rate, num_steps : optional
    init, init_std, seed, directions, float64 : optional

    Returns
    -------
    settings : Settings
    eigenvalues : array, (D,)
        lambda_j, descending.
    seconds : float
        How long it took.

    Raises
    ------
    ValueError, ImportError
        As of `reproduce`.
    """
    begin = time.perf_counter()
    counts = {"num_samples": num_samples, "hidden": hidden, "num_steps": num_steps}
    levels = {"noise": noise, "decay": decay}
    scales = {"learning_rate": learning_rate, "init_std": init_std}
    given: dict[str, Any] = {"init": _init(init), "seed": _seed(seed), "float64": _flag(float64)}
    given |= {name: _count(name, value) for name, value in counts.items() if value is not None}
    given |= {name: _number(name, value) for name, value in levels.items() if value is not None}
    given |= {name: _positive(name, value) for name, value in scales.items() if value is not None}
    if directions is not None:
        given["directions"] = _directions(directions)
    dtype = checks.requested_dtype(np.float64 if float64 else np.float32)
    given |= {"data": str(data), "root": None if root is None else str(root)}
    chosen = usual(given["data"]) | given
    x = load(data, root, num_samples=chosen.get("num_samples"), split=chosen["split"])
    chosen |= {"num_samples": len(x), "num_inputs": x.shape[1]}
    eigenvalues = np.asarray(Spectrum.from_data(_narrowed(x, dtype)).eigenvalues)
    settings = Settings(**(_from_spectrum(eigenvalues, chosen.get("hidden")) | chosen))
    settings = _within_reach(settings, asked=directions is not None)
    return settings, eigenvalues, time.perf_counter() - begin


def usual(data: str) -> dict[str, Any]:
    """What is taken for these data where nothing is said."""
    return DEFAULTS["any"] | DEFAULTS.get(data, {})


def _narrowed(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Data in the precision of the run."""
    with np.errstate(over="ignore"):
        narrow = x.astype(dtype, copy=False)
    if narrow is not x and not np.isfinite(narrow).all():
        raise checks.mistake(
            f"data must lie within {dtype.name}",
            f"a value of size {np.abs(x).max():.3g}",
            "Rescale the data.",
        )
    return narrow


def _from_spectrum(eigenvalues: np.ndarray, hidden: int | None) -> dict[str, Any]:
    """Settings for data that nothing is known about."""
    largest = float(eigenvalues[0])
    if not np.finfo(np.float32).tiny <= largest <= 0.5 / np.finfo(np.float32).tiny:
        raise checks.mistake(
            "data must have a second moment that is neither 0 nor beyond float32",
            f"largest eigenvalue {largest:.3g}",
            "Rescale the data.",
        )
    hidden = hidden or min(256, max(1, len(eigenvalues) // 2))
    reach = min(hidden, len(eigenvalues))
    # Data of few directions: the last of them. Beyond, a `Spectrum` of data is exactly 0.
    rank = int((eigenvalues > 0).sum())
    half = float(eigenvalues[max(min(reach // 2, rank), 1) - 1]) / 2
    return {
        "hidden": hidden,
        "noise": half,
        "decay": half,
        "learning_rate": 0.5 / largest,
        "directions": tuple(2**i for i in range(reach.bit_length())),
    }


def _within_reach(settings: Settings, asked: bool) -> Settings:
    """Directions that the network can learn; those asked for must all be."""
    reach = settings.num_learnable
    if asked and settings.directions[-1] > reach:
        raise checks.mistake(
            f"directions must be at most min(hidden, inputs) = {reach}",
            settings.directions[-1],
            "Ask for fewer, or for more hidden units.",
        )
    kept = tuple(j for j in settings.directions if j <= reach)
    return dataclasses.replace(settings, directions=kept)


def _count(name: str, value: Any) -> int:
    remedy = "Leave it out for the default."
    try:
        number = checks.count(name, value, 1)
    except ValueError:
        raise checks.mistake(f"{name} must be a whole number >= 1", repr(value), remedy) from None
    if number >= 2**31:
        raise checks.mistake(f"{name} must be below 2^31", number, remedy)
    return number


def _number(name: str, value: Any, least: str = ">= 0") -> float:
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    held = math.nan
    # What float32 cannot hold would become 0 or infinity on its way.
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):
        if good:
            held = float(np.float32(value))
    if not (0 < held < math.inf or (held == 0 and least == ">= 0")):
        raise checks.mistake(
            f"{name} must be a finite number {least}", repr(value), "Leave it out for the default."
        )
    return float(value)


_positive = functools.partial(_number, least="> 0")


def _init(value: Any) -> str:
    if not isinstance(value, str) or value not in ("small", "aligned"):
        raise checks.mistake("init must be small or aligned", repr(value), "Name one of them.")
    return value


def _seed(value: Any) -> int:
    try:
        seed = checks.count("seed", value)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**32:
        raise checks.mistake(
            "seed must be a whole number in [0, 2^32)", repr(value), "Pass for instance 0."
        )
    return seed


def _flag(value: Any) -> bool:
    if not isinstance(value, bool | np.bool):
        raise checks.mistake("float64 must be True or False", repr(value)[:60], "Pass a bool.")
    return bool(value)


def _directions(value: Sequence[int] | str) -> tuple[int, ...]:
    """Ascending, from 1 on."""
    try:
        parts = [int(part) for part in value.split(",")] if isinstance(value, str) else value
        directions = sorted(checks.count("directions", part, 1) for part in parts)
    except (ValueError, TypeError):
        directions = []
    if not directions or len(set(directions)) < len(directions):
        raise checks.mistake(
            "directions must be different whole numbers >= 1", repr(value), "Pass them as 1,2,4."
        )
    return tuple(directions)
