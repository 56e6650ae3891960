"""Figure 2: decay delays learning, noise does not."""

import numpy as np
import pytest

from lindae_jax.figures import figure2

pytestmark = pytest.mark.both
W0 = 0.01**2


@pytest.fixture(scope="module")
def numbers():
    return figure2.numbers()


def axes(numbers):
    """Eigenvalue, noise and decay against (eigenvalue, strength)."""
    eigenvalue, noise = numbers["eigenvalue"][:, None], numbers["noise"]
    return eigenvalue, noise, eigenvalue * noise / (eigenvalue + noise)


def test_half_the_rate_halves_the_distance(numbers):
    assert numbers["largest_difference"] <= 0.02
    assert 0.45 <= numbers["ratio"] <= 0.55
    # For each eigenvalue, though the steps of the smallest are near rounding in float32.
    ratios = numbers["difference_at_half_rate"] / numbers["difference"]
    assert ((ratios >= 0.45) & (ratios <= 0.55)).all()


def test_ten_strengths_end_alike_under_noise_and_decay(numbers):
    eigenvalue, noise, decay = axes(numbers)
    assert numbers["eigenvalue"].tolist() == [2.5, 1.0, 0.5, 0.1]
    assert (noise[0], len(noise)) == (0, 11)
    np.testing.assert_allclose(numbers["decay"], decay, rtol=1e-6)
    for network in (0, 1):
        want = eigenvalue / (eigenvalue + noise)
        np.testing.assert_allclose(numbers["fixed_point"][:, network], want, rtol=1e-6)


def test_half_times_are_those_of_logistic_growth(numbers):
    eigenvalue, noise, decay = axes(numbers)
    star = eigenvalue / (eigenvalue + noise)
    for network, growth in ((0, eigenvalue + 0 * noise), (1, eigenvalue - decay)):
        # w' = 2 growth w (1 - w/w*)
        want = np.log((star - W0) / W0) / (2 * growth * numbers["learning_rate"])
        np.testing.assert_allclose(numbers["half_time"][:, network], want, rtol=1e-5)


def test_decay_delays_and_noise_does_not(numbers):
    half_time = numbers["half_time"]
    assert (np.diff(half_time[:, 0], axis=1) < 0).all()
    assert (np.diff(half_time[:, 1], axis=1) > 0).all()
    # The larger the eigenvalue, the sooner, whatever the strength.
    assert (np.diff(half_time, axis=0) > 0).all()


def test_noise_hastens_by_what_the_caption_says(numbers):
    eigenvalue, noise, _ = axes(numbers)
    sooner = numbers["half_time"][:, 0, :1] - numbers["half_time"][:, 0]
    want = np.log1p(noise / eigenvalue) / (2 * eigenvalue * numbers["learning_rate"])
    # But for w0 / w*, at most 4e-4, in the logarithm, and the rounding of 1e4 epochs.
    np.testing.assert_allclose(sooner, want, atol=0.5)


def test_equation_7_with_the_eigenvalue_in_its_exponent_gives_these_curves(numbers):
    for k, (lam, decay) in enumerate(zip(numbers["eigenvalue"], axes(numbers)[2], strict=True)):
        t = numbers["learning_rate"] * numbers["epoch"][k][:, None]
        xi = 1 - decay / lam
        e = np.exp(2 * xi * lam * t)
        want = xi * e / (e - 1 + xi / W0)
        # Exponents up to 10 magnify the rounding of t in float32.
        np.testing.assert_allclose(numbers["theory"][k][:, 1], want, rtol=2e-5)


def test_without_noise_and_decay_both_rows_are_the_same_ae(numbers, eps):
    theory = numbers["theory"]
    np.testing.assert_allclose(theory[:, :, 0, 0], theory[:, :, 1, 0], rtol=64 * eps)
