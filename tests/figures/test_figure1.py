"""Figure 1: descent follows the flow; noise ends lower, sooner, on a steeper loss."""

import numpy as np
import pytest

from lindae_jax import Problem, curvature
from lindae_jax.figures import figure1

pytestmark = pytest.mark.both


@pytest.fixture(scope="module")
def numbers():
    return figure1.numbers()


def test_half_the_rate_halves_the_distance(numbers):
    assert numbers["largest_difference"] <= 0.02
    assert 0.45 <= numbers["ratio"] <= 0.55
    ratios = numbers["difference_at_half_rate"] / numbers["difference"]
    assert ((ratios >= 0.45) & (ratios <= 0.55)).all()
    np.testing.assert_array_equal(
        numbers["difference"], np.abs(numbers["theory"] - numbers["simulated"]).max(axis=(0, 2))
    )


def test_the_starts_are_ten_in_all_four_quadrants(numbers):
    w1, w2 = numbers["w1"][0], numbers["w2"][0]
    assert w1.shape == (3, 10)
    assert np.abs([w1, w2]).max() <= 2
    assert {(a > 0, b > 0) for a, b in zip(w1[0], w2[0], strict=True)} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    # The same for all noises, so that nothing else differs.
    assert (w1 == w1[0]).all()
    assert (w2 == w2[0]).all()


def test_more_noise_ends_lower_and_sooner(numbers):
    np.testing.assert_allclose(numbers["fixed_point"], [1, 1 / 2, 1 / 6], rtol=1e-6)
    for curves in ("theory", "simulated"):
        end = numbers[curves][-1]
        np.testing.assert_allclose(end, np.c_[[1, 1 / 2, 1 / 6]] * np.ones(10), atol=0.01)
    assert (np.diff(numbers["arrived"]) < 0).all()
    assert numbers["arrived"][0] < numbers["epoch"][-1]


def test_descent_keeps_to_its_hyperbola(numbers):
    c = numbers["w2"] ** 2 - numbers["w1"] ** 2
    # A step multiplies it by 1 - (rate g)^2, so that it shrinks by O(rate) in all.
    kept = c[-1] / c[0]
    assert (kept <= 1 + 1e-6).all()
    assert (kept >= 1 - 20 * numbers["learning_rate"]).all()


def printed(t, w1, w2, eigenvalue, noise):
    """Equation (5) as printed, tau = 1."""
    c0 = abs(w2**2 - w1**2)
    beta = c0 * (1 + noise / eigenvalue)
    zeta, delta = np.sqrt(beta**2 + 4), np.tanh(np.arcsinh(2 * w1 * w2 / c0) / 2)
    e = np.exp(zeta * eigenvalue * t)
    above = (1 - e) * (zeta**2 - beta**2 - 2 * beta * delta) - 2 * (1 + e) * zeta * delta
    return (
        c0
        / 2
        * np.sinh(2 * np.arctanh(above / ((1 - e) * (2 * beta + 4 * delta) - 2 * (1 + e) * zeta)))
    )


def test_equation_5_as_printed_gives_these_curves(numbers):
    t = numbers["learning_rate"] * numbers["epoch"][:, None]
    w1, w2 = np.random.default_rng(numbers["seed"]).uniform(-2, 2, (2, 10))
    for k, noise in enumerate(np.asarray(numbers["noise"], float)):
        want = printed(t, w1, w2, 1.0, noise)
        # float32 rounds starts of size 4 and the mapping made of them.
        np.testing.assert_allclose(numbers["theory"][:, k], want, atol=2e-6)


@pytest.mark.parametrize(("t", "w1", "w2"), [(1.0, 0.5, 0.5), (1.0, 0.5, -0.5), (500.0, 0.3, 1.9)])
def test_equation_5_as_printed_fails_where_the_caption_says(t, w1, w2):
    with np.errstate(all="ignore"):
        assert not np.isfinite(printed(t, np.float64(w1), w2, 1.0, 5.0))


def test_balanced_weights_approach_the_minimum_alike_whatever_the_noise(eps):
    noise = np.array([0.0, 1.0, 5.0])
    w = np.sqrt(1 / (1 + noise))
    found = curvature.sharpness(w, w, Problem(1.0, noise))
    np.testing.assert_allclose(found, 2, rtol=8 * eps)
