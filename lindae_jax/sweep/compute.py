"""Running the members of one box."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import theory
from lindae_jax.batches.blocks import VECTORS, common_size
from lindae_jax.batches.devices import FEW
from lindae_jax.problem import Problem, Weights
from lindae_jax.simulate import Trajectory, simulate_matrices, simulate_pairs
from lindae_jax.simulate.directions import balanced_pair, mapping
from lindae_jax.simulate.passage import first_passage
from lindae_jax.sweep import devices, members, observe, observe_pairs
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.spec import Sweep
from lindae_jax.theory import solution, times


class Stretch(NamedTuple):
    """Rows of a run that are computed in one go."""

    rows: np.ndarray
    """Steps to save, or times."""
    offset: int
    """The step from which it goes on, 0 at the start."""


# So many points are always computed in blocks, and in whole ones.
_BLOCKS = 2**13

# So few members' times are found together: boxes of many shapes share one program.
_TIMES = 2**9

Place = Callable[[Problem], Problem]


def run(
    sweep: Sweep,
    stretch: Stretch,
    box: Box,
    lengths: Sequence[int],
    place: Place,
    reached: Weights | None = None,
) -> dict[str, np.ndarray]:
    """Everything that is kept of the members of a box.

    Parameters
    ----------
    sweep : Sweep
    stretch : Stretch
    box : Box
        Of the grid.
    lengths : sequence of int
        At least those of the box: the shape that is compiled for.
    place : function
        Puts a problem on the devices to use.
    reached : Weights, optional
        Arrays of the box at `stretch.offset`, where that is not 0.

    Returns
    -------
    dict
        Variable -> array of the lengths, after an axis of rows where the variable has one;
        computed, and still on the devices where it can be.
    """
    if reached is not None:
        reached = Weights(*(_padded(w, box, lengths) for w in reached))
    compute = {"pairs": _pairs, "matrices": _matrices, "theory": _theory}[sweep.model]
    return jax.block_until_ready(compute(sweep, stretch, box, tuple(lengths), place, reached))


def _padded(x: np.ndarray, box: Box, lengths: Sequence[int]) -> np.ndarray:
    widths = [(0, n - size) for n, size in zip(lengths, box.shape, strict=True)]
    return np.pad(x, widths + [(0, 0)] * (x.ndim - len(widths)), mode="edge")


def _pairs(
    sweep: Sweep,
    stretch: Stretch,
    box: Box,
    lengths: tuple[int, ...],
    place: Place,
    reached: Weights | None,
) -> dict[str, Any]:
    problem = place(members.problem(sweep, box, lengths))
    start = members.start_pairs(sweep, box, lengths)
    begin = reached or start
    steps = tuple(int(row) - stretch.offset for row in stretch.rows)
    got = simulate_pairs(
        np.broadcast_to(begin.w1, lengths),
        begin.w2,
        problem,
        num_steps=steps[-1],
        save_steps=steps,
    )
    results: dict[str, Any] = observe_pairs.of_pairs(sweep.observe, got.w1, got.w2, problem)
    if _COMPARED & set(sweep.observe):
        first, rows = _product(*begin), _product(got.w1, got.w2)
        results |= _compared(sweep, stretch, first, rows, start, problem)
    return results | _final(sweep, got)


def _matrices(
    sweep: Sweep,
    stretch: Stretch,
    box: Box,
    lengths: tuple[int, ...],
    place: Place,
    reached: Weights | None,
) -> dict[str, Any]:
    problem = place(members.problem(sweep, box, lengths))
    hidden = members.padded_width(sweep, members.width(sweep, box))
    start = members.start_matrices(sweep, box, lengths, hidden)
    begin = start
    if reached is not None:
        begin = Weights(*map(jnp.asarray, (reached.w1[..., :hidden, :], reached.w2[..., :hidden])))
    steps = tuple(int(row) - stretch.offset for row in stretch.rows)
    assert sweep.directions is not None
    w1, w2 = _all_over(begin, lengths)
    got = simulate_matrices(
        w1,
        w2,
        problem,
        num_steps=steps[-1],
        save_steps=steps,
        observe=observe.of_matrices(sweep.observe, sweep.directions),
    )
    results: dict[str, Any] = dict(got.observed)
    rows = results["mapping"] if "mapping" in sweep.observe else results.pop("mapping")
    if _COMPARED & set(sweep.observe):
        first, pair = _along(sweep.directions, begin, start)
        each = _each_direction(problem, np.asarray(sweep.directions) - 1)
        results |= _compared(sweep, stretch, np.asarray(first), np.asarray(rows), pair, each)
    results |= _final(sweep, got)
    return {name: _all_units(sweep, name, x) for name, x in results.items()}


def _theory(
    sweep: Sweep,
    stretch: Stretch,
    box: Box,
    lengths: tuple[int, ...],
    place: Place,
    reached: Weights | None,
) -> dict[str, Any]:
    problem = place(members.problem(sweep, box, lengths))
    start = members.start_pairs(sweep, box, lengths)
    t = stretch.rows.astype(sweep.dtype)
    shape = (len(stretch.rows), *lengths)
    flow = _flow(("w1", "w2", "w"), sweep, t, start, problem)
    w1, w2, w = (np.broadcast_to(x, shape) for x in flow)
    results: dict[str, Any] = observe_pairs.of_pairs(
        sweep.observe, jnp.asarray(w1), jnp.asarray(w2), problem
    )
    if "mapping" in sweep.observe:
        results["mapping"] = w  # sharper than the product of rounded weights
    if "first_passage" in sweep.observe:
        results["first_passage"] = _passage(sweep, lengths, start, problem)
    return results


def _passage(
    sweep: Sweep, lengths: tuple[int, ...], start: Weights, problem: Problem
) -> np.ndarray:
    """When the flow first reaches the fraction of w* that is asked for."""
    level = _level(sweep, problem)
    arrays = np.broadcast_arrays(level, *start, *_fields(problem))
    unit = _TIMES if arrays[0].size <= _TIMES else VECTORS
    placed = _placed([members.padded_to(x.ravel(), unit) for x in arrays], problem)
    target, w1, w2, *fields = placed
    found = times.passage(
        target, w1, w2, Problem(*fields), decaying=_decaying(sweep), even=_even(sweep)
    )
    passage = np.asarray(found)[: arrays[0].size].reshape(arrays[0].shape)
    passage = np.where(_product(*start) >= level, passage.dtype.type(0), passage)
    return np.broadcast_to(np.where(np.isnan(level), level, passage), lengths)


# --- theory beside the run --------------------------------------------------------

_COMPARED = {"distance", "first_passage"}


def _compared(
    sweep: Sweep,
    stretch: Stretch,
    first: np.ndarray,
    rows: np.ndarray,
    start: Weights,
    problem: Problem,
) -> dict[str, Any]:
    """What compares mappings, the first one and those saved, with the theory's."""
    results: dict[str, Any] = {}
    if "distance" in sweep.observe:
        t = stretch.rows.astype(sweep.dtype)
        flow = _flow(("w",), sweep, t, start, problem)[0]
        results["distance"] = np.abs(rows - flow)
    if "first_passage" in sweep.observe:
        curve = np.concatenate([np.broadcast_to(first, rows.shape[1:])[None], rows])
        level = _level(sweep, problem)
        found = first_passage(np.append(stretch.offset, stretch.rows), curve, level)
        results["first_passage"] = np.where(np.isnan(level), level, found)
    return results


def _product(w1: Any, w2: Any) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(w1) * np.asarray(w2)


@functools.partial(jax.jit, static_argnums=0)
def _along(
    directions: tuple[int, ...], begin: Weights, start: Weights
) -> tuple[jax.Array, Weights]:
    """The mappings that a stretch begins with, and the pairs that the run did."""
    chosen = np.asarray(directions) - 1
    (first, second), (w1, w2) = (
        (w.w1[..., :, chosen], w.w2[..., chosen, :]) for w in (begin, start)
    )
    return mapping(first, second), balanced_pair(w1, w2)


@functools.partial(jax.jit, static_argnums=1)
def _all_over(weights: Weights, lengths: tuple[int, ...]) -> Weights:
    """Matrices (..., H, D) and (..., D, H), of every member of a box."""
    return Weights(*(jnp.broadcast_to(w, (*lengths, *w.shape[-2:])) for w in weights))


def _flow(
    names: tuple[str, ...], sweep: Sweep, t: np.ndarray, start: Weights, problem: Problem
) -> list[np.ndarray]:
    """Parts of the flow's state at times (rows,), each (rows, ...)."""
    # One program for all boxes, in whole vectors and block by block, whatever is alike
    # within a box: others differ in the last bits.
    even = sweep.model == "matrices" or _even(sweep)
    arrays = np.broadcast_arrays(*start, *_fields(problem))
    shape = (len(t), *arrays[0].shape)
    unit = _unit(math.prod(shape), problem)
    points = [t[:, None], *(x.ravel() for x in arrays)]
    if _decaying(sweep):
        # Whole blocks: a shorter one would be compiled to other code.
        points = [members.padded_to(x.ravel(), unit) for x in np.broadcast_arrays(*points)]
    else:
        points[1:] = (members.padded_to(x, VECTORS, -(-unit // len(t))) for x in points[1:])
    epoch, w1, w2, *fields = _placed(points, problem)
    every = Problem(*fields)
    found = solution.solve(names, epoch, w1, w2, every, decaying=_decaying(sweep), even=even)
    # On the host: devices would exchange what they have to give it the grid's shape.
    host = [np.asarray(x) for x in found]
    if not _decaying(sweep):
        host = [x[:, : math.prod(shape[1:])] for x in host]
    return [x.ravel()[: math.prod(shape)].reshape(shape) for x in host]


def _unit(number: int, problem: Problem) -> int:
    """So many points that each device which has a part of them walks it in whole blocks."""
    if number < FEW:
        return _BLOCKS
    return _BLOCKS * math.lcm(jax.local_device_count(), len(problem.learning_rate.devices()))


def _fields(problem: Problem) -> list[np.ndarray]:
    names = ("eigenvalue", "noise", "decay", "learning_rate")
    return [np.asarray(getattr(problem, name)) for name in names]


def _placed(arrays: Sequence[np.ndarray], problem: Problem) -> list[jax.Array]:
    """Arrays of the host where a problem is, few of them on one of its devices."""
    if common_size(arrays) < FEW:
        return devices.on_one(arrays, problem)
    placed, rate = list(map(jnp.asarray, arrays)), problem.learning_rate
    # One that lies there takes the whole call there.
    if rate.committed:
        placed[-1] = jax.device_put(placed[-1], rate.sharding)
    return placed


def _decaying(sweep: Sweep) -> bool:
    """Whether any member has decay, for which the flow has a form of its own.

    This and `_even` are chosen once, by whole axes, which the store remembers. Values that
    are added keep the choice, or need the more general form.
    """
    return bool((sweep.axes["decay"] != 0).any())


def _even(sweep: Sweep) -> bool:
    """Whether both weights of every pair start alike in size."""
    if sweep.init != "given":
        return sweep.init == "aligned"
    w1, w2 = sweep.axes["init_w1"], sweep.axes["init_w2"]
    together = sweep.dims_of("init_w1") == sweep.dims_of("init_w2")
    return together and bool((np.abs(w1) == np.abs(w2)).all())


def _level(sweep: Sweep, problem: Problem) -> np.ndarray:
    """The fraction of w* to be reached, NaN where nothing is."""
    # In whole vectors, for XLA's division of a single number may round another way.
    fields = np.broadcast_arrays(*_fields(problem)[:3])
    padded = (members.padded_to(x.ravel(), VECTORS) for x in fields)
    goal = np.asarray(theory.fixed_point(Problem(*padded)))[: fields[0].size]
    goal = np.where(goal > 0, goal, goal.dtype.type(np.nan)).reshape(fields[0].shape)
    return goal.dtype.type(sweep.fraction) * goal


def _each_direction(problem: Problem, chosen: np.ndarray) -> Problem:
    each = problem.per_direction()
    eigenvalue = np.asarray(problem.eigenvalue)[..., chosen]
    return Problem(eigenvalue, each.noise, each.decay, each.learning_rate)


# --- what is kept -----------------------------------------------------------------


def _final(sweep: Sweep, got: Trajectory) -> dict[str, Any]:
    if not sweep.keep_weights or "weights" in sweep.observe:
        return {}
    return {"final_w1": _last(got.w1), "final_w2": _last(got.w2)}


def _last(rows: jax.Array) -> jax.Array:
    if len(rows) == 1:
        return rows
    # An index would be a gather, for which devices exchange what they have.
    return jax.lax.slice_in_dim(rows, len(rows) - 1, len(rows))


def _all_units(sweep: Sweep, name: str, x: jax.Array) -> np.ndarray:
    """Weight matrices with the units of the widest network, zero beyond their own."""
    axis = {"w1": -2, "final_w1": -2, "w2": -1, "final_w2": -1}.get(name)
    array = np.asarray(x)
    if axis is None:
        return array
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, sweep.widest - array.shape[axis])
    return np.pad(array, widths)
