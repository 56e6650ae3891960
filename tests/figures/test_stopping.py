"""Early stopping: the best epoch and its error are predicted."""

import numpy as np
import pages
import pytest
from drawings import collisions

from lindae_jax import Problem, Spectrum, data, initial, plot
from lindae_jax.figures import stopping
from lindae_jax.simulate import simulate_matrices


@pytest.fixture(scope="module")
def numbers():
    return pages.numbers("stopping")


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


def test_data_may_have_fewer_directions_than_there_are_hidden_units():
    found = stopping.numbers(quick=True, num_samples=5)
    assert len(found["eigenvalue"]) == found["measured_mapping"].shape[1] == 5
    assert (found["eigenvalue"] > 0).all()
    for name in ("predicted", "measured", "ideal_mapping"):
        assert np.isfinite(found[name]).all()
    with plot.settings():
        assert collisions(stopping.draw(found)) == []
    assert "nan" not in stopping.caption(found)


def test_the_error_is_that_of_noisy_images(rng):
    x = data.load("digits")
    held_out = data.load("digits", split="held_out")
    spectrum = Spectrum.from_data(x)
    w1, w2 = initial.small(1, std=0.1, num_directions=64, hidden=8)
    rotated = held_out @ np.asarray(spectrum.eigenvectors)
    root, noise = stopping._root_moments(rotated), 0.1
    np.testing.assert_allclose(root.T @ root, rotated.T @ rotated / len(rotated), atol=1e-5)
    got, _ = stopping._observer(root, noise)(0, w1, w2, None)
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


# --- captions and bounds ----------------------------------------------------------------


def test_the_caption_claims_only_what_was_found(numbers):
    text = stopping.caption(numbers)
    assert "per component" in text
    assert "stopping keeps those whose variance exceeds the noise" in text
    assert "stopping still helps, later and less" in text
    # Another choice of directions.
    text = stopping.caption(numbers | {"measured_mapping": numbers["measured_mapping"][:, ::-1]})
    assert "stopping keeps" not in text
    # A choice is one where something is kept.
    text = stopping.caption(numbers | {"measured_mapping": 0 * numbers["measured_mapping"]})
    assert "learned 0 directions" in text
    assert "stopping keeps" not in text
    # Networks that learn on to the end.
    none = [np.nan] * 3
    text = stopping.caption(numbers | {"predicted_best_epoch": none, "measured_best_epoch": none})
    last = f"{numbers['epoch'][-1]:,}"
    assert f"AE none up to {last} predicted and none up to {last} measured" in text
    assert "best epoch the AE" not in text
    assert "stopping still helps" not in text
    assert "nan" not in text


def test_variances_of_about_one_size_have_ticks_too(numbers):
    near = np.geomspace(5, 2, len(numbers["eigenvalue"]))
    with plot.settings():
        figure = stopping.draw(numbers | {"eigenvalue": near})
        assert collisions(figure) == []
        low, high = figure.axes[1].get_xlim()
        labels = figure.axes[1].get_xticklabels()
        shown = [t.get_text() for t in labels if low <= t.get_position()[0] <= high]
    assert len(shown) > 1
    assert all(2 <= float(text) <= 5 for text in shown)


def test_without_a_best_epoch_it_is_still_drawn(numbers):
    none = [np.nan] * 3
    with plot.settings():
        figure = stopping.draw(numbers | {"predicted_best_epoch": none})
        assert collisions(figure) == []


@pytest.mark.parametrize(("quick", "hidden", "last"), [(True, 32, 300), (False, 64, 400)])
def test_units_and_epochs_are_bounded(quick, hidden, last, monkeypatch, tmp_path, rng):
    # Fewer epochs than it takes the digits to come to their best, or noise to be learned.
    monkeypatch.setattr(stopping, "_MOST_EPOCHS", (400, 300))
    found = stopping.numbers(quick=quick)
    assert found["epoch"][-1] == last
    assert np.isnan(found["predicted_best_epoch"]).all()
    assert f"AE none up to {last} predicted" in stopping.caption(found)
    np.save(tmp_path / "x.npy", rng.normal(size=(60, 200)).astype(np.float32))
    found = stopping.numbers(data="x.npy", root=tmp_path, quick=quick)
    assert (found["hidden"], found["epoch"][-1]) == (hidden, last)


def test_one_epoch_kept_after_the_other_is_one_run(numbers):
    """The same training in one call."""
    images = data.load("digits")
    spectrum = Spectrum.from_data(images)
    noise = numbers["validation_noise"]
    problem = Problem(spectrum.eigenvalues, np.float32([0, 0, noise / 3]), 0.0, 0.05)
    start = initial.aligned(0, np.full(32, np.float32(0.01)), np.full(32, 0.01), 32, 64)
    w1, w2 = (np.broadcast_to(w, (3, *w.shape)) for w in start)
    epoch = numbers["epoch"][60]
    run = simulate_matrices(w1, w2, problem, num_steps=int(epoch))
    held_out = data.load("digits", split="held_out") @ np.asarray(spectrum.eigenvectors)
    observe = stopping._observer(stopping._root_moments(held_out), noise)
    want, _ = observe(0, run.w1[-1], run.w2[-1], None)
    # Bitwise but for the order of sums, in errors of about 2; the WDAE is another network here.
    np.testing.assert_allclose(numbers["measured"][60][[0, 2]], want[np.array([0, 2])], rtol=1e-5)
