"""Gradient descent of scalar weight pairs, one pair per eigen-direction."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.batches import devices, layout, registers
from lindae_jax.batches.blocks import common_shape, common_size
from lindae_jax.problem import Problem
from lindae_jax.simulate import pair_kernel, trajectory
from lindae_jax.simulate.trajectory import Trajectory

# Pairs in a block: what one core's cache holds, or all of the cores' together.
_BLOCK_ONE_CORE, _BLOCK_ALL_CORES = 2**14, 2**17

# To look at the values of so many pairs takes a millisecond, or as long as fifteen steps.
_MANY, _FEW_STEPS = 2**20, 1000


class _Form(NamedTuple):
    """What decides on a program beside shapes."""

    layout: layout.Layout
    decays: bool
    checked: bool = False
    """Whether the problem is known to be valid."""
    in_registers: bool = False
    """Of a GPU, throughout a call."""


def simulate_pairs(
    w1: ArrayLike,
    w2: ArrayLike,
    problem: Problem,
    *,
    num_steps: int,
    save_every: int | None = None,
    save_steps: Sequence[int] | None = None,
    observe: Callable[[jax.Array, jax.Array, jax.Array, Problem], Any] | None = None,
    compensated: bool = False,
    carry: Sequence[ArrayLike] | None = None,
) -> Trajectory:
    """Full-batch gradient descent of weight pairs.

    One step, both weights from their old values (the paper's section 3.2 with
    decay; docs/theory.md section 1):
    g = lambda - (lambda + epsilon) w1 w2;
    w1 += alpha (g w2 - gamma w1); w2 += alpha (g w1 - gamma w2).

    Parameters
    ----------
    w1, w2 : array_like, (...)
        Initial weights. They need not be finite: a diverged run can be continued.
    problem : Problem
        Its fields broadcast against the weights; all are traced, so other
        values of the same shape do not compile again.
    num_steps : int
        Steps to take, in epochs, below 2^31; 0 returns the start. Another
        number does not compile again while the number of saves is the same.
    save_every : int, optional
        Save steps 0, k, 2k, ... and num_steps.
    save_steps : sequence of int, optional
        Save these steps, strictly increasing in [0, num_steps], and num_steps.
        With neither of the two, only num_steps is saved.
    observe : function, optional
        Pure function (step, w1, w2, problem) -> pytree of arrays, called at
        each save; what it returns replaces the weights, of which only the last
        row is kept. It is static: each new function object compiles anew.
    compensated : bool
        Carry what each sum rounds off into the next step, one number more per
        weight. In float32 small weights then grow at the right rate down to
        learning_rate * eigenvalue = 1e-8; otherwise rounding swallows part of
        each step below 1e-5. About a fifth as fast. Flags by which XLA may
        reassociate sums (`xla_cpu_enable_fast_math`) undo it within the caller's
        own `jit` only.
    carry : pair of array_like, (...), optional
        With `compensated`, where a run goes on: the last `Trajectory.carry`.

    Returns
    -------
    Trajectory
        `step` (saves,), `w1`, `w2` (saves, ...), `status` (...), `observed`,
        with `compensated` also `carry`, a pair like w1 and w2.
        Status DIVERGED: a weight is not finite at the last save.
        INVALID_INPUT: a bad value was found under tracing, the weights are NaN.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, shapes that do not broadcast,
        num_steps negative, not an integer or not below 2^31, save_every below
        1, save_steps not increasing within [0, num_steps], both of them given,
        observe not a function, compensated not a bool, carry without it or not
        a pair.

    Notes
    -----
    Bitwise, a run cut into segments equals one run, a batch equals its members
    run one by one, and the saves change nothing. On an NVIDIA GPU a call rounds
    otherwise than the same call within the caller's `jit`.
    Large batches are spread over all devices of the process, unless their
    arrays have been put somewhere; on a CPU set the `jax_num_cpu_devices` of
    JAX to the number of cores first. docs/speed.md tells what was measured.
    On a CPU, arrays of NumPy of 1 MiB or more, files mapped into memory among
    them, are read where they lie, a portion at a time, and the call returns when
    all is done; not within the caller's `jit` or with `observe`, nor where any
    input has been put somewhere or lies on several devices: then they are copied.
    Of 2^20 pairs or more on CPUs, and at most 1,000 steps without saves, bad values are
    told after the run, which looks at them anyway, and the call returns when all is done.
    Differentiable in forward mode (`jax.jvp`, `jax.jacfwd`).
    """
    steps = trajectory.schedule(num_steps, save_every, save_steps)
    trajectory.check_observe(observe)
    given = {"w1": w1, "w2": w2, **_carried(compensated, carry)}
    # observe shall see the whole batch.
    arrays, problem, unseen = checks.half_door(problem, None, observe is None, **given)
    fields = _fields(problem)
    by_kernel = len(steps) == 1 and _kernel_looks((*arrays, *fields))
    # Its look is enough where what is wrong is told within seconds.
    later = by_kernel and steps[-1] <= _FEW_STEPS
    if not later:
        checks.check_values(unseen)
    if compensated and carry is None:
        with jax.ensure_compile_time_eval():
            arrays = (*arrays, *(jnp.zeros((), x.dtype) for x in arrays))
    if any(checks.is_traced(x) for x in (*arrays, *fields)):
        form = _Form(layout.WHOLE, checks.decays(problem))
        return _simulate(arrays, problem, steps, observe, form)
    cut = layout.lay_out([*arrays, *fields], _BLOCK_ONE_CORE, _BLOCK_ALL_CORES)
    decays = checks.decays(problem)

    def simulate(cut: layout.Layout, placed: Any) -> Trajectory:
        form = _Form(cut, decays, not by_kernel, _fits_registers(placed, cut))
        compiled = layout.compiled(_core, _STATIC, jax.tree.leaves(placed))
        return compiled(*placed, steps, observe, form)

    def by_member(cut: layout.Layout, placed: Any) -> dict[str, Any]:
        found = simulate(cut, placed)._asdict()
        return {name: found[name] for name in ("w1", "w2", "status", "carry")}

    with checks.at_top_level():
        if observe is None and cut.spread is not None:
            found = cut.call(by_member, (arrays, problem), rows=len(steps) * len(arrays) // 2)
            run = Trajectory(jnp.asarray(steps), observed=None, **found)
        else:
            # What observe returns need not be by member, and it shall see them all and no others.
            run = simulate(cut, cut.place((arrays, problem)))
    if later and trajectory.any_invalid(run.status):
        checks.check_values(unseen)
    return run


def _kernel_looks(arrays: Sequence[Any]) -> bool:
    """Whether the kernel is to tell invalid pairs: of large batches in the memory of processors."""
    if any(map(checks.is_traced, arrays)):
        return False
    return common_size(arrays) >= _MANY and checks.on_processors(arrays)


def _carried(compensated: Any, carry: Any) -> dict[str, Any]:
    """The arrays of a carry by name, none if there is none."""
    if not isinstance(compensated, bool):
        raise checks.mistake(
            "compensated must be True or False", repr(compensated)[:60], "It is static."
        )
    if carry is None:
        return {}
    if not compensated:
        raise checks.mistake(
            "carry goes with compensated=True", "compensated=False", "Pass both or neither."
        )
    if not isinstance(carry, list | tuple) or len(carry) != 2:
        raise checks.mistake(
            "carry must be a pair of arrays", repr(carry)[:60], "Pass the last row of each carry."
        )
    return {"carry of w1": carry[0], "carry of w2": carry[1]}


def _core(
    arrays: Sequence[jax.Array], problem: Problem, steps: jax.Array, observe: Any, form: _Form
) -> Trajectory:
    shape = common_shape(jax.tree.leaves((arrays, problem)))
    one = len(steps) == 1
    start = tuple(arrays) if one else tuple(jnp.broadcast_to(x, shape) for x in arrays)
    saved, observed, last = trajectory.follow(
        # The status of the last save only; alone it is computed with the weights.
        functools.partial(_advance, problem, form, one),
        lambda state: state[: len(start)],
        start,
        steps,
        None if observe is None else lambda *row: observe(*row, problem),
    )
    w1, w2, *carry = saved
    status = last[-1] if one else _status(form, (w1[-1], w2[-1]), _fields(problem))
    return Trajectory(steps, w1, w2, status, observed, tuple(carry) if carry else None)


def _fields(problem: Problem) -> tuple[jax.Array, ...]:
    return problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate


_STATIC = (3, 4)
_simulate = jax.jit(_core, static_argnums=_STATIC)


def _fits_registers(tree: Any, cut: layout.Layout) -> bool:
    """Whether arrays lie on devices that run our own kernel, which counts in int32."""
    arrays = jax.tree.leaves(tree)
    on = devices.of(arrays)
    # XLA does not know how to share a kernel out by itself.
    return (
        common_size(arrays) < 2**31
        and (len(on) == 1 or cut.spread is not None)
        and registers.available(on)
    )


def _advance(
    problem: Problem,
    form: _Form,
    with_status: bool,
    arrays: tuple[jax.Array, ...],
    num_steps: jax.Array,
) -> tuple[jax.Array, ...]:
    """Take a traced number of steps from w1, w2 and what is carried, on all devices.

    The status can come with them, computed while a block is in cache: later all numbers
    would be read again.
    """
    num_arrays = len(arrays)
    compute = functools.partial(_compute, form.decays, num_arrays)
    dtypes = [arrays[0].dtype] * num_arrays + [jnp.int8] * with_status

    def and_status(found: Sequence[jax.Array], inputs: Sequence[jax.Array]) -> list[jax.Array]:
        return [*found, _status(form, found, inputs[-4:])] if with_status else list(found)

    def part(*inputs: jax.Array) -> list[jax.Array]:
        if form.in_registers:
            in_registers = functools.partial(compute, pair_kernel.advance_in_registers)
            return and_status(registers.in_registers(in_registers, inputs, num_arrays), inputs)
        advance = functools.partial(pair_kernel.advance, cut=form.layout)

        def block(*inputs: jax.Array) -> list[jax.Array]:
            return and_status(compute(advance, *inputs), inputs)

        function = functools.partial(block, inputs[0])
        return form.layout.elementwise(function, inputs[1:], len(dtypes), dtypes)

    return tuple(form.layout.compute(part, (num_steps, *arrays, *_fields(problem)), len(dtypes)))


def _status(form: _Form, found: Sequence[jax.Array], fields: Sequence[jax.Array]) -> jax.Array:
    w1, w2, *_ = found
    # Of a large batch it takes as long as some steps to look at all numbers once more.
    good = jnp.bool_(True) if form.checked else checks.valid(Problem(*fields))
    return trajectory.status(jnp.broadcast_to(good, w1.shape), jnp.isfinite(w1) & jnp.isfinite(w2))


def _compute(
    decays: bool,
    num_arrays: int,
    advance: Callable[..., pair_kernel.State],
    num_steps: jax.Array,
    *inputs: jax.Array,
) -> tuple[jax.Array, ...]:
    """Weights and carries after some steps, NaN where the problem is not valid."""
    problem = Problem(*inputs[num_arrays:])
    good = checks.valid(problem)
    shape = common_shape(inputs)
    start = [jnp.where(good, jnp.broadcast_to(x, shape), jnp.nan) for x in inputs[:num_arrays]]
    carry = (start[2], start[3]) if start[2:] else None
    state = pair_kernel.State((start[0], start[1]), carry)
    state = advance(state, pair_kernel.coefficients(problem, decays), num_steps)
    return (*state.w, *(state.carry or ()))
