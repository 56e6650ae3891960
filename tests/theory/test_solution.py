"""Derivatives in all inputs where formulas break: zeros, ties and limits."""

import functools

import accuracy
import derivatives
import jax
import numpy as np
import oracle
import pytest
import regimes
from mpmath import mp, mpf

from lindae_jax import Problem, theory
from lindae_jax.theory import solution

INPUTS = ("t", "w1", "w2", "eigenvalue", "noise", "decay", "learning_rate")
EDGES = (0, 3, 4, 5)  # inputs that may not be negative

# Numbers of the inputs are exact in float32, so both lanes share the reference.
CORNERS = {
    "generic": (3, 0.25, 0.75, 1.25, 0.5, 0, 0.5),
    "generic, decay": (3, 0.25, 0.75, 1.25, 0.5, 0.25, 0.5),
    "t = 0": (0, 0.25, 0.75, 1.25, 0.5, 0, 0.5),
    "t = 0, decay": (0, 0.25, 0.75, 1.25, 0.5, 0.25, 0.5),
    "t = 0, w1 = w2": (0, 0.5, 0.5, 1.25, 0.5, 0.25, 0.5),
    "t = 0, w1 = -w2": (0, 0.5, -0.5, 1.25, 0.5, 0.25, 0.5),
    "t = 0, eigenvalue = decay": (0, 0.25, 0.75, 0.25, 0.5, 0.25, 0.5),
    "t = 0, all 0": (0, 0.25, 0.75, 0, 0, 0, 0.5),
    "one weight 0": (3, 0, 0.75, 1.25, 0.5, 0, 0.5),
    "other weight 0, decay": (3, 0.75, 0, 1.25, 0.5, 0.25, 0.5),
    "one weight 0, other negative": (3, -0.75, 0, 1.25, 0.5, 0, 0.5),
    "t = 0, one weight 0, other negative": (0, 0, -0.75, 1.25, 0.5, 0, 0.5),
    "one weight -0": (3, 0.75, -0.0, 1.25, 0.5, 0, 0.5),
    "both weights 0": (3, 0, 0, 1.25, 0.5, 0, 0.5),
    "both weights 0, decay": (3, 0, 0, 1.25, 0.5, 0.25, 0.5),
    "w(t) near 0": (1, 0.25, -0.5, 1.25, 0.5, 0, 0.5),
    "w1 = w2": (3, 0.5, 0.5, 1.25, 0.5, 0, 0.5),
    "w1 = w2, decay": (3, 0.5, 0.5, 1.25, 0.5, 0.25, 0.5),
    "w1 = w2 < 0, decay": (3, -0.5, -0.5, 1.25, 0.5, 0.25, 0.5),
    "w1 = w2, late": (32, 0.5, 0.5, 1.25, 0.5, 0, 0.5),
    "w1 = -w2": (3, 0.5, -0.5, 1.25, 0.5, 0, 0.5),
    "w1 = -w2, early": (0.125, 0.5, -0.5, 1.25, 0.5, 0, 0.5),
    "w1 = -w2, decay": (3, -0.5, 0.5, 1.25, 0.5, 0.25, 0.5),
    "eigenvalue = 0": (3, 0.25, 0.75, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, late": (64, 0.25, 0.75, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, decay": (3, 0.25, 0.75, 0, 0.5, 0.25, 0.5),
    "eigenvalue = 0, w1 = w2": (3, 0.5, 0.5, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, w1 = -w2": (3, 0.5, -0.5, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, w1 = w2, decay": (3, 0.5, 0.5, 0, 0.5, 0.25, 0.5),
    "eigenvalue = 0, w1 = -w2, decay": (3, 0.5, -0.5, 0, 0.5, 0.25, 0.5),
    "noise = 0": (3, 0.25, 0.75, 1.25, 0, 0, 0.5),
    "eigenvalue = noise = 0": (3, 0.25, 0.75, 0, 0, 0, 0.5),
    "eigenvalue = noise = 0, decay": (3, 0.25, 0.75, 0, 0, 0.25, 0.5),
    "eigenvalue = noise = 0, w1 = w2": (3, 0.5, 0.5, 0, 0, 0.25, 0.5),
    "decay = eigenvalue": (3, 0.25, 0.75, 0.25, 0.5, 0.25, 0.5),
    "decay = eigenvalue, late": (256, 0.25, 0.75, 0.25, 0.5, 0.25, 0.5),
    "decay = eigenvalue, w1 = w2": (3, 0.5, 0.5, 0.25, 0.5, 0.25, 0.5),
    "decay = eigenvalue, w1 = -w2": (3, 0.5, -0.5, 0.25, 0.5, 0.25, 0.5),
    "decay > eigenvalue": (3, 0.25, -0.75, 0.25, 0.5, 1, 0.5),
    "decay > eigenvalue, w1 = w2": (3, 0.5, 0.5, 0.25, 0.5, 1, 0.5),
    "integer order": (3, 0.25, 0.75, 1.25, 0.5, 0.25, 0.5),
    "small decay": (3, 0.25, 0.75, 1.25, 0.5, 2**-10, 0.5),
    "very small decay": (3, 0.25, 0.75, 1.25, 0.5, 2**-20, 0.5),
    "small decay, opposite signs": (3, 0.25, -0.75, 1.25, 0.5, 2**-20, 0.5),
    "decay, slide": (64, 2, 0.125, 1.25, 0.5, 0.0625, 0.5),
    "decay, late": (512, 0.25, 0.75, 1.25, 0.5, 0.25, 0.5),
}
AT_INFINITY = {
    "decay": (np.inf, 0.25, 0.75, 1.25, 0.5, 0.25, 0.5),
    "decay, w1 = w2": (np.inf, 0.5, 0.5, 1.25, 0.5, 0.25, 0.5),
    "decay > eigenvalue": (np.inf, 0.25, 0.75, 0.25, 0.5, 1, 0.5),
    "eigenvalue = noise = 0, decay": (np.inf, 0.25, 0.75, 0, 0, 1, 0.5),
}
# There the limit jumps or has a kink in at least one input.
NO_DERIVATIVE = {
    "no decay": (np.inf, 0.25, 0.75, 1.25, 0.5, 0, 0.5),
    "no decay, w1 = w2": (np.inf, 0.5, 0.5, 1.25, 0.5, 0, 0.5),
    "no decay, opposite signs": (np.inf, 0.25, -0.75, 1.25, 0.5, 0, 0.5),
    "w1 = -w2": (np.inf, 0.5, -0.5, 1.25, 0.5, 0, 0.5),
    "w1 = -w2, decay": (np.inf, 0.5, -0.5, 1.25, 0.5, 0.25, 0.5),
    "both weights 0": (np.inf, 0, 0, 1.25, 0.5, 0, 0.5),
    "both weights 0, decay": (np.inf, 0, 0, 1.25, 0.5, 0.25, 0.5),
    "decay = eigenvalue": (np.inf, 0.25, 0.75, 0.25, 0.5, 0.25, 0.5),
    "eigenvalue = 0": (np.inf, 0.25, 0.75, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, w1 = w2": (np.inf, 0.5, 0.5, 0, 0.5, 0, 0.5),
    "eigenvalue = 0, decay": (np.inf, 0.25, 0.75, 0, 0.5, 0.25, 0.5),
    "all 0": (np.inf, 0.25, 0.75, 0, 0, 0, 0.5),
}


def _curve(columns):
    """w1, w2 and mapping, of the seven inputs: the core that both public functions share.

    Going through the two of them would compile everything twice.
    """
    t, w1, w2, *rest = columns
    return tuple(solution.flow_any_decay(t, w1, w2, Problem(*rest)))


@functools.cache
def _jacobians(mode, dtype):
    """Jacobians (3, 7) of all corners at once, by point."""
    points = [*CORNERS.values(), *AT_INFINITY.values(), *NO_DERIVATIVE.values()]
    found = derivatives.jacobians(_curve, np.array(points, dtype), 3, mode)
    return dict(zip(points, found, strict=True))


@functools.cache
def _reference(args):
    """The same from differences of 40-digit flows; the limit does not depend on t."""
    columns = [_column(args, i) for i in range(7)]
    return np.array(columns, np.float64).T


def _column(args, i):
    if args[i] == np.inf:
        return [0, 0, 0]
    forward = i in EDGES and args[i] == 0
    return [float(x) for x in oracle.derivative(oracle.flow, args, i, forward=forward)]


def _assert_right(name, jacobian, reference, eps):
    """Inputs, outputs and derivatives are of order 1 here, or grow with t' and are relative."""
    assert np.isfinite(jacobian).all(), name
    close = np.abs(jacobian - reference) <= 256 * eps * (1 + np.abs(reference))
    assert np.all(close), (name, jacobian - reference)


# Transposing is the same in both dtypes, and compiling it takes long: one lane does. All points
# of a mode are one test, which two processes would otherwise compile the same for.
MODES = pytest.mark.parametrize(
    "mode", [pytest.param("forward", marks=pytest.mark.both), "backward"]
)


@MODES
def test_derivatives_are_right_at_corners_and_in_the_limit(mode, dtype, eps):
    for name, point in (*CORNERS.items(), *AT_INFINITY.items()):
        _assert_right(name, _jacobians(mode, dtype)[point], _reference(point), eps)


@MODES
def test_derivatives_are_finite_where_the_limit_has_none(mode, dtype):
    for name, point in NO_DERIVATIVE.items():
        jacobian = _jacobians(mode, dtype)[point]
        assert np.isfinite(jacobian).all(), name
        assert np.all(jacobian[:, [0, 6]] == 0), name  # t and the learning rate


@MODES
def test_limit_without_decay_is_right_in_all_but_the_decay(mode, dtype, eps):
    """On its hyperbola the end point is smooth in the weights, lambda and epsilon."""
    for name in ("no decay", "no decay, w1 = w2", "no decay, opposite signs"):
        columns = [_column(NO_DERIVATIVE[name], i) for i in range(1, 5)]
        reference = np.array(columns, np.float64).T
        _assert_right(name, _jacobians(mode, dtype)[NO_DERIVATIVE[name]][:, 1:5], reference, eps)


@pytest.mark.both
@pytest.mark.parametrize("name", ["generic", "eigenvalue = 0", "one weight 0", "w(t) near 0"])
def test_derivative_in_decay_at_none_is_the_integral(name, dtype, eps):
    """gamma = 0: d(s^2)/d(gamma) of docs/theory.md, section 3, by quadrature."""
    t, w1, w2, lam, noise, _, rate = (mpf(x) for x in CORNERS[name])
    with mp.workdps(40):
        time, a, p, m = t * rate, lam + noise, abs(w1 + w2), abs(w1 - w2)
        k = a * p * m
        y = mp.sqrt(lam**2 + k**2 / 4)

        def f(s):
            return mp.cosh(y * s) + (a * p**2 / 2 - lam) * mp.sinh(y * s) / y

        integral = mp.quad(lambda s: (2 * lam + k**2 * s) * f(s) ** 2, [0, time])
        expected = float(2 / a * ((1 - integral) / f(time) ** 2 - 1))
    w = oracle.flow(*CORNERS[name])
    jacobian = _jacobians("forward", dtype)[CORNERS[name]]
    found = 2 * float(w.w1 + w.w2) * (jacobian[0, 5] + jacobian[1, 5])
    assert abs(found - expected) <= 256 * eps * (1 + abs(expected))


@pytest.mark.both
def test_derivative_in_decay_at_rest_is_that_of_the_slow_path(rng, dtype, eps):
    """gamma = 0, long after learning: delta = w1^2 - w2^2 falls as exp(-2 gamma t').

    The mapping follows at w' = 0 to first order, (lambda - a w) N = 2 gamma w
    with N^2 = 4 w^2 + delta^2, so that its derivative stays -2 w* / (a N)
    while those of the weights grow with t'.
    """
    lam, noise, time = (
        dtype(x) for x in (rng.uniform(0.3, 2, 40), rng.uniform(0, 1, 40), np.logspace(2, 7, 40))
    )
    w1, w2 = dtype(rng.uniform(0.5, 1.5, 40)), dtype(rng.uniform(-0.4, 0.4, 40))

    zero, one = np.zeros(40, dtype), np.ones(40, dtype)
    points = np.stack([time, w1, w2, lam, noise, zero, one], axis=1)
    in_decay = np.tile(np.eye(7, dtype=dtype)[5], (40, 1))
    slopes = derivatives.pushforward(_curve, points, in_decay).T
    lam, noise, time, w1, w2 = (np.float64(x) for x in (lam, noise, time, w1, w2))
    a, delta = lam + noise, w1**2 - w2**2
    w = lam / a
    norm = np.hypot(2 * w, delta)
    slope = -2 * w / (a * norm)
    big = np.sqrt((norm + delta) / 2)
    slope_big = ((4 * w * slope - 2 * time * delta**2) / norm - 2 * time * delta) / (4 * big)
    slope_small = slope / big - w * slope_big / big**2
    for got, expected in zip(slopes, (slope_big, slope_small, slope), strict=True):
        np.testing.assert_allclose(got, expected, rtol=64 * eps)


@pytest.mark.both
def test_differential_equation_holds(rng, dtype):
    """dw/dt against the gradient of the loss, with and without decay.

    Terms of size alpha (lambda + a norm + gamma) |w|, each as good as the promise.
    """
    n = 200
    t, w1, w2 = rng.uniform(0, 200, n), rng.normal(0, 1, n), rng.normal(0, 1, n)
    lam, noise, decay = rng.uniform(0, 3, n), rng.uniform(0, 2, n), rng.uniform(0.01, 1, n)
    decay[::3] = 0
    rate = rng.uniform(0.01, 0.1, n)
    points = np.stack([t, w1, w2, lam, noise, decay, rate], axis=1).astype(dtype)
    along_t = np.zeros_like(points)
    along_t[:, 0] = 1
    slope = derivatives.pushforward(_curve, points, along_t)
    a, b, w = (np.asarray(x, np.float64) for x in jax.jit(_curve)(tuple(points.T)))
    g = lam - (lam + noise) * w
    norm = np.maximum(a * a + b * b, accuracy.DECAY_FLOOR)
    allowed = accuracy.DECAY[np.dtype(dtype)] * rate * (lam + (lam + noise) * norm + decay)
    assert np.all(np.abs(slope[:, 0] - rate * (g * b - decay * a)) <= allowed * np.sqrt(norm))
    assert np.all(np.abs(slope[:, 1] - rate * (g * a - decay * b)) <= allowed * np.sqrt(norm))
    assert np.all(
        np.abs(slope[:, 2] - rate * (g * (a * a + b * b) - 2 * decay * w)) <= 2 * allowed * norm
    )


@MODES
def test_derivatives_are_finite_in_every_regime(mode, dtype):
    """Escapes to plateaus, ties, zeros and long times: no NaN in any derivative."""
    points = np.concatenate(
        [
            regimes.sample(group, name, 50, np.dtype(dtype))
            for group in (regimes.NO_DECAY, regimes.DECAY)
            for name in group
        ]
    )
    # From w1 = -w2 the derivatives across grow like exp(lambda t') and may overflow.
    growth = points[:, 3] * points[:, 6] * points[:, 0]
    points = points[(points[:, 1] != -points[:, 2]) | (growth < 40)].astype(dtype)
    if mode == "forward":
        found = derivatives.pushforward(_curve, points, np.ones_like(points))
    else:
        found = derivatives.pullback(_curve, points, np.ones((len(points), 3), dtype))
    assert np.isfinite(found).all()


def test_batches_of_derivatives_are_traced(dtype):
    """vmap of jacfwd and of grad: every rule they need exists, compiled or not."""
    rows = tuple(np.tile(np.asarray(x, dtype), 4) for x in CORNERS["generic, decay"])

    def mapping(columns):
        t, w1, w2, *rest = columns
        return theory.mapping(t, w1, w2, Problem(*rest))

    for transformed in (jax.jacfwd(mapping), jax.grad(mapping)):
        shapes = jax.eval_shape(jax.vmap(transformed), rows)
        assert {(x.shape, x.dtype) for x in shapes} == {((4,), np.dtype(dtype))}


def test_what_belongs_to_the_start_is_not_computed_again_at_every_time():
    """Of the program's parts, that which makes the grid has what four sums need and no more."""

    def grid(t, w1, w2, eigenvalue, noise, learning_rate):
        return theory.mapping(t, w1, w2, Problem(eigenvalue, noise, 0.0, learning_rate))

    t, start = np.ones((64, 1), np.float32), np.ones(192, np.float32)
    program = jax.jit(grid).lower(t, *[start] * 5).compile().as_text()
    parts = [part for part in program.split("\n\n") if "f32[64,192]" in part]
    assert 0 < sum(part.count(" multiply(") for part in parts) < 50
