"""High-precision reference values of the flow, in mpmath.

Everything here is independent of `lindae_jax`: exact sums and differences of
the weights, closed forms in enough digits that no cancellation matters, and a
Taylor-series integrator of the two differential equations that shares nothing
with the closed forms. The formulas are those of docs/theory.md, sections 2 to 4.

Binary floating-point input is taken exactly, and t' = learning_rate * t is the
exact product. All values are good to at least 40 digits relative to the norm
w1^2 + w2^2, and to 40 digits of each weight where the flow keeps its sign.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from mpmath import inf, mp, mpf

DIGITS = 60  # of the results; the working precision is higher
_DEBYE_FROM = 120.0  # hypot(nu, x) above which the uniform expansions give DIGITS


class Flow(NamedTuple):
    """The weights and their product, as mpf."""

    w1: mpf
    w2: mpf
    mapping: mpf


def _from_sum_and_difference(s: mpf, d: mpf) -> Flow:
    return Flow((s + d) / 2, (s - d) / 2, (s * s - d * d) / 4)


# --- the flow without decay -------------------------------------------------


def flow_no_decay(t, w1, w2, eigenvalue, noise, learning_rate=1.0) -> Flow:
    """Weights at epoch t of the flow without decay, from any weights.

    Written for s = w1 + w2 and d = w1 - w2: s^2 is multiplied by Q/P and d^2 by
    P/Q, where P and Q are sums of positive terms; z = 0 is their limit.
    Negative eigenvalues and noise are taken too, for difference quotients.
    """
    with mp.workdps(2 * DIGITS):
        w1, w2, lam = mpf(w1), mpf(w2), mpf(eigenvalue)
        a = lam + mpf(noise)
        s, d = w1 + w2, w1 - w2
        if t == inf:
            return _limit_no_decay(s, d, lam, a)
        time = mpf(t) * mpf(learning_rate)
        if time == 0:
            return Flow(w1, w2, w1 * w2)
        p, q = _growth(time, s, d, lam, a)
        ratio = mp.sqrt(q / p)
        return _from_sum_and_difference(s * ratio, d / ratio)


def _roots(lam: mpf, k: mpf) -> tuple[mpf, mpf, mpf]:
    """z = hypot(2 lam, k), z + 2 lam and z - 2 lam, the last two without cancellation."""
    z = mp.sqrt(4 * lam * lam + k * k)
    if lam >= 0:
        high = z + 2 * lam
        return z, high, k * k / high if high else mpf(0)
    low = z - 2 * lam
    return z, k * k / low, low


def _growth(time: mpf, s: mpf, d: mpf, lam: mpf, a: mpf) -> tuple[mpf, mpf]:
    """P and Q, up to a common factor: s^2(t) = s^2 Q/P, d^2(t) = d^2 P/Q."""
    z, high, low = _roots(lam, a * s * d)
    # 1 - E cancels where z t' is small, and a s^2 may be large beside z.
    lost = max(0, -mp.mag(z * time)) + max(0, mp.mag(a * (s * s + d * d)) - mp.mag(z)) if z else 0
    with mp.extraprec(lost):
        if z == 0:
            return 1 + a * s * s * time / 2, 1 + a * d * d * time / 2
        decayed = mp.exp(-z * time)
        u = 1 - decayed
        return low + high * decayed + a * s * s * u, high + low * decayed + a * d * d * u


def _limit_no_decay(s: mpf, d: mpf, lam: mpf, a: mpf) -> Flow:
    if a == 0:
        return _from_sum_and_difference(s, d)
    if s == 0:
        return Flow(mpf(0), mpf(0), mpf(0))
    _, high, low = _roots(lam, a * s * d)
    end = _from_sum_and_difference(mp.sign(s) * mp.sqrt(high / a), mp.sign(d) * mp.sqrt(low / a))
    return end._replace(mapping=lam / a)


# --- modified Bessel functions, log-scaled ----------------------------------


class _Bessel(NamedTuple):
    """ln I_nu, ln K_nu, I_{nu+1}/I_nu and K_{nu+1}/K_nu at one x."""

    log_i: mpf
    log_k: mpf
    ratio_i: mpf
    ratio_k: mpf


def _bessel(nu: mpf, x: mpf) -> _Bessel:
    """Choose the method by size: ascending series, trapezoidal rule, uniform expansions."""
    if mp.hypot(nu, x) > _DEBYE_FROM:
        log_i, log_k = _debye(nu, x)
        next_i, next_k = _debye(nu + 1, x)
        return _Bessel(log_i, log_k, mp.exp(next_i - log_i), mp.exp(next_k - log_k))
    k, next_k = _bessel_k(nu, x)
    ratio_i, ratio_k = _ratio_i(nu, x), next_k / k
    # The Wronskian I_nu K_{nu+1} + I_{nu+1} K_nu = 1/x gives I_nu.
    log_i = -mp.log(x * k * (ratio_k + ratio_i))
    return _Bessel(log_i, mp.log(k), ratio_i, ratio_k)


def _bessel_k(nu: mpf, x: mpf) -> tuple[mpf, mpf]:
    if x < 1:
        return mp.besselk(nu, x), mp.besselk(nu + 1, x)
    return _bessel_k_trapezoidal(nu, x)


def _bessel_k_trapezoidal(nu: mpf, x: mpf) -> tuple[mpf, mpf]:
    """K_nu and K_{nu+1} from 1/2 int exp(-x cosh u + nu u) du about its saddle.

    The integrand is entire: shifting the contour by i theta bounds the relative
    error of step h by exp(-2 pi theta/h) cos(theta)^-w, w = hypot(nu, x).
    """
    w = mp.hypot(nu, x)
    size, wanted = float(w), (DIGITS + 10) * math.log(10)
    step = 0.72 * min(math.sqrt(2 * math.pi**2 / (wanted * size)), math.pi**2 / wanted)
    h = mpf(step)
    sums = [mpf(0), mpf(0)]
    saddle = mp.log((nu + w) / x)
    for sign in (1, -1):
        e = (nu + w) / x
        factor, u, j = mp.exp(sign * h), saddle, 0
        while True:
            if j or sign == 1:
                exponent = nu * (u - saddle) - x * (e + 1 / e) / 2 + w
                if exponent < -wanted:
                    break
                term = mp.exp(exponent)
                sums[0] += term
                sums[1] += term * e
            e, u, j = e * factor, u + sign * h, j + 1
    scale = h / 2 * mp.exp(nu * saddle - w)
    return scale * sums[0], scale * sums[1]


def _ratio_i(nu: mpf, x: mpf) -> mpf:
    """I_{nu+1}/I_nu by downward recurrence, started high enough for all digits."""
    n, start, wanted, size = 0, float(nu), 2.4 * mp.dps, max(float(x), 1e-99)
    contraction = 0.0
    while contraction < wanted:
        n += 1
        contraction += 2 * math.asinh(max(start + n, 0.5) / size)
    ratio = mpf(0)
    for j in range(n, 0, -1):
        ratio = x / (2 * (nu + j) + x * ratio)
    return ratio


@functools.cache
def _debye_coefficients(k: int) -> tuple[Fraction, ...]:
    """Coefficients of U_k(p)/p^k in powers of p^2 (the standard recursion, exact)."""
    if k == 0:
        return (Fraction(1),)
    result = [Fraction(0)] * (k + 1)
    for j, c in enumerate(_debye_coefficients(k - 1)):
        m = k - 1 + 2 * j  # c p^m is one term of U_{k-1}
        result[j] += c * (Fraction(m, 2) + Fraction(1, 8 * (m + 1)))
        result[j + 1] -= c * (Fraction(m, 2) + Fraction(5, 8 * (m + 3)))
    return tuple(result)


_FIXED = 1024  # bits behind the point of the fixed-point coefficients


@functools.cache
def _debye_fixed(k: int) -> tuple[int, ...]:
    return tuple((c.numerator << _FIXED) // c.denominator for c in _debye_coefficients(k))[::-1]


def _debye(nu: mpf, x: mpf) -> tuple[mpf, mpf]:
    """ln I_nu(x) and ln K_nu(x) by the uniform expansions in 1/hypot(nu, x)."""
    w = mp.hypot(nu, x)
    p2 = int(mp.ldexp((nu / w) ** 2, 512))
    inverse = 1 / w
    power, sums, size = mpf(1), [mpf(0), mpf(0)], float(w)
    k, bound = 0, 1.0
    while bound > 10.0 ** -(DIGITS + 15):
        value = 0
        for c in _debye_fixed(k):
            value = ((value * p2) >> 512) + c
        sums[k % 2] += power * mp.ldexp(mpf(value), -_FIXED)
        power *= inverse
        k += 1
        # U_k(p)/nu^k shrinks at first like k!/(2w)^k; past k = 2w it never will.
        bound *= k / (2 * size)
        if k > 1.9 * size:
            raise ArithmeticError("Debye expansion used outside its range")
    eta = w - nu * mp.log((nu + w) / x)
    log_i = eta - mp.log(2 * mp.pi * w) / 2 + mp.log(sums[0] + sums[1])
    log_k = -eta + mp.log(mp.pi / (2 * w)) / 2 + mp.log(sums[0] - sums[1])
    return log_i, log_k


# --- the flow with decay ----------------------------------------------------


def flow(t, w1, w2, eigenvalue, noise, decay, learning_rate=1.0) -> Flow:
    """Weights at epoch t of the flow, with or without decay, from any weights."""
    if decay == 0:
        return flow_no_decay(t, w1, w2, eigenvalue, noise, learning_rate)
    with mp.workdps(2 * DIGITS):
        w1, w2 = mpf(w1), mpf(w2)
        lam, gamma = mpf(eigenvalue), mpf(decay)
        a = lam + mpf(noise)
        s, d = w1 + w2, w1 - w2
        if t == inf:
            return _limit_with_decay(s, lam, a, gamma)
        time = mpf(t) * mpf(learning_rate)
        if time == 0:
            return Flow(w1, w2, w1 * w2)
        if a == 0:
            shrunk = mp.exp(-gamma * time)
            return _from_sum_and_difference(s * shrunk, d * shrunk)
        if s * d == 0:
            return _from_sum_and_difference(
                _alone(time, s, lam - gamma, a), _alone(time, d, -lam - gamma, a)
            )
        return _unbalanced(time, s, d, lam, a, gamma)


def _limit_with_decay(s: mpf, lam: mpf, a: mpf, gamma: mpf) -> Flow:
    if s == 0 or lam <= gamma:
        return Flow(mpf(0), mpf(0), mpf(0))
    weight = mp.sign(s) * mp.sqrt((lam - gamma) / a)
    return Flow(weight, weight, weight * weight)


def _alone(time: mpf, s: mpf, rate: mpf, a: mpf) -> mpf:
    """s(t) of (s^2)' = 2 rate s^2 - (a/2) s^4: where the other of s, d is 0."""
    if s == 0:
        return s
    u = s * s
    if rate == 0:
        return s / mp.sqrt(1 + a * u * time / 2)
    with mp.extraprec(max(0, -mp.mag(rate * time))):
        grown = mp.exp(-2 * abs(rate) * time)
        if rate > 0:
            return s / mp.sqrt(grown + a * u * (1 - grown) / (4 * rate))
        return s * mp.sqrt(grown / (1 - a * u * (1 - grown) / (4 * rate)))


def _unbalanced(time: mpf, s: mpf, d: mpf, lam: mpf, a: mpf, gamma: mpf) -> Flow:
    """Section 3's ratio of Bessel functions, rho = |s/d|."""
    length = 2 * gamma * time
    # ln I and ln K reach nu * length; T is the exponential of their differences.
    extra = int(max(0, mp.mag(abs(lam) * time + a * abs(s * d) / gamma + 1 / gamma)))
    with mp.extraprec(extra):
        nu = (lam - gamma) / (2 * gamma)
        x0 = a * abs(s * d) / (4 * gamma)
        x = x0 * mp.exp(-length)
        b0, b = _bessel(nu, x0), _bessel(nu, x)
        mixed = mp.exp(b0.log_k - b0.log_i + b.log_i - b.log_k)
        rho0 = abs(s / d)
        top = b0.ratio_i * b.ratio_k - b0.ratio_k * b.ratio_i * mixed
        top += rho0 * (b.ratio_k + b.ratio_i * mixed)
        bottom = b0.ratio_i + b0.ratio_k * mixed + rho0 * (1 - mixed)
        rho = top / bottom
        common = abs(s * d) * mp.exp(-length)
        return _from_sum_and_difference(
            mp.sign(s) * mp.sqrt(common * rho), mp.sign(d) * mp.sqrt(common / rho)
        )


def balanced_alike(t, w, eigenvalue, noise, decay, learning_rate=1.0) -> mpf:
    """w1(t) = w2(t) of the flow from w1 = w2 = w, by the paper's equation (7) with noise."""
    with mp.workdps(2 * DIGITS):
        time = mpf(t) * mpf(learning_rate)
        rate = mpf(eigenvalue) - mpf(decay)
        return _alone(time, 2 * mpf(w), rate, mpf(eigenvalue) + mpf(noise)) / 2


# --- an integrator that shares nothing with the closed forms ----------------


def flow_by_taylor(
    t, w1, w2, eigenvalue, noise, decay, learning_rate=1.0, *, order=50, digits=50
) -> Flow:
    """Weights at epoch t by Taylor steps of the two differential equations.

    Costs about 10 ms a step and takes a step per unit of (rate of the weights)
    times t': for moderate times only.
    """
    with mp.workdps(digits + 15):
        lam, gamma = mpf(eigenvalue), mpf(decay)
        a = lam + mpf(noise)
        u, v, left = mpf(w1), mpf(w2), mpf(t) * mpf(learning_rate)
        tolerance = mpf(10) ** -(digits + 5)
        while left > 0:
            cu, cv = _taylor_coefficients(u, v, lam, a, gamma, order)
            size = abs(u) + abs(v) + tolerance
            largest = max(
                abs(c[-j]) ** (mpf(1) / (order + 1 - j)) for c in (cu, cv) for j in (1, 2)
            )
            step = min(left, (tolerance * size) ** (mpf(1) / order) / largest) if largest else left
            u, v = (functools.reduce(lambda x, y, h=step: x * h + y, c[::-1]) for c in (cu, cv))
            left -= step
        return Flow(u, v, u * v)


def _taylor_coefficients(u, v, lam, a, gamma, order) -> tuple[list[mpf], list[mpf]]:
    cu, cv, gradient = [u], [v], []
    for n in range(order):
        product = mp.fdot(cu, cv[::-1])
        gradient.append((lam if n == 0 else 0) - a * product)
        cu.append((mp.fdot(gradient, cv[::-1]) - gamma * cu[n]) / (n + 1))
        cv.append((mp.fdot(gradient, cu[n::-1]) - gamma * cv[n]) / (n + 1))
    return cu, cv


# --- first-passage times ----------------------------------------------------


def time_to_mapping_no_decay(target, w1, w2, eigenvalue, noise, learning_rate=1.0) -> mpf:
    """Smallest epoch with w(t) = target, no decay; inf if there is none.

    On the conserved hyperbola U V = c^2 the target fixes U = s^2, and U = U0 Q/P
    is a ratio of two linear functions of exp(-z t').
    """
    with mp.workdps(4 * DIGITS):
        w1, w2, lam, w = mpf(w1), mpf(w2), mpf(eigenvalue), mpf(target)
        a = lam + mpf(noise)
        s, d, w0 = w1 + w2, w1 - w2, w1 * w2
        if w == w0:
            return mpf(0)
        if a == 0 or (s == 0 and d == 0):
            return inf
        if not (w0 < w < 0 if s == 0 else min(w0, lam / a) < w < max(w0, lam / a)):
            return inf
        u0, v0 = s * s, d * d
        n = mp.sqrt(4 * w * w + u0 * v0)
        u, v = n + 2 * w, n - 2 * w
        z, high, low = _roots(lam, a * s * d)
        if z == 0:  # U P = U0 Q or V Q = V0 P, with P and Q linear in t'
            time = 2 * (u0 - u) / (a * u0 * (u - v0)) if s else 2 * (v0 - v) / (a * v0 * (v - u0))
        elif s == 0:
            time = -mp.log(v * (high + a * v0) / (v0 * high + a * v0 * v)) / z
        else:
            top = u0 * (high + a * v0) - u * (low + a * u0)
            bottom = u * (high - a * u0) - u0 * (low - a * v0)
            time = -mp.log(top / bottom) / z
        return time / mpf(learning_rate)


def time_to_mapping(
    target, w1, w2, eigenvalue, noise, decay, learning_rate=1.0, *, digits=25
) -> mpf:
    """Smallest epoch with w(t) = target, by bracketing on the flow; inf if there is none.

    w(t) is followed over a geometric grid in t'; each turning point is found from
    the sign of w' and splits its interval, so a target met twice gives the first.
    """
    if decay == 0:
        return time_to_mapping_no_decay(target, w1, w2, eigenvalue, noise, learning_rate)
    with mp.workdps(2 * DIGITS):
        lam, gamma, w = mpf(eigenvalue), mpf(decay), mpf(target)
        a = lam + mpf(noise)

        def excess_and_slope(time):
            u, v, product = flow(time, w1, w2, eigenvalue, noise, decay)
            slope = (lam - a * product) * (u * u + v * v) - 2 * gamma * product
            return product - w, slope

        def excess(time):
            return excess_and_slope(time)[0]

        before, (start, slope) = mpf(0), excess_and_slope(mpf(0))
        if start == 0:
            return mpf(0)
        for time in _time_grid(w, w1, w2, lam, a, gamma):
            ends, next_slope = [time], excess_and_slope(time)[1]
            if slope * next_slope < 0:
                ends.insert(0, _root(lambda x: excess_and_slope(x)[1], before, time, 20))
            for end in ends:
                if excess(end) * start <= 0:
                    return _root(excess, before, end, digits) / mpf(learning_rate)
                before = end
            slope = next_slope
        return inf


def _time_grid(target, w1, w2, lam, a, gamma) -> list[mpf]:
    """From far below the fastest time scale to far beyond the slowest one."""
    fastest = 1 / (2 * lam + 2 * gamma + a * (mpf(w1) ** 2 + mpf(w2) ** 2))
    last = 200 / min(x for x in (gamma, abs(lam - gamma)) if x)
    if a and target:  # gamma = lambda: the decay is algebraic, w ~ 1/(2 a t')
        last = max(last, 10 / (a * abs(target)))
    points = [fastest * mpf(10) ** -12]
    while points[-1] < last:
        points.append(points[-1] * (mpf(1000) if points[-1] < fastest / 1000 else mpf(2)))
    return points


def _root(function: Callable[[mpf], mpf], low: mpf, high: mpf, digits: int) -> mpf:
    """Root of a bracketed function by the Illinois variant of false position."""
    f_low, f_high = function(low), function(high)
    tolerance = mpf(10) ** -digits
    for _ in range(200):
        if f_high == 0:
            return high
        middle = high - f_high * (high - low) / (f_high - f_low)
        if abs(middle - high) <= tolerance * abs(middle):
            return middle
        f = function(middle)
        if f * f_high < 0:
            low, f_low = high, f_high
        else:
            f_low /= 2
        high, f_high = middle, f
    raise ArithmeticError("no convergence")


# --- limits and derivatives -------------------------------------------------


def fixed_point(eigenvalue, noise, decay) -> mpf:
    """w* = max(0, (lambda - gamma)/(lambda + epsilon)), 0 where lambda = epsilon = 0."""
    with mp.workdps(DIGITS):
        a = mpf(eigenvalue) + mpf(noise)
        return max(mpf(0), (mpf(eigenvalue) - mpf(decay)) / a) if a else mpf(0)


def derivative(
    function: Callable[..., tuple[mpf, ...]], args: tuple, index: int, *, forward: bool
) -> list[mpf]:
    """d function / d args[index], from differences at steps of 1e-10.

    `forward` uses only larger arguments (t = 0, decay = 0: the edge of the
    domain), third order; otherwise central, fourth order. The functions hold 40
    digits or more, so what is left is the truncation: 1e-29 times higher
    derivatives.
    """
    weights = (
        {0: Fraction(-11, 6), 1: Fraction(3), 2: Fraction(-3, 2), 3: Fraction(1, 3)}
        if forward
        else {-2: Fraction(1, 12), -1: Fraction(-2, 3), 1: Fraction(2, 3), 2: Fraction(-1, 12)}
    )
    with mp.workdps(2 * DIGITS):
        h = mpf(10) ** -10
        rows = [
            [mpf(c.numerator) / c.denominator / h * x for x in function(*moved)]
            for j, c in weights.items()
            for moved in [(*args[:index], mpf(args[index]) + j * h, *args[index + 1 :])]
        ]
        return [mp.fsum(column) for column in zip(*rows, strict=True)]


# --- arrays -----------------------------------------------------------------


def pair(value: mpf) -> tuple[float, float]:
    """A value as the unevaluated sum of two floats (106 bits)."""
    high = float(value)
    return high, float(value - high) if math.isfinite(high) else 0.0


def flow_table(columns: np.ndarray) -> np.ndarray:
    """Reference flow of many points, row by row.

    Parameters
    ----------
    columns : ndarray, (n, 7)
        t, w1, w2, eigenvalue, noise, decay, learning_rate.

    Returns
    -------
    ndarray, (n, 6)
        w1, w2, mapping as sums of two floats: high parts, then low parts.
    """
    rows = []
    for row in columns.tolist():
        parts = [pair(x) for x in flow(*row)]
        rows.append([high for high, _ in parts] + [low for _, low in parts])
    return np.array(rows).reshape(len(rows), 6)
