"""Hessian-vector products and Lanczos against whole Hessians and the closed spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hessians import aligned_weights, whole_hessian

from lindae_jax.curvature import aligned_spectrum, leading_eigenvalues, matrix_hvp
from lindae_jax.problem import Problem

both = pytest.mark.both
KEY = jax.random.key(0)


def sample(rng, dtype, *batch, hidden=3, directions=4):
    w1, v1 = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, *batch, hidden, directions)))
    w2, v2 = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, *batch, directions, hidden)))
    lam = jnp.asarray(rng.uniform(size=(*batch, directions)), dtype)
    noise, decay = (jnp.asarray(x, dtype) for x in rng.uniform(size=(2, *batch)))
    return w1, w2, Problem(lam, noise, decay), v1, v2


@both
@pytest.mark.parametrize(("hidden", "directions"), [(3, 4), (4, 4), (5, 2)])
def test_product_is_the_hessian_times_the_vector(rng, dtype, eps, hidden, directions):
    w1, w2, problem, v1, v2 = sample(rng, dtype, hidden=hidden, directions=directions)
    hessian = whole_hessian(w1, w2, problem)
    got = matrix_hvp(w1, w2, problem, v1, v2)
    assert (got.w1.shape, got.w2.shape) == (w1.shape, w2.shape)
    expected = np.asarray(hessian, float) @ np.concatenate([v1.ravel(), v2.ravel()])
    flat = np.concatenate([got.w1.ravel(), got.w2.ravel()])
    np.testing.assert_allclose(flat, expected, rtol=0, atol=100 * eps * np.abs(hessian).max())


@both
def test_product_of_a_batch(rng, dtype, eps):
    """Weights shared by a batch of problems are each member's own."""
    w1, w2, problem, v1, v2 = sample(rng, dtype, 5)
    got = matrix_hvp(w1[0], w2[0], problem, v1, v2[0])
    for i in range(5):
        one = Problem(*(x[i] for x in (problem.eigenvalue, problem.noise, problem.decay)))
        alone = matrix_hvp(w1[0], w2[0], one, v1[i], v2[0])
        np.testing.assert_allclose(got.w1[i], alone.w1, rtol=0, atol=200 * eps)
        np.testing.assert_allclose(got.w2[i], alone.w2, rtol=0, atol=200 * eps)


@both
def test_all_iterations_give_the_whole_spectrum(rng, dtype, eps):
    """num = num_iterations = 2 H D, weights that are not aligned, a batch."""
    w1, w2, problem, _, _ = sample(rng, dtype, 2, hidden=2, directions=3)
    got = leading_eigenvalues(w1, w2, problem, num=12, num_iterations=12, key=KEY)
    assert got.shape == (2, 12)
    for i in range(2):
        one = Problem(*(x[i] for x in (problem.eigenvalue, problem.noise, problem.decay)))
        expected = np.linalg.eigvalsh(np.asarray(whole_hessian(w1[i], w2[i], one), float))
        atol = 500 * eps * np.abs(expected).max()
        np.testing.assert_allclose(got[i], expected[::-1], rtol=0, atol=atol)


@both
def test_few_iterations_give_the_leading_eigenvalue(rng, dtype):
    """20 of 160 directions suffice for a spectrum with a clear top; jit and vmap too."""
    w1, w2, problem, _, _ = sample(rng, dtype, 3, hidden=8, directions=10)

    def run(w1, w2, *fields):
        return leading_eigenvalues(w1, w2, Problem(*fields), num=2, num_iterations=25, key=KEY)

    fields = problem.eigenvalue, problem.noise, problem.decay
    got = run(w1, w2, *fields)
    assert got.dtype == dtype
    expected = [
        np.linalg.eigvalsh(whole_hessian(w1[i], w2[i], Problem(*(f[i] for f in fields))))[-1]
        for i in range(3)
    ]
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(w1, w2, *fields), got, rtol=1e-4)


def test_top_eigenvalue_at_paper_size():
    """D = 784, H = 256, 401,408 parameters, 40 iterations: 1e-5 in float32."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 256)).astype(np.float32)
    lam = np.sort(rng.gamma(0.2, size=784))[::-1].astype(np.float32)
    problem = Problem(lam, 0.5, 0.01)
    w1, w2 = (w.astype(np.float32) for w in aligned_weights(rng, a, b, 256, 784)[:2])
    got = leading_eigenvalues(w1, w2, problem, num=1, num_iterations=40, key=KEY)
    top = aligned_spectrum(a, b, problem, 256)[-1]
    np.testing.assert_allclose(got[0], top, rtol=1e-5)


@both
def test_the_method_may_end_early(dtype):
    """As many values as there are distinct eigenvalues; what is not found is NaN."""
    zero = jnp.zeros((2, 3), dtype)

    def origin(eigenvalue, num):
        problem = Problem(jnp.asarray(eigenvalue, dtype))
        return leading_eigenvalues(zero, zero.T, problem, num=num, num_iterations=12, key=KEY)

    np.testing.assert_array_equal(origin([0, 0, 0], 3), [0, np.nan, np.nan])
    np.testing.assert_allclose(origin([1, 1, 1], 1), [1], rtol=1e-6)
    np.testing.assert_allclose(origin([1, 1, 1], 3), [1, -1, np.nan], rtol=1e-6)
    np.testing.assert_allclose(origin([2, 1, 1], 5), [2, 1, -1, -2, np.nan], rtol=1e-6)


@both
def test_what_is_not_found_spoils_no_derivative(dtype):
    zero = jnp.zeros((2, 3), dtype)

    def total(noise):
        problem = Problem(jnp.asarray([2, 1, 1], dtype), noise)
        options = {"num": 5, "num_iterations": 12, "key": KEY}
        return jnp.nansum(leading_eigenvalues(zero, zero.T, problem, **options))

    # At the origin the Hessian knows no noise.
    assert jax.grad(total)(jnp.asarray(0.5, dtype)) == 0


@both
@pytest.mark.parametrize("exponent", [-100, 0, 66])
def test_scale_of_the_problem_is_that_of_its_eigenvalues(rng, dtype, exponent):
    """Exactly, by a power of 2 whose square float32 does not hold."""
    w1, w2, problem, _, _ = sample(rng, dtype)
    scale = dtype(2.0**exponent)
    fields = problem.eigenvalue, problem.noise, problem.decay
    scaled = Problem(*(scale * x for x in fields))
    options = {"num": 3, "num_iterations": 10, "key": KEY}
    expected = scale * leading_eigenvalues(w1, w2, problem, **options)
    found = leading_eigenvalues(w1, w2, scaled, **options)
    np.testing.assert_allclose(found, expected, rtol=100 * np.finfo(dtype).eps)


@both
def test_start_vector_does_not_depend_on_the_batch(rng, dtype):
    """One iteration is the Rayleigh quotient of the start: equal members, equal values."""
    w1, w2, problem, _, _ = sample(rng, dtype)
    shared = Problem(problem.eigenvalue, jnp.full(3, 0.1, dtype))
    got = leading_eigenvalues(w1, w2, shared, num=1, num_iterations=1, key=KEY)
    assert got[0] == got[1] == got[2]
    other = leading_eigenvalues(w1, w2, shared, num=1, num_iterations=1, key=jax.random.key(1))
    assert other[0] != got[0]


@both
def test_legacy_keys_are_keys(rng, dtype):
    w1, w2, problem, _, _ = sample(rng, dtype)
    options = {"num": 1, "num_iterations": 3}
    raw = leading_eigenvalues(w1, w2, problem, key=jax.random.key_data(KEY), **options)
    np.testing.assert_array_equal(raw, leading_eigenvalues(w1, w2, problem, key=KEY, **options))


@both
def test_invalid_members_are_nan_under_jit(rng, dtype):
    w1, w2, problem, v1, v2 = sample(rng, dtype, 3)
    decay = jnp.asarray([0.1, -0.1, jnp.nan], dtype)

    @jax.jit
    def both(decay):
        bad = Problem(problem.eigenvalue, problem.noise, decay)
        return (
            *matrix_hvp(w1, w2, bad, v1, v2),
            leading_eigenvalues(w1, w2, bad, num=2, num_iterations=6, key=KEY),
        )

    for got in both(decay):
        assert np.isfinite(got[0]).all()
        assert np.isnan(got[1:]).all()


@both
def test_derivatives_are_those_of_the_eigenvalue(rng, dtype, eps):
    """Of all eigenvalues, forward and backward, against first-order perturbation theory."""
    w1, w2, problem, v1, v2 = sample(rng, dtype, hidden=2, directions=3)
    options = {"num": 3, "num_iterations": 12, "key": KEY}

    def values(w1, w2):
        return leading_eigenvalues(w1, w2, problem, **options)

    def hessian(t):
        w = w1 + t * v1, w2 + t * v2
        return jnp.asarray(whole_hessian(*w, problem))

    _, found = jax.jvp(values, (w1, w2), (v1, v2))
    pulled = [jax.grad(lambda *w, i=i: values(*w)[i], argnums=(0, 1))(w1, w2) for i in range(3)]
    backward = [(g1 * v1).sum() + (g2 * v2).sum() for g1, g2 in pulled]
    matrix, slope = (np.asarray(x, float) for x in jax.jvp(hessian, (0.0,), (1.0,)))
    vectors = np.linalg.eigh(matrix)[1][:, ::-1][:, :3]
    expected = np.einsum("ik,ij,jk->k", vectors, slope, vectors)
    atol = 1e4 * eps * np.abs(slope).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    np.testing.assert_allclose(backward, expected, rtol=0, atol=atol)
