"""Figure 5: training reaches what the theory predicts."""

import numpy as np
import pytest
from drawings import collisions

from lindae_jax import data, plot, record
from lindae_jax.figures import figure5
from lindae_jax.reproduce import Settings


@pytest.fixture(scope="module")
def numbers():
    return figure5.numbers(quick=True)


@pytest.mark.both
def test_it_is_computed_in_the_precision_of_the_process(dtype, monkeypatch):
    seen = []
    monkeypatch.setattr(figure5, "_of_data", lambda settings, eigenvalues, _: seen.append(settings))
    figure5.numbers(quick=True)
    assert [settings.float64 for settings in seen] == [dtype == np.float64]


def converged_within_a_per_cent(found, least):
    done, apart = found["converged"], found["relative_difference_where_converged"]
    assert (done.sum(axis=1) >= least).all()
    assert (apart[done] <= 0.01).all()
    assert np.isnan(apart[~done]).all()
    # Said from the numbers that are drawn.
    last, star = found["saved"]["singular_value"][-1], found["fixed_point"]
    np.testing.assert_allclose(apart[done], (abs(last - star) / star)[done], rtol=1e-6)


def test_where_the_theory_has_converged_so_has_training(numbers):
    (found,) = numbers["data"]
    converged_within_a_per_cent(found, 4)
    # And it says which have not: the last of the directions, in all three networks.
    assert not found["converged"][:, -1].any()


def test_decay_delays_and_lowers_while_noise_only_lowers(numbers):
    (found,) = numbers["data"]
    ae, wdae, dae = found["saved"]["half_time"][:, 1:4]
    assert (wdae > 1.02 * ae).all()
    assert (dae < 1.01 * ae).all()
    reached = found["saved"]["singular_value"][-1]
    assert (reached[1:, :4] < reached[0, :4]).all()


def test_half_times_are_later_than_predicted_and_much_later_than_from_the_mean(numbers):
    (found,) = numbers["data"]
    # Beyond the first direction, whose steps are long.
    reached = found["saved"]["half_time"][:, 1:4]
    assert (found["half_time"][:, 1:4] > 0.93 * reached).all()
    assert (found["half_time_from_the_mean"][:, 1:4] < 0.9 * reached).all()


def test_the_caption_counts_only_directions_that_are_reached(numbers):
    (found,) = numbers["data"]
    measured, predicted = found["saved"]["half_time"].copy(), found["half_time"]
    measured[0, -1] = np.inf  # as far as training went
    saved = found["saved"] | {"half_time": measured}
    late = np.median(100 * (measured / predicted - 1)[0, np.isfinite(measured[0])])
    words = f"comes to half of a fixed point {late:.1f} % later than predicted"
    some = numbers | {"data": [found | {"saved": saved}]}
    assert words in figure5.caption(some)
    assert figure5.caption(some) == figure5.caption(record.arrays(record.plain(some)))
    # Nothing converged, nothing reached.
    none = np.full_like(measured, np.inf)
    found = found | {"saved": saved | {"half_time": none}}
    found |= {"converged": np.zeros_like(found["converged"])}
    found |= {"relative_difference_where_converged": np.full_like(none, np.nan)}
    text = figure5.caption(numbers | {"data": [found]})
    assert "). Not yet converged: AE 1, " in text
    assert "nan" not in text
    assert "inf" not in text


def test_the_caption_names_what_is_not_to_be_learned(numbers):
    (found,) = numbers["data"]
    assert "w* = 0" not in figure5.caption(numbers)
    ends = found["fixed_point"].copy()
    ends[1, -1] = 0
    text = figure5.caption(numbers | {"data": [found | {"fixed_point": ends}]})
    assert "Not to be learned at all (w* = 0): WDAE 16." in text
    assert "WDAE 16; DAE" not in text


def test_the_caption_says_whose_start_the_theory_has(numbers):
    each = figure5.caption(numbers)
    assert "Unlike the paper, whose published code begins all curves" in each
    assert "later than predicted from the mean singular value" in each
    mean = figure5.caption(numbers | {"start_of_theory": "mean"})
    assert "As in the authors' published code, all curves" in mean
    # There is nothing to compare it with.
    assert mean.count("later than predicted") == 1


@pytest.mark.parametrize("num_sets", [1, 2])
def test_no_text_overlaps_where_all_but_one_direction_end_at_0(numbers, num_sets):
    (found,) = numbers["data"]
    ends = found["theory"].copy()
    ends[..., 1:] = 0
    pages = numbers | {"data": [found | {"theory": ends}] * num_sets}
    with plot.settings():
        assert collisions(figure5.draw(pages)) == []


def test_losses_fall_and_stand_at_every_hundredth_epoch(numbers):
    (found,) = numbers["data"]
    saved = found["saved"]
    assert set(range(0, 2_001, 100)) <= set(saved["epoch"].tolist())
    assert np.isfinite(saved["loss"]).all()
    assert (np.diff(saved["loss"], axis=0) <= 1e-6).all()


def test_the_authors_start_is_one_number(numbers):
    (each,) = numbers["data"]
    (mean,) = figure5.numbers(quick=True, start_of_theory="mean")["data"]
    assert len(np.unique(mean["theory"][0])) == 1
    assert len(np.unique(each["theory"][0])) == 5
    np.testing.assert_array_equal(mean["half_time"], each["half_time_from_the_mean"])
    np.testing.assert_array_equal(mean["saved"]["mapping"], each["saved"]["mapping"])


def test_the_papers_settings_are_the_defaults(monkeypatch):
    taken = []

    def keep(settings, *_):
        taken.append(settings)
        return {}

    def load(name, root=None, *, num_samples=None, split="train"):
        num = num_samples or {"train": 50_000, "all": 60_000}[split]
        # Wide enough for as many hidden units, and no more.
        return np.random.default_rng(0).random((num // 500, 520), np.float32)

    monkeypatch.setattr(figure5, "_of_data", keep)
    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr("lindae_jax.reproduce.settings.load", load)
    figure5.numbers()
    mnist, cifar = taken
    assert isinstance(mnist, Settings)
    for settings, hidden, rate in ((mnist, 256, 0.01), (cifar, 512, 0.001)):
        assert (settings.hidden, settings.learning_rate) == (hidden, rate)
        assert (settings.noise, settings.decay, settings.num_steps) == (0.5, 0.5, 5_000)
        assert settings.directions == (1, 4, 8, 16, 32)
    assert (mnist.num_samples, cifar.num_samples) == (100, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_of_theory": "first"}, r"^start_of_theory must be 'each' or 'mean'; got 'first'"),
        ({"data": "nothing"}, r"^data must be"),
        ({"data": "digits", "num_samples": 10**6}, r"^num_samples must be at most"),
    ],
)
def test_mistakes_are_found_before_anything_is_computed(options, message):
    for function in (figure5.check, figure5.numbers):
        with pytest.raises(ValueError, match=message):
            function(**options)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num_samples"), [("mnist", 50_000), ("cifar10", 30_000)])
def test_the_paper_s_data_at_full_size(paper_data, name, num_samples):
    (found,) = figure5.numbers(data=name, root=paper_data)["data"]
    assert found["settings"]["num_samples"] == num_samples
    converged_within_a_per_cent(found, 3)
