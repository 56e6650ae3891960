"""The result of gradient descent: saves, their schedule, status."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import checks

OK = 0
DIVERGED = 1
INVALID_INPUT = 2
NOT_RUN = 3

_MESSAGES = {
    OK: "OK: every weight is finite at the last save (not a claim of convergence).",
    DIVERGED: "Diverged: a weight is not finite at the last save; try a smaller learning rate.",
    INVALID_INPUT: (
        "Invalid input, found while tracing: eigenvalue, noise and decay must be finite and >= 0, "
        "the learning rate finite and > 0, data and an optimiser's other numbers finite, seeds in "
        "[0, 2^32), num_samples at least 1 and no fewer than the eigenvalues above rounding; the "
        "weights are NaN."
    ),
    NOT_RUN: "Not run yet.",
}

State = TypeVar("State")


class Trajectory(NamedTuple):
    """What gradient descent left behind at the steps saved.

    Without `observe`, `w1` and `w2` have all saves and `observed` is None. With
    it, `step` and `observed` have all saves, and `w1`, `w2` one row: that of
    the last step.
    """

    step: Any
    """int32 (saves,), in epochs = steps of gradient descent; the last is num_steps."""
    w1: Any
    """(saves, ...) or, with `observe`, (1, ...)."""
    w2: Any
    """(saves, ...) or, with `observe`, (1, ...)."""
    status: Any
    """int8 (...), by member: OK, DIVERGED or INVALID_INPUT; see `status_message`."""
    observed: Any
    """None, or what `observe` returned, each leaf with a leading axis (saves,)."""
    carry: Any = None
    """What a call that goes on has to be handed besides the last weights. With
    `compensated=True` a pair of arrays of the shapes of `w1` and `w2`: what float sums
    rounded off. Of `simulate_networks` the optimiser's state at the end, each leaf with
    leading axes (...). Otherwise None."""


def status_message(code: int) -> str:
    """A status code in words.

    Parameters
    ----------
    code : int
        An entry of `Trajectory.status`.

    Raises
    ------
    ValueError
        For a code that does not exist.
    """
    number = checks.count("code", code)
    if number not in _MESSAGES:
        raise checks.mistake(
            "code must be a status", number, f"Those that exist: {sorted(_MESSAGES)}."
        )
    return _MESSAGES[number]


def raise_on_divergence(trajectory: Trajectory) -> None:
    """Raise unless every member of a trajectory is OK; for use on the host.

    Parameters
    ----------
    trajectory : Trajectory

    Raises
    ------
    ValueError
        If a member had invalid input, or if it is traced, or no Trajectory.
    FloatingPointError
        If a member diverged (and none was invalid).
    """
    if not isinstance(trajectory, Trajectory):
        raise checks.mistake(
            "trajectory must be a Trajectory",
            type(trajectory).__name__,
            "Pass what simulate_pairs or simulate_matrices returned.",
        )
    if checks.is_traced(trajectory.status):
        raise checks.mistake(
            "trajectory must have concrete values, outside jit and vmap",
            "a traced status",
            "Return the trajectory and look at it there, or carry its status along.",
        )
    status = np.asarray(trajectory.status)
    for code, error in ((INVALID_INPUT, ValueError), (DIVERGED, FloatingPointError)):
        bad = status == code
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise error(
                f"{bad.sum()} of {bad.size} members, the first at index {first}: "
                f"{status_message(code)}"
            )


# --- schedule ---------------------------------------------------------------


def schedule(
    num_steps: int,
    save_every: int | None,
    save_steps: Sequence[int] | None,
    counted: str = "num_steps",
) -> np.ndarray:
    """The steps to save, int32 (saves,); the last is always num_steps."""
    # Of NumPy, for under the caller's tracing an array of JAX would be traced.
    return np.asarray(saved_steps(num_steps, save_every, save_steps, counted), np.int32)


def saved_steps(
    num_steps: int,
    save_every: int | None,
    save_steps: Sequence[int] | None,
    counted: str = "num_steps",
) -> list[int]:
    """The steps to save, checked, as a list on the host; `counted` is the caller's name."""
    remedy = "Steps are counted in int32; continue a longer run from its last weights."
    total = checks.count(counted, num_steps)
    if total > np.iinfo(np.int32).max:
        raise checks.mistake(f"{counted} must be below 2^31", checks.brief(total), remedy)
    if save_every is not None and save_steps is not None:
        raise checks.mistake(
            "save_every and save_steps exclude each other",
            f"save_every = {save_every!r} and save_steps = {save_steps!r}"[:80],
            "Pass one of them.",
        )
    if save_every is not None:
        steps = list(range(0, total, checks.count("save_every", save_every, 1)))
    else:
        steps = _listed(total, () if save_steps is None else save_steps, counted)
    return [s for s in steps if s != total] + [total]


def _listed(total: int, save_steps: Sequence[int], counted: str) -> list[int]:
    remedy = f"Pass a strictly increasing tuple of Python ints; {counted} itself may be left out."
    if checks.is_traced(save_steps) or not _iterates(save_steps):
        raise checks.mistake("save_steps must be a tuple of integers", repr(save_steps), remedy)
    steps = [checks.count("an entry of save_steps", s) for s in save_steps]
    if any(b <= a for a, b in itertools.pairwise(steps)) or max(steps, default=0) > total:
        raise checks.mistake(
            f"save_steps must increase strictly within [0, {counted} = {total}]",
            f"{tuple(steps)}"[:80],
            remedy,
        )
    return steps


def _iterates(x: Any) -> bool:
    try:
        iter(x)
    except TypeError:  # arrays without axes have an __iter__ too
        return False
    return True


# --- the loop over saves ------------------------------------------------------


def follow(
    advance: Callable[[State, jax.Array], State],
    read: Callable[[State], tuple],
    state: State,
    steps: jax.Array,
    observe: Callable[..., Any] | None,
) -> tuple[tuple, Any, State]:
    """Advance a state from save to save.

    The number of steps between two saves is a traced bound of one inner loop,
    so that neither the schedule nor the number of steps changes the code that
    takes a step: runs cut anywhere are bitwise the same as one run.

    Parameters
    ----------
    advance : function
        (state, number of steps) -> state.
    read : function
        state -> (w1, w2, ...): what is saved.
    observe : function or None
        (step, w1, w2) -> pytree, in place of what is saved.

    Returns
    -------
    saved : tuple
        What `read` gave, with a leading axis (saves,), of length 1 with `observe`.
    observed
        As in `Trajectory`.
    state
        The last one.
    """

    def row(state: State, step: jax.Array) -> Any:
        saved = read(state)
        return saved if observe is None else jax.tree.map(_strong, observe(step, *saved[:2]))

    def segment(carry: tuple[State, jax.Array], step: jax.Array) -> tuple[Any, Any]:
        state, reached = carry
        state = advance(state, step - reached)
        return (state, step), row(state, step)

    # Within the caller's jit they are constants, and XLA would unroll a loop of one trip.
    steps = jax.lax.optimization_barrier(steps)
    if len(steps) == 1:  # without a loop, which would hold the state twice
        state = advance(state, steps[0])
        rows = _first(row(state, steps[0]))
    else:
        (state, _), rows = jax.lax.scan(segment, (state, jnp.int32(0)), steps)
    return (rows, None, state) if observe is None else (_first(read(state)), rows, state)


def _first(row: Any) -> Any:
    return jax.tree.map(lambda x: x[None], row)


def _strong(x: Any) -> jax.Array:
    """An array whose dtype is its own: no Python scalar's weak type leaves the core."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def check_observe(observe: Any) -> None:
    """`observe` is a function, and a static argument of the compiled core."""
    if observe is not None and not callable(observe):
        raise checks.mistake(
            "observe must be a function (step, w1, w2, problem) -> arrays",
            type(observe).__name__,
            "Define one at the top of a module: each new function object compiles anew.",
        )


def status(good: jax.Array, finite: jax.Array) -> jax.Array:
    """Status codes from the masks of valid problems and of finite weights."""
    reached = jnp.where(finite, OK, DIVERGED)
    return jnp.where(good, reached, INVALID_INPUT).astype(jnp.int8)


def any_invalid(status: jax.Array) -> bool:
    """Whether a member's input was, of what lies in the memory of this process."""
    parts = (np.asarray(part.data) for part in status.addressable_shards)
    return any(part.max(initial=OK) == INVALID_INPUT for part in parts)
