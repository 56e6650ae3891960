"""Gradient descent of matrix autoencoders under freshly sampled Gaussian noise.

The N noisy samples of an epoch enter through X^T X~ and X~^T X~ alone, and so
do 2 D rows that are drawn in their place: docs/theory.md section 7. A draw is
a pure function of (seed value, what is drawn, step, row, column), as in
`lindae_jax.draws`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks, draws
from lindae_jax.batches import layout
from lindae_jax.problem import Problem
from lindae_jax.simulate import products, trajectory
from lindae_jax.simulate.products import product
from lindae_jax.simulate.trajectory import Trajectory

# Above all rows of normal numbers, that of the first candidates for chi-squared numbers.
# Part of every draw: never change it.
_CANDIDATES = 2**31
# Numbers in the rows of the networks that are trained together: what fits a core's
# cache, or, where no cache matters, half a gigabyte of float32.
_BLOCK, _LARGEST = 2**15, 2**27
_MOST = np.iinfo(np.int32).max


class Moments(NamedTuple):
    """Second moments of N samples with their noisy copies, in the eigenbasis."""

    m1: Any
    """(..., D, D): X^T X~ / N, clean directions by noisy ones."""
    m2: Any
    """(..., D, D): X~^T X~ / N."""


class _State(NamedTuple):
    """Encoder and transposed decoder, both (..., H, D), with the step that comes next."""

    a: jax.Array
    b: jax.Array
    step: jax.Array


class _Source(NamedTuple):
    """What the noise of one network is drawn from, the same at every step."""

    seed: jax.Array
    roots: jax.Array
    """(D,) singular values of X / sqrt(N)."""
    reached: jax.Array
    """(D,) bool: the min(N, D) directions in which samples lie."""
    degrees: jax.Array
    """(D,) degrees of freedom of the rows of T, which are absent below 1."""
    scale: jax.Array
    """Standard deviation of the noise over sqrt(N)."""


def simulate_sampled(
    seed: ArrayLike,
    w1: ArrayLike,
    w2: ArrayLike,
    problem: Problem,
    *,
    num_samples: ArrayLike,
    num_steps: int,
    first_step: ArrayLike = 0,
    save_every: int | None = None,
    save_steps: Sequence[int] | None = None,
    observe: Callable[[jax.Array, jax.Array, jax.Array, Problem], Any] | None = None,
) -> Trajectory:
    """Full-batch descent of linear autoencoders that see new noise at every step.

    Each step is one on all N samples, to each component of which an
    independent N(0, noise) number was added, exact in distribution at a cost
    independent of N: docs/theory.md section 7. On average a gradient is that
    of `simulate_matrices`, from which a run scatters by about N^(-1/2).

    Parameters
    ----------
    seed : int or integer array, (...)
        Between 0 and 2^32 - 1. Equal values give equal draws: networks that
        share one see the same noise, scaled by the square root of theirs.
    w1 : array_like, (..., H, D)
        Initial encoders, columns along the eigenvectors (`Spectrum.rotate`).
    w2 : array_like, (..., D, H)
        Initial decoders, rows along the eigenvectors. Neither need be finite.
    problem : Problem
        `eigenvalue` (..., D), in any order, of X^T X / N; where N < D only N
        of them may exceed D eps times the largest. The other fields (...).
    num_samples : int or integer array, (...)
        N, from 1 to 2^31 - 1; traced, as all of the above are, so that other
        values of the same shape do not compile again.
    num_steps : int
        Steps to take, in epochs, below 2^31; 0 returns the start. Another
        number does not compile again while the number of saves is the same.
    first_step : int
        Steps taken by earlier calls, traced: a run that is continued with it
        from its last weights sees the noise it would have seen uncut. The
        steps of the result count from this call.
    save_every : int, optional
        Save steps 0, k, 2k, ... and num_steps.
    save_steps : sequence of int, optional
        Save these steps, strictly increasing in [0, num_steps], and num_steps.
        With neither of the two, only num_steps is saved.
    observe : function, optional
        Pure function (step, w1, w2, problem) -> pytree of arrays, called at
        each save; what it returns replaces the weights, of which only the last
        row is kept. It is static: each new function object compiles anew.

    Returns
    -------
    Trajectory
        As of `simulate_matrices`. INVALID_INPUT also for seeds, numbers of
        samples, first steps or eigenvalues that are found wrong under tracing.

    Raises
    ------
    ValueError
        Seed not an integer in [0, 2^32); num_samples not an integer in
        [1, 2^31); first_step not one integer >= 0, or the last step beyond
        2^31; more than num_samples eigenvalues above rounding; whatever
        `simulate_matrices` raises for.

    Notes
    -----
    Bitwise, a run cut into segments equals one run, and the saves change
    nothing. A step takes min(8 H D^2 + 12 H^2 D, 8 H D^2 + 4 D^3) operations
    and makes 2 D^2 normal numbers, of which it needs at most 1.5 D^2. They are
    quantiles of 32-bit numbers, so that float32 and float64 runs see the same
    noise, which ends at 6.3 standard deviations. Large batches are spread over
    all devices of the process.
    """
    steps = trajectory.schedule(num_steps, save_every, save_steps)
    trajectory.check_observe(observe)
    seed = draws.seeds(seed)
    samples = _integers("num_samples", num_samples, 1)
    first = _first_step(first_step, num_steps)
    (w1, w2), problem, batch = checks.matrix_door(problem, w1=w1, w2=w2)
    shapes = {"w1, w2 and problem": batch, "seed": seed, "num_samples": samples}
    batch = checks.broadcast(shapes)
    _check_rank(problem.eigenvalue, samples)
    w1, w2 = (jnp.broadcast_to(w, batch + w.shape[-2:]) for w in (w1, w2))
    drawn = seed, samples, first
    cut = layout.lay_out([w1, *_per_network(problem, *drawn[:2])], _BLOCK, _BLOCK, inner=2)
    if any(map(checks.is_traced, jax.tree.leaves((w1, w2, problem, drawn)))):
        return _simulate(w1, w2, problem, drawn, steps, observe, cut)
    with checks.at_top_level():
        placed = cut.place((w1, w2))
        simulate = layout.compiled(_core, _STATIC, placed)
        return simulate(*placed, problem, drawn, steps, observe, cut)


def sampled_moments(
    seed: ArrayLike,
    step: ArrayLike,
    eigenvalue: ArrayLike,
    noise: ArrayLike,
    *,
    num_samples: ArrayLike,
) -> Moments:
    """The moments that a step of `simulate_sampled` sees, without N x D numbers.

    Parameters
    ----------
    seed : int or integer array, (...)
        Between 0 and 2^32 - 1.
    step : int or integer array, (...)
        From 0 to 2^31 - 1, counted from the beginning of the run.
    eigenvalue : array_like, (..., D)
        Of X^T X / N, in any order; where N < D only N of them may exceed D eps
        times the largest.
    noise : array_like, (...)
        Variance of the noise, per component.
    num_samples : int or integer array, (...)
        N, from 1 to 2^31 - 1.

    Returns
    -------
    Moments
        `m1`, `m2` (..., D, D), jointly distributed as those of N samples; NaN
        for members that are found invalid under tracing.

    Raises
    ------
    ValueError
        A value out of its range, more than num_samples eigenvalues above
        rounding, shapes that do not broadcast, unsupported dtype.
    """
    seed = draws.seeds(seed)
    step = _integers("step", step, 0)
    samples = _integers("num_samples", num_samples, 1)
    arrays, _ = checks.cast({"eigenvalue": eigenvalue, "noise": noise})
    values, variance = arrays.values()
    if not values.ndim:
        remedy = "Pass a list of one where D = 1."
        raise checks.mistake("eigenvalue must have shape (..., D)", values.shape, remedy)
    whole = {"seed": seed, "step": step, "noise": variance, "num_samples": samples}
    checks.broadcast({**whole, "eigenvalue": values.shape[:-1]})
    checks.check_values({n: (x, "non_negative") for n, x in arrays.items()})
    _check_rank(values, samples)
    return _moments(seed, step, values, variance, samples)


# --- doors --------------------------------------------------------------------


def _integers(name: str, x: Any, least: int) -> jax.Array:
    """Integers of at least `least` that fit int32, checked where they are concrete."""
    what, remedy = f"{name} must be integers", f"Pass integers from {least} to 2^31 - 1."
    if checks.is_traced(x):
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise checks.mistake(what, f"dtype {x.dtype}", remedy)
        return x
    host = checks.on_host(x)
    # Integers that no integer type holds are objects to NumPy.
    if host.dtype.kind not in "iu" and not all(type(n) is int for n in host.flat):
        raise checks.mistake(what, checks.brief(x), remedy)
    bad = (host < least) | (host > _MOST)
    if bad.any():
        raise checks.mistake(f"{name} must lie in [{least}, 2^31)", host[bad][0], remedy)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(host.astype(np.int32))


def _first_step(x: Any, num_steps: int) -> jax.Array:
    first = _integers("first_step", x, 0)
    if first.ndim:
        remedy = "All networks of a call are at the same step."
        raise checks.mistake("first_step must be one integer", f"shape {first.shape}", remedy)
    if not checks.is_traced(first) and int(first) + num_steps > _MOST:
        raise checks.mistake(
            "first_step + num_steps must be below 2^31",
            f"{int(first)} + {num_steps}",
            "Steps are counted in int32; begin again at 0 with another seed.",
        )
    return first


def _check_rank(eigenvalue: jax.Array, num_samples: jax.Array) -> None:
    """N samples span N directions."""
    if checks.is_traced(eigenvalue) or checks.is_traced(num_samples):
        return
    if num_samples.size == 0 or np.asarray(num_samples).min() >= eigenvalue.shape[-1]:
        return
    with jax.ensure_compile_time_eval():
        beyond = np.asarray(_beyond_rank(eigenvalue, num_samples))
    if beyond.any():
        member = tuple(np.argwhere(beyond)[0, :-1])
        samples = np.broadcast_to(num_samples, beyond.shape[:-1])[member]
        raise checks.mistake(
            "at most num_samples eigenvalues may differ from 0 by more than rounding",
            f"{samples + beyond[member].sum()} of them with num_samples = {samples}",
            "Pass those of X^T X / N, which has no more; Spectrum.from_data sets the others to 0.",
        )


def _good_integers(x: jax.Array, least: int) -> jax.Array:
    """Where traced integers are as `_integers` wants them."""
    value = x.astype(jnp.int32)
    return (x >= least) & (value >= least) & (value.astype(x.dtype) == x)


# --- cores --------------------------------------------------------------------


def _core(
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    drawn: tuple[jax.Array, jax.Array, jax.Array],
    steps: jax.Array,
    observe: Any,
    cut: layout.Layout,
) -> Trajectory:
    seed, num_samples, first_step = drawn
    good = checks.valid(problem.per_direction()).all(-1)
    good &= ~_beyond_rank(problem.eigenvalue, num_samples).any(-1)
    good = good & draws.good(seed) & _good_integers(num_samples, 1) & _good_integers(first_step, 0)
    good = jnp.broadcast_to(good, w1.shape[:-2])
    w1, w2 = (jnp.where(good[..., None, None], w, jnp.nan) for w in (w1, w2))
    (w1, w2), observed, _ = trajectory.follow(
        functools.partial(_advance, _per_network(problem, seed, num_samples), cut),
        lambda state: (state.a, products.transpose(state.b)),
        _State(w1, products.transpose(w2), first_step.astype(jnp.uint32)),
        steps,
        None if observe is None else lambda *row: observe(*row, problem),
    )
    finite = jnp.isfinite(w1[-1]).all((-2, -1)) & jnp.isfinite(w2[-1]).all((-2, -1))
    return Trajectory(steps, w1, w2, trajectory.status(good, finite), observed)


_STATIC = (5, 6)
_simulate = jax.jit(_core, static_argnums=_STATIC)


@jax.jit
def _moments(
    seed: jax.Array,
    step: jax.Array,
    eigenvalue: jax.Array,
    noise: jax.Array,
    num_samples: jax.Array,
) -> Moments:
    good = draws.good(seed) & _good_integers(step, 0) & _good_integers(num_samples, 1)
    good &= checks.allowed("non_negative", noise)
    good &= checks.allowed("non_negative", eigenvalue).all(-1)
    good &= ~_beyond_rank(eigenvalue, num_samples).any(-1)

    def one(good: jax.Array, step: jax.Array, *of_source: jax.Array) -> Moments:
        source = _source(*of_source)
        return Moments(*(jnp.where(good, m, jnp.nan) for m in _products(source, step)))

    draw = jnp.vectorize(one, signature="(),(),(d),(),(),()->(d,d),(d,d)")
    return Moments(*draw(good, step.astype(jnp.uint32), eigenvalue, noise, seed, num_samples))


def _per_network(
    problem: Problem, seed: jax.Array, num_samples: jax.Array
) -> tuple[jax.Array, ...]:
    """All that a network's steps depend on, with the two axes of a matrix."""
    return *products.per_matrix(problem), *(x[..., None, None] for x in (seed, num_samples))


def _advance(
    fields: tuple[jax.Array, ...], cut: layout.Layout, state: _State, num_steps: jax.Array
) -> _State:
    """Take a traced number of steps, on all devices."""
    hidden, directions = state.a.shape[-2:]
    # So many networks at a time that their rows fit.
    size = max(1, (cut.block or _LARGEST) // (2 * directions**2))

    def part(step: jax.Array, num_steps: jax.Array, *arrays: jax.Array) -> list[jax.Array]:
        compute = functools.partial(_take_steps, step, num_steps)
        return products.in_groups(compute, arrays, size * hidden * directions)

    inputs = state.step, num_steps, state.a, state.b, *fields
    a, b = cut.compute(part, inputs, 2)
    return _State(a, b, state.step + num_steps.astype(jnp.uint32))


def _take_steps(
    first: jax.Array, num_steps: jax.Array, *arrays: jax.Array
) -> tuple[jax.Array, jax.Array]:
    a, b, eigenvalue, *others = arrays
    numbers = (x[..., 0, 0] for x in others)
    one = functools.partial(_descend, first, num_steps)
    # Draws that networks have in common are then made once.
    several = jnp.vectorize(one, signature="(h,d),(h,d),(d),(),(),(),(),()->(h,d),(h,d)")
    return several(a, b, eigenvalue[..., 0, :], *numbers)


# --- one network ----------------------------------------------------------------


def _descend(
    first: jax.Array,
    num_steps: jax.Array,
    a: jax.Array,
    b: jax.Array,
    eigenvalue: jax.Array,
    noise: jax.Array,
    decay: jax.Array,
    rate: jax.Array,
    seed: jax.Array,
    num_samples: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    hidden, directions = a.shape
    # 12 H^2 D operations against 4 D^3, beside 8 H D^2 in either form.
    gradient = _wide_gradient if 3 * hidden**2 > directions**2 else _narrow_gradient
    source = _source(eigenvalue, noise, seed, num_samples)

    def step(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, b = state
        up_a, up_b = gradient(a, b, source, first + i.astype(jnp.uint32))
        return a + rate * (up_a - decay * a), b + rate * (up_b - decay * b)

    return jax.lax.fori_loop(0, num_steps, step, (a, b))


def _narrow_gradient(
    a: jax.Array, b: jax.Array, source: _Source, step: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minus the gradient, without decay, from the rows: 8 H D^2 + 12 H^2 D operations."""
    rows, directions = _rows(source, step), a.shape[-1]
    hidden = product("hd,nd->hn", a, rows)
    gram = product("hd,kd->hk", b, b)
    error = product("hk,kn->hn", -gram, hidden)
    error = error.at[:, :directions].add(b * source.roots)
    cross = product("hn,kn->hk", hidden, hidden)
    return (
        product("hn,nd->hd", error, rows),
        hidden[:, :directions] * source.roots - product("hk,kd->hd", cross, b),
    )


def _wide_gradient(
    a: jax.Array, b: jax.Array, source: _Source, step: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minus the gradient, without decay, from the moments: 8 H D^2 + 4 D^3 operations."""
    m1, m2 = _products(source, step)
    residual = m1 - product("hd,he->de", b, product("hd,de->he", a, m2))
    return product("hd,de->he", b, residual), product("he,de->hd", a, residual)


# --- draws ------------------------------------------------------------------------


def _by_size(eigenvalue: jax.Array) -> jax.Array:
    """The rank of each eigenvalue, 0 for the largest; of equal ones the first comes first."""
    # By counting: programs with a sort in them take long to compile.
    this, other = eigenvalue[..., :, None], eigenvalue[..., None, :]
    index = jnp.arange(eigenvalue.shape[-1], dtype=jnp.int32)
    before = (other > this) | ((other == this) & (index < index[:, None]))
    return before.sum(-1, dtype=jnp.int32)


@jax.jit
def _beyond_rank(eigenvalue: jax.Array, num_samples: jax.Array) -> jax.Array:
    """Which eigenvalues, beyond the N largest, are more than rounding: (..., D)."""
    rounding = eigenvalue.shape[-1] * float(jnp.finfo(eigenvalue.dtype).eps)
    level = rounding * eigenvalue.max(-1, keepdims=True)
    beyond = _by_size(eigenvalue) >= num_samples.astype(jnp.int32)[..., None]
    return beyond & (eigenvalue > level)


def _source(
    eigenvalue: jax.Array, noise: jax.Array, seed: jax.Array, num_samples: jax.Array
) -> _Source:
    directions, dtype = eigenvalue.shape[-1], eigenvalue.dtype
    num_samples = num_samples.astype(jnp.int32)
    index = jnp.arange(directions, dtype=jnp.int32)
    return _Source(
        seed=seed.astype(jnp.uint32),
        roots=jnp.sqrt(eigenvalue),
        reached=_by_size(eigenvalue) < num_samples,
        degrees=(num_samples - directions - index).astype(dtype),
        scale=jnp.sqrt(noise / num_samples.astype(dtype)),
    )


def _products(source: _Source, step: jax.Array) -> Moments:
    rows = _rows(source, step)
    m1 = source.roots[:, None] * rows[: len(source.roots)]
    return Moments(m1, product("nd,ne->de", rows, rows))


def _rows(source: _Source, step: jax.Array) -> jax.Array:
    """Rows (2 D, D) with the moments of the noisy samples; the clean ones are diag(roots), 0."""
    directions, dtype = len(source.roots), source.roots.dtype
    key = draws.fold(draws.root(source.seed), draws.SAMPLED, step)
    column = jnp.arange(directions, dtype=jnp.uint32)
    row, degrees = column[:, None], source.degrees[:, None]
    words = draws.words(draws.fold(key, row), 0, column)
    normal, other = (draws.normal_32(word, dtype) for word in words)
    # The root of a chi-squared number of one degree of freedom is a normal number but for
    # its sign, which no product sees.
    free = (row < column) | ((row == column) & (degrees == 1))
    rest = jnp.where(free, other, jnp.diag(jnp.sqrt(_chi_squared(key, source.degrees))))
    noise = jnp.where(source.reached[:, None], normal, 0)
    rest = jnp.where(degrees > 0, rest, 0)
    return jnp.concatenate([jnp.diag(source.roots) + source.scale * noise, source.scale * rest])


_Attempts = tuple[jax.Array, jax.Array, jax.Array]


def _chi_squared(key: draws.Key, degrees: jax.Array) -> jax.Array:
    """A chi-squared number for each of the degrees of freedom, 0 where these are below 2.

    By the rejections of Marsaglia and Tsang (2000), exact. Each entry has
    candidates of its own, so that none depends on the others.
    """
    d = jnp.maximum(degrees / 2, 1) - 1 / 3
    column = jnp.arange(len(degrees), dtype=jnp.uint32)

    def attempt(state: _Attempts) -> _Attempts:
        row, drawn, done = state
        first, second = draws.words(draws.fold(key, row), 0, column)
        t = draws.normal_32(first, degrees.dtype) / (3 * jnp.sqrt(d))
        # What cancels is left out, for d may be large.
        bound = d * (3 * (jnp.log1p(t) - t) + t**2 * (1.5 - t))
        uniform = (second.astype(degrees.dtype) + 0.5) * 2.0**-32
        accepted = (t > -1) & (jnp.log(uniform) < bound)
        drawn = jnp.where(done, drawn, 2 * d * (1 + t) ** 3)
        return row + 1, drawn, done | accepted

    start = jnp.uint32(_CANDIDATES), jnp.zeros_like(degrees), degrees < 2
    return jax.lax.while_loop(lambda state: ~state[2].all(), attempt, start)[1]
