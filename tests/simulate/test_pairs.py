"""The pair kernel: one step, many steps, and what must not change a single bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf
from one_step import FIELDS, assert_one_step, wide_sample

from lindae_jax import checks
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_pairs

pytestmark = pytest.mark.both

# --- against exact arithmetic -------------------------------------------------------


def test_one_step(rng, dtype, eps):
    w1, w2, problem = wide_sample(rng, 3000, dtype)
    got = simulate_pairs(w1, w2, problem, num_steps=1)
    assert got.w1.dtype == dtype
    assert_one_step(got.w1[0], got.w2[0], w1, w2, problem, eps)


def test_one_step_without_decay_and_with_scalar_fields(rng, dtype, eps):
    w1, w2, problem = wide_sample(rng, 500, dtype)
    for other in (
        Problem(problem.eigenvalue, problem.noise, 0.0, problem.learning_rate),
        Problem(1.0, 0.5, 0.0, 0.1),
        Problem(1, 0, 1, 1),
    ):
        cast = Problem(*(np.asarray(getattr(other, n), dtype) for n in FIELDS))
        got = simulate_pairs(w1, w2, other, num_steps=1)
        assert_one_step(got.w1[0], got.w2[0], w1, w2, cast, eps)


def test_no_decay_is_known_to_be_none_within_jit_too(rng, dtype):
    """The cheaper step, with every bit of the other."""
    w1, w2, problem = wide_sample(rng, 64, dtype)
    arguments = w1, w2, problem.eigenvalue, problem.noise, problem.learning_rate

    def descend(w1, w2, eigenvalue, noise, rate, decay=0.0):
        problem = Problem(eigenvalue, noise, decay, rate)
        return simulate_pairs(w1, w2, problem, num_steps=11).w1

    run, unknown = jax.jit(descend), (*arguments, np.zeros(64, dtype))
    products = [str(run.trace(*given).jaxpr).count(" mul ") for given in (arguments, unknown)]
    # Four products a step instead of six.
    assert products[0] <= 0.75 * products[1]
    np.testing.assert_array_equal(np.asarray(run(*arguments)), np.asarray(run(*unknown)))


def exact_descent(w1, w2, lam, noise, decay, rate, num_steps):
    a = lam + noise
    for _ in range(num_steps):
        g = lam - a * w1 * w2
        w1, w2 = w1 + rate * (g * w2 - decay * w1), w2 + rate * (g * w1 - decay * w2)
    return w1, w2


STARTS = [
    # w1, w2, lambda, epsilon, gamma, alpha
    (0.25, 0.5, 1.0, 0.25, 0.125, 0.0625),
    (0.5, -0.25, 2.0, 0.5, 0.0, 0.03125),
    (-1.0, 1.5, 0.5, 0.0, 0.25, 0.0625),
    (0.0, 0.125, 1.0, 0.0, 0.0, 0.125),
]


@pytest.mark.parametrize("start", STARTS)
def test_many_steps_and_their_sensitivities(start, dtype, eps):
    """50 steps against 60 digits; `jvp` along each input against their difference quotient."""
    num_steps = 50
    values = tuple(jnp.asarray(x, dtype) for x in start)

    def final(*v):
        got = simulate_pairs(v[0], v[1], Problem(*v[2:]), num_steps=num_steps)
        return got.w1[0], got.w2[0]

    # Each step adds a few eps of the weights; contraction forgets, escape amplifies.
    tolerance = 4 * eps * num_steps
    with mp.workdps(60):
        start = [mpf(x) for x in start]
        for got, exact in zip(
            jax.jit(final)(*values), exact_descent(*start, num_steps), strict=True
        ):
            assert abs(got - float(exact)) < tolerance
        h = mpf(10) ** -25
        for i in range(6):
            direction = tuple(jnp.asarray(float(j == i), dtype) for j in range(6))
            _, slopes = jax.jvp(final, values, direction)
            moved = ([x + sign * h * (j == i) for j, x in enumerate(start)] for sign in (1, -1))
            ends = (exact_descent(*values, num_steps) for values in moved)
            for got, up, down in zip(slopes, *ends, strict=True):
                exact = float((up - down) / (2 * h))
                assert abs(got - exact) < 20 * tolerance * max(1, abs(exact))


@pytest.mark.x64
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_descent_converges_to_the_flow_with_slope_one(noise):
    """Balanced weights halfway up, where the flow is logistic; slope 1 +- 0.02 in the rate."""
    start, time, rates = 1e-3, 3.5, np.array([1e-2, 1e-3, 1e-4])
    flow = 1 / ((1 + noise) + (1 / start - (1 + noise)) * np.exp(-2 * time))
    errors = []
    for rate in rates:
        got = simulate_pairs(
            np.sqrt(start),
            np.sqrt(start),
            Problem(1.0, noise, 0.0, rate),
            num_steps=round(time / rate),
        )
        errors.append(abs(got.w1[0] * got.w2[0] - flow))
    slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
    assert (abs(slopes - 1) < 0.02).all()


# --- what must not change a single bit -------------------------------------------------


def training_sample(rng, n, dtype):
    w1, w2 = (rng.normal(size=(2, n)) / 2).astype(dtype)
    fields = zip((0.1, 0.0, 0.0, 0.01), (1.0, 1.0, 0.2, 2.0), strict=True)
    return w1, w2, Problem(*(rng.uniform(*f, size=n).astype(dtype) for f in fields))


def assert_bitwise(a, b):
    """Also of members that diverge: NaN equals NaN."""
    np.testing.assert_array_equal(a.w1[-1], b.w1[-1])
    np.testing.assert_array_equal(a.w2[-1], b.w2[-1])
    np.testing.assert_array_equal(a.status, b.status)


@pytest.mark.parametrize("n", [1, 17, 20_001])
def test_segments_and_saves(rng, dtype, n):
    """A run cut anywhere, saved anyhow, is the same run."""
    w1, w2, problem = training_sample(rng, n, dtype)
    whole = simulate_pairs(w1, w2, problem, num_steps=157)
    for cut in (0, 1, 7, 8, 77, 150, 156):
        first = simulate_pairs(w1, w2, problem, num_steps=cut)
        rest = simulate_pairs(first.w1[-1], first.w2[-1], problem, num_steps=157 - cut)
        assert_bitwise(rest, whole)
    for saves in ({"save_every": 1}, {"save_every": 9}, {"save_steps": (0, 5, 6, 30, 100)}):
        assert_bitwise(simulate_pairs(w1, w2, problem, num_steps=157, **saves), whole)


def test_the_callers_arrays_are_left_alone(rng, dtype):
    """Neither donated nor written to, of few pairs or of many, without steps or with some."""
    for n in (50, 60_001):
        w1, w2, problem = training_sample(rng, n, dtype)
        arrays = [jnp.asarray(x) for x in (w1, w2, *(getattr(problem, f) for f in FIELDS))]
        kept = [np.array(x) for x in arrays]
        for num_steps in (0, 9):
            simulate_pairs(*arrays[:2], Problem(*arrays[2:]), num_steps=num_steps)
        assert not any(x.is_deleted() for x in arrays)
        for x, y in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("compensated", [False, True])
def test_segments_within_jit(rng, dtype, compensated):
    """There numbers of steps are constants to the compiler, and all is still the same."""
    w1, w2, problem = training_sample(rng, 1000, dtype)

    def run(num_steps, w1, w2, problem, carry=None):
        return simulate_pairs(
            w1, w2, problem, num_steps=num_steps, compensated=compensated, carry=carry
        )

    within = jax.jit(run, static_argnums=0)
    whole = run(33, w1, w2, problem)
    assert_bitwise(within(33, w1, w2, problem), whole)
    for cut in (8, 32):
        first = within(cut, w1, w2, problem)
        carry = tuple(c[-1] for c in first.carry) if compensated else None
        assert_bitwise(within(33 - cut, first.w1[-1], first.w2[-1], problem, carry), whole)
    assert_bitwise(within(1, w1, w2, problem), run(1, w1, w2, problem))


@pytest.mark.parametrize("n", [19, 4099])
def test_batch_equals_loop(rng, dtype, n):
    """Alone, in part, under vmap; with fields as arrays or as numbers."""
    w1, w2, problem = training_sample(rng, n, dtype)
    whole = simulate_pairs(w1, w2, problem, num_steps=101)

    def take(index):
        part = Problem(*(getattr(problem, f)[index] for f in FIELDS))
        return simulate_pairs(w1[index], w2[index], part, num_steps=101)

    for index in (0, n // 2, n - 1, np.s_[: n // 2 + 1], np.s_[n // 3 :], np.s_[::-1]):
        expected = jax.tree.map(lambda x, i=index: x[..., i] if x.shape[-1] == n else x, whole)
        assert_bitwise(take(index), expected)
    mapped = jax.vmap(lambda *v: simulate_pairs(v[0], v[1], Problem(*v[2:]), num_steps=101))(
        w1, w2, *(getattr(problem, f) for f in FIELDS)
    )
    np.testing.assert_array_equal(mapped.w1[:, 0], whole.w1[0])
    np.testing.assert_array_equal(mapped.status, whole.status)
    same = Problem(*(np.full(n, x, dtype) for x in (0.5, 0.1, 0.01, 0.3)))
    assert_bitwise(
        simulate_pairs(w1, w2, Problem(0.5, 0.1, 0.01, 0.3), num_steps=101),
        simulate_pairs(w1, w2, same, num_steps=101),
    )


def test_fields_broadcast_as_numpy_does(rng, dtype):
    """A grid from axes of length one equals the grid written out."""
    w1, w2, problem = training_sample(rng, 4, dtype)
    axes = (
        w1,
        w2[:, None],
        problem.eigenvalue[:, None, None],
        problem.noise,
        problem.decay[:, None],
        problem.learning_rate[:, None, None, None],
    )
    grid = simulate_pairs(*axes[:2], Problem(*axes[2:]), num_steps=30)
    full = np.broadcast_arrays(*axes)
    assert grid.status.shape == (4, 4, 4, 4)
    assert_bitwise(grid, simulate_pairs(*full[:2], Problem(*full[2:]), num_steps=30))


def test_zero_weights_stay_zero(dtype):
    """The saddle; also lambda = epsilon = 0, where nothing moves."""
    got = simulate_pairs(jnp.zeros(3, dtype), 0.0, Problem(2.0, 1.0, 0.5), num_steps=20)
    np.testing.assert_array_equal(got.w1, 0)
    still = simulate_pairs(jnp.asarray(0.3, dtype), 0.7, Problem(0.0), num_steps=20)
    assert still.w1[0] == jnp.asarray(0.3, dtype)


@pytest.fixture(params=["NumPy", "JAX"])
def large(request, monkeypatch, dtype):
    """2^20 members, of which any call takes the kernel's word, in NumPy or in JAX."""
    array = {"NumPy": np.asarray, "JAX": jnp.asarray}[request.param]
    looks = []
    look = checks.check_values
    monkeypatch.setattr(checks, "check_values", lambda x: (looks.append(len(x)), look(x)))

    def run(bad=(), **how):
        fields = {name: np.full(2**20, 0.1, dtype) for name in ("w1", "w2", *FIELDS)}
        for name, value in dict(bad).items():
            fields[name][[5, 2**20 - 1]] = value
        w1, w2, *rest = map(array, fields.values())
        return simulate_pairs(w1, w2, Problem(*rest), **{"num_steps": 3, **how}), looks

    return run


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_short_runs_of_large_batches_tell_of_bad_values_afterwards(large, field, value):
    with pytest.raises(ValueError, match=rf"^{field} must be .*; got .* at index \(5,\) \(2 of"):
        large({field: value})


def test_good_values_of_large_batches_are_looked_at_by_the_kernel_alone(large, dtype):
    short, looks = large()
    assert looks == []
    assert (np.asarray(short.status) == 0).all()
    one = simulate_pairs(*[dtype(0.1)] * 2, Problem(*[dtype(0.1)] * 4), num_steps=3)
    looks.clear()
    assert (np.asarray(short.w1) == np.asarray(one.w1)).all()
    large(num_steps=1001)
    large(save_every=1)
    assert looks == [4, 4]


def test_weights_that_are_not_finite_are_no_mistake(large):
    run, looks = large({"w1": np.inf})
    assert (looks, int((np.asarray(run.status) != 0).sum())) == ([], 2)
