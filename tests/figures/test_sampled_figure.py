"""Sampled noise: the runs scatter around the expected one, less the more samples there are."""

import numpy as np
import pages
import pytest
from drawings import collisions

from lindae_jax import data, figures, initial, plot
from lindae_jax.figures import sampled
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_sampled
from lindae_jax.spectrum import Spectrum


@pytest.fixture(scope="module")
def numbers():
    return pages.numbers("sampled")


def test_the_scatter_falls_as_the_root_of_the_number_of_samples(numbers):
    assert numbers["num_samples"].tolist() == [64, 256, 1024, 4096]
    assert (np.abs(numbers["slope"] + 0.5) <= 0.1).all()
    error = numbers["slope_standard_error"]
    assert ((error > 0) & (error < 0.05)).all()
    scatter = numbers["scatter"]
    fitted = np.polyfit(np.log(numbers["num_samples"]), np.log(scatter), 1)[0]
    np.testing.assert_allclose(numbers["slope"], fitted, rtol=1e-6)
    # Beyond the first pair, to which terms of higher order in 1/N add.
    np.testing.assert_allclose(scatter[1:-1] / scatter[2:], 2, rtol=0.15)


def test_the_standard_error_is_that_of_independent_repetitions(rng):
    """Scatters made to fall as N^-0.5 by rule, in 200 experiments of 20 seeds each."""
    sizes = 64 * 4 ** np.arange(4)
    draws = rng.normal(size=(200, 6, 4, 20, 1)) / sizes[:, None, None] ** 0.5
    found = [sampled._scatter(sizes, draw) for draw in draws]
    slopes = np.array([f["slope"] for f in found])
    errors = np.array([f["slope_standard_error"] for f in found])
    # Of 200 numbers: their spread is known to 5 per cent, its estimates' mean to less.
    np.testing.assert_allclose(slopes.mean(), -0.5, atol=5 * slopes.std() / 200**0.5)
    np.testing.assert_allclose((errors**2).mean() ** 0.5, slopes.std(), rtol=0.25)


def test_the_mean_has_the_standard_error_of_independent_seeds(rng):
    """Runs whose noise lasts over all epochs, so that only the seeds count."""
    draws = rng.normal(3, 2, size=(300, 1, 1, 25, 1)).repeat(6, axis=1)
    found = [sampled._mean(draw) for draw in draws]
    means = np.array([f["mean_difference"] for f in found])
    errors = np.array([f["mean_difference_standard_error"] for f in found])
    # 2 / 25^0.5, from 300 experiments.
    np.testing.assert_allclose(means.std(), 0.4, rtol=0.15)
    np.testing.assert_allclose((errors**2).mean() ** 0.5, 0.4, rtol=0.05)


def test_runs_scatter_around_the_expected_one(numbers):
    apart = numbers["sampled"] - numbers["expected"][:, None, None]
    assert (np.abs(apart).max(axis=(0, 2)) <= 1.0001 * numbers["largest_difference"]).all()
    # Their mean is nearer to it than they are.
    assert (np.abs(numbers["mean_difference"]) < numbers["scatter"]).all()
    # With the most samples they hardly differ; the mappings are 0.1 to 0.4.
    assert (numbers["largest_difference"][-1] < 0.01).all()
    assert (numbers["expected"][-1] > 0.1).all()
    assert not numbers["expected"][0].round(4).any()


def test_the_mean_is_off_by_less_than_the_runs_scatter_and_falls_faster(numbers):
    """At second order in what the runs scatter: as 1/N, not as its root."""
    mean, error = numbers["mean_difference"], numbers["mean_difference_standard_error"]
    assert (mean[0] < -2 * error[0]).all()
    # Of what four times the samples leave, a half would be the root's, a quarter is expected.
    fall = mean[0] / mean[1]
    assert (fall > 2).all()
    assert np.log(fall).mean() > np.log(2.7)


def test_a_run_alone_is_the_one_drawn(numbers):
    """Seed 3 with N = 256, its weights' product in the eigenbasis read out by itself."""
    spectrum = Spectrum.from_data(data.load("digits"))
    start = initial.small(0, std=np.float32(0.001), num_directions=64, hidden=32)
    problem = Problem(spectrum.eigenvalues, 1.0, 0.0, 0.07)
    run = simulate_sampled(3, *start, problem, num_samples=256, num_steps=200)
    want = np.diagonal(np.asarray(run.w2[-1] @ run.w1[-1]))[[1, 3, 7]]
    row = numbers["epoch"].tolist().index(200)
    # Products of a batch and of one network round differently.
    np.testing.assert_allclose(numbers["sampled"][row, 1, 3], want, rtol=0, atol=1e-4)


def test_the_caption_says_what_was_found_and_what_n_is(numbers):
    text = pages.small("sampled")["caption"]
    for slope, error in zip(numbers["slope"], numbers["slope_standard_error"], strict=True):
        assert f"{slope:.3f} +- {error:.3f}" in text
    mean, error = numbers["mean_difference"][0, 0], numbers["mean_difference_standard_error"][0, 0]
    assert f"lies off the expected run by {mean:.2g} +- {error:.2g} and" in text
    assert "N is the number of samples in a step" in text
    assert "over 10 seeds" in text


def test_no_text_overlaps(numbers):
    with plot.settings():
        assert collisions(sampled.draw(numbers)) == []


@pytest.mark.parametrize("option", [{"data": "mnist"}, {"root": "x"}, {"num_samples": 9}])
def test_it_has_no_options(tmp_path, option):
    with pytest.raises(ValueError, match=r"is for figures 5, .*, not for figure sampled"):
        figures.prepare("sampled", tmp_path, **option)
