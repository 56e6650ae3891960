"""Early stopping: the best epoch and its error are predicted."""

import numpy as np
import pytest

from lindae_jax import Spectrum, data, initial
from lindae_jax.figures import stopping


@pytest.fixture(scope="module")
def numbers():
    return stopping.numbers(quick=True)


def test_the_best_epoch_and_its_error_are_those_predicted(numbers):
    predicted, measured = (np.array(numbers[f"{n}_best_epoch"]) for n in ("predicted", "measured"))
    assert np.isfinite(predicted).all()
    assert (abs(predicted / measured - 1) <= 0.1).all()
    errors = numbers["predicted_best_error"] / numbers["measured_best_error"]
    assert (abs(errors - 1) <= 0.02).all()


def test_less_regularised_networks_stop_sooner_and_leave_more(numbers):
    ae, wdae, dae = numbers["predicted_best_epoch"]
    assert ae < wdae < dae
    ae, wdae, dae = numbers["measured_best_error"]
    assert ae > wdae > dae > numbers["least_possible"]


def test_stopping_chooses_the_directions_above_the_noise(numbers):
    eigenvalue, noise = numbers["eigenvalue"], numbers["validation_noise"]
    mapping = numbers["measured_mapping"][0]
    assert (mapping[eigenvalue > 1.6 * noise] > 0.97).all()
    assert (mapping[eigenvalue < 0.6 * noise] < 0.05).all()


def test_the_error_is_that_of_noisy_images(rng):
    x = data.load("digits")
    held_out = data.load("digits", split="held_out")
    spectrum = Spectrum.from_data(x)
    w1, w2 = initial.small(1, std=0.1, num_directions=64, hidden=8)
    rotated = held_out @ np.asarray(spectrum.eigenvectors)
    moments, noise = rotated.T @ rotated / len(rotated), 0.1
    got, _ = stopping._observer(moments, noise)(0, w1, w2, None)
    e1, e2 = (np.asarray(w) for w in spectrum.unrotate(w1, w2))
    draws = []
    for _ in range(40):
        noisy = held_out + np.sqrt(noise) * rng.normal(size=held_out.shape)
        draws.append(0.5 * ((held_out - noisy @ e1.T @ e2.T) ** 2).sum(axis=1).mean())
    error = np.std(draws, ddof=1) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - got) <= 5 * error + 1e-5 * got


def test_of_clean_images_every_step_is_an_improvement(numbers):
    moment = np.ones(len(numbers["eigenvalue"]))
    curve = np.linspace(0, 1, 20)[:, None, None] * np.ones((1, 3, len(moment)))
    assert (np.diff(stopping._errors(curve, moment, 0.0), axis=0) < 0).all()
    assert (np.diff(stopping._errors(curve, moment, 5.0), axis=0)[-1] > 0).all()


def test_no_mapping_leaves_less_than_the_least(numbers, rng):
    reach = len(numbers["eigenvalue"])
    noise, ideal = numbers["validation_noise"], np.asarray(numbers["ideal_mapping"])
    moment = noise * ideal / (1 - ideal)
    beyond = numbers["least_possible"] - (noise * ideal).sum() / 2
    tried = ideal + rng.normal(size=(50, 1, reach)) * np.geomspace(1e-3, 1, 50)[:, None, None]
    assert (stopping._errors(tried, moment, noise) + beyond >= numbers["least_possible"]).all()
    best = stopping._errors(ideal[None, None], moment, noise) + beyond
    np.testing.assert_allclose(best, numbers["least_possible"], rtol=1e-5)


def test_data_that_are_not_there_are_refused_early():
    with pytest.raises(ValueError, match=r"^data must be"):
        stopping.check(data="nothing")
