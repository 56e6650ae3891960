"""First-passage times against 100 digits, round trips, and targets never met."""

import functools

import accuracy
import derivatives
import jax
import numpy as np
import oracle
import pytest
import regimes

from lindae_jax import Problem, theory

# --- accuracy ---------------------------------------------------------------


def _assert_promised(name, num_points, dtype, seed):
    """Round trip in 64 eps where |dw/dt| t <= |w|, else t in 1e-13 (64 eps in float32)."""
    dtype = np.dtype(dtype)
    points = regimes.sample(regimes.NO_DECAY, name, num_points, dtype, seed)
    passage = accuracy.passages(points, oracle.flow_table(points), dtype)
    trip, relative = accuracy.passage_errors(passage, dtype)
    assert len(trip) + len(relative) > 0
    assert trip.max(initial=0) <= accuracy.ROUND_TRIP_EPS
    assert relative.max(initial=0) <= accuracy.TIME[dtype]


@pytest.mark.both
@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_times_in_every_regime(name, dtype):
    _assert_promised(name, 400, dtype, seed=3)


@pytest.mark.both
@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_times_in_every_regime_at_100_000_points(name, dtype):
    _assert_promised(name, 100_000, dtype, seed=4)


N = 100  # rows of every call with decay: one compilation for all tests


def _time(columns):
    """First-passage times of columns target, w1, w2 and the problem's numbers."""
    target, w1, w2, *rest = columns
    return (theory.time_to_mapping(target, w1, w2, Problem(*rest)),)


def _assert_decay_round_trip(name, num_points, dtype, seed):
    """1e-9 (1e-4 in float32); rounding may put a target just beyond the curve's peak."""
    dtype = np.dtype(dtype)
    points = regimes.sample(regimes.DECAY, name, num_points, dtype, seed)
    reference = oracle.flow_table(points)
    target, found, error = accuracy.decay_round_trip(points, reference, dtype)
    assert not np.isnan(found).any()
    for i in np.flatnonzero(error > accuracy.DECAY_ROUND_TRIP[dtype]):
        assert found[i] == oracle.time_to_mapping(target[i], *points[i, 1:].tolist()) == np.inf


@pytest.mark.both
@pytest.mark.parametrize("name", regimes.DECAY)
def test_round_trips_with_decay(name, dtype):
    _assert_decay_round_trip(name, N, dtype, seed=5)


@pytest.mark.both
@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.DECAY)
def test_round_trips_with_decay_at_many_points(name, dtype):
    _assert_decay_round_trip(name, 10_000, dtype, seed=6)


@pytest.mark.both
def test_early_targets_of_large_weights_with_decay(dtype):
    """Targets a few bits from the start, which large weights reach in no time."""
    t = np.geomspace(1e-9, 1e-2, N)
    start = [2.5, 2.75, 1.25, 0.5, 0.25, 1.0]
    points = np.column_stack([t, np.tile(start, (N, 1))]).astype(dtype).astype(np.float64)
    reference = oracle.flow_table(points)
    _, _, error = accuracy.decay_round_trip(points, reference, np.dtype(dtype))
    assert error.max() <= accuracy.DECAY_ROUND_TRIP[np.dtype(dtype)]


@pytest.mark.both
def test_the_last_normal_targets_of_the_way_into_the_saddle(dtype):
    """w1 = -w2 fades to 0 through the whole range of the dtype; decay there adds to lambda."""
    tiny = float(np.finfo(dtype).tiny)
    target = np.array([-tiny, -1.5 * tiny, -64 * tiny], dtype)
    for lam, decay in ((0.25, 0.0), (2.0, 0.0), (0.25, 0.125), (0.25, 0.5)):
        found = theory.time_to_mapping(target, dtype(8), dtype(-8), Problem(lam, 0.5, decay, 0.125))
        expected = [
            float(oracle.time_to_mapping_no_decay(x, 8.0, -8.0, lam + decay, 0.5 - decay, 0.125))
            for x in target.tolist()
        ]
        np.testing.assert_allclose(found, expected, rtol=accuracy.TIME[np.dtype(dtype)])


# w1, w2, eigenvalue, noise, decay and the epoch (learning rate 1/8) the target is taken at
DECAY_STARTS = {
    "rising": (0.25, 0.5, 1.25, 0.5, 0.25, 8.0),
    "falling": (1.5, 1.75, 1.25, 0.5, 0.25, 2.0),
    "through 0": (0.25, -0.5, 1.25, 0.5, 0.125, 16.0),
    "balanced": (0.25, 0.25, 1.25, 0.5, 0.25, 8.0),
    "antisymmetric": (0.5, -0.5, 1.25, 0.5, 0.25, 2.0),
    "decay = eigenvalue": (1.5, 1.75, 0.25, 0.5, 0.25, 8.0),
    "decay = eigenvalue, balanced": (1.5, 1.5, 0.25, 0.5, 0.25, 8.0),
    "decay > eigenvalue": (1.5, 1.75, 0.25, 0.5, 1.0, 8.0),
    "eigenvalue 0": (1.5, 1.75, 0.0, 0.5, 0.25, 8.0),
    "eigenvalue 0, noise 0": (1.5, 1.75, 0.0, 0.0, 0.25, 8.0),
    "overshoot, on the way up": (2.5, 0.0625, 1.5, 0.5, 0.0625, 2.0),
    "overshoot, on the way down": (2.5, 0.0625, 1.5, 0.5, 0.0625, 120.0),
    "small decay": (0.25, 0.5, 1.25, 0.5, 2.0**-20, 8.0),
}


def _times_of(rows, dtype):
    """Times of any number of rows target, w1, w2, lambda, epsilon, gamma[, alpha = 1/8]."""
    rows = [(*row, 0.125)[:7] for row in rows]
    filled = np.array([*rows, *[rows[0]] * (N - len(rows))], dtype)
    return np.asarray(_time(tuple(filled.T))[0], np.float64)[: len(rows)]


@pytest.mark.both
def test_first_passage_with_decay_is_the_oracle_s(dtype):
    """The smallest epoch, also where a target is met twice; w is steep enough here."""
    rows, expected = [], []
    for *start, taken in DECAY_STARTS.values():
        target = float(dtype(float(oracle.flow(taken, *start, 0.125).mapping)))
        rows.append((target, *start))
        expected.append(float(oracle.time_to_mapping(*rows[-1], 0.125)))
    tolerance = 10 * accuracy.DECAY_ROUND_TRIP[np.dtype(dtype)]
    np.testing.assert_allclose(_times_of(rows, dtype), expected, rtol=tolerance)
    late = [*DECAY_STARTS].index("overshoot, on the way down")
    assert expected[late] < 0.5 * DECAY_STARTS["overshoot, on the way down"][-1]


# --- exact statements -------------------------------------------------------

NEVER = {
    "beyond w*": (0.75, 0.25, 0.5, 1.0, 1.0, 0.0),
    "w* itself": (0.5, 0.25, 0.5, 1.0, 1.0, 0.0),
    "away from w*": (0.0625, 0.25, 0.5, 1.0, 1.0, 0.0),
    "below the start of opposite signs": (-0.25, 0.25, -0.5, 1.0, 1.0, 0.0),
    "from the saddle": (0.25, 0.0, 0.0, 1.0, 1.0, 0.0),
    "from the saddle, decay": (0.25, 0.0, 0.0, 1.0, 1.0, 0.25),
    "the saddle, from the antisymmetric line": (0.0, 0.5, -0.5, 1.0, 1.0, 0.0),
    "w* from the antisymmetric line": (0.25, 0.5, -0.5, 1.0, 1.0, 0.0),
    "below the antisymmetric start": (-0.5, 0.5, -0.5, 1.0, 1.0, 0.0),
    "the saddle, antisymmetric, decay": (0.0, 0.5, -0.5, 1.0, 1.0, 0.25),
    "nothing moves": (0.25, 0.5, 0.75, 0.0, 0.0, 0.0),
    "0 from above, eigenvalue 0": (0.0, 0.5, 0.75, 0.0, 1.0, 0.0),
    "0 from above, decay = eigenvalue": (0.0, 0.5, 0.75, 0.5, 1.0, 0.5),
    "0 from above, decay alone": (0.0, 0.5, 0.75, 0.0, 0.0, 0.5),
    "0 from below, eigenvalue 0": (0.0, 0.5, -0.75, 0.0, 1.0, 0.0),
    "0 from below, eigenvalue 0, decay": (0.0, 0.5, -0.75, 0.0, 1.0, 0.25),
    "0 from below, decay alone": (0.0, 0.5, -0.75, 0.0, 0.0, 0.5),
    "beyond the largest with decay": (0.875, 2.5, 0.0625, 1.5, 0.5, 0.0625),
    "below 0 with decay": (-0.25, 0.5, 0.75, 1.0, 1.0, 0.25),
    "negative, larger, decay alone": (-0.5, 0.5, -0.75, 0.0, 0.0, 0.25),
    "infinite": (np.inf, 0.5, 0.75, 1.0, 1.0, 0.0),
    "infinite, decay": (-np.inf, 0.5, 0.75, 1.0, 1.0, 0.25),
}


@pytest.mark.both
def test_targets_never_met_take_forever(dtype):
    times = dict(zip(NEVER, _times_of(NEVER.values(), dtype), strict=True))
    assert times == dict.fromkeys(NEVER, np.inf)
    # Those without decay once more, through the program that knows no decay.
    for name, (target, w1, w2, lam, noise, decay) in NEVER.items():
        if decay == 0:
            problem = Problem(dtype(lam), dtype(noise))
            assert theory.time_to_mapping(dtype(target), dtype(w1), dtype(w2), problem) == np.inf, (
                name
            )


@pytest.mark.both
def test_the_fixed_point_is_passed_on_the_way_to_a_peak_only(dtype):
    """Exactly 1/2: no rounding at rest counts as a passage; from far above s to d it is one."""
    problem = Problem(dtype(2), dtype(0), dtype(1), dtype(0.1))
    w1, w2 = (dtype(x) for x in ([0, 0.3, 0.7, 0.3, 2, 3], [0.7, 0.7, -0.3, 0.3, 0.1, 0.15]))
    time = np.asarray(theory.time_to_mapping(theory.fixed_point(problem), w1, w2, problem))
    assert np.all(np.isinf(time[:4]))
    assert np.all(np.isfinite(time[4:]))
    for without in (Problem(dtype(1), dtype(1)), Problem(dtype(3), dtype(0.5))):
        star = theory.fixed_point(without)
        assert np.all(np.isinf(theory.time_to_mapping(star, w1, w2, without)))


@pytest.mark.both
def test_the_start_is_met_at_once(dtype):
    """From anywhere, the saddle and w* included."""
    starts = [
        (0.25, 0.5, 1.0, 1.0, 0.0),
        (0.25, 0.5, 1.0, 1.0, 0.25),
        (0.5, -0.5, 1.0, 1.0, 0.0),
        (0.0, 0.0, 1.0, 1.0, 0.25),
        (0.25, 0.5, 0.0, 0.0, 0.0),
        (0.5, 1.0, 1.0, 1.0, 0.0),
    ]
    times = _times_of([(w1 * w2, w1, w2, *rest) for w1, w2, *rest in starts], dtype)
    np.testing.assert_array_equal(times, 0)


@pytest.mark.both
def test_half_time_of_balanced_weights(dtype, eps):
    """t = ln(w*/w0 - 1)/(2 alpha (lambda - gamma)) to half of w*, from the logistic curve."""
    lam, noise, decay = np.array([[1, 2, 4], [0, 1, 2], [0, 0.5, 1]])
    w1 = np.array([2.0**-10, 2.0**-7, 0.125])
    end = (lam - decay) / (lam + noise)
    expected = np.log(end / w1**2 - 1) / (2 * 0.125 * (lam - decay))
    rows = np.stack([(end / 2).astype(dtype), w1, w1, lam, noise, decay], axis=1)
    # The target's rounding moves t by 2 eps/(2 alpha mu) at most.
    np.testing.assert_allclose(_times_of(rows, dtype), expected, rtol=64 * eps)


@pytest.mark.both
def test_escape_from_small_weights_depends_on_their_sum(dtype):
    """t ~ ln(w*/w0)/(2 lambda alpha), w0 = (w1 + w2)^2/4; noise shortens it, decay does not.

    The difference of the weights dies out before the escape: corrections are of
    the order of w0 ln(1/w0), about 1e-9 here, far below the rounding in float32.
    """
    w1, w2 = np.array([[1e-5, 4e-5, -1e-5], [3e-5, 0.0, 6e-5]], dtype)
    lam, noise, rate = dtype(2), dtype(1), dtype(0.0625)
    w0 = (w1.astype(np.float64) + w2) ** 2 / 4
    for epsilon in (dtype(0), noise):
        end = float(lam / (lam + epsilon))
        t = theory.time_to_mapping(dtype(end / 2), w1, w2, Problem(lam, epsilon, dtype(0), rate))
        np.testing.assert_allclose(t, np.log(end / w0) / (2 * lam * rate), rtol=1e-6)


@pytest.mark.both
def test_only_decay_gives_a_logarithm(dtype, eps):
    """lambda = epsilon = 0: w = w0 exp(-2 gamma t')."""
    found = _times_of([(0.0625, 0.5, 0.75, 0, 0, 0.25)], dtype)
    np.testing.assert_allclose(found, np.log(0.375 / 0.0625) / (2 * 0.25 * 0.125), rtol=16 * eps)


# --- derivatives ------------------------------------------------------------

# target, then w1, w2, eigenvalue, noise, decay, learning_rate: exact in float32
GRADIENTS = {
    "generic": (0.5, 0.25, 0.5, 1.25, 0.5, 0.0, 0.125),
    "falling": (1.5, 1.5, 1.75, 1.25, 0.5, 0.0, 0.125),
    "one weight 0": (0.5, 0.0, 0.5, 1.25, 0.5, 0.0, 0.125),
    "w1 = w2": (0.5, 0.25, 0.25, 1.25, 0.5, 0.0, 0.125),
    "w1 = -w2": (-0.125, 0.5, -0.5, 1.25, 0.5, 0.0, 0.125),
    "opposite signs": (0.25, 0.25, -0.5, 1.25, 0.5, 0.0, 0.125),
    "to 0": (0.0, 0.25, -0.5, 1.25, 0.5, 0.0, 0.125),
    "eigenvalue = 0": (0.125, 0.25, 0.75, 0.0, 0.5, 0.0, 0.125),
    "eigenvalue = 0, w1 = w2": (0.125, 0.75, 0.75, 0.0, 0.5, 0.0, 0.125),
    "eigenvalue = 0, w1 = -w2": (-0.125, 0.75, -0.75, 0.0, 0.5, 0.0, 0.125),
    "decay": (0.375, 0.25, 0.5, 1.25, 0.5, 0.25, 0.125),
    "decay, w1 = w2": (0.375, 0.25, 0.25, 1.25, 0.5, 0.25, 0.125),
    "decay, w1 = -w2": (-0.125, 0.5, -0.5, 1.25, 0.5, 0.25, 0.125),
    "decay = eigenvalue": (0.125, 0.5, 0.75, 0.25, 0.5, 0.25, 0.125),
    "decay = eigenvalue, w1 = w2": (0.125, 0.5, 0.5, 0.25, 0.5, 0.25, 0.125),
    "eigenvalue = 0, decay": (0.125, 0.5, 0.75, 0.0, 0.5, 0.25, 0.125),
    "decay alone": (0.125, 0.5, 0.75, 0.0, 0.0, 0.25, 0.125),
    "overshoot": (0.7265625, 2.5, 0.0625, 1.5, 0.5, 0.0625, 0.125),
}


def _implicit(args):
    """dt/dx = -(dw/dx)/(dw/dt) at the passage, dt/dtarget = 1/(dw/dt), from the oracle."""
    target, w1, w2, lam, noise, decay, rate = args
    t = oracle.time_to_mapping(target, w1, w2, lam, noise, decay, rate)
    inputs = (t, *args[1:])
    slopes = [
        oracle.derivative(oracle.flow, inputs, i, forward=i > 0 and inputs[i] == 0 and i > 2)[2]
        for i in range(7)
    ]
    return np.array([float(x) for x in [1 / slopes[0], *(-s / slopes[0] for s in slopes[1:])]])


# Transposing is the same in both dtypes, and compiling it takes long: one lane does. All points
# of a mode are one test, which two processes would otherwise compile the same for.
MODES = pytest.mark.parametrize(
    "mode", [pytest.param("forward", marks=pytest.mark.both), "backward"]
)


@functools.cache
def _gradients(mode, dtype):
    """Derivatives of the time at every point at once, by point."""
    points = [*GRADIENTS.values()]
    found = derivatives.jacobians(_time, np.array(points, dtype), 1, mode)
    return dict(zip(points, found[:, 0], strict=True))


@MODES
def test_derivatives_of_the_time(mode, dtype):
    """All seven, from the implicit function theorem; as good as the mapping's promise."""
    for name, point in GRADIENTS.items():
        found, expected = _gradients(mode, dtype)[point], _implicit(point)
        allowed = 100 * accuracy.DECAY[np.dtype(dtype)] * (np.abs(expected) + np.abs(expected[0]))
        assert np.all(np.abs(found - expected) <= allowed), (name, found - expected)


@pytest.mark.x64
@pytest.mark.slow  # compiling a second derivative with decay takes minutes
def test_second_derivatives_with_decay():
    """Against differences of the first ones, which the oracle has confirmed."""
    names = ["decay", "decay = eigenvalue", "eigenvalue = 0, decay", "decay alone", "overshoot"]
    points = np.array([GRADIENTS[name] for name in names])
    tangents = np.random.default_rng(0).normal(size=points.shape) * 0.1
    tangents[points == 0] = 0
    step = 2.0**-14
    after, before = (
        derivatives.pushforward(_time, points + h * tangents, tangents) for h in (step, -step)
    )
    found = derivatives.acceleration(_time, points, tangents)
    np.testing.assert_allclose(found, (after - before) / (2 * step), rtol=1e-5)


@MODES
def test_derivatives_are_finite_where_there_is_no_passage(mode, dtype):
    """t = 0 and t = inf: nothing that is not finite may spoil a batch's gradient."""
    points = [*NEVER.values(), (0.125, 0.25, 0.5, 1.0, 1.0, 0.0), (0, 0, 0, 1, 1, 0.25)]
    points = np.array([[*p, 0.125] for p in points if np.isfinite(p[0])], dtype)
    assert np.isfinite(derivatives.jacobians(_time, points, 1, mode)).all()


# --- under transformations --------------------------------------------------


@pytest.mark.both
def test_broadcasts_and_transforms(rng, dtype, eps):
    """Targets by directions under jit and vmap, without decay."""
    lam, noise = rng.uniform(1, 3, 4).astype(dtype), rng.uniform(0, 1, 4).astype(dtype)
    w1, w2 = (rng.uniform(0.01, 0.1, 4).astype(dtype) for _ in range(2))
    target = np.array([0.1, 0.2, 0.4], dtype)
    problem = Problem(lam, noise, 0.0, dtype(0.125))

    def times(target):
        return theory.time_to_mapping(target, w1, w2, problem)

    grid = times(target[:, None])
    assert grid.shape == (3, 4)
    assert grid.dtype == dtype
    np.testing.assert_allclose(jax.jit(times)(target[:, None]), grid, rtol=16 * eps)
    np.testing.assert_allclose(jax.jit(jax.vmap(times))(target), grid, rtol=16 * eps)


@pytest.mark.both
def test_invalid_members_are_nan_under_jit(dtype):
    nan = np.nan
    target = np.array([0.25, nan, 0.25, 0.25, 0.25, 0.25], dtype)
    w1 = np.array([0.1, 0.1, nan, 0.1, 0.1, 0.1], dtype)
    lam = np.array([1, 1, 1, -1, 1, 1], dtype)
    rate = np.array([1, 1, 1, 1, 0, nan], dtype)

    def times(target, w1, lam, rate):
        return theory.time_to_mapping(target, w1, w1, Problem(lam, 0.0, 0.0, rate))

    found = jax.jit(times)(target, w1, lam, rate)
    np.testing.assert_array_equal(np.isnan(found), [False] + 5 * [True])


def test_decay_under_jit_and_vmap_with_invalid_members(dtype):
    """The members are those of one array; an invalid one is NaN and spoils no other."""
    w1 = np.linspace(0.125, 0.5, N).astype(dtype)
    numbers = np.tile(np.array([[1.25], [0.5], [0.25], [0.125]], dtype), N)
    target, w2 = np.full(N, 0.46875, dtype), np.full(N, 0.75, dtype)
    expected = _time((target, w1, w2, *numbers))[0]
    bad = numbers.copy()
    bad[0, 0], bad[1, 1], bad[2, 2], bad[3, 3] = -1, np.inf, -1, 0

    def times(target, *numbers):
        return theory.time_to_mapping(target, w1, w2, Problem(*numbers))

    found = jax.jit(jax.vmap(times, in_axes=(0, *4 * [None])))(target[:1], *bad)[0]
    assert np.isnan(found[:4]).all()
    tolerance = accuracy.DECAY_ROUND_TRIP[np.dtype(dtype)]
    np.testing.assert_allclose(found[4:], expected[4:], rtol=tolerance)
