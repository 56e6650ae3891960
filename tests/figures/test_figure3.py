"""Figure 3: rates of the Hessian, and descent at them."""

import numpy as np
import pytest

from lindae_jax.figures import figure3

pytestmark = pytest.mark.both


@pytest.fixture(scope="module")
def numbers():
    return figure3.numbers()


def rates(noise):
    return np.array([1 / (2 + 3 * noise), 1 / (2 + noise / (1 + noise))])


def test_the_hessian_gives_the_rates_of_the_formula(numbers, eps):
    curves = numbers["curves"]
    assert curves["difference_in_eps"] <= 8
    np.testing.assert_allclose(curves["hessian"], curves["formula"], rtol=8 * eps)
    want = rates(np.asarray(curves["noise"], float))
    np.testing.assert_allclose(curves["hessian"], want, rtol=8 * eps)
    np.testing.assert_allclose(curves["ratio"], curves["ratio_of_formula"], rtol=16 * eps)
    np.testing.assert_allclose(curves["ratio"], want[0] / want[1], rtol=16 * eps)


def test_the_dae_needs_the_smaller_steps_the_more_so_the_more_noise(numbers):
    ratio = numbers["curves"]["ratio"]
    np.testing.assert_allclose(ratio[0], 1, rtol=1e-6)
    assert (np.diff(ratio) < 0).all()


def descent(noise, decay, rate, num_steps):
    w1 = w2 = 0.01
    rows = [w1 * w2]
    for _ in range(num_steps):
        g = 1 - (1 + noise) * w1 * w2
        w1, w2 = w1 + rate * (g * w2 - decay * w1), w2 + rate * (g * w1 - decay * w2)
        rows.append(w1 * w2)
    return rows


def test_the_curves_are_a_plain_loop_at_those_rates(numbers, eps):
    last = numbers["epoch"][-1]
    for k, noise in enumerate(np.asarray(numbers["noise"], float)):
        decay, (slow, fast) = noise / (1 + noise), rates(noise)
        # A relative error of a few eps in the growth of each step, at most half of w a step.
        allowed = {"rtol": 4 * eps * last, "atol": 4 * eps}
        want = descent(noise, 0.0, slow, last), descent(0.0, decay, fast, last)
        np.testing.assert_allclose(numbers["mapping"][:, :, k].T, want, **allowed)
        slowed = numbers["mapping_of_wdae_at_rate_of_dae"][:, k]
        np.testing.assert_allclose(slowed, descent(0.0, decay, slow, last), **allowed)


def test_at_their_optimal_rates_both_take_the_same_steps(numbers, eps):
    noise = np.asarray(numbers["noise"], float)
    slow, fast = rates(noise)
    np.testing.assert_allclose(slow * 1, fast * (1 - noise / (1 + noise)), rtol=1e-14)
    # Roundings of two runs of one map, which near its fixed point contracts.
    assert np.abs(numbers["difference"]).max() <= 16 * eps


def test_at_one_rate_the_dae_is_ahead(numbers, eps):
    ahead = numbers["difference_at_rate_of_dae"]
    assert (ahead >= -16 * eps).all()
    assert (ahead.max(axis=0) > 0.15).all()
