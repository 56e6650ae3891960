"""The paper's optimal learning rates against the Hessian they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Problem, theory

pytestmark = pytest.mark.both


def _numbers(rng, dtype, n=50):
    return rng.uniform(0.1, 3, (3, n)).astype(dtype)


def _top_eigenvalues(columns):
    """Of the Hessian of the pair loss at w1 = w2 = 1, written out here once more."""

    def loss(w, lam, noise, decay):
        product = w[0] * w[1]
        loss = lam / 2 * (1 - product) ** 2 + noise / 2 * product**2
        return loss + decay / 2 * (w**2).sum()

    at = jnp.ones(2, columns.dtype)
    hessians = jax.vmap(jax.hessian(loss), in_axes=(None, 0, 0, 0))(at, *columns)
    return np.linalg.eigvalsh(np.asarray(hessians, np.float64))[:, -1]


def test_optimal_rate_inverts_the_top_eigenvalue(rng, dtype, eps):
    columns = _numbers(rng, dtype)
    expected = 1 / _top_eigenvalues(columns)
    found = theory.optimal_learning_rate(Problem(*columns))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=16 * eps)


def test_ratio_is_that_of_the_two_rates(rng, dtype, eps):
    """Eq. (8): the optimal rate of the DAE over that of the WDAE."""
    lam, noise, decay = _numbers(rng, dtype)
    denoising = theory.optimal_learning_rate(Problem(lam, noise))
    decayed = theory.optimal_learning_rate(Problem(lam, dtype(0), decay))
    np.testing.assert_allclose(
        theory.learning_rate_ratio(lam, noise, decay), denoising / decayed, rtol=8 * eps
    )


def test_ratio_at_equivalent_decay_favours_decay(rng, dtype):
    """With the same fixed point gamma <= epsilon: the WDAE always allows the larger rate."""
    lam, noise, _ = _numbers(rng, dtype)
    assert np.all(theory.learning_rate_ratio(lam, noise, theory.equivalent_decay(lam, noise)) < 1)


def test_zeros(dtype):
    """Nothing to learn: any rate is optimal, and the two rates are alike."""
    zero = dtype(0)
    assert theory.optimal_learning_rate(Problem(zero)) == np.inf
    assert theory.learning_rate_ratio(zero, zero, zero) == 1
    assert theory.learning_rate_ratio(zero, zero, dtype(1)) == np.inf
    assert theory.learning_rate_ratio(zero, dtype(1), zero) == 0


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_derivatives(transform, dtype, eps):
    """Of the reciprocal and of the quotient, at zeros of each number too."""
    x = jnp.asarray(np.array([[1.25, 0.5, 0.25], [0, 0.5, 0.25], [1.25, 0, 0]]), dtype)

    def rate(x):
        return theory.optimal_learning_rate(Problem(*x))

    def ratio(x):
        return theory.learning_rate_ratio(*x)

    lam, noise, decay = np.asarray(x, np.float64).T
    steps = np.array([2.0, 3.0, 1.0])
    expected = -steps / ((2 * lam + 3 * noise + decay) ** 2)[:, None]
    np.testing.assert_allclose(jax.vmap(transform(rate))(x), expected, rtol=16 * eps)
    above, below = 2 * lam + decay, 2 * lam + 3 * noise
    columns = [2 * (below - above), -3 * above, below]
    expected = np.stack(columns, axis=1) / (below**2)[:, None]
    np.testing.assert_allclose(
        jax.vmap(transform(ratio))(x), expected, rtol=16 * eps, atol=16 * eps
    )


def test_shapes_and_invalid_members(dtype):
    lam = np.array([1, -1, 1], dtype)
    noise = np.array([[0.5], [np.nan]], dtype)
    rate = jax.jit(theory.optimal_learning_rate)(Problem(lam, noise))
    np.testing.assert_array_equal(np.isnan(rate), [[False, True, False], [True] * 3])
    ratio = jax.jit(theory.learning_rate_ratio)(lam, noise, dtype(0))
    np.testing.assert_array_equal(np.isnan(ratio), [[False, True, False], [True] * 3])
