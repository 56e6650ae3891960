"""The pictures move, by the numbers, in a file of moderate size."""

import io

import numpy as np
import pages
import pytest
from drawings import collisions
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lindae_jax import plot
from lindae_jax.figures import animation

NOISE, DECAY = 0, 1
STAR = 1 / 1.5


@pytest.fixture(scope="module")
def numbers():
    return pages.numbers("animation")


@pytest.fixture(scope="module")
def gif(numbers):
    with plot.settings():
        return animation.animate(numbers)


# --- numbers ----------------------------------------------------------------------


def test_half_the_rate_halves_the_distance(numbers):
    assert numbers["largest_difference"] <= 0.02
    assert 0.45 <= numbers["ratio"] <= 0.55


def test_both_end_at_one_mapping_and_only_decay_at_one_norm(numbers):
    np.testing.assert_allclose(numbers["decay"], [0, 0.5 / 1.5], rtol=1e-6)
    np.testing.assert_allclose(numbers["fixed_point"], STAR, rtol=1e-6)
    for curves in numbers["mapping"].values():
        np.testing.assert_allclose(curves[-1], STAR, rtol=2e-3)
    norm = np.hypot(numbers["w1"][-1], numbers["w2"][-1])
    least = np.sqrt(2 * STAR)
    np.testing.assert_allclose(norm[DECAY], least, rtol=2e-3)
    assert norm[NOISE].max() > 1.5 * least
    np.testing.assert_allclose(norm[NOISE, -1], least, rtol=2e-3)


def test_the_small_start_is_halfway_when_balanced_weights_are(numbers):
    # dw/dt = 2 w (mu - a w) of equal weights, mu = 1 - decay, a = 1 + noise, w* = mu/a.
    t = numbers["learning_rate"] * numbers["half_time_of_small_start"]
    mu = 1 - numbers["decay"]
    want = np.log((STAR - 0.02**2) / 0.02**2) / (2 * mu)
    np.testing.assert_allclose(t, want, rtol=1e-5)
    epoch, small = numbers["epoch"], numbers["mapping"]["simulated"][..., -1]
    for k in (NOISE, DECAY):
        # The pictures are up to 200 epochs apart, of which a straight line knows little.
        reached = np.interp(STAR / 2, small[:, k], epoch)
        np.testing.assert_allclose(reached, numbers["half_time_of_small_start"][k], rtol=0.03)


def test_decay_overshoots_and_noise_does_not(numbers):
    noise, decay = numbers["peak"]
    assert noise <= STAR * (1 + 1e-6)
    assert STAR + 0.05 < decay < 1


# --- pictures ---------------------------------------------------------------------


def test_a_picture_per_epoch_kept_in_an_endless_loop(numbers, gif):
    with Image.open(io.BytesIO(gif)) as image:
        assert image.n_frames == len(numbers["epoch"])
        assert image.info["loop"] == 0
        assert min(image.size) >= 480
        pauses = []
        for index in range(image.n_frames):
            image.seek(index)
            pauses.append(image.info["duration"])
    assert set(pauses[:-1]) == {80}
    assert pauses[-1] > 1_000
    assert len(gif) < 2e6


def test_equal_numbers_give_equal_bytes(numbers, gif):
    with plot.settings():
        assert animation.animate(numbers) == gif


def test_the_picture_is_the_last_of_the_moving_ones(numbers, gif):
    with plot.settings():
        assert collisions(animation.draw(numbers)) == []
        figure = animation.draw(numbers)
        figure.set_dpi(animation._DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        want = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    with Image.open(io.BytesIO(gif)) as image:
        image.seek(image.n_frames - 1)
        got = np.asarray(image.convert("RGB")).astype(int)
    # But for the palette, and for what is drawn in another order.
    assert got.shape == want.shape
    assert np.mean(np.abs(got - want).max(axis=-1) > 24) < 0.01


def test_what_moves_is_where_the_numbers_say(numbers):
    scene, moving = animation._scene(numbers)
    index = 10
    for part in moving:
        part.show(index)
    *_, clock = moving
    assert clock.artist.get_text() == f"epoch {numbers['epoch'][index]:,.0f}"
    for k, (left, right) in enumerate(np.reshape(scene.axes, (2, 2))):
        weights = np.stack([numbers[name][index, k] for name in ("w1", "w2")])
        mapping = numbers["mapping"]["simulated"][index, k]
        here = [line for line in left.lines if line in [p.artist for p in moving]]
        paths, heads = here[::2], here[1::2]
        at = np.concatenate([np.stack(head.get_data())[:, ::2] for head in heads], axis=1)
        np.testing.assert_allclose(at, weights)
        # Each path begins at the start and ends at the head.
        for path, head in zip(paths, heads, strict=True):
            x = np.reshape(path.get_xdata(), (-1, index + 2))
            np.testing.assert_allclose(x[:, -2], head.get_xdata()[::2])
            assert np.isnan(x[:, -1]).all()
        heads = [line for line in right.lines if line.get_marker() == "o"]
        at = np.concatenate([np.stack(head.get_data())[:, ::2] for head in heads], axis=1)
        np.testing.assert_allclose(at[1], mapping)
        np.testing.assert_allclose(at[0] ** 2, numbers["epoch"][index])
        crosses = [line.get_xdata() for line in right.lines if line.get_marker() == "x"]
        assert len(crosses) == len(mapping)
        assert np.nanmax(np.concatenate(crosses)) ** 2 <= numbers["epoch"][index] * (1 + 1e-6)
