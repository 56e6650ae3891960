"""Drawing: what is drawn is what was given, and nothing collides."""

import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from lindae_jax import plot


def panel():
    return plot.two_panels(("left", "right"), 100, "x", "y").axes[0]


# --- apart: the least-squares solution ----------------------------------------


def test_labels_that_are_apart_stay():
    x = np.array([0.0, 0.1, 0.25, 0.9])
    np.testing.assert_allclose(plot.apart(x, 0.1), x, atol=1e-15)


def test_labels_end_up_apart_with_the_least_change(rng):
    gap = 0.07
    for _ in range(50):
        x = np.sort(rng.uniform(0, 0.6, rng.integers(1, 8)))
        placed = plot.apart(x, gap)
        assert (np.diff(placed) >= gap * (1 - 1e-9)).all()
        # A minimum of a convex function on a convex set: no feasible point is better.
        least = ((placed - x) ** 2).sum()
        for _ in range(50):
            gaps = np.maximum(np.diff(placed) + rng.normal(0, 0.02, len(x) - 1), gap)
            other = placed[0] + rng.normal(0, 0.02) + np.concatenate([[0], np.cumsum(gaps)])
            assert ((other - x) ** 2).sum() >= least - 1e-12


def test_no_labels_at_all():
    assert plot.apart(np.array([]), 0.1).shape == (0,)


# --- spaced: where the crosses stand ------------------------------------------


def test_crosses_keep_apart_and_miss_no_stretch():
    x = np.linspace(0, 1, 2001)
    y = 1 / (1 + np.exp(-(x - 0.3) * 200))
    kept = plot.spaced(x, y)
    steps = np.hypot(np.diff(x[kept]), np.diff(y[kept]))
    assert kept[0] == 0
    assert steps.min() >= 0.04
    # A column and a height at most, and the grid's own steps (200/4/2000 = 0.025 in y).
    assert steps.max() <= np.hypot(0.08, 0.08) + 0.03


def test_crosses_of_curves_at_rest_stand_in_columns():
    x = np.linspace(0, 1, 501)
    np.testing.assert_array_equal(
        plot.spaced(x, np.full(501, 0.2)), plot.spaced(x, np.full(501, 0.9))
    )


def test_points_that_are_not_finite_get_no_cross():
    y = np.array([0.0, np.nan, 0.5, np.inf, 1.0])
    np.testing.assert_array_equal(plot.spaced(np.linspace(0, 1, 5), y), [0, 2, 4])


# --- what is drawn --------------------------------------------------------------


def test_lines_are_the_prediction_and_crosses_are_measured_points(rng):
    steps = np.arange(101)
    predicted, measured = rng.uniform(0, 1, (2, 101, 3))
    ax = panel()
    plot.dynamics(ax, steps, predicted, measured, plot.GREEN)
    lines, crosses = ax.lines[::2], ax.lines[1::2]
    for j in range(3):
        np.testing.assert_array_equal(lines[j].get_xydata(), np.c_[steps, predicted[:, j]])
        x, y = crosses[j].get_data()
        np.testing.assert_array_equal(y, measured[x, j])
    assert {line.get_color() for line in ax.lines} == {plot.GREEN.colour}


def test_styles_differ_in_more_than_colour():
    styles = [plot.BLUE, plot.ORANGE, plot.GREEN]
    assert len({style.dashes for style in styles}) == 3
    assert len({style.colour for style in styles}) == 3


@pytest.mark.parametrize("draw", [plot.label_above, plot.label_right])
def test_labels_outside_the_axes_are_left_out(draw):
    ax = panel()
    draw(ax, np.array([0.5, np.nan, np.inf, -50.0, 1e9]), list("abcde"))
    assert [text.get_text() for text in ax.texts] == ["a"]


@pytest.mark.parametrize(("draw", "axis"), [(plot.label_above, 0), (plot.label_right, 1)])
def test_labels_stand_in_the_order_of_their_values(draw, axis):
    ax = panel()
    draw(ax, np.array([0.52, 0.5, 0.51]), list("abc"))
    along = {text.get_text(): text.get_position()[axis] for text in ax.texts}
    assert along["b"] < along["c"] < along["a"]


def test_legend_names_every_style():
    figure = plot.two_panels(("left", "right"), 100, "x", "y")
    plot.legend(figure, {"one": plot.BLUE, "two": plot.ORANGE}, "what is what")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    assert legend.get_title().get_text() == "what is what"


# --- settings and files -----------------------------------------------------------


def test_the_users_own_settings_neither_enter_nor_change():
    with matplotlib.rc_context({"font.size": 31, "lines.linewidth": 9}):
        with plot.settings():
            assert matplotlib.rcParams["font.size"] == 11
            assert matplotlib.rcParams["lines.linewidth"] != 9
        assert matplotlib.rcParams["font.size"] == 31


def test_equal_figures_give_equal_files():
    with plot.settings():
        for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            files = [plot.image(panel().figure, kind) for _ in range(2)]
            assert files[0] == files[1]
            assert files[0].startswith(start)
        ElementTree.fromstring(files[0])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError, match=r"lindae_jax\[plot\]"), plot.settings():
        pass
