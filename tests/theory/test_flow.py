"""The flow without decay against 60 digits, and the laws it obeys."""

import accuracy
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import regimes
from hypothesis import given, settings
from hypothesis import strategies as st

from lindae_jax import Problem, theory

pytestmark = pytest.mark.both

_examples = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def _assert_promised(name, num_points, dtype, seed, forever=False):
    dtype = np.dtype(dtype)
    points = regimes.sample(regimes.NO_DECAY, name, num_points, dtype, seed)
    if forever:
        points[:, 0] = np.inf
        points[::5, 3] = 0
    result = accuracy.evaluate(points, dtype)
    assert np.isfinite(result).all()
    errors = accuracy.flow_errors(result, points, oracle.flow_table(points), dtype)
    assert errors.mapping.max() <= accuracy.FLOW_EPS
    assert errors.weights.max() <= accuracy.FLOW_EPS


@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_within_16_eps_in_every_regime(name, dtype):
    """16 eps of w where w0 > 0, else of the norm; each weight 16 eps of its root."""
    _assert_promised(name, 1000, dtype, seed=1)


@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_limits_within_16_eps_from_every_regime(name, dtype):
    """t = inf, a fifth of them with lambda = 0: tiny weights must not underflow on the way."""
    _assert_promised(name, 200, dtype, seed=3, forever=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_within_16_eps_in_every_regime_at_100_000_points(name, dtype):
    _assert_promised(name, 100_000, dtype, seed=2)


# --- exact statements -------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_with_noise_alone_equal_weights_shrink_like_one_over_time(sign, rng, dtype, eps):
    """lambda = 0 and w1 = +-w2: w = w0 / (1 + 2 a |w0| t'), where no exponential is left."""
    u, noise, t = 10 ** rng.uniform(((-3,), (-2,), (-2,)), ((1,), (1,), (6,)), (3, 500))
    u, noise, t = (x.astype(dtype) for x in (u, noise, t))
    problem = Problem(0, noise, learning_rate=dtype(0.125))
    exact = sign * u.astype(float) ** 2 / (1 + 0.25 * noise * u.astype(float) ** 2 * t)
    np.testing.assert_allclose(theory.mapping(t, u, sign * u, problem), exact, 8 * eps)
    for w in theory.weights(t, u, sign * u, problem):
        np.testing.assert_allclose(abs(w), abs(exact) ** 0.5, 8 * eps)


def test_what_is_over_is_at_its_limit_bit_by_bit(rng, dtype):
    _, w1, w2, problem = _random(rng, dtype)
    # At the slowest of these, z t' is beyond all exponents.
    late = dtype(1e9) / problem.eigenvalue
    for found, limit in zip(
        (*theory.weights(late, w1, w2, problem), theory.mapping(late, w1, w2, problem)),
        (*theory.weights(np.inf, w1, w2, problem), theory.mapping(np.inf, w1, w2, problem)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, limit)


def _random(rng, dtype, n=200):
    """Moderate points of any signs: t, w1, w2 and the problem's numbers."""
    t, w1, w2 = rng.uniform(0, 300, n), rng.normal(0, 1, n), rng.normal(0, 1, n)
    lam, noise, rate = rng.uniform(0, 3, n), rng.uniform(0, 2, n), rng.uniform(0.01, 0.1, n)
    cast = [x.astype(dtype) for x in (t, w1, w2, lam, noise, rate)]
    return *cast[:3], Problem(cast[3], cast[4], dtype(0), cast[5])


def _everything(t, w1, w2, problem):
    return *theory.weights(t, w1, w2, problem), theory.mapping(t, w1, w2, problem)


def test_exchanged_weights_give_exchanged_weights(rng, dtype):
    """The loss is symmetric in w1 and w2: bitwise."""
    t, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(t, w1, w2, problem)
    b_swapped, a_swapped, w_swapped = _everything(t, w2, w1, problem)
    np.testing.assert_array_equal(a, a_swapped)
    np.testing.assert_array_equal(b, b_swapped)
    np.testing.assert_array_equal(w, w_swapped)


def test_negated_weights_give_negated_weights(rng, dtype):
    """The loss is even in (w1, w2): bitwise."""
    t, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(t, w1, w2, problem)
    a_negated, b_negated, w_same = _everything(t, -w1, -w2, problem)
    np.testing.assert_array_equal(a, -a_negated)
    np.testing.assert_array_equal(b, -b_negated)
    np.testing.assert_array_equal(w, w_same)


def test_balanced_and_antisymmetric_weights_stay_so(rng, dtype):
    """w1 = w2 and w1 = -w2 are invariant lines: bitwise."""
    t, w1, _, problem = _random(rng, dtype)
    equal, opposite = theory.weights(t, w1, w1, problem), theory.weights(t, w1, -w1, problem)
    np.testing.assert_array_equal(equal.w1, equal.w2)
    np.testing.assert_array_equal(opposite.w1, -opposite.w2)


def test_start_is_returned_as_it_is(rng, dtype):
    """t = 0: the weights bitwise, their product rounded once."""
    _, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(dtype(0), w1, w2, problem)
    np.testing.assert_array_equal(a, w1)
    np.testing.assert_array_equal(b, w2)
    np.testing.assert_allclose(w, w1 * w2, rtol=2 * np.finfo(dtype).eps)


def test_nothing_moves_without_data_and_noise(rng, dtype):
    """lambda = epsilon = 0: the loss is 0, at every t and at infinity."""
    t, w1, w2, _ = _random(rng, dtype)
    t[::7] = np.inf
    a, b, _ = _everything(t, w1, w2, Problem(dtype(0), dtype(0)))
    np.testing.assert_array_equal(a, w1)
    np.testing.assert_array_equal(b, w2)


def test_both_weights_0_stay_0(dtype):
    t = np.array([0, 1, 1e6, np.inf], dtype)
    for x in _everything(t, dtype(0), dtype(0), Problem(dtype(2.0), dtype(0.5))):
        np.testing.assert_array_equal(x, np.zeros(4))


def test_limit_is_the_fixed_point(rng, dtype, eps):
    """t = inf: w* exactly, the conserved w2^2 - w1^2 within 8 eps of the norm."""
    _, w1, w2, problem = _random(rng, dtype)
    a, b, w = _everything(dtype(np.inf), w1, w2, problem)
    np.testing.assert_allclose(w, theory.fixed_point(problem), rtol=2 * eps)
    np.testing.assert_allclose(a * b, w, rtol=8 * eps)
    norm = np.asarray(a) ** 2 + np.asarray(b) ** 2
    conserved = (w2 - w1).astype(np.float64) * (w2 + w1)
    kept = np.asarray(b, np.float64) ** 2 - np.asarray(a, np.float64) ** 2
    assert np.all(np.abs(kept - conserved) <= 8 * eps * (norm + w1**2 + w2**2))


def test_antisymmetric_weights_end_in_the_saddle(dtype):
    a, b, w = _everything(dtype(np.inf), dtype(0.7), dtype(-0.7), Problem(dtype(2.0)))
    assert (a, b, w) == (0, 0, 0)


def test_rates_whose_squares_underflow(dtype, eps):
    """lambda = 0 and tiny weights, at times so late that they have moved."""
    small = float(np.finfo(dtype).tiny) ** 0.25
    scale = np.array([1e-4, 1e-2, 1, 1e2, 1e4]) / small**2
    points = np.array([[t, -2 * small, -small, 0.0, 0.5, 0.0, 0.5] for t in scale])
    points = points.astype(dtype).astype(np.float64)
    found = accuracy.evaluate(points, np.dtype(dtype))
    expected = oracle.flow_table(points)[:, :2].astype(np.float64)
    moved = np.abs(expected[-1] / points[-1, 1:3] - 1)
    assert moved.max() > 0.1
    np.testing.assert_allclose(found[:, :2], expected, atol=16 * eps * 2 * small)


def test_late_finite_times_join_the_limit(rng, dtype, eps):
    _, w1, w2, problem = _random(rng, dtype)
    w1 = np.abs(w1) + dtype(0.1)
    w2 = np.abs(w2)
    problem = Problem(problem.eigenvalue + dtype(0.1), problem.noise, dtype(0), dtype(1))
    for late, end in zip(
        _everything(dtype(1e4), w1, w2, problem),
        _everything(dtype(np.inf), w1, w2, problem),
        strict=True,
    ):
        np.testing.assert_allclose(late, end, rtol=16 * eps)


# --- laws -------------------------------------------------------------------


@pytest.mark.parametrize("t", ["most", "inf"])
@pytest.mark.parametrize(("noise", "w2"), [(0, -3), (0, 3), (0, 0.5), (2, -3), (2, 3)])
def test_a_flow_without_a_rate_stays_in_the_range(t, noise, w2, dtype):
    """lambda = 0, alpha t beyond the largest number: c / (1 + 2 c epsilon t') of c = 9 is 0."""
    t = dtype(np.inf) if t == "inf" else np.finfo(dtype).max

    def mapping(*numbers):
        *start, rate = numbers
        return theory.mapping(t, *start[:2], Problem(*start[2:], learning_rate=rate))

    numbers = tuple(map(jnp.asarray, map(dtype, (3, w2, 0, noise, 8))))
    assert mapping(*numbers) == (0 if noise else 3 * w2)
    if np.isinf(t):
        slopes = jax.grad(mapping, argnums=range(5))(*numbers)
        assert np.isfinite(slopes).all()
        np.testing.assert_array_equal(slopes[:2], (0, 0) if noise else (w2, 3))


def test_differential_equation_holds(rng, dtype, eps):
    """dw/dt by forward differentiation against the gradient of the loss.

    The derivative is a sum of terms of size alpha (lambda + a norm) |w|, each
    with the 16 eps of the weights and as much of the exponentials.
    """
    t, w1, w2, problem = _random(rng, dtype)
    lam, noise, rate = problem.eigenvalue, problem.noise, problem.learning_rate

    def curve(t):
        return tuple(theory.weights(t, w1, w2, problem))

    (a, b), (a_dot, b_dot) = jax.jvp(curve, (jnp.asarray(t),), (jnp.ones_like(t),))
    g = lam - (lam + noise) * a * b
    norm = np.asarray(a * a + b * b)
    scale = rate * (lam + (lam + noise) * norm) * np.sqrt(norm)
    assert np.all(np.abs(a_dot - rate * g * b) <= 64 * eps * scale)
    assert np.all(np.abs(b_dot - rate * g * a) <= 64 * eps * scale)


def test_mapping_is_monotone(rng, dtype, eps):
    """Without decay w(t) never turns; neighbours may differ by their rounding."""
    _, w1, w2, problem = _random(rng, dtype)
    t = np.concatenate([[0], np.geomspace(1e-2, 1e4, 60), [np.inf]]).astype(dtype)
    w = np.asarray(theory.mapping(t[:, None], w1, w2, problem), np.float64)
    a, b = (np.asarray(x, np.float64) for x in theory.weights(t[:, None], w1, w2, problem))
    steps = np.diff(w, axis=0) * np.sign(w[-1] - w[0])
    assert np.all(steps >= -16 * eps * (a**2 + b**2)[1:])


_weight = st.floats(2**-7, 2, width=32)
_number = st.floats(2**-7, 3, width=32)
_time = st.integers(0, 200)


@_examples
@given(t1=_time, t2=_time, w1=_weight, w2=_weight, lam=_number, noise=_number)
def test_flow_of_a_sum_is_the_flow_of_the_flow(t1, t2, w1, w2, lam, noise):
    """Flow for t1 + t2 = flow for t2 of the flow for t1.

    From positive weights the flow contracts relative errors of w1 + w2, so only
    the roundings of the two halves add up.
    """
    dtype = np.float64 if jax.config.jax_enable_x64 else np.float32
    problem = Problem(dtype(lam), dtype(noise), dtype(0), dtype(2.0**-5))
    w1, w2 = dtype(w1), dtype(w2)
    once = theory.weights(dtype(t1 + t2), w1, w2, problem)
    twice = theory.weights(dtype(t2), *theory.weights(dtype(t1), w1, w2, problem), problem)
    scale = float(jnp.hypot(*once))
    for x, y in zip(once, twice, strict=True):
        assert abs(float(x) - float(y)) <= 48 * np.finfo(dtype).eps * scale


@_examples
@given(t=_time, w1=_weight, w2=_weight, sign=st.sampled_from([-1, 1]), lam=_number, noise=_number)
def test_difference_of_squares_is_conserved(t, w1, w2, sign, lam, noise):
    """w2^2 - w1^2 does not change; 4 roundings of 4 eps each of the norms."""
    dtype = np.float64 if jax.config.jax_enable_x64 else np.float32
    problem = Problem(dtype(lam), dtype(noise), dtype(0), dtype(2.0**-5))
    w1, w2 = dtype(w1), dtype(sign * w2)
    a, b = (np.float64(x) for x in theory.weights(dtype(t), w1, w2, problem))
    before, after = np.float64(w2) ** 2 - np.float64(w1) ** 2, b**2 - a**2
    norms = np.float64(w1) ** 2 + np.float64(w2) ** 2 + a**2 + b**2
    assert abs(after - before) <= 16 * np.finfo(dtype).eps * norms


# --- under transformations --------------------------------------------------


def test_broadcasts_as_numpy_does(rng, dtype):
    """A grid of times by directions equals its members one by one."""
    t, w1, w2, problem = _random(rng, dtype, n=6)
    grid = theory.weights(t[:, None], w1, w2, problem)
    assert grid.w1.shape == grid.w2.shape == (6, 6)
    assert theory.mapping(t[:, None], w1, w2, problem).shape == (6, 6)
    for i in range(6):
        row = theory.weights(t[i], w1, w2, problem)
        np.testing.assert_allclose(grid.w1[i], row.w1, rtol=4 * np.finfo(dtype).eps)
    single = theory.weights(t[0], w1[0], w2[0], Problem(*(x[0] for x in _fields(problem, 6))))
    assert single.w1.shape == ()
    np.testing.assert_allclose(single.w1, grid.w1[0, 0], rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("grid", [True, False])
def test_more_points_than_a_block_change_nothing(grid, rng, dtype, eps):
    """Called, within a jit and differentiated: a large batch is its parts, one by one."""
    n = 9_001
    t, w1, w2, problem = _random(rng, dtype, n=n)
    lam, noise, _, rate = _fields(problem, n)
    t = dtype([[0], [3], [50], [np.inf]]) if grid else t

    def total(t, w1, w2, lam, noise, rate):
        return theory.mapping(t, w1, w2, Problem(lam, noise, 0.0, rate)).sum()

    def parts(function, **options):
        step = 1_000
        pieces = [
            [x if grid and x is t else x[i : i + step] for x in (t, w1, w2, lam, noise, rate)]
            for i in range(0, n, step)
        ]
        return [function(*piece, **options) for piece in pieces]

    def mapping(t, w1, w2, lam, noise, rate):
        return theory.mapping(t, w1, w2, Problem(lam, noise, 0.0, rate))

    whole = mapping(t, w1, w2, lam, noise, rate)
    expected = np.concatenate(parts(mapping), axis=-1)
    scale = np.maximum(np.abs(expected), np.abs(w1 * w2))
    for got in (whole, jax.jit(mapping)(t, w1, w2, lam, noise, rate)):
        assert np.all(np.abs(np.asarray(got) - expected) <= 16 * eps * scale)
    gradient = jax.jit(jax.grad(total, argnums=(1, 3)))
    # Programs may round differently, which counts the more the closer a start is to w1 = -w2.
    magnified = (np.abs(w1) + np.abs(w2)) / np.abs(w1 + w2)
    found = gradient(t, w1, w2, lam, noise, rate)
    for got, wanted in zip(found, zip(*parts(gradient), strict=True), strict=True):
        wanted = np.concatenate(wanted)
        assert np.all(np.abs(got - wanted) <= 64 * eps * (1 + np.abs(wanted)) * magnified)


def _fields(problem, n):
    names = ("eigenvalue", "noise", "decay", "learning_rate")
    return [np.broadcast_to(getattr(problem, x), n) for x in names]


def _undecayed(t, w1, w2, eigenvalue, noise, learning_rate):
    """A decay that is 0 for certain, also under tracing, takes the smaller program."""
    return _everything(t, w1, w2, Problem(eigenvalue, noise, 0.0, learning_rate))


def test_the_same_under_jit_and_vmap(rng, dtype):
    """A compiler may fuse differently inside a larger program: 4 eps."""
    t, w1, w2, problem = _random(rng, dtype)
    columns = (t, w1, w2, problem.eigenvalue, problem.noise, problem.learning_rate)
    tolerance = 4 * np.finfo(dtype).eps
    mapped = jax.jit(jax.vmap(_undecayed))(*columns)
    for x, y in zip(_undecayed(*columns), mapped, strict=True):
        assert x.dtype == y.dtype == dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * 1e-3)


def test_invalid_members_are_nan_under_jit(dtype):
    """Nothing can raise for values there; the other members are untouched."""
    t = np.array([1, -1, 1, 1, 1, 1], dtype)
    lam = np.array([1, 1, -1, 1, 1, np.nan], dtype)
    noise = np.array([1, 1, 1, np.inf, 1, 1], dtype)
    rate = np.array([1, 1, 1, 1, 0, 1], dtype)
    w1, w2 = dtype(0.1), dtype(0.2)
    result = jax.jit(_undecayed)(t, w1, w2, lam, noise, rate)
    first = _undecayed(t[0], w1, w2, lam[0], noise[0], rate[0])
    for x, y in zip(result, first, strict=True):
        np.testing.assert_array_equal(np.isnan(x), [False] + 5 * [True])
        np.testing.assert_allclose(x[0], y, rtol=8 * np.finfo(dtype).eps)


def test_a_time_that_is_nan_gives_nan_whatever_else_there_is(dtype):
    t = np.array([np.nan, -np.nan, np.inf, 1], dtype)[:, None]
    w1, w2 = np.array([[0.1, 0.5, 0.5, 0], [0.2, -0.5, 0.5, 0]], dtype)
    lam, noise = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], dtype)
    flow = jax.jit(_undecayed)
    for points in (np.broadcast_to(t, (4, 4)), t):
        for x in flow(points, w1, w2, lam, noise, dtype(0.5)):
            np.testing.assert_array_equal(np.isnan(x), 2 * [4 * [True]] + 2 * [4 * [False]])


def test_the_limit_of_the_mapping_does_not_ask_how_fast_it_is_reached(dtype):
    """The rate may be beyond the range."""
    huge = dtype(np.finfo(dtype).max ** 0.6)
    assert theory.mapping(np.inf, huge, dtype(1), Problem(dtype(1))) == 1


def test_weights_that_are_not_finite_give_nan(dtype):
    """A diverged start is no mistake; it says so in the result."""
    w1 = np.array([np.nan, np.inf, 1], dtype)
    for x in _everything(dtype(1), w1, dtype(0.5), Problem(dtype(1))):
        np.testing.assert_array_equal(np.isnan(x), [True, True, False])


def test_zero_may_have_a_sign(dtype):
    zero = np.zeros((), dtype)
    plain = _undecayed(zero, dtype(0.1), dtype(0.2), zero, zero, dtype(0.5))
    signed = _undecayed(-zero, dtype(0.1), dtype(0.2), -zero, -zero, dtype(0.5))
    np.testing.assert_array_equal(plain, signed)
    assert np.isfinite(plain).all()


def test_what_does_not_move_is_told_of_a_bad_time_all_the_same(dtype):
    t = np.array([-1, np.nan, np.inf, 3], dtype)
    state = jax.jit(_undecayed)(t, *(dtype(x) for x in (0.1, 0.2, 0, 0, 0.5)))
    for x, start in zip(state, (0.1, 0.2, 0.1 * 0.2), strict=True):
        np.testing.assert_array_equal(np.isnan(x), [True, True, False, False])
        np.testing.assert_allclose(x[2:], start, 1e-6)


def test_rates_near_the_end_of_the_range(dtype, eps):
    """Where a times the difference of the weights falls below it, but k does not."""
    small = float(np.finfo(dtype).tiny) * 64
    point = np.array([3 / small, 1000, 1000 * (1 + 64 * eps), small, 0], dtype)
    found = np.array(_undecayed(*point, dtype(1)))
    flow = oracle.flow_no_decay(*point.tolist())
    np.testing.assert_allclose(found, [float(x) for x in flow], rtol=16 * eps)


def test_a_grid_without_settings_is_empty(dtype):
    none = np.zeros(0, dtype)
    assert theory.mapping(np.ones((3, 1), dtype), none, none, Problem(dtype(1))).shape == (3, 0)


def test_a_grid_under_shard_map_is_that_outside(rng, dtype, eps):
    t = rng.uniform(0, 9, (64, 1)).astype(dtype)
    w1, w2 = rng.uniform(0.1, 1, (2, 192)).astype(dtype)

    def grid(t, w1, w2):
        return theory.mapping(t, w1, w2, Problem(dtype(1), dtype(1)))

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("x",))
    spec = jax.sharding.PartitionSpec
    shared = jax.shard_map(
        grid, mesh=mesh, in_specs=(spec(), spec("x"), spec("x")), out_specs=spec(None, "x")
    )
    found = jax.jit(shared)(t, w1, w2)
    np.testing.assert_allclose(found, grid(t, w1, w2), rtol=8 * eps)
