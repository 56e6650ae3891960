"""Three networks trained from one start, beside their theory."""

import dataclasses
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import bars, initial, theory
from lindae_jax.problem import Problem, Weights
from lindae_jax.reproduce.report import NETWORKS, Reproduction, check_out
from lindae_jax.reproduce.settings import Settings, prepare
from lindae_jax.simulate import simulate_matrices
from lindae_jax.simulate.directions import balanced_pair, mapping
from lindae_jax.simulate.passage import first_passage

# Below this, one step of descent and the flow grow alike to a few per cent.
_SHORT_STEP = 0.05


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
    reach = settings.num_learnable
    problem = problem_of(settings, eigenvalues)
    weights = start(settings)
    pairs = _pairs(weights, settings)
    epochs = kept_epochs(settings.num_steps)
    each = dataclasses.replace(problem, eigenvalue=problem.eigenvalue[:reach]).per_direction()
    predicted, fixed_point, half_time = predict(each, pairs, epochs)
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


def problem_of(settings: Settings, eigenvalues: np.ndarray) -> Problem:
    """The problems of the three networks: eigenvalues (D,), noise and decay (3,)."""
    dtype = settings.dtype
    return Problem(
        jnp.asarray(eigenvalues, dtype),
        noise=jnp.asarray([0, 0, settings.noise], dtype),
        decay=jnp.asarray([0, settings.decay, 0], dtype),
        learning_rate=jnp.asarray(settings.learning_rate, dtype),
    )


def start(settings: Settings) -> Weights:
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
    return balanced_pair(weights.w1[:, :reach], weights.w2[:reach])


def predict(
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
    total = settings.num_steps
    with bars.bar(progress, "cli", total=total, desc="training", unit=" epochs") as bar:
        for length in _segments(settings.num_steps):
            part = simulate_matrices(
                w1, w2, problem, num_steps=length, save_every=1, observe=_mapping
            )
            rows = np.asarray(part.observed)[..., : level.shape[-1]]
            stop_if_diverged(np.asarray(part.status), done + length, settings, problem)
            w1, w2 = part.w1[-1], part.w2[-1]
            passage = np.asarray(first_passage(np.arange(len(rows)), rows, level))
            first = np.minimum(first, done + passage.astype(np.float64))
            end = done + length + (done + length == settings.num_steps)
            kept.append(rows[epochs[(epochs >= done) & (epochs < end)] - done])
            done += length
            if bar is not None:
                bar.update(length)
    return np.concatenate(kept), np.where(np.isnan(level), np.nan, first)


def _mapping(step: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    return mapping(w1, w2)


def kept_epochs(num_steps: int) -> np.ndarray:
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


def stop_if_diverged(status: np.ndarray, epoch: int, settings: Settings, problem: Problem) -> None:
    """Raise if one of the three networks has diverged within so many epochs."""
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
