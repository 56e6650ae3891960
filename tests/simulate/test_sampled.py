"""Sampled noise against direct draws, against the marginalised run, against itself cut up."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lindae_jax import draws
from lindae_jax.problem import Problem
from lindae_jax.simulate import (
    DIVERGED,
    INVALID_INPUT,
    OK,
    simulate_matrices,
    simulate_sampled,
)
from lindae_jax.simulate.sampled import _chi_squared, sampled_moments

NUM_DRAWS = 10_000
FORMS = pytest.mark.parametrize("hidden", [2, 5])  # with D = 6: from the rows, from the moments


def data(rng, num_samples, directions):
    """A data matrix in its own eigenbasis, ascending, with its eigenvalues."""
    x = rng.normal(size=(num_samples, directions)) * np.linspace(0.4, 1.5, directions)
    eigenvalue, v = np.linalg.eigh(x.T @ x / num_samples)
    # min(N, D) of them differ from 0, the others round to either side of it.
    return x @ v, np.maximum(eigenvalue, 0)


def sample(rng, dtype, hidden=2, directions=6, members=6):
    w1 = rng.normal(size=(members, hidden, directions)).astype(dtype) / 5
    w2 = rng.normal(size=(members, directions, hidden)).astype(dtype) / 5
    eigenvalue = rng.uniform(size=(members, directions)).astype(dtype)
    noise, decay, rate = rng.uniform(0.05, 0.2, size=(3, members)).astype(dtype)
    return np.arange(members) % 4, w1, w2, Problem(eigenvalue, noise, decay, rate)


# --- in distribution ------------------------------------------------------------------


def assert_same_mean_and_covariance(ours, others):
    """Samples (n, k): all means and the covariances of all couples, within 5 standard errors."""

    def estimates(x):
        x = np.asarray(x, np.float64)
        centred = x - x.mean(0)
        covariance = centred.T @ centred / len(x)
        fourth = (centred**2).T @ centred**2 / len(x)
        errors = centred.var(0) / len(x), (fourth - covariance**2) / len(x)
        return (x.mean(0), covariance), errors

    (first, first_errors), (second, second_errors) = estimates(ours), estimates(others)
    for a, b, u, v in zip(first, second, first_errors, second_errors, strict=True):
        # What is constant is so to rounding.
        assert (np.abs(a - b) <= 5 * np.sqrt(u + v) + 1e-6).all()


@pytest.mark.both
@pytest.mark.parametrize("num_samples", [1, 3, 5, 6, 8, 10, 25])
def test_moments_are_distributed_as_those_of_direct_draws(rng, dtype, num_samples):
    """D = 5: N below D, between D and 2 D, above; every entry with every other."""
    x, eigenvalue = data(rng, num_samples, 5)
    noisy = x + rng.normal(size=(NUM_DRAWS, num_samples, 5)) * 0.8
    direct = x.T @ noisy / num_samples, np.swapaxes(noisy, 1, 2) @ noisy / num_samples
    got = sampled_moments(
        np.arange(NUM_DRAWS), 7, jnp.asarray(eigenvalue, dtype), 0.64, num_samples=num_samples
    )
    assert got.m1.dtype == got.m2.dtype == dtype
    upper = np.triu_indices(5)
    assert_same_mean_and_covariance(
        *(
            np.concatenate([m1.reshape(-1, 25), np.asarray(m2)[:, *upper]], 1)
            for m1, m2 in (direct, got)
        )
    )


def test_runs_are_distributed_as_training_on_noisy_samples(rng):
    """Three steps, N = 4, D = 3: the weights of ten thousand runs of either kind."""
    x, eigenvalue = data(rng, 4, 3)
    w1, w2 = rng.normal(size=(1, 3)) / 2, rng.normal(size=(3, 1)) / 2
    a, b = (np.broadcast_to(w, (NUM_DRAWS, *w.shape)) for w in (w1, w2))
    for _ in range(3):
        noisy = x + rng.normal(size=(NUM_DRAWS, 4, 3))
        code = noisy @ np.swapaxes(a, 1, 2)
        error = (code @ np.swapaxes(b, 1, 2) - x) / 4
        slope_a = np.swapaxes(error @ b, 1, 2) @ noisy + 0.3 * a
        slope_b = np.swapaxes(error, 1, 2) @ code + 0.3 * b
        a, b = a - 0.1 * slope_a, b - 0.1 * slope_b
    problem = Problem(eigenvalue, 1.0, 0.3, 0.1)
    got = simulate_sampled(np.arange(NUM_DRAWS), w1, w2, problem, num_samples=4, num_steps=3)
    assert_same_mean_and_covariance(
        *(
            np.concatenate([np.reshape(w, (NUM_DRAWS, -1)) for w in weights], 1)
            for weights in ((a, b), (got.w1[0], got.w2[0]))
        )
    )


def test_scatter_falls_as_the_root_of_the_number_of_samples(rng, eps):
    """Five N of 240 runs each, in one call, around one marginalised run."""
    w1, w2 = rng.normal(size=(2, 4)) / 5, rng.normal(size=(4, 2)) / 5
    problem = Problem(np.array([1.0, 0.6, 0.3, 0.1]), 0.5, 0.05, 0.1)
    run = functools.partial(simulate_sampled, np.arange(240), w1, w2, problem, num_steps=100)
    num_samples = 100 * 4 ** np.arange(5)
    got = run(num_samples=num_samples[:, None])
    assert got.w1.shape == (1, 5, 240, 2, 4)
    centre = simulate_matrices(w1, w2, problem, num_steps=100)
    squares = [
        (np.asarray(w - c[:, None, None], np.float64) ** 2).sum((0, 3, 4)).mean(1)
        for w, c in ((got.w1, centre.w1), (got.w2, centre.w2))
    ]
    slope = np.polyfit(np.log(num_samples), np.log(sum(squares)) / 2, 1)[0]
    assert abs(slope + 0.5) < 0.05
    # The 1,200 are too many to be trained at a time; 240 are not.
    np.testing.assert_allclose(got.w1[:, 1], run(num_samples=400).w1, rtol=0, atol=100 * eps)


@pytest.mark.both
def test_chi_squared(dtype):
    """Degrees small and large, by Kolmogorov and Smirnov; none below 2."""
    degrees = np.array([2, 3, 4, 7, 60, 49_216, 10**6, 1, 0, -3])
    keys = draws.root(jnp.arange(5000))
    got = jax.jit(jax.vmap(_chi_squared, (0, None)))(keys, jnp.asarray(degrees, dtype))
    for k, drawn in zip(degrees[:7], np.asarray(got, np.float64).T, strict=False):
        assert stats.kstest(drawn, stats.chi2(k).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(got[:, 7:], 0)


@pytest.mark.x64
def test_both_precisions_see_the_same_noise(rng):
    eigenvalue, seed = rng.uniform(size=5), np.arange(50)
    wide, narrow = (
        sampled_moments(seed, 3, jnp.asarray(eigenvalue, dtype), 0.5, num_samples=9)
        for dtype in (jnp.float64, jnp.float32)
    )
    assert narrow.m1.dtype == np.float32
    np.testing.assert_allclose(wide.m1, np.asarray(narrow.m1, np.float64), rtol=0, atol=1e-5)
    np.testing.assert_allclose(wide.m2, np.asarray(narrow.m2, np.float64), rtol=0, atol=1e-5)


# --- one run against others -------------------------------------------------------------


@pytest.mark.both
@FORMS
@pytest.mark.parametrize("num_samples", [2, 8, 10**6])
def test_without_noise_it_is_the_marginalised_run(rng, dtype, eps, hidden, num_samples):
    seed, w1, w2, problem = sample(rng, dtype, hidden)
    # Not the first of them: rows go to the largest, in whatever order they come.
    eigenvalue = problem.eigenvalue * (np.array([3, 4, 0, 5, 1, 2]) < num_samples)
    quiet = Problem(eigenvalue, 0.0, problem.decay, problem.learning_rate)
    got = simulate_sampled(seed, w1, w2, quiet, num_samples=[num_samples] * 6, num_steps=100)
    expected = simulate_matrices(w1, w2, quiet, num_steps=100)
    for w, e in ((got.w1, expected.w1), (got.w2, expected.w2)):
        np.testing.assert_allclose(w, e, rtol=0, atol=50 * eps)
    np.testing.assert_array_equal(got.status, OK)


@pytest.mark.both
@FORMS
def test_a_step_is_descent_on_data_with_the_same_moments(rng, dtype, eps, hidden):
    """D samples that have them, and the gradient of the loss by its definition."""
    seed, w1, w2, problem = sample(rng, dtype, hidden)
    got = simulate_sampled(seed, w1, w2, problem, num_samples=[40] * 6, num_steps=1, first_step=11)
    moments = sampled_moments(seed, 11, problem.eigenvalue, problem.noise, num_samples=40)
    for i in range(len(seed)):
        m1, m2 = (np.asarray(m[i], np.float64) for m in moments)
        noisy = np.linalg.cholesky(m2).T  # noisy^T noisy = m2 and clean^T noisy = m1
        clean = np.linalg.solve(noisy.T, m1.T)
        a, b = w1[i].astype(np.float64), w2[i].astype(np.float64)
        error = noisy @ a.T @ b.T - clean
        decay, rate = float(problem.decay[i]), float(problem.learning_rate[i])
        expected = (
            a - rate * (b.T @ error.T @ noisy + decay * a),
            b - rate * (error.T @ noisy @ a.T + decay * b),
        )
        for w, e in zip((got.w1[0, i], got.w2[0, i]), expected, strict=True):
            np.testing.assert_allclose(w, e, rtol=0, atol=4 * eps)


@pytest.mark.both
@FORMS
def test_segments_and_saves(rng, dtype, hidden):
    """A run cut anywhere, saved anyhow, is bitwise the same run."""
    seed, w1, w2, problem = sample(rng, dtype, hidden)
    run = functools.partial(
        simulate_sampled, seed, problem=problem, num_samples=[3000, 6, 7, 9, 12, 50]
    )
    whole = run(w1, w2, num_steps=23)
    for cut in (0, 1, 10, 22):
        first = run(w1, w2, num_steps=cut)
        rest = run(first.w1[-1], first.w2[-1], num_steps=23 - cut, first_step=cut)
        np.testing.assert_array_equal(rest.w1, whole.w1)
        np.testing.assert_array_equal(rest.w2, whole.w2)
        assert rest.step.tolist() == [23 - cut]
    saved = run(w1, w2, num_steps=23, save_every=5)
    assert saved.step.tolist() == [0, 5, 10, 15, 20, 23]
    np.testing.assert_array_equal(saved.w1[-1], whole.w1[0])
    np.testing.assert_array_equal(saved.w2[-1], whole.w2[0])
    np.testing.assert_array_equal(saved.w1[2], run(w1, w2, num_steps=10).w1[0])
    assert not np.array_equal(whole.w1, run(w1, w2, num_steps=23, first_step=1).w1)


# --- the draws ------------------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("num_samples", [2, 4, 40])
def test_a_draw_knows_its_seed_and_step_but_not_its_place(rng, dtype, eps, num_samples):
    eigenvalue = np.where(np.arange(3) < num_samples, rng.uniform(size=3), 0).astype(dtype)
    seed, step = np.array([5, 0, 2**32 - 1, 5, 7, 8, 9]), np.array([1, 1, 1, 2, 2**31 - 1, 0, 0])
    draw = functools.partial(sampled_moments, num_samples=num_samples)
    whole = draw(seed, step, eigenvalue, 0.3)
    part = draw(seed[2:5][::-1], step[2:5][::-1], eigenvalue, 0.3)
    np.testing.assert_array_equal(part.m1, whole.m1[2:5][::-1])
    np.testing.assert_array_equal(part.m2, whole.m2[2:5][::-1])
    alone = draw(int(seed[4]), int(step[4]), list(eigenvalue), 0.3)
    np.testing.assert_array_equal(alone.m1, whole.m1[4])
    # The order of the sums in a product may differ with the batch.
    np.testing.assert_allclose(alone.m2, whole.m2[4], rtol=0, atol=20 * eps)
    for i, j in ((0, 1), (0, 2), (0, 3)):
        assert (whole.m1[i] != whole.m1[j])[eigenvalue > 0].all()


@pytest.mark.both
def test_a_draw_is_a_function_of_seed_step_row_and_column(eps):
    """One by one, the keys folded as they are written down; then a number to be kept."""
    m1 = sampled_moments(20, 5, np.ones(3), 0.5, num_samples=8).m1
    got = (np.asarray(m1, np.float64) - np.eye(3)) / np.sqrt(0.5 / 8)
    for row, column in np.ndindex(3, 3):
        key = jax.random.key(np.uint32(20), impl="threefry2x32")
        for part in (3, 5, row, column):
            key = jax.random.fold_in(key, part)
        word = int(jax.random.key_data(key)[0])
        z = stats.norm.ppf((word % 2**31 + 0.5) / 2**32) * (-1) ** (word >> 31)
        np.testing.assert_allclose(got[row, column], z, rtol=0, atol=20 * eps)
    assert round(float(got[1, 2]), 5) == 2.15045


@pytest.mark.both
def test_one_seed_is_one_noise_scaled(eps):
    """In M1 in proportion to its root; the draws for other N from the same numbers."""
    eigenvalue = np.array([1.0, 0.5, 0.0])
    low, high = (sampled_moments(9, 4, eigenvalue, noise, num_samples=7).m1 for noise in (0.2, 0.8))
    np.testing.assert_allclose(
        high - np.diag(eigenvalue), 2 * (low - np.diag(eigenvalue)), rtol=0, atol=4 * eps
    )
    more = sampled_moments(9, 4, eigenvalue, 0.8, num_samples=28).m1
    np.testing.assert_allclose(more, low, rtol=0, atol=4 * eps)


@pytest.mark.both
def test_runs_do_not_know_their_place(rng, dtype, eps):
    """Any order, in parts, under vmap."""
    seed, w1, w2, problem = sample(rng, dtype)
    num_samples = np.array([3000, 6, 7, 9, 12, 50])

    def run(seed, w1, w2, num_samples, *fields):
        fields = Problem(*fields)
        return simulate_sampled(seed, w1, w2, fields, num_samples=num_samples, num_steps=20)

    members = seed, w1, w2, num_samples, *vars(problem).values()
    whole = run(*members)
    order = np.array([4, 2, 0, 5, 1, 3])
    moved = run(*(x[order] for x in members))
    np.testing.assert_array_equal(moved.w1[0], whole.w1[0, order])
    np.testing.assert_array_equal(moved.w2[0], whole.w2[0, order])
    part = run(*(x[3:5] for x in members))
    np.testing.assert_array_equal(part.w1[0], whole.w1[0, 3:5])
    mapped = jax.vmap(run)(*members)
    np.testing.assert_allclose(mapped.w2[:, 0], whole.w2[0], rtol=0, atol=100 * eps)


# --- what can be wrong -----------------------------------------------------------------------


@pytest.mark.both
def test_eigenvalues_within_rounding_of_zero_are_taken_for_it(eps):
    """D eps times the largest, whatever their order; twice that is too much."""
    for factor, wrong in ((0.9, False), (2.0, True)):
        eigenvalue = np.array([3 * eps * factor, 1.0, 0.5])
        if wrong:
            with pytest.raises(ValueError, match="got 3 of them with num_samples = 2"):
                sampled_moments(0, 0, eigenvalue, 0.1, num_samples=2)
        else:
            assert np.isfinite(sampled_moments(0, 0, eigenvalue, 0.1, num_samples=2).m2).all()


def test_what_is_concrete_is_checked_under_jit():
    """A traced seed beside eigenvalues and N that are not."""

    def draw(seed, num_samples):
        return sampled_moments(seed, 0, np.ones(3), 0.1, num_samples=num_samples)

    under_jit = jax.jit(draw, static_argnums=1)
    np.testing.assert_array_equal(under_jit(jnp.int32(7), 5).m1, draw(7, 5).m1)
    with pytest.raises(ValueError, match="got 3 of them with num_samples = 2"):
        under_jit(jnp.int32(7), 2)


@pytest.mark.both
def test_one_diverging_network_leaves_the_others_alone(rng, dtype):
    seed, w1, w2, problem = sample(rng, dtype)
    run = functools.partial(simulate_sampled, seed, num_samples=[9] * 6, num_steps=40, save_every=8)
    calm = run(w1, w2, problem)
    rate = np.where(np.arange(6) == 1, np.asarray(50, dtype), problem.learning_rate)
    got = run(w1, w2, Problem(problem.eigenvalue, problem.noise, problem.decay, rate))
    assert got.status.tolist() == [OK, DIVERGED, OK, OK, OK, OK]
    np.testing.assert_array_equal(got.w1[:, 2:], calm.w1[:, 2:])
    w1[0] = np.nan  # diverged in an earlier run: no mistake
    assert run(w1, w2, problem).status.tolist() == [DIVERGED, OK, OK, OK, OK, OK]


def test_bad_values_under_jit_are_a_status():
    """Each by itself, and the first step for all."""
    eigenvalue = np.array([1.0, 0.5, 0.2])
    w1, w2 = np.full((5, 2, 3), 0.1), np.full((5, 3, 2), 0.1)

    @jax.jit
    def run(seed, num_samples, noise, first_step):
        return simulate_sampled(
            seed,
            w1,
            w2,
            Problem(eigenvalue, noise, 0.1, 0.1),
            num_samples=num_samples,
            num_steps=2,
            first_step=first_step,
        )

    seed, num_samples = np.array([1, -1, 1, 1, 1]), np.array([9, 9, 0, 2, 9])
    noise = np.array([0.1, 0.1, 0.1, 0.1, np.nan])
    got = run(seed, num_samples, noise, 3)
    assert got.status.tolist() == [OK, *[INVALID_INPUT] * 4]
    assert np.isfinite(got.w1[:, 0]).all()
    assert np.isnan(got.w1[:, 1:]).all()
    assert np.isnan(got.w2[:, 1:]).all()
    assert run(seed, num_samples, noise, -1).status.tolist() == [INVALID_INPUT] * 5
    draw = jax.jit(lambda s, n, e: sampled_moments(s, 0, eigenvalue, e, num_samples=n))
    drawn = draw(seed, num_samples, noise)
    for m in drawn:
        assert np.isfinite(m[0]).all()
        assert np.isnan(m[1:]).all()


def test_observe_runs_when_the_core_is_traced_and_no_value_traces_it_again(rng):
    """What it returns replaces all rows of the weights but the last."""
    seed, w1, w2, problem = sample(rng, np.float32)
    calls = []

    def observe(step, w1, w2, problem):
        calls.append(step)
        return {"step": step, "mapping": (w1 * jnp.swapaxes(w2, -1, -2)).sum(-2), "p": problem}

    def run(value, num_samples, num_steps=4, **options):
        other = Problem(*(value * x for x in vars(problem).values()))
        return other, simulate_sampled(
            seed + num_samples,
            w1 * value,
            w2,
            other,
            num_samples=num_samples,
            num_steps=num_steps,
            save_every=2,
            observe=observe,
            **options,
        )

    problem, got = run(np.float32(1), 8)
    assert got.observed["step"].tolist() == got.step.tolist() == [0, 2, 4]
    mapping = (got.w1[0] * np.swapaxes(got.w2[0], -1, -2)).sum(-2)
    np.testing.assert_allclose(got.observed["mapping"][-1], mapping, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(got.observed["p"].noise, np.stack([problem.noise] * 3))
    assert got.w1.shape == (1, *w1.shape)
    traced = len(calls)
    for num_samples in (6, 11, 12, 13, 50_000, 2**31 - 1):
        run(np.float32(0.9), num_samples, first_step=num_samples // 2)
    run(np.float32(0.5), 9, num_steps=3)
    assert len(calls) == traced
