"""Figure 6: noise does not delay nonlinear networks, decay does."""

import inspect

import jax.numpy as jnp
import numpy as np
import pages
import pytest
from drawings import collisions

from lindae_jax import data, figures, initial, plot
from lindae_jax.figures import figure6, figure6_tanh
from lindae_jax.simulate import identity_mapping, simulate_networks
from lindae_jax.spectrum import Spectrum


@pytest.fixture(scope="module")
def page():
    return pages.small("figure6")


@pytest.fixture(scope="module")
def numbers():
    return pages.numbers("figure6")


@pytest.fixture
def short(monkeypatch):
    """Ten epochs, for options that show at once."""
    monkeypatch.setattr(figure6, "_LAST", 10)


def beyond_the_first(numbers):
    learned = numbers["learned_by_all"]
    return learned[learned > 1] - 1


def test_noise_learns_as_fast_as_none_where_decay_delays(numbers):
    columns = beyond_the_first(numbers)
    assert len(columns) >= 2
    late, in_time = numbers["half_time_ratio"][:, columns]
    assert (late > 1.2).all()
    assert (in_time >= 0.85).all()
    assert (in_time <= 1.05).all()


def test_noise_and_decay_both_shrink_the_mapping(numbers):
    columns = beyond_the_first(numbers)
    assert (numbers["final"][:, columns] >= 0.3).all()
    assert (numbers["final"][0, columns] > 0.95).all()
    assert (numbers["final_ratio"][:, columns] < 0.95).all()


def test_times_and_ends_are_read_off_the_curves(numbers):
    """By the definition: the first epoch at half of the mean over the last 50 epochs."""
    epoch, mapping = numbers["epoch"], numbers["mapping"]
    assert epoch.tolist() == list(range(0, 2001, 10))
    final = mapping[-5:].mean(axis=0)
    np.testing.assert_allclose(numbers["final"], final, rtol=1e-5)
    first = epoch[(mapping >= final / 2).argmax(axis=0)]
    learned = final >= 0.3
    assert (np.isfinite(numbers["half_time"]) == learned).all()
    # Linear between the epochs kept, every tenth.
    early = (first - numbers["half_time"])[learned]
    assert ((early >= 0) & (early < 10)).all()
    both = learned[1:] & learned[0]
    for name, of in (("half_time_ratio", "half_time"), ("final_ratio", "final")):
        assert (np.isfinite(numbers[name]) == both).all()
        want = (numbers[of][1:] / numbers[of][0])[both]
        np.testing.assert_allclose(numbers[name][both], want, rtol=1e-5)


def test_losses_fall_and_the_ae_s_ends_lowest(numbers):
    loss = numbers["loss"]
    x = data.load("digits", num_samples=400)
    # At the start outputs are 0, but for products of weights of 0.001.
    np.testing.assert_allclose(loss[0], (x**2).mean(), rtol=1e-3)
    assert (loss[-1] < 0.2 * loss[0]).all()
    assert (loss[-1, 0] < loss[-1, 1:]).all()


def test_cut_into_calls_it_is_one_run(numbers):
    """The same networks trained and measured in one call, from weights drawn by themselves."""
    x = data.load("digits", num_samples=400)
    spectrum = Spectrum.from_data(x)
    start = initial.small(0, std=jnp.float32(0.001), num_directions=64, hidden=32)
    whole = simulate_networks(
        *(0, *spectrum.unrotate(*start), x),
        noise=jnp.array([0, 0, 0.3]),
        decay=jnp.array([0, 0.008, 0]),
        num_epochs=300,
    )
    want = identity_mapping(whole.w1[0], whole.w2[0], x, spectrum, range(32))
    # Roundings that hardly grow: few directions are learned by then.
    np.testing.assert_allclose(numbers["mapping"][30], want, rtol=0, atol=1e-4)


def test_the_caption_says_what_was_found_and_whose_noise_it_is(page, numbers):
    text, columns = page["caption"], beyond_the_first(numbers)
    late = numbers["half_time_ratio"][0, columns]
    assert f"the WDAE in {late.min():.2f} to {late.max():.2f}" in text
    assert "noise of variance 0.3 at every epoch" in text
    assert "variance 3" in text
    assert "standard deviation 2, that is variance 4, with decay 0.0045" in text
    assert "ReLU" in text


def test_the_caption_claims_only_what_was_found(numbers):
    assert "decay delays learning, noise does not" in figure6.caption(numbers)
    ratio = numbers["half_time_ratio"]
    text = figure6.caption(numbers | {"half_time_ratio": ratio[::-1]})
    assert "delays" not in text
    assert "does not stand out" in text
    text = figure6.caption(numbers | {"final_ratio": 1.1 + 0 * numbers["final_ratio"]})
    assert "shrink" not in text
    assert "beside it; here that is a figure by itself" in figure6.caption(
        numbers | {"data": "mnist"}
    )


def test_the_caption_tells_of_a_curve_that_comes_back(numbers):
    mapping, final = numbers["mapping"], numbers["final"]
    fall = mapping[:, 2, 0].max() - final[2, 0]
    assert fall > 0.03
    text = figure6.caption(numbers)
    top = mapping[:, 2, 0].max()
    assert f"direction 1 in the DAE goes up to {top:.2f}" in text
    assert f"and back to {final[2, 0]:.2f}" in text
    rising = np.minimum(mapping, final)
    assert "need not only rise" not in figure6.caption(numbers | {"mapping": rising})


def test_where_nothing_is_learned_it_is_still_drawn_and_said(short):
    found = figure6.numbers(quick=True)
    assert np.isnan(found["half_time"]).all()
    assert "In this run no direction has been learned by all three" in figure6.caption(found)
    first = found | {"learned_by_all": np.array([1])}
    assert "no direction but the first has been learned" in figure6.caption(first)
    with plot.settings():
        assert collisions(figure6.draw(found)) == []


@pytest.mark.parametrize("module", [figure6, figure6_tanh])
def test_no_text_overlaps_where_all_but_one_direction_end_at_0(numbers, module):
    final = numbers["final"].copy()
    final[:, 1:] = 0
    drawn = [1, 4, 8, 16, 32]
    with plot.settings():
        assert collisions(module.draw(numbers | {"final": final, "drawn": drawn})) == []


# --- options ----------------------------------------------------------------------


def test_tanh_is_the_same_figure_with_another_activation(short):
    assert inspect.signature(figure6_tanh.numbers).parameters["activation"].default == "tanh"
    relu, tanh = (module.numbers(quick=True) for module in (figure6, figure6_tanh))
    assert "32 tanh units" in figure6_tanh.caption(tanh)
    np.testing.assert_array_equal(relu["loss"][0] == tanh["loss"][0], False)
    # Half of the units are silent in a ReLU network, and give back half as much.
    assert (tanh["mapping"][-1, :, 0] > 1.5 * relu["mapping"][-1, :, 0]).all()


def test_amounts_seed_and_samples_are_options(short):
    plain = figure6.numbers(quick=True)
    other = figure6.numbers(quick=True, noise=0.0, decay=0.0, num_samples=50)
    assert (plain["num_samples"], other["num_samples"]) == (400, 50)
    assert (other["noise"], other["decay"]) == (0, 0)
    np.testing.assert_array_equal(other["mapping"], other["mapping"][:, :1].repeat(3, 1))
    assert (figure6.numbers(quick=True, seed=1)["mapping"][0] != plain["mapping"][0]).any()
    # Options of one call must not outlast it.
    again = figure6.numbers(quick=True)
    np.testing.assert_array_equal(again["mapping"], plain["mapping"])


def test_data_of_one_s_own_get_settings_by_their_spectrum(short, tmp_path, rng):
    x = rng.normal(size=(30, 6)).astype(np.float32) * [3, 2, 1, 1, 1, 1]
    np.save(tmp_path / "x.npy", x)
    figure6.check(data="x.npy", root=tmp_path)
    found = figure6.numbers(data="x.npy", root=tmp_path)
    values = np.linalg.eigvalsh(x.T @ x / 30)[::-1]
    assert (found["num_samples"], found["num_inputs"], found["hidden"]) == (30, 6, 3)
    # Files are named without their folder.
    assert "learn x.npy (30 images)" in figure6.caption(found | {"data": "/a/b/x.npy"})
    # Half of the eigenvalue at H/2; in the linear theory's units rate 0.5 / lambda_1.
    np.testing.assert_allclose(found["noise"], values[0] / 2, rtol=1e-5)
    np.testing.assert_allclose(found["decay"] * 3, values[0] / 2, rtol=1e-5)
    np.testing.assert_allclose(found["learning_rate"] / 3, 0.5 / values[0], rtol=1e-5)


@pytest.mark.both
def test_it_is_computed_in_the_precision_of_the_lane(short, dtype):
    found = figure6.numbers(quick=True, num_samples=20)
    assert found["mapping"].dtype == found["loss"].dtype == found["eigenvalue"].dtype == dtype


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_paper_s_data_have_the_published_amounts(name):
    got = figure6._settings(name, np.ones(3072), quick=False)
    hidden = {"mnist": 256, "cifar10": 512}[name]
    amounts = {"noise": 2.0**2, "decay": 0.0045, "learning_rate": 0.9}
    assert got == {"hidden": hidden, "directions": (1, 4, 8, 16, 32), **amounts}
    assert figure6._settings(name, np.ones(3072), quick=True) == {**got, "hidden": 32}


@pytest.mark.parametrize("which", ["6", "6-tanh"])
def test_mistakes_are_found_before_anything_is_trained(tmp_path, which):
    prepare = figures.prepare
    with pytest.raises(ValueError, match=r"root must hold MNIST's training images"):
        prepare(which, tmp_path, root=tmp_path)
    with pytest.raises(ValueError, match="root goes with other data than digits"):
        prepare(which, tmp_path, data="digits", root=tmp_path)
    with pytest.raises(ValueError, match="num_samples must be at most the rows of split 'train'"):
        prepare(which, tmp_path, data="digits", num_samples=2000)
    with pytest.raises(ValueError, match="num_samples must be an integer >= 1; got 0"):
        prepare(which, tmp_path, data="digits", num_samples=0)
    with pytest.raises(ValueError, match="root goes with other data than digits"):
        prepare(which, tmp_path, quick=True, root=tmp_path)
    for option, value in (("noise", -1.0), ("decay", np.nan), ("noise", "3")):
        with pytest.raises(
            ValueError, match=rf"{option} must be a finite number >= 0; got .*{value}"
        ):
            prepare(which, tmp_path, quick=True, **{option: value})
    with pytest.raises(ValueError, match=r"seed must be a whole number in \[0, 2\^32\); got -1"):
        prepare(which, tmp_path, quick=True, seed=-1)
    amounts = {"noise": 3.0, "decay": 0.0, "seed": 5}
    (job,) = prepare(which, tmp_path, quick=True, **amounts)
    assert job.options == {"quick": True, **amounts}


def test_a_rate_or_noise_too_large_is_said(short):
    with pytest.raises(FloatingPointError, match=r"diverged \(DAE, by epoch 10\) at rate 0.9, noi"):
        figure6.numbers(quick=True, noise=1e9)
    with pytest.raises(ValueError, match="activation must be relu or tanh; got 'gelu'"):
        figure6.numbers(quick=True, activation="gelu")
