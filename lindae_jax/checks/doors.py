"""What a public function does first: its inputs are checked and brought to one dtype."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax.batches import host
from lindae_jax.checks.arguments import broadcast
from lindae_jax.checks.dtypes import cast_one, result_dtype
from lindae_jax.checks.messages import mistake
from lindae_jax.checks.tracing import is_traced, is_tracing
from lindae_jax.checks.values import PROBLEM_RULES, check_values
from lindae_jax.problem import Problem

# None would not do: it is what a caller may have passed by mistake.
_NO_PROBLEM = Problem(None)


def cast(
    named: dict[str, Any], problem: Problem = _NO_PROBLEM, *, stay: bool = False
) -> tuple[dict, Problem]:
    """Bring every input of a call, problem included, to one strong dtype.

    With `stay`, large arrays of NumPy may be left where they are (`batches/host.py`).
    """
    if not isinstance(problem, Problem):
        raise mistake(
            "problem must be a lindae_jax.Problem",
            type(problem).__name__,
            "Build one with Problem(eigenvalue, noise, decay, learning_rate).",
        )
    fields = {n: getattr(problem, n) for n in PROBLEM_RULES if problem is not _NO_PROBLEM}
    given = {**named, **fields}
    dtype = result_dtype(given)
    large = {n for n, x in given.items() if stay and host.may_stay(x, dtype)}
    found: dict[str, Any] = {
        n: cast_one(x.flat[0] if n in large else x, dtype) for n, x in given.items()
    }
    # Nothing is taken from an array for a batch of no members.
    stay = bool(large) and not any(map(is_traced, found.values())) and not is_tracing()
    stay = stay and all(x.size for x in found.values()) and host.can_share(found.values())
    for n in large:
        found[n] = host.OnHost(given[n], found[n]) if stay else cast_one(given[n], dtype)
    arrays = {n: found[n] for n in named}
    return arrays, Problem(**{n: found[n] for n in fields}) if fields else problem


def door(
    problem: Problem,
    rules: dict[str, str] | None = None,
    /,
    **named: ArrayLike,
) -> tuple[Sequence[jax.Array], Problem]:
    """Check and cast the inputs of an elementwise public function.

    Parameters
    ----------
    problem : Problem
        Its four fields are checked where they are concrete.
    rules : dict, optional
        Argument name -> rule ("time", "not_nan", ...) for further arguments.
    **named : array_like
        All other array arguments, in order.

    Returns
    -------
    arrays : tuple of jax.Array
        The named arguments in the call's dtype, not broadcast.
    problem : Problem
        The same, its fields cast.

    Raises
    ------
    ValueError
        Bad value, unsupported dtype, shapes that do not broadcast.
    """
    arrays, problem, unseen = half_door(problem, rules, **named)
    check_values(unseen)
    return arrays, problem


def half_door(
    problem: Problem,
    rules: dict[str, str] | None = None,
    stay: bool = False,
    /,
    **named: ArrayLike,
) -> tuple[Sequence[jax.Array], Problem, dict[str, tuple[jax.Array, str]]]:
    """The same, and for `check_values` all values, at which nobody has looked.

    With `stay` large arrays of NumPy may be left where they are, for `Layout.call`: `OnHost`.
    """
    arrays, cast_problem = cast(named, problem, stay=stay)
    fields = {n: getattr(cast_problem, n) for n in PROBLEM_RULES}
    broadcast({**arrays, **fields})
    unseen = {n: (arrays[n], rule) for n, rule in (rules or {}).items()}
    unseen |= {n: (fields[n], rule) for n, rule in PROBLEM_RULES.items()}
    return tuple(arrays.values()), cast_problem, unseen


def matrix_door(
    problem: Problem, **named: ArrayLike
) -> tuple[Sequence[jax.Array], Problem, tuple[int, ...]]:
    """Check and cast the inputs of a public function of whole matrix autoencoders.

    Parameters
    ----------
    problem : Problem
        `eigenvalue` (..., D), its other fields (...).
    **named : array_like
        w1 (..., H, D) and w2 (..., D, H), in this order, then any further
        such couples.

    Returns
    -------
    arrays : tuple of jax.Array
        The named arguments in the call's dtype, broadcast to one batch shape.
    problem : Problem
        The same, its fields cast.
    batch : tuple of int
        The common batch shape.

    Raises
    ------
    ValueError
        Bad value, unsupported dtype, matrix shapes that do not fit each other
        or the eigenvalues, batch shapes that do not broadcast.
    """
    arrays, cast_problem = cast(named, problem)
    fields = {n: getattr(cast_problem, n) for n in PROBLEM_RULES}
    _check_matrices(arrays, fields["eigenvalue"].shape)
    batch = broadcast(
        {n: x.shape[:-2] for n, x in arrays.items()}
        | {n: x.shape[: x.ndim - (n == "eigenvalue")] for n, x in fields.items()}
    )
    check_values({n: (fields[n], rule) for n, rule in PROBLEM_RULES.items()})
    full = tuple(jnp.broadcast_to(x, batch + x.shape[-2:]) for x in arrays.values())
    return full, cast_problem, batch


def _check_matrices(arrays: dict[str, jax.Array], eigenvalue: tuple[int, ...]) -> None:
    first = next(iter(arrays.values()))
    matrix = first.shape[-2:]
    for i, x in enumerate(arrays.values()):
        if first.ndim < 2 or x.shape[-2:] != (matrix if i % 2 == 0 else matrix[::-1]):
            raise mistake(
                " and ".join(arrays) + " must be matrices (..., H, D) and (..., D, H) in turn",
                ", ".join(f"{n} {x.shape}" for n, x in arrays.items()),
                "Give both in the eigenbasis; Spectrum.rotate brings them there.",
            )
    if eigenvalue[-1:] != matrix[1:]:
        raise mistake(
            f"problem.eigenvalue must have shape (..., {matrix[1]})",
            f"{eigenvalue}",
            "One eigenvalue for each of the D columns of w1.",
        )


def check_served(named: dict[str, Any], hidden: int, num_directions: int) -> None:
    """Aligned weights have one entry for each direction that a hidden unit serves."""
    length = min(hidden, num_directions)
    for name, x in named.items():
        if x.shape[-1:] != (length,):
            raise mistake(
                f"{name} must have min(H, D) = {length} entries on its last axis",
                f"shape {x.shape}",
                "Give one weight for each direction that a hidden unit serves.",
            )
