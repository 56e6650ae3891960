"""The losses are the paper's: expectation over data and noise, in any basis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.losses import matrix_loss, pair_loss
from lindae_jax.problem import Problem

pytestmark = pytest.mark.both


def test_matrix_loss_is_the_mean_over_samples_and_noise(rng, dtype, eps):
    """1/(2N) sum |x - W x|^2 + s^2/2 tr(W W^T) + gamma/2 (...), over the samples themselves."""
    x = rng.normal(size=(50, 4)) + 1.0
    eigenvalues, v = np.linalg.eigh(x.T @ x / 50)
    w1, w2 = rng.normal(size=(3, 4)), rng.normal(size=(4, 3))
    w = w2 @ w1
    expected = (
        ((x - x @ w.T) ** 2).sum() / 100
        + 0.3 / 2 * np.trace(w @ w.T)
        + 0.2 / 2 * ((w1**2).sum() + (w2**2).sum())
    )
    problem = Problem(jnp.asarray(eigenvalues, dtype), 0.3, 0.2)
    got = matrix_loss(jnp.asarray(w1 @ v, dtype), jnp.asarray(v.T @ w2, dtype), problem)
    assert got.dtype == dtype
    # 16 squares of residuals that are sums of three rounded products.
    assert abs(got - expected) < 100 * eps * expected


def test_noise_term_is_the_expectation_over_noisy_inputs():
    """Monte Carlo over Gaussian noise, within five standard errors."""
    rng = np.random.default_rng(1)
    lam, w1, w2, s = 0.7, 0.9, 0.8, 0.6
    x = np.sqrt(lam)
    losses = 0.5 * (x - w1 * w2 * (x + s * rng.normal(size=200_000))) ** 2
    error = losses.std() / np.sqrt(losses.size)
    assert abs(pair_loss(w1, w2, Problem(lam, s**2)) - losses.mean()) < 5 * error


@pytest.mark.parametrize(("hidden", "directions"), [(2, 3), (3, 3), (4, 3)])
def test_aligned_matrix_loss_is_the_sum_of_pair_losses(rng, dtype, eps, hidden, directions):
    """Also for a batch with its own noise and decay, and weights shared by the batch."""
    m = min(hidden, directions)
    a, b = rng.normal(size=(2, 5, m))
    w1, w2 = np.zeros((5, hidden, directions)), np.zeros((5, directions, hidden))
    w1[:, range(m), range(m)], w2[:, range(m), range(m)] = a, b
    pad = [(0, 0), (0, directions - m)]
    lam, noise, decay = rng.uniform(size=directions), rng.uniform(size=5), rng.uniform(size=5)
    lam, noise, decay, w1, w2, a, b = (
        jnp.asarray(x, dtype) for x in (lam, noise, decay, w1, w2, np.pad(a, pad), np.pad(b, pad))
    )
    problem = Problem(lam, noise, decay)
    matrix = matrix_loss(w1, w2, problem)
    pairs = pair_loss(a, b, problem.per_direction())
    assert matrix.shape == (5,)
    np.testing.assert_allclose(matrix, pairs.sum(-1), rtol=20 * eps)


def test_pair_loss_at_its_landmarks(dtype):
    """lambda/2 at the origin; with decay alone gamma/2 |w|^2; 0 at a perfect map."""
    lam = jnp.asarray([0.0, 0.5, 2.0], dtype)
    np.testing.assert_array_equal(pair_loss(0.0, 0.0, Problem(lam, 1.0, 1.0)), lam / 2)
    np.testing.assert_array_equal(pair_loss(0.5, 2.0, Problem(lam)), jnp.zeros_like(lam))
    assert pair_loss(3, 4, Problem(0, 0, 2)) == 25


def test_invalid_member_is_nan_under_jit_in_value_and_derivative(dtype):
    """One bad member spoils itself alone."""
    lam = jnp.asarray([1.0, -1.0, jnp.nan], dtype)
    one = jnp.ones(3, dtype)

    def total(w1, lam):
        return pair_loss(w1, one, Problem(lam)).sum()

    assert_only_first_is_finite(jax.jit(lambda lam: pair_loss(one, one, Problem(lam)))(lam))
    assert_only_first_is_finite(jax.jit(jax.grad(total))(one, lam))

    def matrix(w1, decay):
        problem = Problem(jnp.ones((3, 2), dtype), 0.0, decay)
        return matrix_loss(w1, jnp.ones((2, 1), dtype), problem)

    w1 = jnp.ones((3, 1, 2), dtype)
    decay = jnp.asarray([0.0, -1.0, jnp.inf], dtype)
    assert_only_first_is_finite(jax.jit(matrix)(w1, decay))
    gradient = jax.jit(jax.grad(lambda w1, decay: matrix(w1, decay).sum()))(w1, decay)
    assert_only_first_is_finite(gradient[:, 0, 0])


def assert_only_first_is_finite(x):
    np.testing.assert_array_equal(np.isfinite(x), [True, False, False])
    assert np.isnan(x[1:]).all()
