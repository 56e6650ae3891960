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
    """z per epoch, in units of `unit`, to half a width more than the working precision."""
    idle: jax.Array
    """The learning rate where z is zero and time itself stands for 1 - E, elsewhere 0."""
    unit: jax.Array
    sums: Sums
    still: jax.Array
    """Whether nothing moves."""
    fault: jax.Array
    """Negative where what was given is not allowed, and all is NaN."""
    begin: tuple[jax.Array, jax.Array, jax.Array]
    """Smaller and larger weight and mapping at t = 0."""
    end: End
    swapped: jax.Array
    sign: jax.Array


def follow(path: Path, t: jax.Array) -> State:
    """The state at epoch t, NaN where t is no time or the path has a fault."""
    fault = path.fault | faults.no_time(t)
    t = faults.spoilt(t, fault)
    half, gone, over = _growth(path, t)
    # What has decayed to nothing is over, to the last digit.
    forever = (t == jnp.inf) | over
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
    begin = (faults.spoilt(x, fault) for x in path.begin)
    small, big, w = (
        jnp.where(unmoved, _valued(x, y), y) for x, y in zip(begin, moved, strict=True)
    )
    small, big = _signed(path.sign, small), _signed(path.sign, big)
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
def _valued(value, like):
    """The value with the derivative of the other, of its shape."""
    return jnp.broadcast_to(value, like.shape)


@_valued.defjvp
def _valued_jvp(primals, tangents):
    return _valued(*primals), tangents[1]


# --- at every time ----------------------------------------------------------------


def _growth(path: Path, t):
    """exp(-z t'/2), 1 - exp(-z t') or, where z is zero, the time, and whether the first is 0."""
    # Huge times stay finite, for zero times infinity would be NaN.
    most = float(jnp.finfo(t.dtype).max)
    time = at_most(t * path.unit, most)
    elapsed = _elapsed(path.rate, time)
    half, gone = decay_and_rest(*elapsed)
    return half, gone + at_most(time * path.idle, most), spent(elapsed[0])


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
    square, scaled = half * half, half * sums.scale
    of_weights = jnp.where(sums.up, square, half * scaled)
    return (
        _total(sums.small, of_weights, gone),
        _total(sums.big, of_weights, gone),
        _total(sums.grown_p, scaled * scaled, gone),
        _total(sums.grown_q, square, gone),
    )


def _total(terms: Sum, faded, gone):
    return terms.constant + terms.faded * faded + terms.gone * gone


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
    start, swapped, sign = _ordered(w1, w2)
    a, two = eigenvalue + noise, 2 * eigenvalue
    k = jax.lax.stop_gradient(_product(a, jnp.abs(w1), jnp.abs(w2)))
    fastest = jax.lax.stop_gradient(two) + k
    rests = ~(fastest >= jnp.finfo(a.dtype).tiny)
    # All rates are divided by a common power of two, which changes nothing else.
    unit = bits.power_of_two(jnp.where(rests, 1, fastest))
    shrink = bits.inverse_power_of_two(unit)
    rates = eigenvalue * shrink, noise * shrink
    root = _root(rests, k * shrink, start, *rates)
    rate, idle = _per_epoch(rests, root, learning_rate), jnp.where(rests, learning_rate, 0)
    sums = _sums(rests, start, *rates, root)
    begin = start.small, start.big, start.small * start.big
    still = a == 0
    end = limit(start, eigenvalue, noise, unit, still)
    fault = _fault(start, a, eigenvalue, noise, learning_rate)
    return Path(rate, idle, unit, sums, still, fault, begin, end, swapped, sign)


def _product(a, size1, size2):
    """a p m without a wait for p and m, which are the sum and the difference of sizes.

    The sum first, lest a times the difference fall below the range.
    """
    return a * (size1 + size2) * jnp.abs(size1 - size2)


def _fault(start: Start, a, eigenvalue, noise, learning_rate):
    """Where a number or what is added up is not allowed; a sum tells of both that are in it."""
    signs = faults.negative(eigenvalue) | faults.negative(noise)
    sizes = faults.not_finite(start.p) | faults.not_finite(a)
    return signs | sizes | faults.not_positive(learning_rate)


def _ordered(w1, w2):
    """The weights in order, whether they were exchanged, and by what they were multiplied."""
    swapped = jnp.abs(w2) > jnp.abs(w1)
    big, small = jnp.where(swapped, w2, w1), jnp.where(swapped, w1, w2)
    sign = bits.signed(big, jnp.ones_like(big))
    big, small = _signed(sign, big), _signed(sign, small)
    return Start(big, small, big + small, big - small), swapped, sign


@jax.custom_jvp
def _signed(sign, x):
    """sign * x, for signs of 1 and -1."""
    return bits.signed(sign, x)


@_signed.defjvp
def _signed_jvp(primals, tangents):
    return _signed(*primals), primals[0] * tangents[1]


def _sums(rests, start: Start, eigenvalue, noise, root: "Root") -> Sums:
    """The sums, with what they need of E; all rates in one unit."""
    big, small, p, m = start
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
    # k (k / top) is z - 2 lambda.
    squares = (
        Sum(ks * per_top, top, a * ps * ps),
        Sum(top, k * (k * inverse_top), am * m),
    )
    lower, upper, over_p, over_q = (
        x._replace(gone=x.gone + slope)
        for x, slope in zip((*weights, *squares), slopes, strict=True)
    )
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
    factor = jnp.where(up, scale, -1)
    small, big = start.small * factor, start.big * jnp.abs(factor)
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


class Root(NamedTuple):
    """z, near 1 in size, as a sum of two floats, and k; 1 where both are zero."""

    k: jax.Array
    z: jax.Array
    low: jax.Array


@jax.custom_jvp
def _root(rests, near, start: Start, eigenvalue, noise) -> Root:
    """`near` is k but for its last digits, which are found while others wait for the root."""
    big, small, p, m = start
    sum_ps = p, twofloat.beyond(p, big, small)
    sum_ms = m, twofloat.beyond(m, big, -small)
    high, low = twofloat.times(twofloat.times(twofloat.add(eigenvalue, noise), sum_ps), sum_ms)
    low = (high - near) + low
    root = twofloat.hypotenuse(jnp.where(rests, 1, 2 * eigenvalue), (near, low))
    return Root(jnp.where(rests, 1, near + low), *root)


@_root.defjvp
def _root_jvp(primals, tangents):
    _, (k, z) = jax.jvp(_plain_root, primals[2:], tangents[2:])
    k, z = (jnp.where(primals[0], 0, x) for x in (k, z))
    return _root(*primals), Root(k, z, jnp.zeros_like(z))


def _plain_root(start: Start, eigenvalue, noise):
    k = (eigenvalue + noise) * start.p * start.m
    square = 4 * eigenvalue * eigenvalue + k * k
    return k, jnp.sqrt(jnp.where(square == 0, 1, square))


@jax.custom_jvp
def _per_epoch(rests, root: Root, learning_rate) -> twofloat.TwoFloat:
    return twofloat.scaled((root.z, root.low), jnp.where(rests, 0, learning_rate))


@_per_epoch.defjvp
def _per_epoch_jvp(primals, tangents):
    (rests, root, learning_rate), (_, root_dot, learning_rate_dot) = primals, tangents
    plain = root_dot.z * learning_rate + root.z * learning_rate_dot
    tangent = jnp.where(rests, 0, plain)
    return _per_epoch(*primals), (tangent, jnp.zeros_like(tangent))


def limit(start, eigenvalue, noise, unit, still) -> End:
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
    moves = open_ended & ~still
    grown = jnp.sqrt(jnp.where(moves & turning, top, 1))
    rate = jnp.sqrt(jnp.where(moves, a, 1))
    # Half of sqrt(R/a) + sqrt(r/a), the second as k / sqrt(R a): smooth at w1 = w2.
    big = jnp.where(moves & turning, (grown + k / grown) / rate / 2, 0)
    over, under = jnp.where(open_ended, eigenvalue, 0), jnp.where(still, 1, a)
    small = jnp.where(big > 0, over / under / jnp.where(big > 0, big, 1), 0)
    return End(
        jnp.where(still, start.small, jnp.where(moves, small, 0)),
        jnp.where(still, start.big, jnp.where(moves, big, 0)),
        jnp.where(still, start.small * start.big, over),
        under,
    )
