"""The exact flow without decay, from any weights.

The positive-terms form of eq. (5), docs/theory.md section 2, in two steps: what
does not depend on the time is computed once for each start. Inputs are of one
dtype; what is not allowed gives NaN.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax.checks import faults
from lindae_jax.theory import bits, twofloat
from lindae_jax.theory.bits import at_least, at_most
from lindae_jax.theory.growth import decay_and_rest, spent
from lindae_jax.theory.ordered import Start, ordered, signed
from lindae_jax.theory.root import Root, find_root, per_epoch


class State(NamedTuple):
    """Weights of the flow with their product, each as accurate as it can be."""

    w1: jax.Array
    w2: jax.Array
    w: jax.Array


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
    grown_q: tuple[jax.Array, jax.Array]
    """Where it begins, and what (1 - E) adds to it."""
    scale: jax.Array
    """Factor of the root of E in P and, where the smaller weight is negative, of E in both."""
    up: jax.Array
    """Where the smaller weight is not negative."""


class End(NamedTuple):
    """Where the flow ends: the smaller and the larger weight, and the mapping as a fraction."""

    small: jax.Array
    big: jax.Array
    over: jax.Array
    under: jax.Array


class Path(NamedTuple):
    """All that the flow needs of its start and problem, whatever the time."""

    rate: twofloat.TwoFloat
    """z per epoch, in the unit of all rates, to half a width more than the working precision."""
    idle: jax.Array
    """Twice the learning rate where z is zero and time itself stands for 1 - E, elsewhere 0."""
    half_unit: jax.Array
    """Half of that unit, a power of two; `idle` has none."""
    sums: Sums
    a: jax.Array
    """lambda + epsilon; nothing moves where it is zero."""
    fault: jax.Array
    """Negative where what was given is not allowed, and all is NaN."""
    begin: tuple[jax.Array, jax.Array, jax.Array]
    """Smaller and larger weight and mapping at t = 0."""
    end: End
    swapped: jax.Array
    sign: jax.Array
    """A number with the sign that the larger weight had."""


def follow(path: Path, t: jax.Array) -> State:
    """The state at epoch t, NaN where t is no time or the path has a fault."""
    # A time that is NaN makes all of them NaN, also where nothing moves.
    t = faults.spoilt(t, path.fault | faults.negative(t))
    # What has decayed to nothing is over, to the last digit.
    half, gone, forever = _growth(path, t)
    unmoved = at_most(t, path.a) == 0
    small, big, grown_p, grown_q = _totals(path.sums, half, gone)
    # Nothing is left of weights that shrink from w1 = -w2 to below the smallest number.
    grown_p = at_least(grown_p, float(jnp.finfo(t.dtype).tiny))
    norm = jnp.sqrt(grown_p) * jnp.sqrt(grown_q)
    end, limited = path.end, functools.partial(jnp.where, forever)
    # What is divided is chosen first, for a division costs most.
    w = _ratio(limited(end.over, small), limited(end.under, grown_p))
    w *= limited(1, _ratio(big, grown_q))
    moved = limited(end.small, _ratio(small, norm)), limited(end.big, _ratio(big, norm)), w
    small, big, w = (
        jnp.where(unmoved, _valued(x, y, forever), y)
        for x, y in zip(path.begin, moved, strict=True)
    )
    small, big = signed(path.sign, small), signed(path.sign, big)
    return State(jnp.where(path.swapped, small, big), jnp.where(path.swapped, big, small), w)


@jax.custom_jvp
def _ratio(x, y):
    return x / y


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    """Without the square of y, which may leave the range."""
    ratio = _ratio(*primals)
    return ratio, (tangents[0] - ratio * tangents[1]) / primals[1]


@jax.custom_jvp
def _valued(value, like, forever):
    """The value, of the shape of the other and with its derivative, but forever its own."""
    return jnp.broadcast_to(value, like.shape)


@_valued.defjvp
def _valued_jvp(primals, tangents):
    return _valued(*primals), jnp.where(primals[2], *tangents[:2])


# --- at every time ----------------------------------------------------------------


def _growth(path: Path, t):
    """exp(-z t'/2), 1 - exp(-z t') or, where z is zero, the time, and whether all is over."""
    # Huge times stay finite, for zero times infinity would be NaN.
    most = float(jnp.finfo(t.dtype).max)
    time = at_most(t * path.half_unit, most / 2)
    elapsed = _elapsed(path.rate, time)
    half, gone = decay_and_rest(*elapsed)
    gone += at_most(time * path.idle, most)
    # Only infinity is beyond the largest number, whatever has elapsed; NaN stays NaN.
    return half, gone, spent(at_least(t - most, elapsed[0]))


@jax.custom_jvp
def _elapsed(rate: twofloat.TwoFloat, time):
    """rate * time as a sum of two floats: exp would magnify its rounding."""
    return twofloat.scaled(rate, time)


@_elapsed.defjvp
def _elapsed_jvp(primals, tangents):
    (rate, time), (rate_dot, time_dot) = primals, tangents
    # The first float alone of a product has but half of the digits.
    plain = rate_dot[0] * time + (rate[0] + rate[1]) * time_dot
    elapsed = _elapsed(rate, time)
    tangent = jnp.where(spent(elapsed[0]), 0, plain)
    return elapsed, (tangent, jnp.zeros_like(tangent))


def _totals(sums: Sums, half, gone):
    scaled, (begin_q, more_q) = half * sums.scale, sums.grown_q
    of_weights = half * jnp.where(sums.up, half, scaled)
    return (
        _total(sums.small, of_weights, gone),
        _total(sums.big, of_weights, gone),
        _total(sums.grown_p, scaled * scaled, gone),
        begin_q + more_q * gone,
    )


def _total(terms: Sum, faded, gone):
    # What is known last is added last.
    return (terms.constant + terms.gone * gone) + terms.faded * faded


# --- once ---------------------------------------------------------------------------

# Everything that scales with w1 + w2 is divided by a power of two near it, or where it is
# smaller by half the first number here, lest its square or that of exp(-z t'/2) beside it leave
# the range. Sums below the third are divided by half the second: they may cost derivatives,
# not values.
_SCALES = {
    "float32": (2.0**-39, 2.0**-61, 2.0**-100),
    "float64": (2.0**-339, 2.0**-509, 2.0**-840),
}


def _scale(p):
    """What to multiply by."""
    least, tiny, edge = map(p.dtype.type, _SCALES[p.dtype.name])
    scale = jax.lax.stop_gradient(at_least(p, jnp.where((p > 0) & (p < edge), tiny, least)))
    return bits.two_over_power_of_two(bits.power_of_two(scale))


def prepare(w1, w2, eigenvalue, noise, learning_rate) -> Path:
    """The path from a start; arrays of one shape."""
    start, swapped, sign = ordered(w1, w2)
    a, two = eigenvalue + noise, 2 * eigenvalue
    k = jax.lax.stop_gradient(_product(a, start.big, start.size))
    fastest = jax.lax.stop_gradient(two) + k
    # Half of the unit is to be normal, too.
    rests = ~(fastest >= 2 * jnp.finfo(a.dtype).tiny)
    # All rates are divided by a common power of two, which changes nothing else.
    unit = bits.power_of_two(jnp.where(rests, 1, fastest))
    shrink = bits.inverse_power_of_two(unit)
    rates = eigenvalue * shrink, noise * shrink
    root = find_root(rests, k * shrink, start, *rates)
    rate, idle = per_epoch(rests, root, learning_rate), jnp.where(rests, 2 * learning_rate, 0)
    sums = _sums(rests, start, *rates, root)
    begin = start.small, start.big, start.small * start.big
    end = limit(start, eigenvalue, noise, unit)
    fault = _fault(start, a, eigenvalue, noise, learning_rate)
    half_unit = bits.half_of_power_of_two(unit)
    return Path(rate, idle, half_unit, sums, a, fault, begin, end, swapped, sign)


def _product(a, larger, smaller):
    """a p m without a wait for p and m, which are the sum and the difference of sizes.

    The sum first, lest a times the difference fall below the range.
    """
    return a * (larger + smaller) * (larger - smaller)


def _fault(start: Start, a, eigenvalue, noise, learning_rate):
    """Where a number or what is added up is not allowed; a sum tells of both that are in it."""
    signs = faults.negative(eigenvalue) | faults.negative(noise)
    return signs | faults.not_finite(start.p + a) | faults.not_positive(learning_rate)


def _sums(rests, start: Start, eigenvalue, noise, root: Root) -> Sums:
    """The sums, with what they need of E; all rates in one unit."""
    big, small, p, m, _ = start
    a, two = eigenvalue + noise, 2 * eigenvalue
    scale = _scale(p)
    ps, am = p * scale, a * m
    slopes = [jnp.where(rests, x, 0) for x in _resting(big, small, two, am * p, scale)]
    ks = jnp.where(rests, scale, am * ps)
    two, k, z = jnp.where(rests, 0, two), root.k, root.z + root.low
    top, more = z + two, z + k
    inverse_top = 1 / top
    less = two * (two / more)  # z - k
    per_top = ks * inverse_top
    weights = _weights(start, two, (more, less, top + k, two + less), (ks, k, per_top), scale)
    sums = *weights, Sum(ks * per_top, top, a * ps * ps)
    lower, upper, over_p = (
        x._replace(gone=x.gone + slope) for x, slope in zip(sums, slopes[:3], strict=True)
    )
    # z - 2 lambda stands beside z + 2 lambda here, and needs no digits that z has not.
    gap = jnp.where(rests, 0, z - two)
    over_q = z + z, (am * m - gap) + slopes[3]
    return Sums(lower, upper, over_p, over_q, scale, small >= 0)


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


def _weights(start: Start, two, rates, slopes, scale):
    """z times the smaller and the larger weight.

    With none of them negative, and `more`, `less` as z + k and z - k, they are
    small (less + more E) + 2 lambda big (1 - E) and
    big (more + less E) + 2 lambda small (1 - E). A negative smaller one is
    w1 + w2 less the larger one, and `ks` is k over w1 + w2 in units of `scale`.
    """
    more, less, far_more, far_less = rates
    ks, k, per_top = slopes
    up = start.small >= 0
    # Not its size, whose slope at -0 is that of a negative one.
    small, big = start.small * jnp.where(up, scale, -1), start.big * jnp.where(up, scale, 1)
    ps = start.p * scale
    return (
        Sum(
            small * jnp.where(up, less, far_less * per_top),
            small * jnp.where(up, more, -far_more),
            two * jnp.where(up, big, ps),
        ),
        Sum(
            big * jnp.where(up, more, ks + k * per_top),
            big * jnp.where(up, less, far_less),
            two * jnp.where(up, small, ps),
        ),
    )


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
    inverse = bits.inverse_power_of_two(unit)
    square = jnp.square(two * inverse) + jnp.square(k * inverse)
    z = unit * jnp.sqrt(jnp.where(turning, square, 1))
    top = jnp.where(turning, z + two, 0)
    open_ended = start.p > 0
    moves = open_ended & (a > 0)
    grown = jnp.sqrt(jnp.where(moves & turning, top, 1))
    rate = jnp.sqrt(jnp.where(moves, a, 1))
    # Half of sqrt(R/a) + sqrt(r/a), the second as k / sqrt(R a): smooth at w1 = w2.
    big = jnp.where(moves & turning, (grown + k / grown) / rate / 2, 0)
    over, under = jnp.where(open_ended, eigenvalue, 0), at_least(a, float(jnp.finfo(a.dtype).tiny))
    small = jnp.where(big > 0, over / under / jnp.where(big > 0, big, 1), 0)
    return End(jnp.where(moves, small, 0), jnp.where(moves, big, 0), over, under)
