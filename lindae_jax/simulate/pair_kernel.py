"""The step of weight pairs, looped as each platform runs it fastest."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax.batches import layout, registers
from lindae_jax.problem import Problem

# Steps per pass over the weights. On a CPU more of them keep fewer pairs in
# flight, on a GPU fewer of them launch more kernels: docs/speed.md.
_UNROLL_CPU = 8
_UNROLL_ACCELERATOR = 64
_UNROLL_REGISTERS = 8

MultiplyAdd = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def _multiply_add(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """a b + c, for the compiler to round once where the machine can."""
    return c + a * b


class State(NamedTuple):
    """Weight pairs, with what compensated summation carries along, or None."""

    w: tuple[jax.Array, jax.Array]
    carry: tuple[jax.Array, jax.Array] | None


class Coefficients(NamedTuple):
    """What one step needs of a problem; `shrinkage` is None where nothing decays."""

    pull: jax.Array
    """alpha lambda."""
    total: jax.Array
    """alpha (lambda + epsilon)."""
    shrinkage: jax.Array | None
    """alpha gamma."""


def coefficients(problem: Problem, decays: bool) -> Coefficients:
    """Those of a problem; `decays` is false only where decay is known to be zero."""
    rate = problem.learning_rate
    total = rate * (problem.eigenvalue + problem.noise)
    return Coefficients(rate * problem.eigenvalue, total, rate * problem.decay if decays else None)


def step(state: State, problem: Coefficients, multiply_add: MultiplyAdd = _multiply_add) -> State:
    """One step of gradient descent.

    Every sum has at most one product among its terms. So the compiler has no
    choice of which product to fuse into a multiply-add, and each step rounds
    alike wherever it stands: unrolled, in the remainder, vectorised or not.
    Where decay is zero, leaving its terms out changes no bit.
    """
    (w1, w2), carry = state
    gain = multiply_add(-problem.total, w1 * w2, problem.pull)
    if carry is None:
        kept = w1, w2
        if problem.shrinkage is not None:
            less = -problem.shrinkage
            kept = multiply_add(less, w1, w1), multiply_add(less, w2, w2)
        return State((multiply_add(gain, w2, kept[0]), multiply_add(gain, w1, kept[1])), None)
    # Kahan's summation: what the sum of a weight and its change rounds off is
    # carried into the next change. `layout.compiled` keeps XLA from reassociating it.
    lost = carry
    if problem.shrinkage is not None:
        less = -problem.shrinkage
        lost = multiply_add(less, w1, carry[0]), multiply_add(less, w2, carry[1])
    change = multiply_add(gain, w2, lost[0]), multiply_add(gain, w1, lost[1])
    moved = w1 + change[0], w2 + change[1]
    return State(moved, (change[0] - (moved[0] - w1), change[1] - (moved[1] - w2)))


def advance(
    state: State, problem: Coefficients, num_steps: jax.Array, *, cut: layout.Layout
) -> State:
    """Take a traced number of steps.

    Parameters
    ----------
    state : State
        Arrays of one shape.
    problem : Coefficients
        Arrays that broadcast to it.
    num_steps : jax.Array
        int32 (), >= 0.
    cut : Layout
        Tells the platform, if it is known.
    """
    packed = functools.partial(_loop, packed=True)
    return cut.by_platform(
        *(state, problem, num_steps),
        cpu=functools.partial(packed, unroll=_UNROLL_CPU),
        gpu=functools.partial(packed, unroll=_UNROLL_ACCELERATOR),
        default=functools.partial(_loop, unroll=_UNROLL_ACCELERATOR, packed=False),
    )


def advance_in_registers(
    state: State,
    problem: Coefficients,
    num_steps: jax.Array,
    multiply_add: MultiplyAdd = registers.multiply_add,
) -> State:
    """The same within `registers.in_registers`."""

    def whole(_: Any, state: State) -> State:
        for _ in range(_UNROLL_REGISTERS):
            state = step(state, problem, multiply_add)
        return state

    state = jax.lax.fori_loop(0, num_steps // _UNROLL_REGISTERS, whole, state)
    return jax.lax.fori_loop(
        *(0, num_steps % _UNROLL_REGISTERS),
        lambda _, state: step(state, problem, multiply_add),
        state,
    )


def _loop(
    state: State, problem: Coefficients, num_steps: jax.Array, *, unroll: int, packed: bool
) -> State:
    """Passes of `unroll` steps, then one in which only the steps still due count."""
    pack, unpack = (_pack, _unpack) if packed else (_as_it_is, _as_it_is)
    due = num_steps % unroll

    def whole(_: Any, packed_state: State) -> State:
        state = unpack(packed_state)
        for _ in range(unroll):
            state = step(state, problem)
        return pack(state)

    def partly(_: Any, packed_state: State) -> State:
        state = unpack(packed_state)
        for i in range(unroll):
            after = step(state, problem)
            state = jax.tree.map(functools.partial(jnp.where, i < due), after, state)
        return pack(state)

    looped = jax.lax.fori_loop(0, num_steps // unroll, whole, pack(state))
    return unpack(jax.lax.fori_loop(0, jnp.minimum(due, 1), partly, looped))


# XLA makes one fusion of each output of a loop's body, and each computes all
# steps again. Two weights that leave as one complex number are one output.


def _pack(state: State) -> Any:
    return jax.tree.map(lambda pair: jax.lax.complex(*pair), state, is_leaf=_is_pair)


def _unpack(packed: Any) -> State:
    return jax.tree.map(lambda z: (jnp.real(z), jnp.imag(z)), packed)


def _is_pair(x: Any) -> bool:
    return type(x) is tuple


def _as_it_is(state: State) -> State:
    return state
