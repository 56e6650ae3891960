"""The flow with decay, from any weights, against 40 digits, and its laws."""

import accuracy
import jax
import numpy as np
import oracle
import pytest
import regimes
from hypothesis import given, settings
from hypothesis import strategies as st

from lindae_jax import Problem, theory

pytestmark = pytest.mark.both

_examples = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def _assert_promised(errors, dtype):
    """At most 0.1 % above 1e-10 (2e-5 in float32), none above 1e-7 (1e-3)."""
    dtype = np.dtype(dtype)
    assert np.mean(errors.mapping > accuracy.DECAY[dtype]) <= accuracy.DECAY_SHARE
    assert errors.mapping.max() <= accuracy.DECAY_WORST[dtype]
    # w = w1 w2: weights within delta of sqrt(norm) give a mapping within 2 delta.
    assert np.mean(errors.weights > accuracy.DECAY[dtype]) <= accuracy.DECAY_SHARE
    assert errors.weights.max() <= accuracy.DECAY_WORST[dtype]


def _measured(points, reference, dtype):
    dtype = np.dtype(dtype)
    blocks = [accuracy.evaluate(rows, dtype) for rows in np.split(points, len(points) // N)]
    result = np.concatenate(blocks)
    assert np.isfinite(result).all()
    return accuracy.decay_errors(result, points, reference, dtype)


def _stored(dtype):
    name = np.dtype(dtype)
    with np.load(accuracy.REFERENCES, allow_pickle=False) as stored:
        return stored[f"points_{name}"].astype(np.float64), stored[f"flow_{name}"]


def test_the_box_at_stored_points(dtype):
    points, flow = _stored(dtype)
    assert len(points) >= 2000
    # Stored in float64: half an eps of it is nothing here.
    reference = np.concatenate([flow, np.zeros_like(flow)], axis=1)
    _assert_promised(_measured(points, reference, dtype), dtype)


def test_stored_points_are_what_the_oracle_says(dtype):
    points, flow = _stored(dtype)
    some = slice(None, None, 80)
    np.testing.assert_array_equal(oracle.flow_table(points[some])[:, :3], flow[some])


@pytest.mark.parametrize("name", regimes.DECAY)
def test_within_64_eps_in_every_regime(name, dtype, eps):
    """Each corner of the box by itself, and far sharper than the promise.

    The worst of many thousand points, docs/accuracy.md, is 20 eps, near w1 = -w2.
    """
    points = regimes.sample(regimes.DECAY, name, N, np.dtype(dtype), seed=1)
    errors = _measured(points, oracle.flow_table(points), dtype)
    assert errors.mapping.max() <= 64 * eps
    assert errors.weights.max() <= 64 * eps


@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.DECAY)
def test_within_the_promise_at_many_points(name, dtype):
    num_points = 100_000 if name.startswith("box") else 10_000
    points = regimes.sample(regimes.DECAY, name, num_points, np.dtype(dtype), seed=2)
    _assert_promised(_measured(points, oracle.flow_table(points), dtype), dtype)


# --- exact statements -------------------------------------------------------


N = 100  # rows of every call here


def _random(rng, dtype, n=N):
    """Moderate points of any signs: t, w1, w2 and the problem's numbers."""
    t, w1, w2 = rng.uniform(0, 200, n), rng.normal(0, 1, n), rng.normal(0, 1, n)
    lam, noise, decay = rng.uniform(0, 3, n), rng.uniform(0, 2, n), rng.uniform(0.01, 1, n)
    rate = rng.uniform(0.01, 0.1, n)
    cast = [x.astype(dtype) for x in (t, w1, w2, lam, noise, decay, rate)]
    return *cast[:3], Problem(*cast[3:])


def _everything(t, w1, w2, problem):
    """w1, w2 and mapping, all inputs filled up to N rows: one compilation for all tests."""
    fields = (problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate)
    t, w1, w2, *fields = (np.broadcast_to(x, N) for x in (t, w1, w2, *fields))
    weights = theory.weights(t, w1, w2, Problem(*fields))
    return *weights, theory.mapping(t, w1, w2, Problem(*fields))


def _with_decay(problem, decay):
    return Problem(problem.eigenvalue, problem.noise, decay, problem.learning_rate)


def test_exchanged_and_negated_weights(rng, dtype):
    """The loss is symmetric in w1, w2 and even: bitwise."""
    t, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(t, w1, w2, problem)
    b_swapped, a_swapped, w_swapped = _everything(t, w2, w1, problem)
    a_negated, b_negated, w_negated = _everything(t, -w1, -w2, problem)
    for one, other in ((a, a_swapped), (b, b_swapped), (w, w_swapped), (w, w_negated)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(a, -a_negated)
    np.testing.assert_array_equal(b, -b_negated)


def test_balanced_and_antisymmetric_weights_stay_so(rng, dtype):
    t, w1, _, problem = _random(rng, dtype)
    equal, opposite = _everything(t, w1, w1, problem), _everything(t, w1, -w1, problem)
    np.testing.assert_array_equal(equal[0], equal[1])
    np.testing.assert_array_equal(opposite[0], -opposite[1])


def test_start_is_returned_as_it_is(rng, dtype, eps):
    _, w1, w2, problem = _random(rng, dtype)
    for one, other in zip(_everything(dtype(0), w1, w2, problem), (w1, w2, w1 * w2), strict=True):
        np.testing.assert_allclose(one, other, rtol=4 * eps)


def test_decay_alone_shrinks_exponentially(rng, dtype, eps):
    """lambda = epsilon = 0: weights times exp(-gamma t'); exp magnifies gamma t' <= 20."""
    t, w1, w2, problem = _random(rng, dtype)
    problem = Problem(dtype(0), dtype(0), problem.decay, problem.learning_rate)
    shrunk = np.exp(-np.asarray(t, np.float64) * problem.learning_rate * problem.decay)
    a, b, _ = _everything(t, w1, w2, problem)
    allowed = 64 * eps * np.hypot(w1, w2) * shrunk
    assert np.all(np.abs(a - w1 * shrunk) <= allowed)
    assert np.all(np.abs(b - w2 * shrunk) <= allowed)


@pytest.mark.parametrize("noise", [0.0, 0.75])
def test_balanced_weights_follow_equation_7(rng, dtype, eps, noise):
    """The paper's eq. (7), its E_gamma read exp(2 xi lambda t / tau), and with noise."""
    t, w1, _, problem = _random(rng, dtype)
    t, w0, lam, decay, rate = (
        np.asarray(x, np.float64)
        for x in (t, w1**2, problem.eigenvalue, problem.decay, problem.learning_rate)
    )
    w0 = w1.astype(np.float64) ** 2
    xi = lam - decay
    grown = np.exp(2 * xi * rate * t)
    expected = xi * w0 * grown / (xi + (lam + noise) * w0 * (grown - 1))
    problem = Problem(problem.eigenvalue, dtype(noise), problem.decay, problem.learning_rate)
    # 2 xi t' <= 120 is rounded before exp in both.
    _, _, w = _everything(t.astype(dtype), w1, w1, problem)
    np.testing.assert_allclose(w, expected, rtol=256 * eps, atol=np.finfo(dtype).tiny)


def test_the_value_printed_beside_equation_7(dtype):
    """lambda = 2.5 tells the two readings of eq. (7) apart: .485 against .064."""
    lam, decay, w0, time = 2.5, 0.5, 0.01, 1.2
    expected = float(oracle.flow(time, 0.1, 0.1, lam, 0.0, decay).mapping)
    xi = (lam - decay) / lam
    right, printed = (
        xi * w0 * e / (xi + w0 * (e - 1)) for e in np.exp(2 * xi * time * np.array([lam, 1]))
    )
    assert abs(right - expected) < 1e-3 * abs(printed - expected)


def test_limit_is_the_fixed_point(rng, dtype, eps):
    """t = inf: w1 = w2 = +-sqrt(w*), 0 from w1 = -w2 and where lambda <= gamma."""
    _, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(dtype(np.inf), w1, w2, problem)
    end = np.asarray(theory.fixed_point(problem))
    np.testing.assert_allclose(w, end, rtol=4 * eps)
    np.testing.assert_allclose(a, np.sign(w1 + w2) * np.sqrt(end), rtol=4 * eps)
    np.testing.assert_allclose(b, a, rtol=4 * eps)
    for x in _everything(dtype(np.inf), w1, -w1, problem):
        np.testing.assert_array_equal(x, 0)


def test_late_finite_times_join_the_limit(rng, dtype, eps):
    _, w1, w2, problem = _random(rng, dtype)
    problem = Problem(problem.eigenvalue + dtype(1.2), problem.noise, problem.decay, dtype(1))
    w1, w2 = np.abs(w1), np.abs(w2)
    late = _everything(dtype(1e5), w1, w2, problem)
    for one, other in zip(late, _everything(dtype(np.inf), w1, w2, problem), strict=True):
        np.testing.assert_allclose(one, other, rtol=64 * eps)


def test_members_with_and_without_decay_in_one_array(rng, dtype, eps):
    """gamma = 0 beside gamma > 0: each as if it were alone."""
    t, w1, w2, problem = _random(rng, dtype)
    mixed = np.where(np.arange(len(t)) % 2 == 0, dtype(0), problem.decay)
    together = _everything(t, w1, w2, _with_decay(problem, mixed))
    without = _everything(t, w1, w2, _with_decay(problem, dtype(0)))
    with_decay = _everything(t, w1, w2, problem)
    for x, y, z in zip(together, without, with_decay, strict=True):
        np.testing.assert_allclose(x[::2], y[::2], rtol=4 * eps)
        np.testing.assert_allclose(x[1::2], z[1::2], rtol=4 * eps)


def test_no_jump_as_decay_tends_to_0(rng, dtype, eps):
    """|w(gamma) - w(0)| is at most gamma |dw/dgamma|, about 4 gamma t' (norm + 1)."""
    t, w1, w2, problem = _random(rng, dtype)
    a, b, plain = _everything(t, w1, w2, _with_decay(problem, dtype(0)))
    norm = np.asarray(a * a + b * b)
    for decay in (1e-4, 1e-6, 1e-8, 1e-12, 1e-20, 1e-30):
        _, _, w = _everything(t, w1, w2, _with_decay(problem, dtype(decay)))
        slope = 8 * np.asarray(t * problem.learning_rate) * (1 + norm + w1**2 + w2**2)
        allowed = decay * slope + accuracy.DECAY[np.dtype(dtype)] * np.maximum(norm, 1e-6)
        assert np.all(np.abs(np.asarray(w - plain)) <= allowed)


# --- laws -------------------------------------------------------------------


_weight = st.floats(2**-7, 2, width=32)
_number = st.floats(2**-7, 3, width=32)
_time = st.integers(0, 200)


@_examples
@given(t1=_time, t2=_time, w1=_weight, w2=_weight, lam=_number, noise=_number, decay=_number)
def test_flow_of_a_sum_is_the_flow_of_the_flow(t1, t2, w1, w2, lam, noise, decay):
    """Flow for t1 + t2 = flow for t2 of the flow for t1, each as good as the promise."""
    dtype = np.float64 if jax.config.jax_enable_x64 else np.float32
    problem = Problem(dtype(lam), dtype(noise), dtype(decay), dtype(2.0**-5))
    w1, w2 = dtype(w1), dtype(w2)
    once = [float(x[0]) for x in _everything(dtype(t1 + t2), w1, w2, problem)]
    halfway = _everything(dtype(t1), w1, w2, problem)
    twice = [float(x[0]) for x in _everything(dtype(t2), *halfway[:2], problem)]
    allowed = 3 * accuracy.DECAY[np.dtype(dtype)] * max(np.hypot(once[0], once[1]), 1e-3)
    assert abs(once[0] - twice[0]) <= allowed
    assert abs(once[1] - twice[1]) <= allowed


@_examples
@given(
    t=_time,
    w1=_weight,
    w2=_weight,
    sign=st.sampled_from([-1, 1]),
    lam=_number,
    noise=_number,
    decay=_number,
)
def test_difference_of_squares_shrinks_by_the_decay(t, w1, w2, sign, lam, noise, decay):
    """w2^2 - w1^2 is multiplied by exp(-2 gamma t')."""
    dtype = np.float64 if jax.config.jax_enable_x64 else np.float32
    problem = Problem(dtype(lam), dtype(noise), dtype(decay), dtype(2.0**-5))
    w1, w2 = dtype(w1), dtype(sign * w2)
    a, b, _ = (np.float64(x[0]) for x in _everything(dtype(t), w1, w2, problem))
    before = np.float64(w2) ** 2 - np.float64(w1) ** 2
    expected = before * np.exp(-2 * np.float64(problem.decay) * t * 2.0**-5)
    allowed = 4 * accuracy.DECAY[np.dtype(dtype)] * max(a**2 + b**2, 1e-6)
    assert abs((b**2 - a**2) - expected) <= allowed


def test_unbalanced_weights_overshoot_and_come_back(dtype):
    """Not monotone with decay: nearly lambda/(lambda + epsilon) first, then w*."""
    problem = Problem(dtype(1), dtype(0.25), dtype(0.02), dtype(1))
    t = np.resize(np.array([0.0, 3.0, 400.0], dtype), N)
    w = np.asarray(_everything(t, dtype(2.5), dtype(0.01), problem)[2])
    assert 0.8 > w[1] > 0.79 > w[2]
    np.testing.assert_allclose(w[2], theory.fixed_point(problem), rtol=1e-4)


# --- under transformations --------------------------------------------------


def test_batches_broadcast_and_vmap(rng, dtype, eps):
    """Epochs by directions under jit and vmap equal the members one by one."""
    t, w1, w2, problem = _random(rng, dtype)

    def direction(t, w1, w2, *fields):
        return theory.mapping(t, w1, w2, Problem(*fields))

    fields = (problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate)
    grid = jax.jit(jax.vmap(direction, in_axes=(None, *6 * [0])))(t[:2], w1, w2, *fields)
    assert grid.shape == (N, 2)
    assert grid.dtype == dtype
    for i in range(2):
        # A compiler may fuse differently inside a larger program.
        _, _, w = _everything(t[i], w1, w2, problem)
        np.testing.assert_allclose(grid[:, i], w, rtol=64 * eps, atol=1e-6 * eps)


def test_an_invalid_decay_is_nan_under_jit(rng, dtype):
    """Nothing can raise for values there; the other members are untouched."""
    t, w1, w2, problem = _random(rng, dtype)
    decay = problem.decay.copy()
    decay[:3] = [-1, np.nan, np.inf]
    columns = [np.broadcast_to(x, N) for x in (t, w1, w2)]

    def traced(decay):
        return theory.mapping(*columns, _with_decay(problem, decay))

    w = np.asarray(jax.jit(traced)(decay))
    assert np.isnan(w[:3]).all()
    np.testing.assert_allclose(w[3:], _everything(t, w1, w2, problem)[2][3:], rtol=1e-4, atol=1e-9)
