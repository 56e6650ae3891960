"""The exact flow without decay, from any weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.theory import twofloat


class State(NamedTuple):
    """Weights of the flow with their product, each as accurate as it can be."""

    w1: jax.Array
    w2: jax.Array
    w: jax.Array


class Start(NamedTuple):
    """Initial weights in the order and sign in which the solution is positive.

    `big` >= |`small`|; `p` and `m` are their sum and difference, `k` is
    (lambda + epsilon) |w2^2 - w1^2|.
    """

    big: jax.Array
    small: jax.Array
    p: jax.Array
    m: jax.Array


def flow(
    t: jax.Array,
    w1: jax.Array,
    w2: jax.Array,
    eigenvalue: jax.Array,
    noise: jax.Array,
    learning_rate: jax.Array,
) -> State:
    """Weights and mapping at epoch t of the flow without decay.

    The positive-terms form of eq. (5), docs/theory.md section 2. Inputs are of
    one dtype and broadcast; nothing is checked.
    """
    t, w1, w2, eigenvalue, noise, learning_rate = jnp.broadcast_arrays(
        t, w1, w2, eigenvalue, noise, learning_rate
    )
    start, restore = _ordered(w1, w2)
    forever = jnp.isinf(t)
    t = jnp.where(forever, 0, t)
    small, big, w = _finite_time(t, start, eigenvalue, noise, learning_rate)
    small_end, big_end, w_end = limit(start, eigenvalue, noise)
    state = restore(
        jnp.where(forever, small_end, small),
        jnp.where(forever, big_end, big),
        jnp.where(forever, w_end, w),
    )
    finite = jnp.isfinite(w1) & jnp.isfinite(w2)
    return State(*(jnp.where(finite, x, jnp.nan) for x in state))


def _ordered(w1, w2):
    """Order the weights, with the function that undoes it."""
    swapped = jnp.abs(w2) > jnp.abs(w1)
    big, small = jnp.where(swapped, w2, w1), jnp.where(swapped, w1, w2)
    sign = jnp.where(big < 0, -1, 1).astype(w1.dtype)
    big, small = sign * big, sign * small

    def restore(small_t, big_t, w):
        small_t, big_t = sign * small_t, sign * big_t
        return State(jnp.where(swapped, small_t, big_t), jnp.where(swapped, big_t, small_t), w)

    return Start(big, small, big + small, big - small), restore


def _finite_time(t, start, eigenvalue, noise, learning_rate):
    k = (eigenvalue + noise) * start.p * start.m
    # Huge times stay finite, for a rate of zero times infinity would be NaN.
    time = jnp.minimum(learning_rate * t, jnp.finfo(t.dtype).max)
    resting = jnp.maximum(eigenvalue, k) == 0
    speed = jnp.hypot(jnp.where(resting, 1, eigenvalue), k / 2)
    near = resting | (speed * time <= 0.5)
    time = jnp.where(near, time, 0)
    # Rates times time, then squared: the square of a rate alone may underflow.
    y = jnp.square(eigenvalue * time) + jnp.square(k / 2 * time)
    # Each form is fed harmless inputs where the other is taken, so that
    # neither spoils the other's gradient.
    early = _near(jnp.where(near, y, 0), time, start, k, eigenvalue, noise)
    safe = Start(*(jnp.where(near, 1, x) for x in start))
    late = _far(
        jnp.where(near, 1, t),
        safe,
        jnp.where(near, 1, eigenvalue),
        jnp.where(near, 0, noise),
        jnp.where(near, 1, learning_rate),
    )
    return tuple(jnp.where(near, a, b) for a, b in zip(early, late, strict=True))


# cosh(sqrt y) and sinh(sqrt y)/sqrt y, nine terms each: exact to the last bit of
# float64 for y <= 1/4.
_COSH = tuple(1 / float(np.prod(np.arange(1.0, 2 * n + 1))) for n in range(9))
_SINH = tuple(1 / float(np.prod(np.arange(1.0, 2 * n + 2))) for n in range(9))


def _polynomial(coefficients, x):
    result = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + c
    return result


def _near(y, time, start, k, eigenvalue, noise):
    """The form even in z, right at z t' = 0 with all its derivatives."""
    a = eigenvalue + noise
    c, s = _polynomial(_COSH, y), time * _polynomial(_SINH, y)
    grown_p = c + (a * start.p**2 / 2 - eigenvalue) * s
    grown_q = c + (a * start.m**2 / 2 + eigenvalue) * s
    small = start.small * (c - k * s / 2) + eigenvalue * start.big * s
    big = start.big * (c + k * s / 2) + eigenvalue * start.small * s
    norm = jnp.sqrt(grown_p) * jnp.sqrt(grown_q)
    return small / norm, big / norm, (small / grown_p) * (big / grown_q)


def _far(t, start, eigenvalue, noise, learning_rate):
    """The form in E = exp(-z t'): sums of positive terms, but for the one zero crossing.

    Everything that scales with w1 + w2 is divided by a common `scale`, the
    larger of p and exp(-z t'/2), so that neither tiny weights nor late times
    underflow; likewise all rates are divided by a common `unit`. The result
    depends on neither.
    """
    big, small, p, m = start
    k = (eigenvalue + noise) * p * m
    z = jnp.hypot(2 * eigenvalue, k)
    unit = jax.lax.stop_gradient(twofloat.power_of_two(z + 2 * eigenvalue))
    a, two, k, z = ((eigenvalue + noise) / unit, 2 * eigenvalue / unit, k / unit, z / unit)
    half, decayed, gone = _decay_factors(t, big, small, eigenvalue, noise, learning_rate)
    tiny = jnp.finfo(p.dtype).tiny
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.maximum(p, half), tiny))
    ps, hs = p / scale, half / scale
    ks = a * m * ps
    top = z + two
    z_less_k = two * (two / (z + k))
    top_less_k = two + z_less_k

    grown_p = ks * (ks / top) + top * hs * hs + a * ps * ps * gone
    grown_q = top + k * (k / top) * decayed + a * m * m * gone

    positive = small >= 0
    # |small| is at most p where small >= 0, and then its ratio to `scale` is harmless.
    ss, bs = jnp.where(positive, small, 0) / scale, jnp.where(positive, big, 0) / scale
    minus = jnp.where(positive, 0, -small)
    small_up = ss * (z_less_k + (z + k) * decayed) + two * bs * gone
    big_up = bs * ((z + k) + z_less_k * decayed) + two * ss * gone
    small_down = two * ps * gone + minus * (ks * (top_less_k / top) - (top + k) * (half * hs))
    big_down = big * (ks * (k / top + 1) + top_less_k * (half * hs)) + two * ps * gone
    small_t = jnp.where(positive, small_up, small_down)
    big_t = jnp.where(positive, big_up, big_down)

    empty = grown_p <= 0
    grown_p = jnp.where(empty, 1, grown_p)
    norm = jnp.sqrt(grown_p) * jnp.sqrt(grown_q)
    return small_t / norm, big_t / norm, (small_t / grown_p) * (big_t / grown_q)


def _decay_factors(t, big, small, eigenvalue, noise, learning_rate):
    """exp(-z t'/2), exp(-z t') and 1 - exp(-z t')."""
    high, low = _exponent(t, big, small, eigenvalue, noise, learning_rate)
    half = jnp.exp(-high / 2) * (1 - low / 2)
    decayed = half * half
    return half, decayed, decayed * low - jnp.expm1(-high)


def _plain_exponent(t, big, small, eigenvalue, noise, learning_rate):
    k = (eigenvalue + noise) * (big + small) * (big - small)
    z = jnp.hypot(2 * eigenvalue, k)
    # Past this every exponential has long underflowed.
    return jnp.minimum(z * (learning_rate * t), -6 * jnp.log(jnp.finfo(z.dtype).tiny))


@jax.custom_jvp
def _exponent(t, big, small, eigenvalue, noise, learning_rate):
    """z t' as a sum of two floats: exp would magnify its rounding by z t'."""
    plain = _plain_exponent(t, big, small, eigenvalue, noise, learning_rate)
    zero = jnp.zeros_like(plain)
    a = twofloat.add(eigenvalue, noise)
    square = twofloat.times(twofloat.add(big, small), twofloat.add(big, -small))
    k = twofloat.times(a, square)
    two = 2 * eigenvalue
    unit = twofloat.power_of_two(jnp.maximum(two, k[0]))
    unit = jnp.where(unit > 0, unit, 1)
    k, two = (k[0] / unit, k[1] / unit), (two / unit, zero)
    z = twofloat.root(twofloat.plus(twofloat.times(two, two), twofloat.times(k, k)))
    z = (z[0] * unit, z[1] * unit)
    time = twofloat.times((learning_rate, zero), (t, zero))
    high, low = twofloat.times(z, time)
    capped = ~(jnp.abs(high) < 4 * -jnp.log(jnp.finfo(plain.dtype).tiny)) | ~jnp.isfinite(low)
    return jnp.where(capped, plain, high), jnp.where(capped, 0, low)


@_exponent.defjvp
def _exponent_jvp(primals, tangents):
    _, tangent = jax.jvp(_plain_exponent, primals, tangents)
    out = _exponent(*primals)
    return out, (tangent, jnp.zeros_like(tangent))


def limit(start, eigenvalue, noise):
    """Where the flow without decay ends: small, big, mapping.

    Finite everywhere. Where the limit has no derivative (w1 + w2 = 0, or
    lambda = epsilon = 0 in the problem's numbers), the derivative is that of
    the value written here.
    """
    a = eigenvalue + noise
    k = a * start.p * start.m
    two = 2 * eigenvalue
    turning = k + two > 0
    z = jnp.hypot(jnp.where(turning, two, 1), k)
    top = jnp.where(turning, z + two, 0)
    moves = (a > 0) & (start.p > 0)
    grown = jnp.sqrt(jnp.where(moves & turning, top, 1))
    rate = jnp.sqrt(jnp.where(moves, a, 1))
    # Half of sqrt(R/a) + sqrt(r/a), the second as k / sqrt(R a): smooth at w1 = w2.
    big = jnp.where(moves & turning, (grown + k / grown) / rate / 2, 0)
    w = jnp.where(moves, eigenvalue / jnp.where(a > 0, a, 1), 0)
    small = jnp.where(big > 0, w / jnp.where(big > 0, big, 1), 0)
    still = a <= 0
    return (
        jnp.where(still, start.small, jnp.where(moves, small, 0)),
        jnp.where(still, start.big, jnp.where(moves, big, 0)),
        jnp.where(still, start.small * start.big, w),
    )
