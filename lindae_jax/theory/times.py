"""First-passage times of the mapping."""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Problem
from lindae_jax.theory.decay import flow_with_decay, rest_time
from lindae_jax.theory.fixed import stable_mapping
from lindae_jax.theory.flow import State
from lindae_jax.theory.growth import log1p_ratio
from lindae_jax.theory.solution import pick


def time_to_mapping(target: ArrayLike, w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Epoch at which the mapping of the flow first equals a target.

    Without decay, and with decay for w1 = w2 or w1 = -w2, the inverse of the
    closed form as the logarithm of a ratio of positive terms. Otherwise, with
    decay, w(t) may turn once (it rises, then sinks while the weights slide
    along the manifold): the turning point, then the root, by bracketing.
    docs/theory.md section 4.

    Parameters
    ----------
    target : array_like, (...)
        The mapping to reach.
    w1, w2 : array_like, (...)
        Weights at t = 0, of any signs and sizes.
    problem : Problem
        Fields (...).

    Returns
    -------
    jax.Array, (...)
        The smallest t >= 0 in epochs with w(t) = target; 0 where the start is
        there already, inf where it is never reached (the value of `fixed_point`
        is not, unless the curve passes it on the way to a peak), NaN for NaN
        input, infinite weights, and invalid values under tracing. Derivatives
        of every order are right where decay is not zero or is not
        differentiated, first ones everywhere.

    Raises
    ------
    ValueError
        Target NaN; eigenvalue, noise or decay NaN, infinite or negative;
        learning rate not finite and positive; shapes that do not broadcast; a
        dtype other than float32, float64 or integers.
    """
    rules = {"target": "not_nan"}
    (target, w1, w2), problem = checks.door(problem, rules, target=target, w1=w1, w2=w2)
    return passage(target, w1, w2, problem)


def passage(
    target: jax.Array,
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    *,
    decaying: bool | None = None,
    even: bool | None = None,
) -> jax.Array:
    """`time_to_mapping` of checked arrays; `decaying` and `even` as in `solution.solve`."""
    forms = (_no_decay, _balanced_decay, _any_decay)
    return pick(forms, w1, w2, problem, decaying, even)(target, w1, w2, problem)


@jax.jit
def _no_decay(target, w1, w2, problem):
    target, w1, w2, problem = _broadcast(target, w1, w2, problem)
    return _finished(_without_decay(target, w1, w2, problem), target, w1, w2, problem)


@jax.jit
def _balanced_decay(target, w1, w2, problem):
    target, w1, w2, problem = _broadcast(target, w1, w2, problem)
    return _finished(_balanced(target, w1, w2, problem), target, w1, w2, problem)


@jax.jit
def _any_decay(target, w1, w2, problem):
    target, w1, w2, problem = _broadcast(target, w1, w2, problem)
    closed = _without_decay(target, w1, w2, problem)
    general = _bracketed(target, w1, w2, problem, closed)
    even = (jnp.abs(w1) == jnp.abs(w2)) & (problem.decay > 0)
    time = jnp.where(even, _balanced(target, w1, w2, problem), general)
    return _finished(time, target, w1, w2, problem)


def _broadcast(target, w1, w2, problem):
    target, w1, w2, *fields = jnp.broadcast_arrays(
        target, w1, w2, problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate
    )
    return target, w1, w2, Problem(*fields)


def _finished(time, target, w1, w2, problem):
    """From the flow's time t' to epochs, with the cases decided by comparison."""
    time = jnp.where(target == w1 * w2, 0, time)
    reached = jnp.isfinite(time)
    # The division is kept from infinity, whose derivative would be NaN.
    time = jnp.where(reached, jnp.where(reached, time, 0) / problem.learning_rate, jnp.inf)
    good = checks.valid(problem) & jnp.isfinite(w1) & jnp.isfinite(w2) & ~jnp.isnan(target)
    return jnp.where(good, time, jnp.nan)


def _guarded(reached, compute, values, harmless):
    """compute(values) where reached, inf elsewhere, with gradients that stay finite."""
    fed = [jnp.where(reached, x, h) for x, h in zip(values, harmless, strict=True)]
    return jnp.where(reached, compute(*fed), jnp.inf)


# --- closed forms ---------------------------------------------------------------


def _without_decay(target, w1, w2, problem):
    """t' without decay: reached if strictly between w0 and where the start leads."""
    lam, a = problem.eigenvalue, problem.eigenvalue + problem.noise
    ahead, pull = target - w1 * w2, lam - a * target
    moves = (a > 0) & ((w1 != 0) | (w2 != 0)) & jnp.isfinite(target)
    between = ((ahead > 0) & (pull > 0)) | ((ahead < 0) & (pull < 0))
    reached = moves & between & ((w1 + w2 != 0) | (target < 0))
    reached &= target != stable_mapping(lam, problem.noise, jnp.zeros_like(lam))
    # w1 = 1/2, w2 = 1 towards 3/4 with lambda = a = 1: an ordinary point.
    return _guarded(reached, _unbalanced_time, (target, w1, w2, lam, a), (0.75, 0.5, 1, 1, 1))


def _unbalanced_time(target, w1, w2, lam, a):
    s2, d2 = jnp.square(w1 + w2), jnp.square(w1 - w2)
    c = jnp.abs((w1 + w2) * (w1 - w2))
    k = a * c
    z = _hypot(2 * lam, k)
    r_plus = z + 2 * lam
    n, n0 = _hypot(2 * target, c), w1 * w1 + w2 * w2
    common = (target - w1 * w2) / (lam - a * target) * ((z + a * n) / (n + n0))

    # target >= 0: U = s(t)^2 is a sum; the start enters as 1 / s0^2 alone.
    positive = target >= 0
    u = n + 2 * jnp.where(positive, target, 0)
    quotient = u / jnp.where(r_plus > 0, r_plus, 1)
    y = 2 * common * (u + s2) / (r_plus + a * u + a * d2 * (1 + a * quotient))
    rising = _log_time(z, jnp.where(positive, y, 1), jnp.where(positive, w1 + w2, 1))

    # target < 0: U / s0^2 is the sum, and s0 = 0 is no special case, where v, which
    # may be beyond the range, counts nothing.
    q = jnp.where(positive, 1, n - 2 * target)
    v = jnp.minimum(d2 / q, jnp.finfo(d2.dtype).max)
    r_minus = k * (k / jnp.where(r_plus > 0, r_plus, 1))
    below = r_plus + a * s2 * v + a * d2 + r_minus * v
    x = jnp.where(positive, 1, 2 * common * (d2 + q) / jnp.where(positive, 1, below))
    return jnp.where(positive, rising, _log_time(z, x, jnp.sqrt(q)))


def _hypot(x, y):
    """hypot for x >= 0, with the derivatives (1, 0) at the origin."""
    zero = (x == 0) & (y == 0)
    return jnp.where(zero, x, jnp.hypot(jnp.where(zero, 1, x), y))


def _log_time(rate, y, s):
    """log(1 + rate y / s^2) / rate, with its limit at rate = 0 and for any s != 0."""
    grown = rate * y
    far = grown > 1000 * s * s
    near = y / jnp.where(far, 1, s * s)
    logs = jnp.log(jnp.where(far, grown + s * s, 1)) - 2 * jnp.log(jnp.abs(s))
    near_time = near * log1p_ratio(jnp.where(far, 0, rate * near))
    return jnp.where(far, logs / jnp.where(far, rate, 1), near_time)


def _balanced(target, w1, w2, problem):
    """t' with decay for w1 = w2 (the inverse of eq. (7)) and for w1 = -w2."""
    lam, a = problem.eigenvalue, problem.eigenvalue + problem.noise
    mu, both, w0 = lam - problem.decay, lam + problem.decay, w1 * w2
    alike = (w1 == w2) & (w1 != 0)
    pull = mu - a * target
    alike &= target != stable_mapping(lam, problem.noise, problem.decay)
    up = alike & (target > w0) & (pull > 0)
    down = alike & (target < w0) & (target > 0) & (pull < 0)
    opposite = (w1 == -w2) & (w1 != 0) & (target > w0) & (target < 0)

    def rising(target, s, mu, a):
        w0 = jnp.square(s) / 4
        return _log_time(2 * mu, 2 * (target - w0) / (mu - a * target), s)

    def sinking_from_above(target, w0, mu, a):
        x = (w0 - target) / (2 * w0 * (a * target - mu))
        return x * log1p_ratio(2 * mu * x)

    def fading(target, w0, rate, a):
        return _log_time(2 * rate, (w0 - target) / (rate + a * w0), jnp.sqrt(2 * target))

    time = _guarded(up, rising, (target, w1 + w2, mu, a), (0.5, 1, 1, 1))
    above = _guarded(down & (mu >= 0), sinking_from_above, (target, w0, mu, a), (1.5, 2, 1, 1))
    below = _guarded(down & (mu < 0), fading, (target, w0, -mu, a), (0.5, 1, 1, 1))
    # w1 = -w2 is the same curve upside down, at the rate lambda + gamma.
    away = _guarded(opposite, fading, (-target, -w0, both, a), (0.5, 1, 1, 1))
    return jnp.minimum(jnp.minimum(time, above), jnp.minimum(below, away))


# --- bracketing -------------------------------------------------------------------

# Bisection gives a root to 1e-10 (float32: 1e-6); one step then gives all digits, the
# others serve roots near the turning point.
_NUM_HALVINGS = {"float32": 28, "float64": 42}
_NUM_NEWTON = 3


def _bracketed(target, w1, w2, problem, closed):
    """t' from unbalanced weights; `closed` is the value where decay is zero.

    There only the derivative in decay is taken from here.
    """
    still = jax.lax.stop_gradient
    zero = problem.decay == 0
    held = still((target, w1, w2, problem))
    time, reached = _root(*held, still(closed))

    free = (target, w1, w2, problem)
    x, v1, v2, fields = jax.tree.map(lambda y, z: jnp.where(zero, y, z), held, free)
    root = _implicit(time, x, v1, v2, dataclasses.replace(fields, decay=problem.decay))
    sharp = jnp.where(zero & reached, closed, 0) + (root - still(root))
    return jnp.where(reached, jnp.where(zero, sharp, root), jnp.inf)


@jax.custom_jvp
def _implicit(time, target, w1, w2, problem):
    """A root, with the derivatives, of any order, of the implicit function."""
    return time


@_implicit.defjvp
def _implicit_jvp(primals, tangents):
    # The root is called for anew, so that a derivative of this rule moves it too.
    time, target, start = _implicit(*primals), primals[1], primals[2:]
    state, moved = jax.jvp(lambda *x: _flow(time, *x), start, tangents[2:])
    slope = _slope(state._replace(w=target), start[-1])
    change = (tangents[1] - moved.w) / jnp.where(slope == 0, 1, slope)
    return time, jnp.where(slope == 0, 0, change)


def _flow(time, w1, w2, problem):
    fields = problem.eigenvalue, problem.noise, problem.decay
    return flow_with_decay(time, w1, w2, *fields, jnp.ones_like(time))


def _slope(point: State, problem):
    """dw/dt' = (lambda - (lambda + epsilon) w)(w1^2 + w2^2) - 2 gamma w."""
    pull = problem.eigenvalue - (problem.eigenvalue + problem.noise) * point.w
    return pull * (point.w1 * point.w1 + point.w2 * point.w2) - 2 * problem.decay * point.w


class _Search(NamedTuple):
    """What is known of the first root."""

    low: jax.Array
    high: jax.Array
    """It lies between these, if anywhere."""
    origin: jax.Array
    """Mapping at `low`."""
    peak: State
    """Where the mapping turns, or at rest."""
    reached: jax.Array
    """Whether there is one."""


def _root(target, w1, w2, problem, closed):
    """The first root and whether there is one, where decay is zero that of `closed`.

    Bisection in log t' for the turning point, then for the root; Newton's steps. All of
    them look at the flow in one place, for to compile it takes longer than all the rest.
    """
    stages, early = _stages(target, w1, w2, problem, closed)
    looks, lessons = ([stage[i] for stage in stages] for i in (1, 2))
    ends = list(itertools.accumulate(stage[0] for stage in stages))

    def visit(i, search):
        stage = sum((i >= end).astype(jnp.int32) for end in ends[:-1])
        time = jax.lax.switch(stage, looks, search)
        return jax.lax.switch(stage, lessons, search, time, _flow(time, w1, w2, problem))

    start = State(w1, w2, w1 * w2)
    search = _Search(early, rest_time(problem), start.w, start, jnp.zeros(target.shape, bool))
    found = jax.lax.fori_loop(0, ends[-1], visit, search)
    return found.low, found.reached


def _stages(target, w1, w2, problem, closed):
    """Of the search, how often, at which time to look, and what is learned from the flow there.

    With the time to begin at.
    """
    w_start, late = w1 * w2, rest_time(problem)
    # Earlier than this the mapping moves less than the last bit of a weight.
    early = late * float(jnp.finfo(target.dtype).max) ** -0.75
    eps = 8 * jnp.finfo(target.dtype).eps
    side = jnp.sign(_slope(State(w1, w2, w_start), problem))

    def halved(search, time, later):
        low, high = jnp.where(later, time, search.low), jnp.where(later, search.high, time)
        return search._replace(low=low, high=high)

    def before_turn(search, time, point):
        # What rounding leaves of a slope, at the turn or at rest, has no sign.
        norm = point.w1 * point.w1 + point.w2 * point.w2
        total = problem.eigenvalue + problem.noise
        noise = eps * norm * (problem.eigenvalue + total * norm + problem.decay)
        return halved(search, time, _slope(point, problem) * side > noise)

    def at_turn(search, time, point):
        return search._replace(peak=point)

    def at_rest(search, time, point):
        first, second = _parts(target, w_start, search.peak, point.w, problem, eps)
        low, high = jnp.where(first, early, search.low), jnp.where(first, search.low, late)
        zero = problem.decay == 0
        reached = jnp.where(zero, jnp.isfinite(closed), first | second)
        known = jnp.where(zero & reached, closed, 1)
        low, high = (jnp.where(zero | ~reached, known, end) for end in (low, high))
        origin = jnp.where(first, w_start, search.peak.w)
        return _Search(low, high, origin, search.peak, reached)

    def before_root(search, time, point):
        return halved(search, time, _alike(point.w - target, search.origin - target))

    def refined(search, time, point):
        return search._replace(low=_newton(time, target, point, problem))

    def middle(search):
        return jnp.sqrt(search.low) * jnp.sqrt(search.high)

    def at_low(search):
        return search.low

    num = _NUM_HALVINGS[target.dtype.name]
    return (
        (num, middle, before_turn),
        (1, at_low, at_turn),
        (1, lambda search: late, at_rest),
        (num, middle, before_root),
        (_NUM_NEWTON, at_low, refined),
    ), early


def _parts(target, w_start, peak, w_late, problem, eps):
    """Whether a target is met before the mapping turns, and whether after it."""
    # The peak is known to a few eps of the norm; a target that far above it is there.
    margin = 2 * eps * (peak.w1**2 + peak.w2**2)
    near_turn = jnp.abs(target - peak.w) <= margin
    at_peak = near_turn & (jnp.minimum(peak.w, target) - w_late > margin)

    def strictly_between(start, end):
        return ((start < target) & (target < end)) | ((end < target) & (target < start))

    first = strictly_between(w_start, peak.w) | at_peak
    second = strictly_between(peak.w, w_late)
    # The fixed point may be passed on the way to a peak; it is not reached at rest.
    rests = target == stable_mapping(problem.eigenvalue, problem.noise, problem.decay)
    return first & ~(rests & near_turn), second & ~rests


def _newton(time, target, point, problem):
    slope = _slope(point, problem)
    step = (target - point.w) / jnp.where(slope == 0, 1, slope)
    # No step may leave the neighbourhood in which bisection has ended.
    good = (jnp.abs(step) < 1e-3 * time) & (slope != 0)
    return time + jnp.where(good, step, 0)


def _alike(x, y):
    """Whether both have the same sign; a product might underflow."""
    return jnp.sign(x) * jnp.sign(y) > 0
