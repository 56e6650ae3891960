"""First-passage times against 100 digits, round trips, and targets never met."""

import accuracy
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import regimes

from lindae_jax import Problem, theory

pytestmark = pytest.mark.both


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


@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_times_in_every_regime(name, dtype):
    _assert_promised(name, 400, dtype, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.NO_DECAY)
def test_times_in_every_regime_at_100_000_points(name, dtype):
    _assert_promised(name, 100_000, dtype, seed=4)


def _decay_passages(name, num_points, dtype, seed):
    """Targets w(t) rounded to the dtype, and the epochs the code finds for them."""
    points = regimes.sample(regimes.DECAY, name, num_points, dtype, seed)
    points = points[points[:, 0] > 0]
    target = oracle.flow_table(points)[:, 2].astype(dtype)
    kept = np.abs(target) >= accuracy.DECAY_FLOOR
    points, target = points[kept], target[kept]
    w1, w2 = (points[:, i].astype(dtype) for i in (1, 2))
    problem = accuracy.problem_of(points, dtype)
    found = theory.time_to_mapping(target, w1, w2, problem)
    back = theory.mapping(found, w1, w2, problem)
    return points, *(np.asarray(x, np.float64) for x in (target, found, back))


def _assert_decay_round_trip(name, num_points, dtype, seed):
    """1e-9 (1e-4 in float32) of max(norm, 1e-6) where |dw/dt| t <= |w|."""
    dtype = np.dtype(dtype)
    points, target, found, back = _decay_passages(name, num_points, dtype, seed)
    assert not np.isnan(found).any()
    met = np.isfinite(found)
    moved = points[met]
    moved[:, 0] = found[met]
    there = oracle.flow_table(moved)
    lam, noise, decay, rate = moved[:, 3:].T
    norm = there[:, 0] ** 2 + there[:, 1] ** 2
    slope = rate * ((lam - (lam + noise) * target[met]) * norm - 2 * decay * target[met])
    gentle = np.abs(slope) * found[met] <= np.abs(target[met])
    error = np.abs(back - target)[met] / np.maximum(norm, accuracy.DECAY_FLOOR)
    assert error[gentle].max(initial=0) <= accuracy.DECAY_ROUND_TRIP[dtype]
    # A target that rounding put just beyond a limit or turning point is never
    # met, and nothing else is: it was taken from the curve.
    end = np.asarray(theory.fixed_point(accuracy.problem_of(points, dtype)), np.float64)
    rounding = 4 * np.finfo(dtype).eps * np.abs(target[~met])
    at_rest = np.abs(target - end)[~met] <= 1e3 * accuracy.DECAY[dtype] * np.abs(target[~met])
    assert np.all(at_rest | (rounding > _reach(points[~met], target[~met])))
    return gentle.sum()


def _reach(points, target):
    """How far beyond the target the curve goes, in some nearby epochs."""
    reach = np.zeros(len(points))
    for factor in (0.98, 1.02):
        near = points.copy()
        near[:, 0] *= factor
        reach = np.maximum(reach, np.abs(oracle.flow_table(near)[:, 2] - target))
    return reach


@pytest.mark.parametrize("name", regimes.DECAY)
def test_round_trips_with_decay(name, dtype):
    _assert_decay_round_trip(name, 50, dtype, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", regimes.DECAY)
def test_round_trips_with_decay_at_many_points(name, dtype):
    assert _assert_decay_round_trip(name, 5_000, dtype, seed=6) > 500


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


@pytest.mark.parametrize("name", DECAY_STARTS)
def test_first_passage_with_decay_is_the_oracle_s(name, dtype):
    """The smallest epoch, also where a target is met twice; w is steep enough here."""
    *start, taken = DECAY_STARTS[name]
    rest = (*start, 0.125)
    target = dtype(float(oracle.flow(taken, *rest).mapping))
    w1, w2, *numbers = (dtype(x) for x in rest)
    found = theory.time_to_mapping(target, w1, w2, Problem(*numbers))
    expected = float(oracle.time_to_mapping(float(target), *rest))
    assert (
        abs(float(found) - expected) <= 10 * accuracy.DECAY_ROUND_TRIP[np.dtype(dtype)] * expected
    )


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
    "beyond the largest with decay": (0.875, 2.5, 0.0625, 1.5, 0.5, 0.0625),
    "below 0 with decay": (-0.25, 0.5, 0.75, 1.0, 1.0, 0.25),
    "negative, larger, decay alone": (-0.5, 0.5, -0.75, 0.0, 0.0, 0.25),
    "infinite": (np.inf, 0.5, 0.75, 1.0, 1.0, 0.0),
    "infinite, decay": (-np.inf, 0.5, 0.75, 1.0, 1.0, 0.25),
}


@pytest.mark.parametrize("name", NEVER)
def test_targets_never_met_take_forever(name, dtype):
    target, w1, w2, *numbers = (dtype(x) for x in NEVER[name])
    assert theory.time_to_mapping(target, w1, w2, Problem(*numbers)) == np.inf


@pytest.mark.parametrize(
    "start",
    [
        (0.25, 0.5, 1.0, 1.0, 0.0),
        (0.25, 0.5, 1.0, 1.0, 0.25),
        (0.5, -0.5, 1.0, 1.0, 0.0),
        (0.0, 0.0, 1.0, 1.0, 0.25),
        (0.25, 0.5, 0.0, 0.0, 0.0),
        (0.5, 1.0, 1.0, 1.0, 0.0),  # w* itself
    ],
)
def test_the_start_is_met_at_once(start, dtype):
    w1, w2, *numbers = (dtype(x) for x in start)
    assert theory.time_to_mapping(w1 * w2, w1, w2, Problem(*numbers)) == 0


def test_half_time_of_balanced_weights(dtype, eps):
    """t = ln(w*/w0 - 1)/(2 alpha (lambda - gamma)) to half of w*, from the logistic curve."""
    lam, noise, decay = (np.array(x, dtype) for x in ([1, 2, 4], [0, 1, 2], [0, 0.5, 1]))
    w1 = np.array([1e-3, 1e-2, 0.125], dtype)
    problem = Problem(lam, noise, decay, dtype(0.125))
    end = (lam - decay).astype(np.float64) / (lam + noise)
    w0 = w1.astype(np.float64) ** 2
    t = theory.time_to_mapping((end / 2).astype(dtype), w1, w1, problem)
    expected = np.log(end / w0 - 1) / (2 * 0.125 * (lam - decay))
    # The target's rounding moves t by 2 eps/(2 alpha mu) at most.
    np.testing.assert_allclose(t, expected, rtol=64 * eps)


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


def test_only_decay_gives_a_logarithm(dtype, eps):
    """lambda = epsilon = 0: w = w0 exp(-2 gamma t')."""
    problem = Problem(dtype(0), dtype(0), dtype(0.25), dtype(0.125))
    t = theory.time_to_mapping(dtype(0.0625), dtype(0.5), dtype(0.75), problem)
    np.testing.assert_allclose(t, np.log(0.375 / 0.0625) / (2 * 0.25 * 0.125), rtol=16 * eps)


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


def _time(columns):
    target, w1, w2, *rest = columns
    return theory.time_to_mapping(target, w1, w2, Problem(*rest))


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


@pytest.fixture(scope="module", params=["jacfwd", "jacrev"])
def gradients(request):
    """Derivatives of the time at every point at once, by name."""
    transform = {"jacfwd": jax.jacfwd, "jacrev": jax.jacrev}[request.param]
    columns = jnp.asarray(np.array(list(GRADIENTS.values())), float)
    result = jax.jit(jax.vmap(transform(_time)))(columns)
    return dict(zip(GRADIENTS, np.asarray(result, np.float64), strict=True))


@pytest.mark.parametrize("name", GRADIENTS)
def test_derivatives_of_the_time(gradients, name, dtype):
    """All seven, from the implicit function theorem; as good as the mapping's promise."""
    expected = _implicit(GRADIENTS[name])
    tolerance = 100 * accuracy.DECAY[np.dtype(dtype)]
    scale = np.abs(expected) + np.abs(expected[0])
    assert np.isfinite(gradients[name]).all()
    assert np.all(np.abs(gradients[name] - expected) <= tolerance * scale), (
        gradients[name] - expected
    )


def test_derivatives_are_finite_where_there_is_no_passage(dtype):
    """t = 0 and t = inf: nothing that is not finite may spoil a batch's gradient."""
    points = [*NEVER.values(), (0.125, 0.25, 0.5, 1.0, 1.0, 0.0), (0, 0, 0, 1, 1, 0.25)]
    finite = [p for p in points if np.isfinite(p[0])]
    columns = jnp.asarray(np.array([[*p, 0.125] for p in finite]), dtype)
    for transform in (jax.jacfwd, jax.jacrev):
        assert np.isfinite(jax.jit(jax.vmap(transform(_time)))(columns)).all()


# --- under transformations --------------------------------------------------


def test_broadcasts_and_transforms(rng, dtype, eps):
    """Targets by directions, one by one, under jit and under vmap."""
    lam, noise = rng.uniform(1, 3, 4).astype(dtype), rng.uniform(0, 1, 4).astype(dtype)
    w1, w2 = (rng.uniform(0.01, 0.1, 4).astype(dtype) for _ in range(2))
    target = np.array([0.1, 0.2, 0.4], dtype)[:, None]
    for decay in (dtype(0), dtype(0.125)):
        problem = Problem(lam, noise, decay, dtype(0.125))
        grid = theory.time_to_mapping(target, w1, w2, problem)
        assert grid.shape == (3, 4)
        assert grid.dtype == dtype
        np.testing.assert_allclose(
            jax.jit(theory.time_to_mapping)(target, w1, w2, problem), grid, rtol=100 * eps
        )
        rows = jax.vmap(lambda x, p=problem: theory.time_to_mapping(x, w1, w2, p))(target[:, 0])
        np.testing.assert_allclose(rows, grid, rtol=100 * eps)


def test_invalid_members_are_nan_under_jit(dtype):
    nan = np.nan
    target = np.array([0.25, nan, 0.25, 0.25, 0.25, 0.25], dtype)
    w1 = np.array([0.1, 0.1, nan, 0.1, 0.1, 0.1], dtype)
    lam = np.array([1, 1, 1, -1, 1, 1], dtype)
    rate = np.array([1, 1, 1, 1, 0, nan], dtype)
    for decay in (dtype(0), dtype(0.125)):
        t = jax.jit(theory.time_to_mapping)(target, w1, w1, Problem(lam, dtype(0), decay, rate))
        np.testing.assert_array_equal(np.isnan(t), [False] + 5 * [True])
