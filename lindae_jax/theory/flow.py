"""The exact flow without decay, from any weights.

The positive-terms form of eq. (5), docs/theory.md section 2, in two steps: what
does not depend on the time is computed once for each start. Inputs are of one
dtype; nothing is checked.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.theory import twofloat
from lindae_jax.theory.growth import decay_and_rest
from lindae_jax.theory.twofloat import at_least, at_most


class State(NamedTuple):
    """Weights of the flow with their product, each as accurate as it can be."""

    w1: jax.Array
    w2: jax.Array
    w: jax.Array


class Start(NamedTuple):
    """Initial weights in the order and sign in which the solution is positive.

    `big` >= |`small`|; `p` and `m` are their sum and difference.
    """

    big: jax.Array
    small: jax.Array
    p: jax.Array
    m: jax.Array


class Sum(NamedTuple):
    """constant + faded E + gone (1 - E), with E = exp(-z t')."""

    constant: jax.Array
    faded: jax.Array
    gone: jax.Array


class Sums(NamedTuple):
    """The smaller and the larger weight, to be divided by the root of the product of P and Q."""

    small: Sum
    big: Sum
    grown_p: Sum
    grown_q: Sum
    of_p: jax.Array
    """Factor of the root of E in P."""
    of_weights: jax.Array
    """Factor of E in the weights."""


class End(NamedTuple):
    """Where the flow ends: the smaller and the larger weight, and the mapping as a fraction."""

    small: jax.Array
    big: jax.Array
    over: jax.Array
    under: jax.Array


class Path(NamedTuple):
    """All that the flow needs of its start and problem, whatever the time."""

    rate: twofloat.TwoFloat
    """z per epoch, in units of `unit`, to half a width more than the working precision."""
    idle: jax.Array
    """The learning rate where z is zero and time itself stands for 1 - E, elsewhere 0."""
    unit: jax.Array
    sums: Sums
    still: jax.Array
    """Whether nothing moves."""
    good: jax.Array
    """Whether what was given is allowed; or else all is NaN. Of `prepare`: a finite start."""
    begin: tuple[jax.Array, jax.Array, jax.Array]
    """Smaller and larger weight and mapping at t = 0."""
    end: End
    swapped: jax.Array
    sign: jax.Array


def follow(path: Path, t: jax.Array) -> State:
    """The state at epoch t, NaN where that is or the path is not good."""
    t = jnp.where(path.good, t, jnp.nan)
    half, gone = _growth(path, t)
    # What has decayed to nothing is over, to the last digit.
    forever = (t == jnp.inf) | (half == 0)
    unmoved = (t == 0) | (path.still & ~forever)
    small, big, grown_p, grown_q = _totals(path.sums, half, gone)
    # Nothing is left of weights that shrink from w1 = -w2 to below the smallest number.
    grown_p = at_least(grown_p, float(jnp.finfo(t.dtype).tiny))
    norm = jnp.sqrt(grown_p) * jnp.sqrt(grown_q)
    end, limited = path.end, functools.partial(jnp.where, forever)
    # What is divided is chosen first, for a division costs most.
    w = _ratio(limited(end.over, small), limited(end.under, grown_p))
    w *= _ratio(limited(1, big), limited(1, grown_q))
    moved = limited(end.small, _ratio(small, norm)), limited(end.big, _ratio(big, norm)), w
    small, big, w = (
        jnp.where(unmoved, _valued(x, y), y) for x, y in zip(path.begin, moved, strict=True)
    )
    small, big = path.sign * small, path.sign * big
    return State(jnp.where(path.swapped, small, big), jnp.where(path.swapped, big, small), w)


@jax.custom_jvp
def _ratio(x, y):
    return x / y


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    """Without the square of y, which may leave the range."""
    ratio = _ratio(*primals)
    return ratio, (tangents[0] - ratio * tangents[1]) / primals[1]


def _valued(value, like):
    """The value with the derivative of the other."""
    return jax.lax.stop_gradient(value) + (like - jax.lax.stop_gradient(like))


# --- at every time ----------------------------------------------------------------


def _growth(path: Path, t):
    """exp(-z t'/2), and 1 - exp(-z t') or, where z is zero, the time."""
    # Huge times stay finite, for zero times infinity would be NaN.
    most = float(jnp.finfo(t.dtype).max)
    time = at_most(t * path.unit, most)
    half, gone = decay_and_rest(*_elapsed(path.rate, time))
    return half, at_most(gone + time * path.idle, most)


@jax.custom_jvp
def _elapsed(rate: twofloat.TwoFloat, time):
    """rate * time as a sum of two floats: exp would magnify its rounding."""
    high, low = twofloat.scaled(rate, time)
    capped = _exhausted(high)
    return jnp.where(capped, _cap(time.dtype), high), jnp.where(capped, 0, low)


def _exhausted(elapsed):
    return elapsed >= _cap(elapsed.dtype)


def _cap(dtype) -> float:
    """Past this every exponential has long underflowed."""
    return -4 * float(np.log(jnp.finfo(dtype).tiny))


@_elapsed.defjvp
def _elapsed_jvp(primals, tangents):
    (rate, time), (rate_dot, time_dot) = primals, tangents
    # The first float alone of a product has but half of the digits.
    plain = rate_dot[0] * time + (rate[0] + rate[1]) * time_dot
    tangent = jnp.where(_exhausted(twofloat.scaled(rate, time)[0]), 0, plain)
    return _elapsed(rate, time), (tangent, jnp.zeros_like(tangent))


def _totals(sums: Sums, half, gone):
    of_weights = half * (half * sums.of_weights)
    return (
        _total(sums.small, of_weights, gone),
        _total(sums.big, of_weights, gone),
        _total(sums.grown_p, jnp.square(half * sums.of_p), gone),
        _total(sums.grown_q, half * half, gone),
    )


def _total(terms: Sum, faded, gone):
    return terms.constant + terms.faded * faded + terms.gone * gone


# --- once ---------------------------------------------------------------------------

# Everything that scales with w1 + w2 is divided by a power of two near it, or where it is
# smaller by the first number here, lest its square or that of exp(-z t'/2) beside it leave the
# range. Sums below the third are divided by the second: they may cost derivatives, not
# values. The inverse of the last is normal.
_SCALES = {
    "float32": (2.0**-40, 2.0**-62, 2.0**-100, 2.0**126),
    "float64": (2.0**-340, 2.0**-510, 2.0**-840, 2.0**1022),
}


def _scale(p):
    """What to multiply by."""
    least, tiny, edge, most = map(p.dtype.type, _SCALES[p.dtype.name])
    scale = at_least(p, jnp.where((p > 0) & (p < edge), tiny, least))
    scale = jax.lax.stop_gradient(at_most(scale, most))
    return twofloat.inverse_power_of_two(twofloat.power_of_two(scale))


def prepare(w1, w2, eigenvalue, noise, learning_rate) -> Path:
    """The path from a start; arrays of one shape."""
    start, swapped, sign = _ordered(w1, w2)
    # 0 or NaN is added to the larger: one comparison for both.
    good = start.big + 0 * start.small < jnp.inf
    a, two = eigenvalue + noise, 2 * eigenvalue
    fastest = jax.lax.stop_gradient(two + a * start.p * start.m)
    rests = ~(fastest >= jnp.finfo(a.dtype).tiny)
    # All rates are divided by a common power of two, which changes nothing else.
    unit = twofloat.power_of_two(jnp.where(rests, 1, fastest))
    shrink = twofloat.inverse_power_of_two(unit)
    root = _root(start, eigenvalue * shrink, noise * shrink)
    sums = _sums(rests, start, a * shrink, two * shrink, root[0])
    rate, idle = _per_epoch(rests, root, learning_rate), jnp.where(rests, learning_rate, 0)
    begin = start.small, start.big, start.small * start.big
    end = limit(start, eigenvalue, noise, unit)
    return Path(rate, idle, unit, sums, a == 0, good, begin, end, swapped, sign)


def _ordered(w1, w2):
    """The weights in order, whether they were exchanged, and by what they were multiplied."""
    swapped = jnp.abs(w2) > jnp.abs(w1)
    big, small = jnp.where(swapped, w2, w1), jnp.where(swapped, w1, w2)
    sign = jnp.where(big < 0, -1, 1).astype(w1.dtype)
    big, small = sign * big, sign * small
    return Start(big, small, big + small, big - small), swapped, sign


def _sums(rests, start: Start, a, two, z) -> Sums:
    """The sums, with what they need of E; all rates in one unit."""
    big, small, p, m = start
    k = a * p * m
    shrink = _scale(p)
    ps = p * shrink
    slopes = [jnp.where(rests, x, 0) for x in _resting(big, small, two, k, shrink)]
    ks = jnp.where(rests, shrink, a * m * ps)
    two, k, z = jnp.where(rests, 0, two), jnp.where(rests, 1, k), jnp.where(rests, 1, z)
    top, more = z + two, z + k
    inverse_top = 1 / top
    less = two * (two / more)  # z - k
    weights = _weights(start, two, (more, less, top + k, two + less), (k, inverse_top), shrink, ks)
    # k (k / top) is z - 2 lambda.
    squares = (
        Sum(ks * (ks * inverse_top), top, a * ps * ps),
        Sum(top, k * (k * inverse_top), a * m * m),
    )
    lower, upper, over_p, over_q = (
        x._replace(gone=x.gone + slope)
        for x, slope in zip((*weights, *squares), slopes, strict=True)
    )
    return Sums(lower, upper, over_p, over_q, shrink, jnp.where(small >= 0, 1, shrink))


@jax.custom_jvp
def _resting(big, small, two, k, shrink):
    """Terms in the time where 2 lambda and k are zero: nothing, but for their derivatives.

    Those of the ratios of 2 lambda and k to z would go to infinity.
    """
    return (jnp.zeros_like(big),) * 4


@_resting.defjvp
def _resting_jvp(primals, tangents):
    def terms(big, small, two, k, shrink):
        weights = (two * big - k * small) * shrink, (two * small + k * big) * shrink
        return *weights, -two * shrink * shrink, two

    _, slopes = jax.jvp(terms, primals, tangents)
    return _resting(*primals), slopes


def _weights(start: Start, two, rates, slopes, shrink, ks):
    """z times the smaller and the larger weight.

    With none of them negative, and `more`, `less` as z + k and z - k, they are
    small (less + more E) + 2 lambda big (1 - E) and
    big (more + less E) + 2 lambda small (1 - E). A negative smaller one is
    w1 + w2 less the larger one, and `ks` is k over w1 + w2.
    """
    more, less, far_more, far_less = rates
    k, inverse_top = slopes
    up = start.small >= 0
    scale = jnp.where(up, shrink, -1)
    small, big = start.small * scale, start.big * jnp.abs(scale)
    constant = jnp.where(up, 1, ks)
    ps = start.p * shrink
    return (
        Sum(
            small * constant * jnp.where(up, less, far_less * inverse_top),
            small * jnp.where(up, more, -far_more),
            two * jnp.where(up, big, ps),
        ),
        Sum(
            big * constant * jnp.where(up, more, 1 + k * inverse_top),
            big * jnp.where(up, less, far_less),
            two * jnp.where(up, small, ps),
        ),
    )


@jax.custom_jvp
def _root(start: Start, eigenvalue, noise) -> twofloat.TwoFloat:
    """z as a sum of two floats, of rates near 1 in size; 0 where nothing else is."""
    big, small = start.big, start.small
    a = twofloat.add(eigenvalue, noise)
    ps = twofloat.plus_smaller(big, small)
    ms = twofloat.plus_smaller(big, -small)
    k, k_low = twofloat.normalised(*twofloat.times(twofloat.times(a, ps), ms))
    two = 2 * eigenvalue
    z = jnp.sqrt(two * two + k * k)
    z_low = (twofloat.excess(two, k, z) / 2 + k * k_low) * _rough_inverse(z)
    return z, z_low


def _rough_inverse(z):
    """1 / z to three digits for z between the root of 1/2 and 2."""
    guess = 2.5213 - z * (1.9754 - 0.48648 * z)
    return guess * (2 - z * guess)


@_root.defjvp
def _root_jvp(primals, tangents):
    _, tangent = jax.jvp(_plain_root, primals, tangents)
    return _root(*primals), (tangent, jnp.zeros_like(tangent))


def _plain_root(start: Start, eigenvalue, noise):
    k = (eigenvalue + noise) * start.p * start.m
    square = 4 * eigenvalue * eigenvalue + k * k
    return jnp.sqrt(jnp.where(square == 0, 1, square))


@jax.custom_jvp
def _per_epoch(rests, root: twofloat.TwoFloat, learning_rate) -> twofloat.TwoFloat:
    rate = twofloat.scaled(root, learning_rate)
    return jnp.where(rests, 0, rate[0]), jnp.where(rests, 0, rate[1])


@_per_epoch.defjvp
def _per_epoch_jvp(primals, tangents):
    (rests, root, learning_rate), (_, root_dot, learning_rate_dot) = primals, tangents
    plain = root_dot[0] * learning_rate + root[0] * learning_rate_dot
    tangent = jnp.where(rests, 0, plain)
    return _per_epoch(*primals), (tangent, jnp.zeros_like(tangent))


def limit(start, eigenvalue, noise, unit) -> End:
    """Where the flow without decay ends.

    Finite everywhere. Where the limit has no derivative (w1 + w2 = 0, or
    lambda = epsilon = 0 in the problem's numbers), the derivative is that of
    the value written here.
    """
    a = eigenvalue + noise
    k = a * start.p * start.m
    two = 2 * eigenvalue
    turning = k + two > 0
    inverse = twofloat.inverse_power_of_two(unit)
    square = jnp.square(two * inverse) + jnp.square(k * inverse)
    z = unit * jnp.sqrt(jnp.where(turning, square, 1))
    top = jnp.where(turning, z + two, 0)
    moves = (a > 0) & (start.p > 0)
    grown = jnp.sqrt(jnp.where(moves & turning, top, 1))
    rate = jnp.sqrt(jnp.where(moves, a, 1))
    # Half of sqrt(R/a) + sqrt(r/a), the second as k / sqrt(R a): smooth at w1 = w2.
    big = jnp.where(moves & turning, (grown + k / grown) / rate / 2, 0)
    over, under = jnp.where(moves, eigenvalue, 0), jnp.where(a > 0, a, 1)
    small = jnp.where(big > 0, over / under / jnp.where(big > 0, big, 1), 0)
    still = a <= 0
    return End(
        jnp.where(still, start.small, jnp.where(moves, small, 0)),
        jnp.where(still, start.big, jnp.where(moves, big, 0)),
        jnp.where(still, start.small * start.big, over),
        under,
    )
