"""Fixed points, and the decay that ends where noise does."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from lindae_jax import Problem, theory

pytestmark = pytest.mark.both


def _numbers(rng, dtype, n=200):
    """Three columns over many decades, with zeros and equal numbers among them."""
    columns = np.exp(rng.uniform(-12, 9, (3, n)))
    columns[rng.random((3, n)) < 0.1] = 0
    columns[2, ::9] = columns[0, ::9]
    return columns.astype(dtype)


def test_fixed_point_is_the_formula(rng, dtype, eps):
    lam, noise, decay = _numbers(rng, dtype)
    found = theory.fixed_point(Problem(lam, noise, decay))
    assert found.dtype == dtype
    expected = [
        float(oracle.fixed_point(*row)) for row in np.stack([lam, noise, decay], axis=1).tolist()
    ]
    np.testing.assert_allclose(found, expected, rtol=4 * eps)


def test_fixed_point_is_where_the_gradient_vanishes(rng, dtype):
    """w1 = w2 = sqrt(w*): lambda - a w* = gamma, or 0 where the decay is too large."""
    lam, noise, decay = _numbers(rng, np.float64)
    lam, noise = lam + 1e-3, noise + 1e-3
    star = np.asarray(theory.fixed_point(Problem(*(x.astype(dtype) for x in (lam, noise, decay)))))
    residual = np.where(lam > decay, lam - (lam + noise) * star - decay, star)
    tolerance = 16 * np.finfo(dtype).eps * (lam + decay)
    assert np.all(np.abs(residual) <= tolerance)


def test_corners(dtype):
    """No data and no noise; decay equal to, above and far above the eigenvalue."""
    lam = np.array([0, 0, 0.5, 0.5, 0.5], dtype)
    noise = np.array([0, 1, 1, 1, 0], dtype)
    decay = np.array([0, 0, 0.5, 50, 0], dtype)
    np.testing.assert_array_equal(theory.fixed_point(Problem(lam, noise, decay)), [0, 0, 0, 0, 1])


def test_equivalent_decay_has_the_same_fixed_point(rng, dtype, eps):
    """lambda epsilon/(lambda + epsilon): a WDAE with it ends where the DAE ends."""
    lam, noise, _ = _numbers(rng, dtype)
    decay = theory.equivalent_decay(lam, noise)
    denoising = theory.fixed_point(Problem(lam, noise))
    decayed = theory.fixed_point(Problem(lam, dtype(0), decay))
    # lambda - gamma cancels to lambda^2/(lambda + epsilon): an error of eps lambda in it.
    np.testing.assert_allclose(decayed, denoising, rtol=4 * eps, atol=4 * eps)


def test_equivalent_decay_is_half_the_harmonic_mean(rng, dtype, eps):
    lam, noise, _ = _numbers(rng, dtype)
    exact = np.where(
        lam * noise > 0,
        1 / (1 / np.float64(lam + (lam == 0)) + 1 / np.float64(noise + (noise == 0))),
        0,
    )
    np.testing.assert_allclose(theory.equivalent_decay(lam, noise), exact, rtol=4 * eps)
    np.testing.assert_array_equal(
        theory.equivalent_decay(lam, noise), theory.equivalent_decay(noise, lam)
    )


def test_equivalent_decay_does_not_leave_the_range(dtype):
    """The product of the two would under- or overflow."""
    info = np.finfo(dtype)
    x = np.array([float(info.tiny) * 16, float(info.max) / 16], dtype)
    np.testing.assert_allclose(theory.equivalent_decay(x, x), x / 2, rtol=4 * info.eps)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_derivatives(transform, dtype, eps):
    """dw*/d(lambda, epsilon, gamma) = (epsilon + gamma, gamma - lambda, -a)/a^2."""
    lam, noise, decay = np.array(
        [[1.25, 0.5, 0.25], [1.25, 0.0, 0.25], [1.25, 0.5, 0.0], [0.25, 0.5, 1.0], [0, 0, 0]]
    ).T.astype(dtype)

    def star(x):
        return theory.fixed_point(Problem(*x))

    found = jax.vmap(transform(star))(jnp.stack([lam, noise, decay], axis=1))
    a = np.where(lam + noise > 0, lam + noise, 1)
    expected = np.stack([noise + decay, decay - lam, -a], axis=1) / (a * a)[:, None]
    expected[3:] = 0  # too much decay, or neither data nor noise
    np.testing.assert_allclose(found, expected, rtol=16 * eps)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_derivatives_of_the_equivalent_decay(transform, dtype, eps):
    """(epsilon^2, lambda^2)/a^2 in (lambda, epsilon), at zeros and ties; finite at 0, 0."""
    x = jnp.asarray(np.array([[1.25, 0.5], [0.5, 1.25], [0.5, 0.5], [0, 0.5], [0.5, 0]]), dtype)

    def decay(x):
        return theory.equivalent_decay(x[0], x[1])

    found = jax.vmap(transform(decay))(x)
    np.testing.assert_allclose(found, (x[:, ::-1] / x.sum(1, keepdims=True)) ** 2, rtol=16 * eps)
    assert np.isfinite(transform(decay)(jnp.zeros(2, dtype))).all()


def test_shapes_and_invalid_members(dtype):
    """Fields broadcast; under jit an invalid member is NaN."""
    lam = np.array([1, -1, 1], dtype)
    noise = np.array([[0.5], [np.inf]], dtype)
    star = jax.jit(theory.fixed_point)(Problem(lam, noise))
    np.testing.assert_array_equal(np.isnan(star), [[False, True, False], [True] * 3])
    decay = jax.jit(theory.equivalent_decay)(lam, noise)
    np.testing.assert_array_equal(np.isnan(decay), [[False, True, False], [True] * 3])
    assert theory.fixed_point(Problem(1.0)).shape == ()
