"""Gradient descent of whole matrix autoencoders in the eigenbasis."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.batches import layout
from lindae_jax.problem import Problem
from lindae_jax.simulate import lanes, products, trajectory
from lindae_jax.simulate.products import product
from lindae_jax.simulate.trajectory import Trajectory

# Elements of encoders in a block: with all that a step needs, they fit a core's cache.
_BLOCK = 2**15

# Steps a trip of the loop. With two the second writes where the first has read, which
# spares copies; on an accelerator each trip also waits for the host: docs/speed.md.
_TRIP_CPU, _TRIP_ACCELERATOR = 2, 8


class _State(NamedTuple):
    """Encoder and transposed decoder, both (..., H, D)."""

    a: jax.Array
    b: jax.Array


def simulate_matrices(
    w1: ArrayLike,
    w2: ArrayLike,
    problem: Problem,
    *,
    num_steps: int,
    save_every: int | None = None,
    save_steps: Sequence[int] | None = None,
    observe: Callable[[jax.Array, jax.Array, jax.Array, Problem], Any] | None = None,
) -> Trajectory:
    """Full-batch gradient descent of linear autoencoders, independent of N.

    In the eigenbasis the loss sees the data through the eigenvalues alone, so
    a step costs min(8 H^2 D, 6 H D^2) operations whatever the number of
    samples, and nothing is approximated: docs/theory.md section 6.

    Parameters
    ----------
    w1 : array_like, (..., H, D)
        Initial encoders, columns along the eigenvectors (`Spectrum.rotate`).
    w2 : array_like, (..., D, H)
        Initial decoders, rows along the eigenvectors. Neither need be finite:
        a diverged run can be continued.
    problem : Problem
        `eigenvalue` (..., D), the other fields (...), one per network; all are
        traced, so other values of the same shape do not compile again.
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
        row is kept: whole matrices of every save can be large. It is static:
        each new function object compiles anew.

    Returns
    -------
    Trajectory
        `step` (saves,), `w1` (saves, ..., H, D), `w2` (saves, ..., D, H),
        `status` (...), `observed`. Status DIVERGED: a weight is not finite at
        the last save. INVALID_INPUT: a bad value was found under tracing, the
        weights are NaN.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, matrices that do not fit each other
        or the eigenvalues, batch shapes that do not broadcast, num_steps
        negative, not an integer or not below 2^31, save_every below 1,
        save_steps not increasing within [0, num_steps], both of them given,
        observe not a function.

    Notes
    -----
    Bitwise, a run cut into segments equals one run, and the saves change
    nothing. Widths that differ within a batch: pad with zero units, which stay
    exactly zero. Large batches are spread over all devices of the process, as
    those of `simulate_pairs` are; over those of a CPU where equal parts need
    little padding, for a product uses all cores anyway. Where they do not, and
    networks of D >= 4 H / 3 have 50,000 weights or more in an encoder, its CPU
    devices take D / devices directions each, if that is a whole number of at
    least 256: what comes out then lies on all of them, and its last bits depend
    on how many they are. On a CPU eight small networks or more are computed as lanes of
    its vectors, so that the last bits of one may differ from those of it alone: docs/speed.md.
    Differentiable in forward mode (`jax.jvp`, `jax.jacfwd`).
    """
    steps = trajectory.schedule(num_steps, save_every, save_steps)
    trajectory.check_observe(observe)
    (w1, w2), problem, _ = checks.matrix_door(problem, w1=w1, w2=w2)
    each = [w1, *products.per_matrix(problem)]
    cut = layout.lay_out(each, _BLOCK, _BLOCK, inner=2, sums=not _is_wide(w1), also=[w2])
    if any(map(checks.is_traced, jax.tree.leaves((w1, w2, problem)))):
        return _simulate(w1, w2, problem, steps, observe, cut)
    with checks.at_top_level():
        placed = cut.place(w1), cut.transposed().place(w2)
        simulate = layout.compiled(_core, _STATIC, placed)
        return simulate(*placed, problem, steps, observe, cut)


def _core(
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    steps: jax.Array,
    observe: Any,
    cut: layout.Layout,
) -> Trajectory:
    batch = w1.shape[:-2]
    good = jnp.broadcast_to(checks.valid(problem.per_direction()).all(-1), batch)
    w1, w2 = (jnp.where(good[..., None, None], w, jnp.nan) for w in (w1, w2))
    (w1, w2), observed, _ = trajectory.follow(
        functools.partial(_advance, problem, cut),
        lambda state: (state.a, products.transpose(state.b)),
        _State(w1, products.transpose(w2)),
        steps,
        None if observe is None else lambda *row: observe(*row, problem),
    )
    finite = jnp.isfinite(w1[-1]).all((-2, -1)) & jnp.isfinite(w2[-1]).all((-2, -1))
    return Trajectory(steps, w1, w2, trajectory.status(good, finite), observed)


_STATIC = (4, 5)
_simulate = jax.jit(_core, static_argnums=_STATIC)


class _Form(NamedTuple):
    """How matrices lie in arrays, and what is done with them."""

    product: Callable[..., jax.Array]
    identity: Callable[[jax.Array], jax.Array]
    once: Callable[[Callable[[], Any]], Any]
    """Computes what is used several times."""


_MATRICES = _Form(product, products.identity, lambda compute: compute())
_LANES = _Form(lanes.product, lanes.identity, lanes.once)


def _advance(problem: Problem, cut: layout.Layout, state: _State, num_steps: jax.Array) -> _State:
    """Take a traced number of steps, on all devices."""
    gradient = _wide_gradient if _is_wide(state.a) else functools.partial(_narrow_gradient, cut)

    def part(num_steps: jax.Array, *arrays: jax.Array) -> list[jax.Array]:
        accelerated = functools.partial(_take_steps, gradient, _MATRICES, _TRIP_ACCELERATOR)
        return cut.by_platform(
            *(num_steps, *arrays),
            cpu=functools.partial(_on_processor, gradient, cut.block),
            gpu=accelerated,
            default=accelerated,
        )

    inputs = (num_steps, *state, *products.per_matrix(problem))
    return _State(*cut.compute(part, inputs, len(state)))


def _is_wide(a: jax.Array) -> bool:
    """Whether D x D matrices make a step cheaper: 6 H D^2 operations against 8 H^2 D."""
    num_hidden, num_directions = a.shape[-2:]
    return 4 * num_hidden > 3 * num_directions


def _on_processor(
    gradient: Callable[..., _State], block: int | None, num_steps: jax.Array, *arrays: jax.Array
) -> list[jax.Array]:
    """Steps of as many networks at a time as stay near the core; of small ones in lanes."""
    take = functools.partial(_take_steps, gradient)
    num_lanes = lanes.number(arrays[0])
    if num_lanes is None:
        compute = functools.partial(take, _MATRICES, _TRIP_CPU, num_steps)
        return products.in_groups(compute, arrays, block)
    compute = functools.partial(take, _LANES, _TRIP_CPU, num_steps)
    if block is None:
        return lanes.in_lanes(compute, arrays, num_lanes)
    return lanes.in_lanes(
        lambda *blocks: jax.lax.map(lambda one: compute(*one), blocks), arrays, num_lanes
    )


def _take_steps(
    gradient: Callable[..., _State],
    form: _Form,
    trip: int,
    num_steps: jax.Array,
    a: jax.Array,
    b: jax.Array,
    eigenvalue: jax.Array,
    noise: jax.Array,
    decay: jax.Array,
    rate: jax.Array,
) -> list[jax.Array]:
    total = eigenvalue + noise

    def step(_: Any, state: _State) -> _State:
        ascent = gradient(form, state, eigenvalue, total, decay)
        return _State(state.a + rate * ascent.a, state.b + rate * ascent.b)

    def whole(i: Any, state: _State) -> _State:
        for _ in range(trip):
            state = step(i, state)
        return state

    state = jax.lax.fori_loop(0, num_steps // trip, whole, _State(a, b))
    return list(jax.lax.fori_loop(0, num_steps % trip, step, state))


def _narrow_gradient(
    cut: layout.Layout,
    form: _Form,
    state: _State,
    eigenvalue: jax.Array,
    total: jax.Array,
    decay: jax.Array,
) -> _State:
    """Minus the gradient through H x H matrices, sums over all directions."""
    a, b = state

    def sums() -> list[jax.Array]:
        return [
            form.product("...hd,...kd->...hk", b, b),
            form.product("...hd,...kd->...hk", a * total, a),
        ]

    gram, cross = cut.summed(form.once(sums))
    return _State(
        (b * eigenvalue - form.product("...hk,...kd->...hd", gram, a) * total) - decay * a,
        (a * eigenvalue - form.product("...hk,...kd->...hd", cross, b)) - decay * b,
    )


def _wide_gradient(
    form: _Form, state: _State, eigenvalue: jax.Array, total: jax.Array, decay: jax.Array
) -> _State:
    """Minus the gradient through D x D matrices."""
    a, b = state

    def difference() -> jax.Array:
        reached = form.product("...hd,...he->...de", b, a) * total
        return form.identity(a) * eigenvalue - reached

    residual = form.once(difference)
    return _State(
        form.product("...hd,...de->...he", b, residual) - decay * a,
        form.product("...he,...de->...hd", a, residual) - decay * b,
    )
