"""The closed spectrum of aligned autoencoders against `jax.hessian`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hessians import aligned_weights, whole_hessian

from lindae_jax.curvature import aligned_spectrum, pair_hessian
from lindae_jax.problem import Problem

pytestmark = pytest.mark.both


@pytest.mark.parametrize(
    ("hidden", "directions"), [(1, 1), (1, 3), (3, 1), (2, 5), (4, 4), (5, 3), (3, 6)]
)
def test_spectrum_is_that_of_the_hessian(rng, dtype, eps, hidden, directions):
    """H <, =, > D, unequal weights of any sign, noise and decay, repeated eigenvalues."""
    m = min(hidden, directions)
    a, b = rng.normal(size=(2, m))
    lam = np.round(rng.uniform(0, 2, directions), 1)
    problem = Problem(jnp.asarray(lam, dtype), 0.3, 0.2)
    w1, w2, _ = aligned_weights(rng, a, b, hidden, directions)
    w1, w2, a, b = (jnp.asarray(x, dtype) for x in (w1, w2, a, b))
    hessian = np.asarray(whole_hessian(w1, w2, problem), np.float64)
    expected = np.linalg.eigvalsh(hessian)
    got = aligned_spectrum(a, b, problem, hidden)
    assert got.dtype == dtype
    assert got.shape == (2 * hidden * directions,)
    # The Hessian's own entries are sums of H or D products: 1e-12 in float64.
    np.testing.assert_allclose(got, expected, rtol=0, atol=4500 * eps * min(1, np.ptp(expected)))


def test_a_batch_equals_its_members(rng, dtype, eps):
    """Noise and decay by member, eigenvalues shared or not, `jit` and `vmap`."""
    a, b = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, 4, 3)))
    lam = jnp.asarray(rng.uniform(size=(4, 5)), dtype)
    noise, decay = (jnp.asarray(x, dtype) for x in rng.uniform(size=(2, 4)))
    whole = aligned_spectrum(a, b, Problem(lam, noise, decay), 3)
    shared = aligned_spectrum(a, b[0], Problem(lam[0], noise[:, None], 0.0), 3)
    assert whole.shape == (4, 30)
    assert shared.shape == (4, 4, 30)
    mapped = jax.jit(jax.vmap(lambda a, b, *f: aligned_spectrum(a, b, Problem(*f), 3)))
    tolerance = {"rtol": 0, "atol": 50 * eps}
    np.testing.assert_allclose(mapped(a, b, lam, noise, decay), whole, **tolerance)
    one = aligned_spectrum(a[2], b[0], Problem(lam[0], noise[1]), 3)
    np.testing.assert_allclose(shared[1, 2], one, **tolerance)


def test_one_unit_in_one_direction_is_a_pair(rng, dtype, eps):
    """H = D = 1."""
    a, b = (jnp.asarray(x, dtype) for x in rng.normal(size=(2, 20)))
    problem = Problem(jnp.ones((20, 1), dtype), 0.3, 0.2)
    got = aligned_spectrum(a[:, None], b[:, None], problem, 1)
    expected = np.linalg.eigvalsh(np.asarray(pair_hessian(a, b, Problem(1.0, 0.3, 0.2)), float))
    np.testing.assert_allclose(got, expected, rtol=0, atol=10 * eps * np.abs(expected).max())


def test_origin_is_a_saddle_of_every_direction(dtype, eps):
    """gamma +- lambda_j, each H times; with H > D as well."""
    lam, zero = jnp.asarray([3.0, 2.0, 0.0], dtype), jnp.zeros(3, dtype)
    for hidden in (2, 3, 5):
        m = min(hidden, 3)
        got = aligned_spectrum(zero[:m], zero[:m], Problem(lam, 0.4, 0.25), hidden)
        expected = np.sort(np.repeat(np.concatenate([0.25 - lam, 0.25 + lam]), hidden))
        np.testing.assert_allclose(got, expected, rtol=0, atol=20 * eps)


def test_sum_of_the_spectrum_is_the_trace_at_paper_size(rng, dtype, eps):
    """D = 784, H = 256: 401,408 eigenvalues against the diagonal of the Hessian."""
    a, b = rng.normal(size=(2, 256))
    lam = np.sort(rng.gamma(0.2, size=784))[::-1].astype(dtype)
    got = aligned_spectrum(a.astype(dtype), b.astype(dtype), Problem(lam, 0.3, 0.2), 256)
    assert got.shape == (401_408,)
    total = lam.astype(float) + 0.3
    trace = total.sum() * (b**2).sum() + 784 * (total[:256] * a**2).sum() + 0.2 * 401_408
    np.testing.assert_allclose(np.asarray(got, float).sum(), trace, rtol=20 * eps)


def test_mistakes_raise_eagerly_and_are_nan_under_jit(dtype):
    one, lam = jnp.ones((3, 2), dtype), jnp.ones(4, dtype)
    for call, message in (
        (lambda: aligned_spectrum(one, one, Problem(lam), 0), "hidden must be"),
        (lambda: aligned_spectrum(one, one, Problem(lam), 2.5), "hidden must be"),
        (lambda: aligned_spectrum(one, one, Problem(lam), 3), r"a must have min\(H, D\) = 3"),
        (lambda: aligned_spectrum(one, one[:, :1], Problem(lam), 2), "b must have"),
        (lambda: aligned_spectrum(one, one, Problem(1.0), 2), "eigenvalue must have shape"),
        (lambda: aligned_spectrum(one, one, Problem(-lam), 2), "eigenvalue must be finite"),
        (lambda: aligned_spectrum(one, one, Problem(lam, jnp.ones(2, dtype)), 2), "broadcast"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    decay = jnp.asarray([0.1, -0.1, jnp.inf], dtype)
    got = jax.jit(lambda decay: aligned_spectrum(one, one, Problem(lam, 0.0, decay), 2))(decay)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1:]).all()
    got = aligned_spectrum(one.at[1, 1].set(jnp.nan), one, Problem(lam), 2)
    np.testing.assert_array_equal(np.isnan(got).all(-1), [False, True, False])
