"""What every public door checks, with the dtype rule."""

import contextlib
import functools
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax.batches import host
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


def mistake(what: str, got: Any, remedy: str) -> ValueError:
    """The one form of a caller's mistake: what must hold, what came, what to do."""
    return ValueError(f"{what}; got {got}. {remedy}")


def brief(x: Any) -> str:
    """What a message shows of a value: one line of at most 60 characters."""
    try:
        text = " ".join(repr(x).split())
    except ValueError:  # an integer of thousands of digits
        text = f"{type(x).__name__} too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- dtype -----------------------------------------------------------------


def is_traced(x: Any) -> bool:
    """Whether x has no concrete value yet (under jit, vmap, grad)."""
    return isinstance(x, jax.core.Tracer)


def is_tracing() -> bool:
    """Whether the caller is tracing something, be it with other values than ours."""
    return is_traced(_nothing())


@jax.jit
def _nothing() -> jax.Array:
    """A number; a call of what is compiled costs a tenth of making one."""
    return jnp.zeros(())


def at_top_level() -> contextlib.AbstractContextManager[None]:
    """A context in which concrete values are computed now, whatever the caller is tracing.

    If nothing, it does nothing: where the constants of a function are computed while it is
    being traced, each of them is a program by itself.
    """
    return jax.ensure_compile_time_eval() if is_tracing() else contextlib.nullcontext()


def decays(problem: Problem) -> bool:
    """Whether decay, an array, may be non-zero somewhere."""
    if is_traced(problem.decay):
        return True
    pieces = _on_processors(problem.decay)
    if pieces is not None:
        return any(part.any() for part in _blocks(pieces))
    with at_top_level():
        return bool(jnp.any(problem.decay))


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


def _cast(x: Any, dtype: np.dtype) -> jax.Array:
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


# --- values ----------------------------------------------------------------


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


# --- shapes and counts -----------------------------------------------------


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


# --- keys and paths ---------------------------------------------------------


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


# --- data matrices ----------------------------------------------------------


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


def finite_rows(name: str, x: np.ndarray) -> None:
    """Raise on the first value of a matrix that is NaN or infinite, block by block."""
    rows = max(1, 2**20 // x.shape[1])
    for start in range(0, len(x), rows):
        bad = ~np.isfinite(x[start : start + rows])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise mistake(
                f"{name} must be finite",
                f"{x[start + row, column]} at row {start + row}, column {column}",
                "Remove or fill in missing values first.",
            )


# --- the doors --------------------------------------------------------------


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
        n: _cast(x.flat[0] if n in large else x, dtype) for n, x in given.items()
    }
    # Nothing is taken from an array for a batch of no members.
    stay = bool(large) and not any(map(is_traced, found.values())) and not is_tracing()
    stay = stay and all(x.size for x in found.values()) and host.can_share(found.values())
    for n in large:
        found[n] = host.OnHost(given[n], found[n]) if stay else _cast(given[n], dtype)
    arrays = {n: found[n] for n in named}
    return arrays, Problem(**{n: found[n] for n in fields}) if fields else problem


def door(
    problem: Problem,
    rules: dict[str, str] | None = None,
    *,
    stay: bool = False,
    **named: ArrayLike,
) -> tuple[Sequence[jax.Array], Problem]:
    """Check and cast the inputs of an elementwise public function.

    Parameters
    ----------
    problem : Problem
        Its four fields are checked where they are concrete.
    rules : dict, optional
        Argument name -> rule ("time", "not_nan", ...) for further arguments.
    stay : bool
        Whether large arrays of NumPy may be left where they are, for `Layout.call`.
    **named : array_like
        All other array arguments, in order.

    Returns
    -------
    arrays : tuple of jax.Array
        The named arguments in the call's dtype, not broadcast. With `stay` some may be
        `OnHost`, as may fields of the problem.
    problem : Problem
        The same, its fields cast.

    Raises
    ------
    ValueError
        Bad value, unsupported dtype, shapes that do not broadcast.
    """
    arrays, problem, unseen = half_door(problem, rules, stay, **named)
    check_values(unseen)
    return arrays, problem


def half_door(
    problem: Problem,
    rules: dict[str, str] | None = None,
    stay: bool = False,
    /,
    **named: ArrayLike,
) -> tuple[Sequence[jax.Array], Problem, dict[str, tuple[jax.Array, str]]]:
    """The same, and for `check_values` all values, at which nobody has looked."""
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
