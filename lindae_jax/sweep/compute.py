"""Running the members of one box."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import theory
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


# Members of a call of the theory are a multiple of this: whole vectors of any width.
_VECTORS = 64

# So many points are always computed in blocks, and in whole ones.
_BLOCKS = 2**13

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
    begin = Weights(*map(jnp.asarray, reached)) if reached else start
    steps = tuple(int(row) - stretch.offset for row in stretch.rows)
    got = simulate_pairs(
        jnp.broadcast_to(begin.w1, lengths),
        begin.w2,
        problem,
        num_steps=steps[-1],
        save_steps=steps,
    )
    results: dict[str, Any] = observe_pairs.of_pairs(sweep.observe, got.w1, got.w2, problem)
    curve = begin.w1 * begin.w2, got.w1 * got.w2
    return results | _compared(sweep, stretch, *curve, start, problem) | _final(sweep, got)


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
    w1, w2 = (jnp.broadcast_to(w, (*lengths, *w.shape[-2:])) for w in begin)
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
    if {"distance", "first_passage"} & set(sweep.observe):
        chosen = np.asarray(sweep.directions) - 1
        first = mapping(begin.w1[..., :, chosen], begin.w2[..., chosen, :])
        pair = balanced_pair(start.w1[..., :, chosen], start.w2[..., chosen, :])
        each = _each_direction(problem, chosen)
        results |= _compared(sweep, stretch, first, rows, pair, each)
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
    t = jnp.asarray(stretch.rows.astype(sweep.dtype))
    shape = (len(stretch.rows), *lengths)
    flow = _flow(("w1", "w2", "w"), sweep, t, start, problem)
    w1, w2, w = (np.broadcast_to(x, shape) for x in flow)
    results: dict[str, Any] = observe_pairs.of_pairs(
        sweep.observe, jnp.asarray(w1), jnp.asarray(w2), problem
    )
    if "mapping" in sweep.observe:
        results["mapping"] = w  # sharper than the product of rounded weights
    if "first_passage" in sweep.observe:
        first, second, *fields = jnp.broadcast_arrays(*start, *_fields(problem))
        pair, every = Weights(first, second), Problem(*fields)
        goal = _goal(every)
        arrays = (sweep.fraction * goal, *pair)
        passage = times.passage(*arrays, every, decaying=_decaying(sweep), even=_even(sweep))
        passage = jnp.where(pair.w1 * pair.w2 >= arrays[0], 0, passage)
        passage = jnp.where(jnp.isnan(goal), jnp.nan, passage)
        results["first_passage"] = jnp.broadcast_to(passage, lengths)
    return results


# --- theory beside the run --------------------------------------------------------


def _compared(
    sweep: Sweep, stretch: Stretch, first: Any, rows: Any, start: Weights, problem: Problem
) -> dict[str, Any]:
    """What compares mappings, the first one and those saved, with the theory's."""
    results: dict[str, Any] = {}
    if "distance" in sweep.observe:
        t = jnp.asarray(stretch.rows.astype(sweep.dtype))
        flow = _flow(("w",), sweep, t, start, problem)[0]
        results["distance"] = np.abs(np.asarray(rows) - flow)
    if "first_passage" in sweep.observe:
        curve = jnp.concatenate([jnp.broadcast_to(first, rows.shape[1:])[None], rows])
        steps = jnp.asarray(np.append(stretch.offset, stretch.rows), jnp.int32)
        level = sweep.fraction * _goal(problem)
        found = first_passage(steps, curve, level)
        results["first_passage"] = jnp.where(jnp.isnan(level), jnp.nan, found)
    return results


def _flow(
    names: tuple[str, ...], sweep: Sweep, t: jax.Array, start: Weights, problem: Problem
) -> list[np.ndarray]:
    """Parts of the flow's state at times (rows,), each (rows, ...)."""
    # One program for all boxes, in whole vectors and block by block, whatever is alike
    # within a box: others differ in the last bits.
    even = sweep.model == "matrices" or _even(sweep)
    arrays = jnp.broadcast_arrays(*start, *_fields(problem))
    shape = (len(t), *arrays[0].shape)
    unit = _unit(math.prod(shape), problem)
    if math.prod(shape) < FEW:
        arrays = devices.on_one(arrays, problem)
    t = t[:, None]
    if _decaying(sweep):
        points = jnp.broadcast_arrays(t, *(x.ravel() for x in arrays))
        # Whole blocks: a shorter one would be compiled to other code.
        t, *arrays = (_padded_to(x.ravel(), unit) for x in points)
    else:
        arrays = [_padded_to(x.ravel(), _VECTORS, -(-unit // len(t))) for x in arrays]
    w1, w2, *fields = arrays
    found = solution.solve(names, t, w1, w2, Problem(*fields), decaying=_decaying(sweep), even=even)
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


def _fields(problem: Problem) -> tuple[jax.Array, ...]:
    return problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate


def _padded_to(x: jax.Array, unit: int, least: int = 0) -> jax.Array:
    """A multiple of a unit long, and at least so long."""
    size = max(least, x.size)
    return jnp.pad(x, (0, size - x.size + -size % unit), mode="edge")


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


def _goal(problem: Problem) -> jax.Array:
    """w*, NaN where nothing is to be reached."""
    # In whole vectors, for XLA's division of a single number may round another way.
    fields = np.broadcast_arrays(problem.eigenvalue, problem.noise, problem.decay)
    eigenvalue, noise, decay = (_padded_to(jnp.asarray(x.ravel()), _VECTORS) for x in fields)
    goal = np.asarray(theory.fixed_point(Problem(eigenvalue, noise, decay)))
    goal = goal[: fields[0].size].reshape(fields[0].shape)
    return jnp.asarray(np.where(goal > 0, goal, np.nan).astype(goal.dtype))


def _each_direction(problem: Problem, chosen: np.ndarray) -> Problem:
    each = problem.per_direction()
    return Problem(each.eigenvalue[chosen], each.noise, each.decay, each.learning_rate)


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
