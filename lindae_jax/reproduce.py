"""Theory beside training on real data: three autoencoders from one start."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import math
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import checks, initial, plot, theory
from lindae_jax.data import load
from lindae_jax.problem import Problem, Weights
from lindae_jax.simulate import simulate_matrices
from lindae_jax.spectrum import Spectrum

NETWORKS = ("AE", "WDAE", "DAE")
FILES = ("reproduce.png", "reproduce.svg", "reproduce.json")

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

# Below this, one step of descent and the flow grow alike to a few per cent.
_SHORT_STEP = 0.05
_LEAST_FREE_BYTES = 2**24


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


@dataclasses.dataclass(frozen=True, eq=False)
class Reproduction:
    """Curves of the three networks, in the order of `NETWORKS`, as NumPy arrays.

    K = min(H, D) directions, those of the largest eigenvalues; S epochs.

    Parameters
    ----------
    settings : Settings
    eigenvalue : array, (K,)
        lambda_j, descending.
    start : array, (K,)
        w(0) of the theory.
    epochs : array of int, (S,)
        Those kept, from 0 to `settings.num_steps`: dense at first, then even.
    theory, training : array, (S, 3, K)
        The mapping w = w2 w1 along each direction.
    fixed_point : array, (3, K)
        w*, predicted; what was reached is `training[-1]`.
    half_time, half_time_reached : array, (3, K)
        Epoch at which the mapping of the theory, and of the network, first
        reaches w*/2 (w* of the theory in both); between two epochs by linear
        interpolation. Infinite if never, or for the network not yet; NaN
        where w* = 0.
    notes : tuple of str
        What to bear in mind about these settings, a sentence each.
    seconds : dict
        Wall-clock time of each part, compilation included.
    """

    settings: Settings
    eigenvalue: np.ndarray
    start: np.ndarray
    epochs: np.ndarray
    theory: np.ndarray
    training: np.ndarray
    fixed_point: np.ndarray
    half_time: np.ndarray
    half_time_reached: np.ndarray
    notes: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def reached(self) -> np.ndarray:
        """Mapping at the last epoch, (3, K)."""
        return self.training[-1]

    @property
    def worst_difference(self) -> np.ndarray:
        """Largest distance of the two curves at the epochs kept, (3, K)."""
        return np.abs(self.training - self.theory).max(axis=0)

    def save(self, out: str | os.PathLike) -> tuple[Path, ...]:
        """Write the figure and all its numbers, together or not at all.

        Parameters
        ----------
        out : str or path
            Folder, made if need be; earlier results in it are replaced.

        Returns
        -------
        tuple of Path
            The picture as PNG and SVG, and the JSON. In the JSON what is not
            finite is null.

        Raises
        ------
        ValueError
            `out` cannot be a folder, or is not writable.
        ImportError
            matplotlib is missing.
        OSError
            Writing failed; then nothing is left behind.
        """
        check_out(out)
        with plot.settings():
            figure = draw(self)
            pictures = [plot.image(figure, kind) for kind in ("png", "svg")]
        numbers = json.dumps(as_json(self), allow_nan=False).encode()
        return _write(Path(out), dict(zip(FILES, [*pictures, numbers], strict=True)))


def reproduce(
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
    out: str | os.PathLike | None = None,
    progress: bool = True,
) -> Reproduction:
    """Train an AE, a WDAE and a DAE from the same start, beside their theory.

    The paper's section 6. What is left out is filled in by data set: MNIST and
    CIFAR-10 as in the paper's Figure 5; for a file of your own the learning
    rate is 0.5/lambda_1, and noise = decay = half of lambda at H/2.

    Parameters
    ----------
    data : str or path
        "digits", "mnist", "cifar10", or the path of an .npy or .npz file.
    root : path, optional
        Folder of the files of MNIST or CIFAR-10; without it they are fetched.
    num_samples : int, optional
        N, the first N of the rows; by default all (CIFAR-10: 30,000).
    hidden : int, optional
        H >= 1.
    noise : float, optional
        epsilon >= 0 of the DAE, the variance of its input noise.
    decay : float, optional
        gamma >= 0 of the WDAE.
    learning_rate : float, optional
        alpha > 0 of all three.
    num_steps : int, optional
        Epochs >= 1, by default 5,000.
    init : str
        "small": independent normal weights. The theory of direction j starts
        from w1 = w2 = |A_j + B_j|/2, with A_j and B_j the j-th column of W1
        and row of W2 in the eigenbasis (docs/theory.md, section 6).
        "aligned": W1 = std R, W2 = std R^T with R orthogonal; the theory
        starts from w1 = w2 = std, and holds exactly as the rate goes to 0.
    init_std : float, optional
        std > 0 of either kind, by default 0.001.
    seed : int
        In [0, 2^32).
    directions : sequence of int or str, optional
        Those drawn and written, 1 for the largest eigenvalue: (1, 2, 4) or
        "1,2,4", at most min(H, D).
    float64 : bool
        Needs `jax_enable_x64`. Otherwise float32, whatever the data.
    out : path, optional
        Folder for the figure and the numbers; see `Reproduction.save`.
    progress : bool
        Show a bar, if standard error is a terminal.

    Returns
    -------
    Reproduction

    Raises
    ------
    ValueError
        A value outside the ranges above, a count of 2^31 or more, data that
        cannot be had or used, an `out` that cannot be written: before anything
        is trained or written.
    ImportError
        A library of an extra is missing.
    FloatingPointError
        A network's weights are no longer finite: the learning rate is too high.
    """
    if out is not None:
        check_out(out)
    settings, eigenvalues, seconds = prepare(
        data,
        root=root,
        num_samples=num_samples,
        hidden=hidden,
        noise=noise,
        decay=decay,
        learning_rate=learning_rate,
        num_steps=num_steps,
        init=init,
        init_std=init_std,
        seed=seed,
        directions=directions,
        float64=float64,
    )
    result = compare(settings, eigenvalues, progress=progress, seconds=seconds)
    if out is not None:
        result.save(out)
    return result


# --- settings ---------------------------------------------------------------


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
    if root is not None and data == "digits":
        raise checks.mistake(
            "root goes with other data than digits", f"{root}", "Name the data set, as in mnist."
        )
    chosen = DEFAULTS["any"] | DEFAULTS.get(given["data"], {}) | given
    x = load(data, root, num_samples=chosen.get("num_samples"), split=chosen["split"])
    chosen |= {"num_samples": len(x), "num_inputs": x.shape[1]}
    eigenvalues = np.asarray(Spectrum.from_data(x.astype(dtype, copy=False)).eigenvalues)
    settings = Settings(**(_from_spectrum(eigenvalues, chosen.get("hidden")) | chosen))
    settings = _within_reach(settings, asked=directions is not None)
    return settings, eigenvalues, time.perf_counter() - begin


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
    half = float(eigenvalues[max(reach // 2, 1) - 1]) / 2
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


# --- theory beside training -------------------------------------------------


def compare(
    settings: Settings, eigenvalues: np.ndarray, *, progress: bool = True, seconds: float = 0.0
) -> Reproduction:
    """Train the three networks, and predict them.

    Parameters
    ----------
    settings : Settings
    eigenvalues : array, (D,)
        lambda_j, descending.
    progress : bool
        Show a bar, if standard error is a terminal.
    seconds : float
        Time already spent on the data, for the record.

    Returns
    -------
    Reproduction

    Raises
    ------
    ImportError
        A bar is wanted and tqdm is missing.
    FloatingPointError
        A network's weights are no longer finite.
    """
    clock = [time.perf_counter()]
    dtype, reach = settings.dtype, settings.num_learnable
    eigenvalue = jnp.asarray(eigenvalues, dtype)
    problem = Problem(
        eigenvalue,
        noise=jnp.asarray([0, 0, settings.noise], dtype),
        decay=jnp.asarray([0, settings.decay, 0], dtype),
        learning_rate=jnp.asarray(settings.learning_rate, dtype),
    )
    weights = _start(settings)
    pairs = _pairs(weights, settings)
    epochs = _kept_epochs(settings.num_steps)
    each = dataclasses.replace(problem, eigenvalue=eigenvalue[:reach]).per_direction()
    predicted, fixed_point, half_time = _predict(each, pairs, epochs)
    clock.append(time.perf_counter())
    level = np.where(fixed_point > 0, fixed_point / 2, np.nan)
    training, half_time_reached = _train(settings, problem, weights, epochs, level, progress)
    clock.append(time.perf_counter())
    return Reproduction(
        settings=settings,
        eigenvalue=eigenvalues[:reach],
        start=np.asarray(pairs.w1 * pairs.w2),
        epochs=epochs,
        theory=predicted,
        training=training,
        fixed_point=fixed_point,
        half_time=half_time,
        half_time_reached=half_time_reached,
        notes=_notes(settings, eigenvalues[:reach]),
        seconds={"data": seconds, "theory": clock[1] - clock[0], "training": clock[2] - clock[1]},
    )


def _start(settings: Settings) -> Weights:
    """Initial matrices in the eigenbasis, (H, D) and (D, H)."""
    shape = {"hidden": settings.hidden, "num_directions": settings.num_inputs}
    if settings.init == "small":
        return initial.small(settings.seed, std=settings.init_std, dtype=settings.dtype, **shape)
    diagonal = np.full(settings.num_learnable, settings.init_std, settings.dtype)
    return initial.aligned(settings.seed, diagonal, diagonal, dtype=settings.dtype, **shape)


def _pairs(weights: Weights, settings: Settings) -> Weights:
    """Scalar weights (K,) from which the theory of each direction starts."""
    reach = settings.num_learnable
    if settings.init == "aligned":
        exact = jnp.full(reach, settings.init_std, settings.dtype)
        return Weights(exact, exact)
    # Only the sum of encoder and decoder grows while the weights are small, so
    # that a direction behaves as if balanced: docs/theory.md, section 6.
    balanced = jnp.linalg.norm(weights.w1[:, :reach] + weights.w2[:reach].T, axis=0) / 2
    return Weights(balanced, balanced)


def _predict(
    problem: Problem, pairs: Weights, epochs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Curves (S, 3, K), fixed points (3, K) and half-times (3, K) of the flow."""
    fixed_point = np.asarray(theory.fixed_point(problem))
    half_time = np.asarray(theory.time_to_mapping(fixed_point / 2, *pairs, problem))
    half_time = np.where(pairs.w1 * pairs.w2 >= fixed_point / 2, 0, half_time)
    half_time = np.where(fixed_point > 0, half_time, np.nan).astype(fixed_point.dtype)
    t = epochs.astype(fixed_point.dtype)[:, None, None]
    return np.asarray(theory.mapping(t, *pairs, problem)), fixed_point, half_time


def _train(
    settings: Settings,
    problem: Problem,
    weights: Weights,
    epochs: np.ndarray,
    level: np.ndarray,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Mapping (S, 3, K) at the epochs kept; epoch (3, K) of first reaching `level`."""
    w1, w2 = (jnp.broadcast_to(w, (len(NETWORKS), *w.shape)) for w in weights)
    kept, first, done = [], np.full(level.shape, np.inf), 0
    with _bar(settings.num_steps, progress) as bar:
        for length in _segments(settings.num_steps):
            part = simulate_matrices(
                w1, w2, problem, num_steps=length, save_every=1, observe=_mapping
            )
            rows = np.asarray(part.observed)[..., : level.shape[-1]]
            _stop_if_diverged(np.asarray(part.status), done + length, settings, problem)
            w1, w2 = part.w1[-1], part.w2[-1]
            first = np.minimum(first, done + first_reached(rows, level))
            end = done + length + (done + length == settings.num_steps)
            kept.append(rows[epochs[(epochs >= done) & (epochs < end)] - done])
            done += length
            if bar is not None:
                bar.update(length)
    return np.concatenate(kept), np.where(np.isnan(level), np.nan, first)


def _mapping(step: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    """Diagonal of W2 W1 in the eigenbasis, (..., D)."""
    return jnp.sum(w1 * jnp.swapaxes(w2, -1, -2), axis=-2)


def first_reached(rows: np.ndarray, level: np.ndarray) -> np.ndarray:
    """When each curve first reaches its level, between rows by linear interpolation.

    Parameters
    ----------
    rows : array, (S, ...)
        One row per step.
    level : array, (...)

    Returns
    -------
    array, (...)
        In steps from the first row; infinite where the level is not reached,
        or NaN.
    """
    # The mapping of a network that is about to diverge may be infinite already.
    rows = np.nan_to_num(rows)
    reached = rows >= level
    after = reached.argmax(axis=0)[None]
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(rows, i, axis=0)[0] for i in (before, after))
    rises = reached.any(axis=0) & (high > low)
    fraction = np.divide(level - low, high - low, out=np.zeros(level.shape), where=rises)
    return np.where(reached.any(axis=0), before[0] + fraction, np.inf)


def _kept_epochs(num_steps: int) -> np.ndarray:
    """About 600 epochs: evenly spaced for the eye, geometrically for the fast directions."""
    return np.union1d(
        np.linspace(0, num_steps, 301).round(), np.geomspace(1, num_steps, 401).round()
    ).astype(int)


def _segments(num_steps: int) -> Iterator[int]:
    """Lengths of the calls: about a hundred, of two different lengths at most.

    Each is one compilation per length, one row per step in memory, and one
    stop for the bar and for Ctrl-C.
    """
    length = min(math.ceil(num_steps / 100), 1_000)
    yield from itertools.repeat(length, num_steps // length)
    if num_steps % length:
        yield num_steps % length


def _bar(num_steps: int, progress: bool) -> Any:
    if not progress:
        return contextlib.nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "the progress bar needs tqdm; install it with: pip install 'lindae_jax[cli]'"
        ) from error
    # None switches it off where standard error is not a terminal.
    return tqdm(total=num_steps, desc="training", unit=" epochs", disable=None, leave=False)


def _stop_if_diverged(status: np.ndarray, epoch: int, settings: Settings, problem: Problem) -> None:
    if not status.any():
        return
    names = ", ".join(name for name, code in zip(NETWORKS, status, strict=True) if code)
    rate, largest = settings.learning_rate, float(np.max(problem.eigenvalue))
    raise FloatingPointError(
        f"training diverged ({names}, within {epoch} epochs): the learning rate {rate:.4g} is "
        f"{rate * largest:.3g} times 1/lambda_1 = {1 / largest:.4g}, the largest that is stable. "
        f"Take half of that or less."
    )


def _notes(settings: Settings, eigenvalue: np.ndarray) -> tuple[str, ...]:
    # At a minimum reached from small weights the top eigenvalue of the Hessian
    # is 2 lambda_1, whatever the noise: docs/theory.md, section 5.
    rate = settings.learning_rate
    notes = []
    if rate * eigenvalue[0] > 1:
        notes.append(
            f"The learning rate {rate:.4g} is above 2/sharpness = 1/lambda_1 = "
            f"{1 / eigenvalue[0]:.4g}: descent cannot rest where the theory of AE and DAE ends."
        )
    fast = [j for j in settings.directions if rate * eigenvalue[j - 1] > _SHORT_STEP]
    if fast:
        listed = ", ".join(f"{rate * eigenvalue[j - 1]:.2g} in direction {j}" for j in fast)
        notes.append(
            f"Learning rate times eigenvalue is {listed}. Above {_SHORT_STEP} the flow is early: "
            f"it grows by e^x where a step of gradient descent grows by 1 + x."
        )
    return tuple(notes)


# --- the figure and its numbers ---------------------------------------------


def draw(result: Reproduction) -> Any:
    """The paper's Figure 5: AE and WDAE at the left, AE and DAE at the right.

    Parameters
    ----------
    result : Reproduction

    Returns
    -------
    matplotlib.figure.Figure
        Best made and written under `plot.settings()`.

    Raises
    ------
    ImportError
        matplotlib is missing.
    """
    settings = result.settings
    columns = np.array(settings.directions) - 1
    labels = [str(j) for j in settings.directions]
    shown = np.concatenate([result.theory[..., columns], result.training[..., columns]])
    figure = plot.two_panels(
        ("Weight decay", "Noise"),
        settings.num_steps,
        "epochs",
        "mapping",
        values=(min(0.0, shown.min()), max(1.0, shown.max())),
    )
    styles = (plot.BLUE, plot.ORANGE, plot.GREEN)
    for ax, other in zip(figure.axes, (1, 2), strict=True):
        for k in (0, other):
            curves = result.theory[:, k, columns], result.training[:, k, columns]
            plot.dynamics(ax, result.epochs, *curves, styles[k])
        plot.label_above(ax, result.half_time_reached[0, columns], labels)
        plot.label_right(ax, result.theory[-1, other, columns], labels)
    names = (
        "AE",
        f"WDAE, decay {settings.decay:.3g}",
        f"DAE, noise variance {settings.noise:.3g}",
    )
    caption = "lines: theory, crosses: training, numbers: directions"
    plot.legend(figure, dict(zip(names, styles, strict=True)), caption)
    return figure


def as_json(result: Reproduction) -> dict[str, Any]:
    """Every number drawn or tabulated, with settings, versions and times.

    Parameters
    ----------
    result : Reproduction

    Returns
    -------
    dict
        Of numbers, strings, lists and None (for what is not finite).
    """
    settings = result.settings
    columns = np.array(settings.directions) - 1
    networks = [
        {
            "name": name,
            "noise": settings.noise if name == "DAE" else 0.0,
            "decay": settings.decay if name == "WDAE" else 0.0,
            "fixed_point": _plain(result.fixed_point[k, columns]),
            "reached": _plain(result.reached[k, columns]),
            "half_time": _plain(result.half_time[k, columns]),
            "half_time_reached": _plain(result.half_time_reached[k, columns]),
            "worst_difference": _plain(result.worst_difference[k, columns]),
            "theory": _plain(result.theory[:, k, columns].T),
            "training": _plain(result.training[:, k, columns].T),
        }
        for k, name in enumerate(NETWORKS)
    ]
    return {
        "settings": dataclasses.asdict(settings),
        "notes": list(result.notes),
        "seconds": result.seconds,
        "versions": _versions(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "directions": list(settings.directions),
        "eigenvalue": _plain(result.eigenvalue[columns]),
        "start": _plain(result.start[columns]),
        "epochs": result.epochs.tolist(),
        "networks": networks,
    }


def _plain(x: np.ndarray) -> Any:
    if x.ndim:
        return [_plain(row) for row in x]
    # By way of its text a float32 keeps its own few digits.
    return float(str(x)) if np.isfinite(x) else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("lindae_jax", "jax", "jaxlib", "numpy", "matplotlib"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


# --- files ------------------------------------------------------------------


def check_out(out: str | os.PathLike) -> None:
    """Try whether results can be drawn and written to a folder; leaves no trace.

    Parameters
    ----------
    out : str or path

    Raises
    ------
    ValueError
        `out` is not a path; the folder cannot be made or written; the disk is
        full.
    ImportError
        matplotlib is missing.
    """
    with plot.settings():
        pass
    folder, made = checks.path("out", out), []
    remedy = "Name another folder."
    try:
        made = _make(folder)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = f"{out} ({error.strerror})"
        raise checks.mistake("out must be a folder one can write", reason, remedy) from error
    finally:
        _unmake(made)
    if free < _LEAST_FREE_BYTES:
        raise checks.mistake(
            f"out must have {_LEAST_FREE_BYTES >> 20} MiB left", f"{free >> 20} MiB", remedy
        )


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns those that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        _unmake(missing)
        raise
    return missing


def _unmake(folders: list[Path]) -> None:
    for folder in folders:
        if folder.is_dir():
            folder.rmdir()


def _write(folder: Path, files: dict[str, bytes]) -> tuple[Path, ...]:
    """Write all the files, or none."""
    made = _make(folder)
    # Under names of their own first, so that the last steps are renames only.
    partial = {folder / f".{name}.{uuid.uuid4().hex}": folder / name for name in files}
    try:
        for path, content in zip(partial, files.values(), strict=True):
            path.write_bytes(content)
        for path, final in partial.items():
            path.replace(final)
    except BaseException:
        for path in partial:
            path.unlink(missing_ok=True)
        _unmake(made)
        raise
    return tuple(partial.values())
