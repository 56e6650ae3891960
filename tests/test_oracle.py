"""The reference values against methods that share nothing with them."""

import numpy as np
import oracle
import pytest
import regimes
from mpmath import inf, mp, mpf

# t', w1, w2, eigenvalue, noise, decay
POINTS = {
    "plain": (3.0, 0.01, 0.02, 1.0, 0.5, 0.0),
    "escape": (9.0, 1e-8, 1.5e-8, 2.0, 0.1, 0.0),
    "opposite signs": (4.0, 0.5, -0.6, 1.0, 0.0, 0.0),
    "nearly antisymmetric": (6.0, 0.5, -0.5 * (1 + 2**-40), 2.0, 0.3, 0.0),
    "antisymmetric": (3.0, 0.5, -0.5, 2.0, 0.3, 0.0),
    "eigenvalue 0": (30.0, 0.9, 0.2, 0.0, 0.7, 0.0),
    "all 0": (7.0, 0.9, 0.2, 0.0, 0.0, 0.0),
    "decay": (8.0, 0.01, 0.02, 1.0, 0.5, 0.3),
    "decay, unbalanced": (15.0, 2.5, 0.01, 1.5, 0.5, 0.05),
    "decay, sign change": (2.0, -2.0, 0.7, 1.5, 0.5, 0.05),
    "decay, nearly antisymmetric": (8.0, 0.7, -0.7 * (1 + 2**-45), 2.0, 0.1, 0.2),
    "decay, antisymmetric": (3.0, 0.7, -0.7, 2.0, 0.1, 0.2),
    "decay, balanced": (5.0, 0.02, 0.02, 2.0, 0.1, 0.2),
    "decay = eigenvalue": (20.0, 1.2, 0.3, 0.5, 0.1, 0.5),
    "decay > eigenvalue": (5.0, 1.2, 0.3, 0.5, 0.1, 2.0),
    "integer order": (5.0, 1.2, 0.3, 3.5, 0.1, 0.5),
    "eigenvalue 0, decay": (9.0, 1.2, 0.3, 0.0, 0.4, 0.25),
    "noise 0, eigenvalue 0, decay": (2.0, 1.2, 0.3, 0.0, 0.0, 0.25),
    "small decay": (12.0, 0.1, 1.3, 1.0, 0.2, 1e-6),
    "one weight 0": (3.0, 0.0, 1.1, 1.0, 0.2, 0.1),
}


@pytest.fixture(autouse=True)
def _digits():
    """Sums of references are to be taken in their own precision."""
    with mp.workdps(2 * oracle.DIGITS):
        yield


@pytest.mark.parametrize("name", POINTS)
def test_closed_form_equals_taylor_integration(name):
    """40 digits of each weight; the integrator knows only the differential equations."""
    args = POINTS[name]
    closed, stepped = oracle.flow(*args), oracle.flow_by_taylor(*args)
    scale = mp.sqrt(stepped.w1**2 + stepped.w2**2)
    assert abs(closed.w1 - stepped.w1) < mpf(10) ** -40 * scale
    assert abs(closed.w2 - stepped.w2) < mpf(10) ** -40 * scale
    assert abs(closed.mapping - closed.w1 * closed.w2) < mpf(10) ** -40 * scale**2


def test_learning_rate_and_epochs_enter_as_their_product():
    args = POINTS["decay"][1:]
    slow = oracle.flow(3.0 / 2**-7, *args, 2**-7)
    assert slow == oracle.flow(3.0, *args)


@pytest.mark.parametrize(
    ("nu", "x"),
    [(-0.5, 0.02), (0, 1.5), (0, 1e-30), (2.7, 40.0), (3, 0.5), (60.2, 3.0), (-0.3, 118.0)],
)
def test_bessel_functions_equal_mpmath(nu, x):
    nu, x = mpf(nu), mpf(x)
    mine = oracle._bessel(nu, x)
    i, k = mp.besseli(nu, x), mp.besselk(nu, x)
    assert abs(mp.exp(mine.log_i) / i - 1) < mpf(10) ** -60
    assert abs(mp.exp(mine.log_k) / k - 1) < mpf(10) ** -60
    assert abs(mine.ratio_i * i / mp.besseli(nu + 1, x) - 1) < mpf(10) ** -60
    assert abs(mine.ratio_k * k / mp.besselk(nu + 1, x) - 1) < mpf(10) ** -60


@pytest.mark.parametrize("share", [0, 0.3, 0.95, 0.9999])
def test_uniform_expansions_join_the_moderate_orders(monkeypatch, share):
    """Debye's expansions and the trapezoidal rule on both sides of their border."""
    w = mpf(oracle._DEBYE_FROM) + 1
    nu = w * mpf(share)
    x = mp.sqrt(w * w - nu * nu)
    large = oracle._bessel(nu, x)
    monkeypatch.setattr(oracle, "_DEBYE_FROM", 1e9)
    moderate = oracle._bessel(nu, x)
    for mine, other in zip(large, moderate, strict=True):
        assert abs(mine - other) < mpf(10) ** -60 * max(1, abs(other))


@pytest.mark.parametrize("weights", [(0.1, 1.3), (-0.4, 0.5), (0.3, 0.3), (0.3, -0.3)])
def test_small_decay_tends_to_none(weights):
    """Linear in the decay: its order-1/decay Bessel functions lose nothing."""
    without = oracle.flow(4.0, *weights, 1.0, 0.2, 0.0)
    for decay in (mpf(10) ** -20, mpf(10) ** -30):
        with_decay = oracle.flow(4.0, *weights, 1.0, 0.2, decay)
        assert 0 < abs(with_decay.mapping - without.mapping) < 100 * decay


@pytest.mark.parametrize("point", [(2.0, 0.3, 0.8, 1.2, 0.3), (3.0, -0.3, 0.8, 0.0, 0.3)])
def test_derivative_in_decay_at_none(point):
    """d(s^2)/d(decay) at decay = 0 as the integral of docs/theory.md, section 3."""
    t, w1, w2, lam, noise = (mpf(x) for x in point)
    with mp.workdps(60):
        a, p, m = lam + noise, abs(w1 + w2), abs(w1 - w2)
        k = a * p * m

        def f(time):
            y = mp.sqrt(lam**2 + k**2 / 4)
            return mp.cosh(y * time) + (a * p**2 / 2 - lam) * mp.sinh(y * time) / y

        integral = mp.quad(lambda s: (2 * lam + k**2 * s) * f(s) ** 2, [0, t])
        expected = 2 / a * ((1 - integral) / f(t) ** 2 - 1)

    def square(*args):
        w1, w2, _ = oracle.flow(*args)
        return ((w1 + w2) ** 2,)

    args = (t, w1, w2, lam, noise, mpf(0))
    found = oracle.derivative(square, args, 5, forward=True)[0]
    assert abs(found - expected) < mpf(10) ** -20


@pytest.mark.parametrize("name", POINTS)
def test_passage_time_is_where_the_flow_is(name):
    """The flow there is the target, and it is the first such epoch."""
    args = POINTS[name]
    rest = (*args[1:], 0.125)
    target = oracle.flow(args[0] / 0.125, *rest).mapping
    if name == "all 0":
        assert oracle.time_to_mapping(target, *rest) == 0
        assert oracle.time_to_mapping(target / 2, *rest) == inf
        return
    time, taken = oracle.time_to_mapping(target, *rest), mpf(args[0]) / mpf(0.125)
    assert abs(oracle.flow(time, *rest).mapping - target) < mpf(10) ** -24
    assert time < taken * (1 + mpf(10) ** -18)
    side = mp.sign(mpf(args[1]) * args[2] - target)
    for j in range(1, 20):
        assert mp.sign(oracle.flow(time * j / 20, *rest).mapping - target) == side


def test_passage_time_is_the_first_of_two():
    """Unbalanced weights overshoot w* and come back: the target is met twice."""
    rest = (2.5, 0.01, 1.5, 0.5, 0.05)
    late = oracle.flow(15.0, *rest).mapping
    peak = max(oracle.flow(t, *rest).mapping for t in (1.0, 2.0, 3.0, 5.0))
    assert peak > late
    early = oracle.time_to_mapping(late, *rest)
    assert early < 15 * (1 - mpf(10) ** -3)
    assert abs(oracle.flow(early, *rest).mapping - late) < mpf(10) ** -20


def test_unreachable_targets_take_forever():
    assert oracle.time_to_mapping(0.9, 0.1, 0.1, 1.0, 0.5, 0.0) == inf
    assert oracle.time_to_mapping(0.9, 0.1, 0.1, 1.0, 0.5, 0.2) == inf
    assert oracle.time_to_mapping(-0.5, 0.1, 0.1, 1.0, 0.5, 0.2) == inf
    assert oracle.time_to_mapping(0.1, 0.0, 0.0, 1.0, 0.5, 0.0) == inf


@pytest.mark.parametrize("group", [regimes.NO_DECAY, regimes.DECAY], ids=["plain", "decay"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_are_numbers_of_the_dtype(group, kind):
    for name in group:
        points = regimes.sample(group, name, 500, kind)
        assert np.isfinite(points).all()
        assert np.array_equal(points, points.astype(kind).astype(np.float64))
        assert np.array_equal(points, regimes.sample(group, name, 500, kind))
        assert (points[:, [0, 3, 4, 5]] >= 0).all()
        assert (points[:, 6] > 0).all()
