"""The exact flow with weight decay, from any weights.

In s = w1 + w2 and d = w1 - w2 the flow is a Riccati equation whose linear form,
f'' = (mu^2 + (k/2)^2 exp(-4 gamma t')) f with mu = lambda - gamma and
k = (lambda + epsilon) |s d|, has modified Bessel functions of order
nu = mu / (2 gamma) at x = k exp(-2 gamma t') / (4 gamma) as solutions:
docs/theory.md section 3. Time only shrinks x. Short times take a Taylor series;
others pass, as far as they need, through three stages, each right where it is
used: large order or argument, moderate argument, small argument.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax.batches.alike import where_needed
from lindae_jax.batches.blocks import of_all
from lindae_jax.problem import Problem
from lindae_jax.theory import bessel, debye
from lindae_jax.theory.bits import power_of_two
from lindae_jax.theory.flow import State
from lindae_jax.theory.growth import fraction_gone, log1p_ratio, scaled_growth


def flow_with_decay(
    t, w1, w2, eigenvalue, noise, decay, learning_rate, *, alike: bool = False
) -> State:
    """Weights and mapping at epoch t; arrays of one shape and dtype, unchecked.

    At decay = 0 it is continuous, with the right derivative in decay, but less
    sharp than `flow`. Where few points need both short and longer times, because
    they are `alike`, one of the two is passed over.
    """
    near, point = _point(t, w1, w2, eigenvalue, noise, decay, learning_rate)
    s, _, a, mu, gamma, time = point
    short = w1, w2, a, mu, gamma, jnp.where(near, time, 0)
    longer = tuple(_harmless(near, *point))
    if alike:
        early = where_needed(_near, near, nothing, *short)
        late = where_needed(_far, ~near, nothing, *longer)
    else:
        early, late = _near(*short), _far(*longer)
    end = limit_with_decay(s, a, mu)
    finite, forever = jnp.isfinite(w1) & jnp.isfinite(w2), jnp.isinf(t)
    return State(
        *(
            jnp.where(finite, jnp.where(forever, z, jnp.where(near, x, y)), jnp.nan)
            for x, y, z in zip(early, late, end, strict=True)
        )
    )


def stages_passed(t, w1, w2, eigenvalue, noise, decay, learning_rate):
    """What of the flow with decay a point needs, as a whole number from 0 to 5.

    0: the series for short times. 1: the stage of large order or argument. 2: that one
    and some of the others. 3: that of moderate argument, 4: and that of small argument,
    which 5 needs alone.
    """
    near, point = _point(t, w1, w2, eigenvalue, noise, decay, learning_rate)
    stages = _stages(*_harmless(near, *point))
    late = jnp.where(stages.part, 2, jnp.where(stages.moderate, jnp.where(stages.small, 4, 3), 5))
    return jnp.where(near, 0, jnp.where(stages.whole, 1, late))


def nothing(*arrays) -> State:
    """NaN, in place of a state that is computed from these arrays."""
    return State(*(jnp.full_like(of_all(arrays), jnp.nan, shape=arrays[0].shape),) * 3)


def _point(t, w1, w2, eigenvalue, noise, decay, learning_rate):
    """Whether the time is so short that a series in it serves, and s, d, a, mu, gamma, time.

    At t = inf, where the limit is taken, the time is 0.
    """
    a, mu, gamma, time = rates(t, eigenvalue, noise, decay, learning_rate)
    s, d = w1 + w2, w1 - w2
    turned = jnp.square(mu * time) + jnp.square(a * jnp.abs(s * d) / 2 * time)
    near = (turned <= 0.125) & (4 * gamma * time <= 0.125)
    return near, (s, d, a, mu, gamma, time)


def _harmless(near, s, d, a, mu, gamma, time):
    """The arguments of `_far`; where the time is short, numbers that do no harm."""
    return _fed(~near, (s, d, a, mu, gamma, time), (1, 1, 1, 1, 0, 1))


def rates(t, eigenvalue, noise, decay, learning_rate):
    """a, mu, gamma and t' in a unit of time that keeps squares in range."""
    a = eigenvalue + noise
    unit = power_of_two(jnp.maximum(a, decay))
    unit = jax.lax.stop_gradient(jnp.where(unit > 0, unit, 1))
    time = learning_rate * jnp.where(jnp.isinf(t), 0, t) * unit
    time = jnp.minimum(time, _rest(a.dtype))
    return a / unit, (eigenvalue - decay) / unit, decay / unit, time


def _rest(dtype) -> float:
    """Time, in units of the fastest rate, at which everything has long come to rest.

    Products with it stay finite.
    """
    return float(jnp.finfo(dtype).max) ** 0.49


def rest_time(problem: Problem) -> jax.Array:
    """The flow's own time t' past which nothing is resolved any more."""
    fastest = jnp.maximum(problem.eigenvalue + problem.noise, problem.decay)
    return _rest(fastest.dtype) / jnp.where(fastest > 0, fastest, 1)


def limit_with_decay(s, a, mu):
    """Where the flow ends. Its derivative is that of the value written here."""
    learns = (s != 0) & (mu > 0) & (a > 0)
    w = jnp.where(learns, mu / jnp.where(a > 0, a, 1), 0)
    side = jnp.sign(s) * jnp.where(learns, jnp.sqrt(jnp.where(learns, w, 1)), 0)
    return State(side, side, w)


class _Stages(NamedTuple):
    """What a point passes on its way: any of these is true or false for it."""

    whole: jax.Array
    """Large order or argument all the time."""
    part: jax.Array
    """The same at first."""
    moderate: jax.Array
    small: jax.Array
    first: jax.Array
    """2 gamma t' spent in the first stage, if that is a part of the way."""
    second: jax.Array
    """The same in the second, of moderate argument."""


def _stages(s, d, a, mu, gamma, time) -> _Stages:
    total = 2 * gamma * time
    k = a * jnp.abs(s * d)
    edge = 4 * gamma * debye.THRESHOLD
    whole = jnp.hypot(2 * mu, k * jnp.exp(-total)) >= edge
    part = ~whole & (jnp.hypot(2 * mu, k) > edge)
    k_edge = jnp.sqrt(jnp.where(part, (edge - 2 * mu) * (edge + 2 * mu), 1))
    first = jnp.where(part, jnp.log(jnp.where(part, k, 1) / k_edge), 0)
    first = jnp.clip(first, 0, total)
    x = jnp.where(whole, 0, k * jnp.exp(-first)) / jnp.where(whole, 1, 4 * gamma)
    moderate = ~whole & (x > _EDGE_SMALL) & (first < total)
    second = jnp.where(moderate, jnp.log(jnp.where(moderate, x, 1) / _EDGE_SMALL), 0)
    second = jnp.minimum(second, jnp.where(moderate, total - first, 0))
    return _Stages(whole, part, moderate, ~whole & (total - first - second > 0), first, second)


# --- short times --------------------------------------------------------------

# Terms that leave half an eps where the near form is used.
_NUM_TAYLOR = {"float32": 10, "float64": 17}


def _near(w1, w2, a, mu, gamma, time):
    """Taylor series in time: right at t = 0 with all derivatives."""
    s, d = w1 + w2, w1 - w2
    u, v = a * s * s * time / 2, a * d * d * time / 2
    rate, loss = mu * time, 4 * gamma * time
    c, sine, slope, g = _taylor(rate, u * v, loss)
    p = c + (u - rate) * sine
    q = rate * sine + slope + v * g
    up = jnp.sqrt(q / p)
    down = jnp.exp(-loss / 2) / up
    # Written as changes, for at t = 0 the weights come back as they are; where
    # the changes are large they would cancel.
    mild = jnp.abs(up - 1) < 0.25
    change_s, change_d = s * (up - 1) / 2, d * (down - 1) / 2
    w1_t = jnp.where(mild, w1 + (change_s + change_d), (s * up + d * down) / 2)
    w2_t = jnp.where(mild, w2 + (change_s - change_d), (s * up - d * down) / 2)
    return State(w1_t, w2_t, w1_t * w2_t)


def _taylor(rate, squared, loss):
    """C, S, S' and G at the end of a unit of time.

    C and S solve f'' = (rate^2 + squared e^{-loss tau}) f from (1, 0) and
    (0, 1); G' = rate G + e^{-loss tau} (C - rate S) from 0.
    """
    one, zero = jnp.ones_like(rate), jnp.zeros_like(rate)
    num_terms = _NUM_TAYLOR[rate.dtype.name]
    damp = [one]
    for j in range(1, num_terms):
        damp.append(damp[-1] * (-loss / j))
    c, s, g = [one, zero], [zero, one], [zero]
    for n in range(num_terms - 2):
        damped_c = sum(damp[j] * c[n - j] for j in range(n + 1))
        damped_s = sum((damp[j] * s[n - j] for j in range(n)), zero)
        c.append((rate**2 * c[n] + squared * damped_c) / ((n + 2) * (n + 1)))
        s.append((rate**2 * s[n] + squared * damped_s) / ((n + 2) * (n + 1)))
        g.append((rate * g[n] + damped_c - rate * damped_s) / (n + 1))
    slope = sum(n * s[n] for n in reversed(range(1, num_terms)))
    return sum(reversed(c)), sum(reversed(s)), slope, sum(reversed(g))


# --- longer times ---------------------------------------------------------------


def _far(s, d, a, mu, gamma, time):
    """The state after `time`, through the stages that x passes."""
    whole, part, moderate, small, first, second = _stages(s, d, a, mu, gamma, time)
    positive = jnp.where(whole, 1, gamma)  # past the first stage gamma > 0
    spent = jnp.where(whole, time, first / (2 * positive))
    aw = jnp.full_like(s, jnp.nan)
    s, d, aw = _stage(_stage_large, whole | part, (s, d, aw), a, mu, gamma, spent)
    aw = jnp.where(whole, aw, jnp.nan)
    gamma = positive
    # Of the state itself, which is k exp(-2 gamma t') / (4 gamma) but for rounding.
    x = jnp.where(whole, 0, a * jnp.abs(s * d)) / (4 * gamma)
    s, d = _stage(_stage_moderate, moderate, (s, d), a, mu, gamma, x, second)
    rest = time - jnp.where(whole, 0, spent) - second / (2 * gamma)
    s, d = _stage(_stage_small, small, (s, d), a, mu, gamma, rest)
    return _weights(s, d, a, aw)


def _stage(stage, active, state, *others):
    """The state after a stage, which is passed over where no member needs it."""

    def passed(state, *others):
        return stage(active, state, *others)

    return where_needed(passed, active, lambda state, *_: state, state, *others)


def _weights(s, d, a, aw):
    """Weights and mapping; through `aw`, (lambda + epsilon) w, where that is a number."""
    one, two = (s + d) / 2, (s - d) / 2
    settled = ~jnp.isnan(aw)
    w = jnp.where(settled, jnp.where(settled, aw, 0) / jnp.where(settled, a, 1), one * two)
    # The larger weight as it is, the other one as what is left of the mapping.
    first = jnp.abs(one) >= jnp.abs(two)
    other = w / jnp.where(settled, jnp.where(first, one, two), 1)
    return State(jnp.where(settled & ~first, other, one), jnp.where(settled & first, other, two), w)


def _fed(active, values, harmless):
    """Values where a stage is active, harmless ones where its result is not used."""
    return (jnp.where(active, v, h) for v, h in zip(values, harmless, strict=True))


def _advance(s, d, a, start, end, half, gone, shrunk):
    """s and d at the end of a stage from its two fundamental solutions.

    With them the excess of a s^2 / 2 over its value on the growing solution alone.

    `start` and `end` hold (growth rate of the growing solution plus mu, that of
    the decaying one less mu, over (k/2)^2); half^2 = 1 - gone is the ratio of
    the decaying to the growing solution, `shrunk` is exp(-2 gamma t').
    """
    up0, down0 = start
    up1, down1 = end
    tiny = jnp.finfo(s.dtype).tiny
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.maximum(jnp.abs(s), half), tiny))
    ss, hs = s / scale, half / scale
    v = a * d * d / 2
    faded = half * half * shrunk * shrunk
    # (k/2)^2 = (a s^2 / 2) v
    over = up1 + v * (a * s * s / 2) * faded * down1 + v * (down0 * up1 - faded * up0 * down1)
    under = a / 2 * ss * ss * (gone + v * down0) + hs * hs * up0
    under = jnp.where(under > 0, under, 1)
    factor = jnp.sqrt(over / under)
    u = a * s * s / 2
    excess = hs * (hs / under) * (u - up0) * (up1 + u * v * (shrunk * shrunk) * down1)
    return ss * factor, d * shrunk * (scale / factor), excess


def _stage_large(active, state, a, mu, gamma, time):
    """Large order or argument: uniform expansions, gamma = 0 included."""
    s, d, _ = state
    s, d, a, mu, gamma, time = _fed(active, (s, d, a, mu, gamma, time), (1, 1, 1, 1, 0, 1))
    shrunk = jnp.exp(-2 * gamma * time)
    k0 = a * jnp.abs(s * d)
    k1 = k0 * shrunk
    z0, z1 = _hypot(2 * mu, k0), _hypot(2 * mu, k1)
    series0 = debye.series(4 * gamma / z0, (2 * mu / z0) ** 2)
    series1 = debye.series(4 * gamma / z1, (2 * mu / z1) ** 2)
    exponent = _exponent(mu, gamma, time, k0, z0, z1)
    f = series1.u_plus / series1.u_minus * (series0.u_minus / series0.u_plus)
    decayed = jnp.exp(-exponent)
    half = jnp.exp(-exponent / 2) * jnp.sqrt(f)
    gone = decayed * (1 - f) - jnp.expm1(-exponent)
    s, d, excess = _advance(
        s, d, a, _slopes(mu, k0, z0, series0), _slopes(mu, k1, z1, series1), half, gone, shrunk
    )
    bend = k1 * (k1 / (2 * z1)) * (series1.n_minus / series1.u_minus)
    aw = _settled(s, a, mu, k1, z1, bend + excess)
    return tuple(jnp.where(active, new, old) for new, old in zip((s, d, aw), state, strict=True))


def _settled(s, a, mu, k, z, excess):
    """(lambda + epsilon) w near its slow path, NaN where that form would cancel.

    s and d move with time at the rate gamma even where w has come to rest:
    their difference would magnify rounding of a derivative in gamma by t'.
    """
    u = a * s * s / 2
    near = u > z / 64  # elsewhere w is still small
    u = jnp.where(near, u, z)
    v = (k / 2) * (k / 2) / u
    down = k * (k / (2 * (z + 2 * mu)))  # v on the slow path
    change = excess / 2 * (1 + down / u)
    settled = near & (jnp.abs(mu) + jnp.abs(change) <= u + v)
    return jnp.where(settled, mu + change, jnp.nan)


def _hypot(x, y):
    """hypot with a derivative at y = 0; inputs are of moderate size here."""
    return jnp.sqrt(x * x + y * y)


def _slopes(mu, k, z, series):
    up = (z + 2 * mu) / 2 + k * (k / (2 * z)) * (series.n_minus / series.u_minus)
    down = 2 / (z + 2 * mu) + 2 / z * (series.n_plus / series.u_plus)
    return up, down


def _exponent(mu, gamma, time, k0, z0, z1):
    """Integral of z over the stage, in terms that gamma -> 0 leaves finite."""
    elapsed = time * fraction_gone(4 * gamma * time)
    drop = 2 * k0 * k0 * elapsed / (z0 + z1)
    y = 2 * drop / (2 * mu + z1)
    return drop + 2 * mu * time - mu * y * log1p_ratio(gamma * y)


def _stage_moderate(active, state, a, mu, gamma, x, lost):
    """Moderate argument, moderate order: K by quadrature, I by recurrence."""
    s, d = state
    s, d, a, mu, gamma, x, lost = _fed(
        active, (s, d, a, mu, gamma, x, lost), (1, 1, 1, 3, 1, 2, 0.5)
    )
    nu = mu / (2 * gamma)
    shrunk = jnp.exp(-lost)
    ends = jnp.stack([x, x * shrunk])
    both = bessel.ratios(jnp.broadcast_to(nu, ends.shape), ends)
    step = 2 * gamma * ends
    up, down = step * both.k, both.i / step
    z = 4 * gamma * jnp.sqrt(nu * nu + ends * ends)
    exponent = _exponent(mu, gamma, lost / (2 * gamma), 4 * gamma * x, z[0], z[1])
    wronskian = ends * (both.k + both.i)
    f = (both.k_scaled[0] / both.k_scaled[1]) ** 2 * (wronskian[0] / wronskian[1])
    half = jnp.exp(-exponent / 2) * jnp.sqrt(f)
    s, d, _ = _advance(s, d, a, (up[0], down[0]), (up[1], down[1]), half, 1 - half * half, shrunk)
    return jnp.where(active, s, state[0]), jnp.where(active, d, state[1])


_EDGE_SMALL = 0.25
_NUM_SMALL = {"float32": 6, "float64": 12}


def _stage_small(active, state, a, mu, gamma, time):
    """Argument up to 1/4: series in x^2, reduction of order for the second solution.

    No singularity at integer order; w1 = +-w2 is the case x = 0.
    """
    s, d = state
    s, d, a, mu, gamma, time = _fed(active, (s, d, a, mu, gamma, time), (1, 1, 1, 1, 1, 1))
    lost = 2 * gamma * time
    x2 = jnp.square(a * s * d / (4 * gamma))
    y0, ratio0, inverse = _series_small(mu / (2 * gamma), x2)
    y1, ratio1, _ = _series_small(mu / (2 * gamma), x2 * jnp.exp(-2 * lost))

    rise = jnp.maximum(mu, 0)
    fall = mu - rise
    half = jnp.exp(-rise * time)
    scale = jax.lax.stop_gradient(
        jnp.maximum(jnp.maximum(jnp.abs(s), half), jnp.finfo(s.dtype).tiny)
    )
    ss, hs = s / scale, half / scale
    reach, power = jnp.zeros_like(x2), jnp.ones_like(x2)
    for n, c in enumerate(inverse):
        reach = reach + c * power * scaled_growth((2 * mu - 4 * n * gamma) * time, rise * time)
        power = power * x2
    v = a * d * d / (4 * gamma)
    source = 1 + v * ratio0
    under = jnp.square(hs * y1 / y0) + a / 2 * ss * ss * source * y1 * y1 * time * reach
    lag = v * ratio1 * jnp.exp(-2 * lost - 2 * fall * time)
    factor = jnp.sqrt(source / jnp.where(under > 0, under, 1) - lag * scale * scale)
    s_t = ss * factor * jnp.exp(fall * time)
    d_t = d * jnp.exp(-lost - fall * time) * (scale / factor)
    return jnp.where(active, s_t, state[0]), jnp.where(active, d_t, state[1])


def _series_small(nu, x2):
    """y = I_nu / (leading power), I_{nu+1} / (x I_nu), coefficients of 1/y^2."""
    num_terms = _NUM_SMALL[nu.dtype.name]
    e = [jnp.ones_like(nu)]
    for n in range(1, num_terms + 1):
        e.append(e[-1] / (4 * n * (nu + n)))
    y, slope = jnp.zeros_like(x2), jnp.zeros_like(x2)
    for n in reversed(range(num_terms)):
        y = y * x2 + e[n]
        slope = slope * x2 + 2 * (n + 1) * e[n + 1]
    square = [sum(e[j] * e[n - j] for j in range(n + 1)) for n in range(num_terms)]
    inverse = [jnp.ones_like(nu)]
    for n in range(1, num_terms):
        inverse.append(
            -sum((square[j] * inverse[n - j] for j in range(1, n + 1)), jnp.zeros_like(nu))
        )
    return y, slope / y, inverse
