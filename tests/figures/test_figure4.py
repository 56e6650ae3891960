"""Figure 4: both end at one mapping; only decay shrinks the weights along the valley."""

import numpy as np
import pytest

from lindae_jax import plot
from lindae_jax.figures import figure4

NOISE, DECAY = 0, 1
STAR = 1 / 1.1


@pytest.fixture(scope="module")
def numbers():
    return figure4.numbers()


def test_half_the_rate_halves_the_distance(numbers):
    assert numbers["largest_difference"] <= 0.02
    assert 0.45 <= numbers["ratio"] <= 0.55
    ratios = numbers["difference_at_half_rate"] / numbers["difference"]
    assert ((ratios >= 0.45) & (ratios <= 0.55)).all()


def test_noise_and_its_equivalent_decay_end_at_one_mapping(numbers):
    np.testing.assert_allclose(numbers["decay"], [0, 0.1 / 1.1], rtol=1e-6)
    np.testing.assert_allclose(numbers["fixed_point"], STAR, rtol=1e-6)
    for curves in numbers["mapping"].values():
        np.testing.assert_allclose(curves[-1], STAR, rtol=0.01)


def test_noise_leaves_the_weights_on_their_hyperbola_and_decay_does_not(numbers):
    c = numbers["w2"] ** 2 - numbers["w1"] ** 2
    t = numbers["learning_rate"] * numbers["epoch"][-1]
    large = slice(None, -1)
    # Up to O(rate), by which descent differs from the flow.
    np.testing.assert_allclose(c[-1, NOISE, large] / c[0, NOISE, large], 1, atol=0.05)
    shrunk = c[-1, DECAY, large] / c[0, DECAY, large]
    np.testing.assert_allclose(shrunk, np.exp(-2 * numbers["decay"][1] * t), rtol=0.05)


def test_norms_stay_apart_under_noise_and_meet_at_the_least_under_decay(numbers):
    least = np.sqrt(2 * STAR)
    for norm in numbers["norm"].values():
        assert (norm[-1] >= least * (1 - 1e-4)).all()
        assert np.ptp(norm[-1, NOISE]) > 0.5
        np.testing.assert_allclose(norm[-1, DECAY], least, rtol=0.01)
    w1, w2 = numbers["w1"], numbers["w2"]
    np.testing.assert_allclose(numbers["norm"]["simulated"], np.hypot(w1, w2), rtol=1e-6)
    theory, simulated = numbers["norm"].values()
    assert np.abs(theory - simulated).max() <= 0.02


def test_a_small_start_ends_at_the_least_norm_under_both(numbers):
    for norm in numbers["norm"].values():
        np.testing.assert_allclose(norm[-1, :, -1], np.sqrt(2 * STAR), rtol=1e-3)


def test_the_small_start_is_halfway_later_under_decay(numbers):
    early, late = numbers["half_time_of_small_start"]
    assert 1.05 * early < late < 1.2 * early
    small = numbers["mapping"]["theory"][..., -1]
    for k, time in enumerate((early, late)):
        reached = np.interp(STAR / 2, small[:, k], numbers["epoch"])
        np.testing.assert_allclose(reached, time, rtol=0.01)
    text = figure4.caption(numbers)
    assert f"at epoch {early:,.0f} under noise and {late:,.0f} under decay" in text


def test_decay_overshoots_from_unequal_weights_and_noise_never_does(numbers):
    noise, decay = numbers["peak"]
    # The flow under noise is monotone.
    assert noise <= STAR * (1 + 1e-6)
    # It nearly reaches 1, the mapping of least loss but for the penalty.
    assert STAR + 0.02 < decay < 1


def test_the_overshoot_is_seen_in_the_inset(numbers):
    with plot.settings():
        figure = figure4.draw(numbers)
    mapping = figure.axes[2:4]
    for ax, peak in zip(mapping, numbers["peak"], strict=True):
        (inset,) = ax.child_axes
        low, high = inset.get_ylim()
        assert low < STAR <= peak * (1 + 1e-6) < high
        # Half a millimetre and more in a column: a tenth of the inset.
        assert (peak - STAR > 0.1 * (high - low)) == (ax is mapping[DECAY])
        # The same curves, where the axes have them.
        assert inset.get_xlim() == ax.get_xlim()
