import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lindae_jax.noise import Gaussian, Laplace, Uniform

NUM = 2**18
# Distribution, its one parameter, variance at parameter 1, kurtosis, SciPy's distribution.
CASES = [
    pytest.param(Gaussian, "std", 1.0, 3.0, scipy.stats.norm, id="Gaussian"),
    pytest.param(Laplace, "scale", 2.0, 6.0, scipy.stats.laplace, id="Laplace"),
    pytest.param(Uniform, "half_width", 1 / 3, 1.8, scipy.stats.uniform(-1, 2), id="Uniform"),
]
every = pytest.mark.parametrize(("noise", "name", "variance", "kurtosis", "exact"), CASES)
each = pytest.mark.parametrize("noise", [Gaussian, Laplace, Uniform])


@pytest.mark.both
@every
def test_variance_is_that_of_the_density(noise, name, variance, kurtosis, exact, eps):
    assert abs(exact.var() - variance) < 1e-12
    assert noise(1.5).variance == pytest.approx(2.25 * variance, rel=1e-15)
    batch = noise(np.array([0.0, 1.5])).variance
    # Square, product, quotient: one rounding each.
    np.testing.assert_allclose(batch, [0, 2.25 * variance], rtol=3 * eps)


@pytest.mark.both
@every
def test_draws_have_the_variance_and_the_law(noise, name, variance, kurtosis, exact, dtype):
    draw = np.asarray(noise(0.5).sample(jax.random.key(3), (NUM,), dtype), np.float64)
    # Standard errors of the mean and of the variance of NUM draws; five of them.
    assert abs(draw.mean()) < 5 * np.sqrt(0.25 * variance / NUM)
    spread = np.sqrt((kurtosis - 1) / NUM)
    assert abs((draw**2).mean() / noise(0.5).variance - 1) < 5 * spread
    assert scipy.stats.kstest(draw / 0.5, exact.cdf).pvalue > 1e-4


def test_uniform_noise_stays_within_its_half_width():
    draw = np.asarray(Uniform(0.25).sample(jax.random.key(0), (NUM,)))
    assert -0.25 <= draw.min() < -0.2499
    assert 0.2499 < draw.max() < 0.25


@pytest.mark.both
@each
def test_the_parameter_scales_one_standard_draw(noise, dtype, eps):
    key = jax.random.key(1)
    standard = noise(1.0).sample(key, (5, 3), dtype)
    assert standard.dtype == dtype
    scales = jnp.array([0.0, 0.3, 7.0], dtype)
    # XLA may multiply the constant of a draw by the scale first: one more rounding.
    draw = noise(scales).sample(key, (5, 3), dtype)
    np.testing.assert_allclose(draw, scales * standard, rtol=2 * eps)
    assert np.array_equal(noise(0.0).sample(key, (5, 3), dtype), np.zeros((5, 3)))


@each
def test_draws_depend_on_the_key_alone(noise):
    first, again = (noise(1.0).sample(jax.random.key(5), (9,)) for _ in range(2))
    other = noise(1.0).sample(jax.random.key(6), (9,))
    assert np.array_equal(first, again)
    assert not np.isin(first, other).any()


@pytest.mark.both
@every
def test_the_parameter_is_traced_data(noise, name, variance, kurtosis, exact, dtype, eps):
    key, one = jax.random.key(2), jnp.ones((), dtype)
    standard = noise(one).sample(key, (4,), dtype)

    def total(distribution):
        return distribution.sample(key, (4,), dtype).sum()

    slope = jax.jit(jax.grad(total))(noise(2 * one))
    # Sums of the same four numbers, perhaps in another order.
    np.testing.assert_allclose(
        getattr(slope, name), standard.sum(), atol=4 * eps * float(abs(standard).sum())
    )
    scales = jnp.array([1.0, 2.0], dtype)
    batch = jax.vmap(lambda s: noise(s).sample(key, (4,), dtype))(scales)
    assert np.array_equal(batch, scales[:, None] * standard)
    assert np.array_equal(jax.jit(lambda d: d.variance)(noise(scales)), noise(scales).variance)


@each
def test_a_bad_traced_parameter_gives_nan_to_its_members_alone(noise):
    @jax.jit
    def draw(scale):
        return noise(scale).sample(jax.random.key(0), (2, 4))

    out = draw(jnp.array([1.0, -1.0, jnp.nan, jnp.inf]))
    assert np.array_equal(np.isnan(out), [[False, True, True, True]] * 2)
    variance = jax.jit(lambda scale: noise(scale).variance)(jnp.array([1.0, -1.0, jnp.inf]))
    assert np.array_equal(np.isnan(variance), [False, True, True])
