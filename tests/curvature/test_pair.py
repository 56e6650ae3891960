"""Pair curvature against the analytic solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.curvature import optimal_learning_rate, pair_hessian, sharpness
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_pairs

pytestmark = pytest.mark.both


def sample(rng, dtype, n=200):
    w1, w2 = rng.normal(size=(2, n))
    lam, noise, decay = 10 ** rng.uniform(-2, 1, size=(3, n))
    return (jnp.asarray(x, dtype) for x in (w1, w2, lam, noise, decay))


def test_hessian_is_the_analytic_one(rng, dtype, eps):
    """[[a w2^2 + gamma, 2 a w - lambda], [., a w1^2 + gamma]]."""
    w1, w2, lam, noise, decay = sample(rng, dtype)
    hessian = pair_hessian(w1, w2, Problem(lam, noise, decay))
    assert hessian.shape == (200, 2, 2)
    assert hessian.dtype == dtype
    a, off = lam + noise, 2 * (lam + noise) * w1 * w2 - lam
    expected = jnp.stack([a * w2**2 + decay, off, off, a * w1**2 + decay], -1)
    scale = np.max(a * (w1**2 + w2**2) + lam + decay)
    np.testing.assert_allclose(hessian.reshape(200, 4), expected, rtol=0, atol=10 * eps * scale)


def test_sharpness_is_the_top_eigenvalue(rng, dtype, eps):
    w1, w2, lam, noise, decay = sample(rng, dtype)
    problem = Problem(lam, noise, decay)
    expected = np.linalg.eigvalsh(np.asarray(pair_hessian(w1, w2, problem), float))[:, 1]
    np.testing.assert_allclose(sharpness(w1, w2, problem), expected, rtol=4 * eps)


def test_landmarks(rng, dtype, eps):
    """The paper's point, the minima with noise or decay, the origin: docs/theory.md section 5."""
    _, skew, lam, noise, decay = sample(rng, dtype)
    a = lam + noise

    def close(w1, w2, problem, expected):
        np.testing.assert_allclose(sharpness(w1, w2, problem), expected, rtol=20 * eps)
        np.testing.assert_allclose(
            optimal_learning_rate(w1, w2, problem), 1 / expected, rtol=20 * eps
        )

    close(1.0, 1.0, Problem(lam, noise, decay), 2 * lam + 3 * noise + decay)
    w1 = jnp.sqrt(lam / a) * jnp.exp(skew)
    w2 = jnp.sqrt(lam / a) * jnp.exp(-skew)
    close(w1, w2, Problem(lam, noise), a * (w1**2 + w2**2))
    decay = lam * jnp.asarray(rng.uniform(0.0, 0.5, lam.shape), dtype)
    balanced = jnp.sqrt((lam - decay) / lam)
    close(balanced, balanced, Problem(lam, 0.0, decay), 2 * (lam - decay))
    close(0.0, 0.0, Problem(lam, noise, 3 * lam), 4 * lam)
    hessian = pair_hessian(balanced, balanced, Problem(lam, 0.0, decay))
    bottom = hessian[:, 0, 0] - hessian[:, 0, 1]
    np.testing.assert_allclose(np.minimum(bottom, 2 * lam), 2 * decay, atol=20 * eps * lam.max())


def test_descent_is_stable_below_two_over_sharpness_only(dtype):
    """Distances to the minimum grow just above 2 / sharpness and shrink just below."""
    lam, noise = 1.0, 0.5
    w1, w2 = 2 * np.sqrt(lam / (lam + noise)), 0.5 * np.sqrt(lam / (lam + noise))
    limit = 2 * float(optimal_learning_rate(w1, w2, Problem(lam, noise)))
    offset = 1e-3 * np.array([w2, w1])  # along the steepest direction
    rates = jnp.asarray([0.95 * limit, 1.05 * limit], dtype)
    problem = Problem(lam, noise, 0.0, rates)
    got = simulate_pairs(w1 + offset[0], w2 + offset[1], problem, num_steps=10, save_every=1)
    distance = np.abs(got.w1 * got.w2 - lam / (lam + noise))
    assert distance[10, 0] < 0.8 * distance[0, 0]
    assert distance[10, 1] > 1.2 * distance[0, 1]


def test_derivative_where_both_eigenvalues_are_equal(dtype):
    """At w1 = w2 = 0, lambda = 0: finite, that of the mean; elsewhere the analytic one."""
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)

    def at(w, lam, decay):
        return sharpness(w, w, Problem(lam, 0.5, decay))

    gradient = jax.grad(at, argnums=(0, 1, 2))
    assert at(zero, zero, one) == 1
    assert gradient(zero, zero, one) == (0, 0, 1)
    # The paper's point, where 2 lambda + 3 epsilon + gamma has slope 2 in lambda;
    # along w1 = w2 = w the top is (3 a w^2 - lambda + gamma), with slope 6 a.
    np.testing.assert_allclose(gradient(one, one, one), (9, 2, 1), rtol=1e-5)


def test_no_curvature_means_any_rate(dtype):
    zero = jnp.zeros((), dtype)
    assert sharpness(zero, zero, Problem(0.0)) == 0
    assert optimal_learning_rate(zero, zero, Problem(0.0)) == np.inf


def test_transformations_and_broadcasting(rng, dtype):
    """jit(vmap) equals the batch; fields broadcast."""
    w1, w2, lam, noise, decay = sample(rng, dtype, 20)
    whole = sharpness(w1, w2, Problem(lam, noise, decay))
    mapped = jax.jit(jax.vmap(lambda *v: sharpness(v[0], v[1], Problem(*v[2:]))))
    np.testing.assert_allclose(mapped(w1, w2, lam, noise, decay), whole, rtol=1e-6)
    grid = pair_hessian(w1, w2[:, None], Problem(lam, 0.0, decay[:3, None, None]))
    assert grid.shape == (3, 20, 20, 2, 2)


@pytest.mark.parametrize("function", [pair_hessian, sharpness, optimal_learning_rate])
def test_mistakes_raise_eagerly_and_are_nan_under_jit(function, dtype):
    one = jnp.ones(3, dtype)
    noise = jnp.asarray([0.1, -0.1, jnp.nan], dtype)
    with pytest.raises(ValueError, match="noise must be finite and >= 0"):
        function(one, one, Problem(1.0, noise))
    with pytest.raises(ValueError, match="broadcast"):
        function(one, one[:2], Problem(1.0))
    got = jax.jit(lambda noise: function(one, one, Problem(1.0, noise)))(noise)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1:]).all()
