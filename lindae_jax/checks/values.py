"""Which values are allowed, and looking at them where they lie."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.batches import host
from lindae_jax.checks.messages import mistake
from lindae_jax.checks.tracing import at_top_level, is_traced
from lindae_jax.problem import Problem

# Each rule: the predicate of good values, an interval, what must hold, what to do.
_RULES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "non_negative": (
        lambda x: (x >= 0) & (x < jnp.inf),
        "must be finite and >= 0",
        "Check for NaN or a sign error.",
    ),
    "positive": (
        lambda x: (x > 0) & (x < jnp.inf),
        "must be finite and > 0",
        "Pass a positive number; theory.optimal_learning_rate gives a safe one.",
    ),
    "size": (
        lambda x: (x > 0) & (x < jnp.inf),
        "must be finite and > 0",
        "Check for NaN, zero or a sign error.",
    ),
    "time": (
        lambda x: x >= 0,
        "must be >= 0 (infinity is allowed)",
        "The flow is defined forward in time only.",
    ),
    "finite": (
        lambda x: abs(x) < jnp.inf,
        "must be finite",
        "Check for NaN, or for a value beyond the range of the dtype.",
    ),
    "not_nan": (
        lambda x: x == x,
        "must not be NaN",
        "Check the computation that produced it.",
    ),
}

PROBLEM_RULES = {
    "eigenvalue": "non_negative",
    "noise": "non_negative",
    "decay": "non_negative",
    "learning_rate": "positive",
}


def valid(problem: Problem) -> jax.Array:
    """Where all four numbers of a problem are allowed, as a traced mask."""
    masks = (_RULES[rule][0](getattr(problem, name)) for name, rule in PROBLEM_RULES.items())
    return functools.reduce(operator.and_, masks)


def allowed(rule: str, x: jax.Array) -> jax.Array:
    """Where x satisfies a named rule, as a traced mask."""
    return _RULES[rule][0](x)


# Numbers looked at together, twice, the second time in cache.
_BLOCK = 2**17


def _on_processors(x: jax.Array | host.OnHost) -> list[np.ndarray] | None:
    """What lies in the memory of this process, piece by piece; None where some is elsewhere."""
    if isinstance(x, host.OnHost):
        return [x.array]
    if not x.is_fully_addressable or any(d.platform != "cpu" for d in x.devices()):
        return None
    return [np.asarray(s.data) for s in x.addressable_shards if s.replica_id == 0]


def on_processors(arrays: Sequence[jax.Array | host.OnHost]) -> bool:
    """Whether all of some arrays lie in the memory of this process."""
    return all(_on_processors(x) is not None for x in arrays)


def _blocks(pieces: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts of pieces; of one that is not contiguous in memory, whole rows of its first axis."""
    for piece in pieces:
        x = piece.ravel(order="K") if piece.flags.forc else piece
        rows = max(1, _BLOCK * len(x) // x.size) if x.size else 1
        yield from (x[start : start + rows] for start in range(0, len(x), rows))


def _all_allowed(pieces: list[np.ndarray], rule: str, dtype: np.dtype) -> bool:
    """Whether the least and the greatest are, in a dtype; NaN is both, where there is one."""
    good = _RULES[rule][0]
    with np.errstate(over="ignore"):
        return all(
            good(dtype.type(part.min())) and good(dtype.type(part.max()))
            for part in _blocks(pieces)
        )


@functools.partial(jax.jit, static_argnums=1)
def _all_good(values: tuple[jax.Array, ...], rules: tuple[str, ...]) -> jax.Array:
    pairs = zip(values, rules, strict=True)
    return jnp.stack([allowed(rule, v).all() for v, rule in pairs])


def check_values(named: Mapping[str, tuple[jax.Array | host.OnHost, str]]) -> None:
    """Raise on the first bad value among the concrete inputs.

    Where processors have them they are looked at as they lie, with nothing to compile;
    elsewhere in one fused reduction and one transfer, whatever the number of inputs.
    """
    concrete = {n: v for n, v in named.items() if not is_traced(v[0])}
    pieces = {n: _on_processors(x) for n, (x, _) in concrete.items()}
    elsewhere = [n for n, found in pieces.items() if found is None]
    good = {
        n: _all_allowed(found, concrete[n][1], concrete[n][0].dtype)
        for n, found in pieces.items()
        if found is not None
    }
    if elsewhere:
        values, rules = zip(*(concrete[n] for n in elsewhere), strict=True)
        # Under the caller's jit, concrete inputs are still to be looked at now.
        with jax.ensure_compile_time_eval():
            good |= dict(zip(elsewhere, np.asarray(_all_good(values, rules)), strict=True))
    for name, (value, rule) in concrete.items():
        if not good[name]:
            raise _bad(name, value if isinstance(value, host.OnHost) else np.asarray(value), rule)


def check_host(name: str, value: np.ndarray, rule: str) -> None:
    """Raise on the first bad value of an array of NumPy."""
    with np.errstate(invalid="ignore"):
        good = np.all(_RULES[rule][0](value))
    if not good:
        raise _bad(name, value, rule)


def _bad(name: str, value: np.ndarray | host.OnHost, rule: str) -> ValueError:
    _, must, remedy = _RULES[rule]
    return mistake(f"{name} {must}", _first_bad(value, rule), remedy)


def _first_bad(value: np.ndarray | host.OnHost, rule: str) -> str:
    """The first value that is not allowed, where it is, and how many there are."""
    if not value.ndim:
        return f"{value[()]}"
    shown, number = "", 0
    rows = max(1, _BLOCK * len(value) // value.size)
    # Some rows at a time: it may be a file larger than memory.
    for start in range(0, len(value), rows):
        part = value[start : start + rows]
        with np.errstate(invalid="ignore"):
            bad = ~np.asarray(_RULES[rule][0](part))
        if not number and bad.any():
            first, *others = (int(i) for i in np.unravel_index(bad.argmax(), bad.shape))
            shown = f"{part[first, *others]} at index {(start + first, *others)}"
        number += int(bad.sum())
    return f"{shown} ({number} of {value.size} values)"


def decays(problem: Problem) -> bool:
    """Whether decay, an array, may be non-zero somewhere."""
    if is_traced(problem.decay):
        return True
    pieces = _on_processors(problem.decay)
    if pieces is not None:
        return any(part.any() for part in _blocks(pieces))
    with at_top_level():
        return bool(jnp.any(problem.decay))
