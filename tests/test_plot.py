"""Drawing: what is drawn is what was given, and nothing collides."""

import sys
import xml.etree.ElementTree as ElementTree

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

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
    assert plot.apart(np.array([]), 0.1, (0.0, 1.0)).shape == (0,)


def test_labels_between_limits_are_the_nearest_that_are(rng):
    gap, limits = 0.07, (0.02, 1.0)
    for _ in range(50):
        x = np.sort(rng.uniform(-0.1, 0.2, rng.integers(1, 8)) + rng.choice([0, 0.9]))
        placed = plot.apart(x, gap, limits)
        assert (np.diff(placed) >= gap * (1 - 1e-9)).all()
        assert placed[0] >= limits[0]
        assert placed[-1] <= limits[1] + 1e-12
        least = ((placed - x) ** 2).sum()
        for _ in range(50):
            gaps = np.maximum(np.diff(placed) + rng.normal(0, 0.02, len(x) - 1), gap)
            other = placed[0] + rng.normal(0, 0.02) + np.concatenate([[0], np.cumsum(gaps)])
            if limits[0] <= other[0] and other[-1] <= limits[1]:
                assert ((other - x) ** 2).sum() >= least - 1e-12


def test_where_limits_leave_no_room_labels_begin_at_the_lower_one():
    np.testing.assert_allclose(plot.apart(np.full(4, 0.5), 0.5, (0.0, 1.0)), [0, 0.5, 1, 1.5])


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


def test_crosses_stand_as_far_apart_as_asked():
    steps, y = np.arange(129), np.full((129, 1), 0.5)
    for spacing in (0.125, 0.25):
        ax = panel()
        ax.set_xlim(0, 128)
        plot.dynamics(ax, steps, y, y, plot.BLUE, spacing=spacing)
        np.testing.assert_array_equal(ax.lines[1].get_xdata(), np.arange(0, 129, 128 * spacing))


@pytest.mark.parametrize("style", [plot.BLUE, plot.ORANGE, plot.GREEN])
@pytest.mark.parametrize("num", [1, 2, 10])
def test_shades_darken_on_a_photocopy_too(style, num):
    shades = plot.shades(style, num)
    assert len(shades) == num
    assert {shade.dashes for shade in shades} == {"solid"}
    colours = np.array([to_rgb(shade.colour) for shade in shades])
    # Luminance of the ITU for screens, as greyscale pictures have it.
    assert (np.diff(colours @ [0.299, 0.587, 0.114]) < 0).all()
    # The lightest is still seen on white.
    assert colours.min(axis=1).max() < 0.75


def test_the_middle_shade_is_the_colour_itself():
    assert to_rgb(plot.shades(plot.GREEN, 3)[1].colour) == to_rgb(plot.GREEN.colour)


def test_a_grid_is_read_in_one_column():
    figure, panels = plot.grid(2, 3, 5.0, sharex=True)
    # Type of 11 points is then 6.7 high in a column of 3.3 inches.
    assert figure.get_size_inches().tolist() == [5.4, 5.0]
    assert panels.shape == (2, 3)
    assert plot.grid(1, 1, 3.0)[1].shape == (1, 1)
    panels[0, 0].set_xlim(3, 4)
    assert panels[1, 2].get_xlim() == (3, 4)


def test_a_relief_is_lightest_at_the_bottom_and_light_everywhere():
    figure, ((ax,),) = plot.grid(1, 1, 4.0)
    x, y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 31)
    ax.axis("off")
    plot.relief(ax, x, y, x**2 + y[:, None] ** 2, [0.1, 0.5, 2.0])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    height = len(pixels)

    def grey(x, y):
        column, row = ax.transData.transform((x, y))
        return pixels[int(height - row), int(column)]

    bands = np.array([grey(0, 0), grey(0.45, 0), grey(0, 1), grey(0.9, 1.8)])
    assert (np.diff(bands, axis=0) < 0).all()
    assert (bands[0] == 1).all()
    assert bands.min() > 0.6


def test_descents_begin_at_their_dots(rng):
    x, y = rng.normal(size=(2, 20, 3))
    _, ((ax,),) = plot.grid(1, 1, 4.0)
    plot.descents(ax, x, y, plot.ORANGE, 2.0)
    *paths, dots = ax.lines
    for path, column in zip(paths, np.stack([x, y], -1).swapaxes(0, 1), strict=True):
        np.testing.assert_array_equal(path.get_xydata(), column)
        assert (path.get_linestyle(), path.get_linewidth()) == ("--", 2.0)
    np.testing.assert_array_equal(dots.get_xydata(), np.c_[x[0], y[0]])


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


@pytest.mark.parametrize("draw", [plot.label_above, plot.label_right])
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_labels_of_equal_values_stay_beside_the_axes(draw, end):
    ax = panel()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    draw(ax, np.full(6, end), list("abcdef"))
    axis = 0 if draw is plot.label_above else 1
    along = [text.get_position()[axis] for text in ax.texts]
    assert min(along) > 0
    assert max(along) <= 1
    assert (np.diff(along) > 0.06).all()


def test_an_axis_of_square_roots_spreads_the_first_epochs():
    ax = panel()
    plot.root_time(ax, (0, 100, 400))
    np.testing.assert_allclose(ax.get_xticks(), [0, 10, 20])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "100", "400"]
    low, high = ax.get_xlim()
    assert low < 0 < 20 <= high


def test_legend_names_every_style():
    figure = plot.two_panels(("left", "right"), 100, "x", "y")
    plot.legend(figure, {"one": plot.BLUE, "two": plot.ORANGE}, "what is what")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    assert legend.get_title().get_text() == "what is what"


# --- curves coloured by a number --------------------------------------------------


def axes():
    return Figure(figsize=(4.5, 3.3)).subplots()


def luminance(colours):
    """Relative, as the web's rules of contrast define it."""
    rgb = np.array([to_rgba(colour)[:3] for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("log", [False, True])
def test_a_curve_has_its_numbers_and_the_colour_that_the_bar_gives_its_value(rng, log):
    x, y, values = np.arange(20), rng.uniform(0, 1, (20, 5)), rng.uniform(0.01, 10, 5)
    ax = axes()
    bar = plot.curves(ax, x, y, values, "value", log=log)
    for j, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), np.c_[x, y[:, j]])
        assert line.get_color() == tuple(bar.mappable.to_rgba(values[j]))
    assert len(ax.lines) == 5
    assert bar.mappable.get_clim() == (values.min(), values.max())
    assert bar.ax.get_ylabel() == "value"
    assert bar.ax.get_yscale() == ("log" if log else "linear")


@pytest.mark.parametrize(
    ("values", "log"), [(np.linspace(-2, 3, 12), False), (np.geomspace(1e-4, 1e2, 12), True)]
)
def test_curves_grow_lighter_in_even_steps_and_stay_visible_on_white(values, log):
    ax = axes()
    plot.curves(ax, np.arange(3), np.ones((3, 12)), values, "", log=log)
    light = luminance([line.get_color() for line in ax.lines])
    assert (np.diff(light) > 0).all()
    # Contrast with white is 1.05 / (light + 0.05); this library's orange has 2.2.
    assert 1.05 / (light[-1] + 0.05) > 2
    # What the eye sees, about the cube root, takes even steps: 1 / 11 of the way each.
    seen = np.diff(np.cbrt(light))
    assert seen.max() < 1.5 * seen.min()


@pytest.mark.parametrize("log", [False, True])
def test_curves_of_one_value_have_one_colour(log):
    ax = axes()
    plot.curves(ax, np.arange(3), np.ones((3, 2)), [0.5, 0.5], "", log=log)
    ax.figure.draw_without_rendering()
    assert ax.lines[0].get_color() == ax.lines[1].get_color()


def test_points_of_curves_that_are_not_finite_are_left_out():
    ax = axes()
    y = np.array([[1.0, 2.0, np.nan, np.inf, 3.0, -np.inf]]).T
    plot.curves(ax, np.arange(6), y, [1.0], "")
    np.testing.assert_array_equal(
        np.isfinite(ax.lines[0].get_path().vertices[:, 1]), [1, 1, 0, 0, 1, 0]
    )
    assert (ax.dataLim.y0, ax.dataLim.y1) == (1, 3)


def test_a_logarithmic_axis_leaves_step_0_out():
    ax = axes()
    plot.curves(ax, [0, 1, 10], np.ones((3, 1)), [1.0], "", log_x=True)
    (line,) = ax.lines
    assert ax.get_xscale() == "log"
    drawn = line.get_transform().transform_path(line.get_path()).vertices
    np.testing.assert_array_equal(np.isfinite(drawn).all(axis=1), [False, True, True])


# --- cells coloured by a number -----------------------------------------------------


def drawn_edges(ax):
    x, y = np.moveaxis(ax.collections[0].get_coordinates(), -1, 0)
    assert (x == x[:1]).all()
    assert (y == y[:, :1]).all()
    return x[0], y[:, 0]


@pytest.mark.parametrize("order", [1, -1])
def test_cells_meet_halfway_and_enclose_their_centres(rng, order):
    x, y = np.cumsum(rng.uniform(0.1, 1, (2, 7)), axis=1)[:, ::order]
    ax = axes()
    plot.heat_map(ax, x, y[:4], np.ones((4, 7)), "", log_y=True)
    for centres, edges in zip((x, np.log(y[:4])), drawn_edges(ax), strict=True):
        edges = np.log(edges) if len(centres) == 4 else edges
        assert ((edges[:-1] - centres) * (edges[1:] - centres) < 0).all()
        # Half a step to both sides of the first and last centre. A logarithm
        # and its inverse leave a few eps of numbers up to 7.
        halves = np.abs(np.diff(centres)) / 2
        np.testing.assert_allclose(np.abs(edges[1:-1] - centres[:-1]), halves, rtol=0, atol=1e-14)
        np.testing.assert_allclose(
            np.abs(edges - np.r_[centres, centres[-1]])[[0, -1]], halves[[0, -1]], atol=1e-14
        )


def test_evenly_spaced_decades_have_edges_at_their_geometric_means():
    ax = axes()
    plot.heat_map(ax, [0.1, 1, 10], [1, 2], np.ones((2, 3)), "", log_x=True)
    x, y = drawn_edges(ax)
    np.testing.assert_allclose(x, 10.0 ** np.array([-1.5, -0.5, 0.5, 1.5]), rtol=1e-14)
    np.testing.assert_array_equal(y, [0.5, 1.5, 2.5])
    # The axes end where the cells do.
    assert (*ax.get_xlim(), *ax.get_ylim()) == (x[0], x[-1], y[0], y[-1])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")


def test_cells_hold_their_numbers_and_those_not_finite_are_named(rng):
    z = rng.uniform(1, 2, (3, 4))
    z[0, 1], z[2, 3] = np.nan, np.inf
    ax = axes()
    bar = plot.heat_map(ax, np.arange(4), np.arange(3), z, "number", missing="diverged")
    cells = ax.collections[0].get_array()
    np.testing.assert_array_equal(cells.mask, ~np.isfinite(z))
    np.testing.assert_array_equal(cells.compressed(), z[np.isfinite(z)])
    assert bar.mappable.get_clim() == (cells.min(), cells.max())
    assert bar.ax.get_ylabel() == "number"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["diverged"]
    assert ax.patch.get_hatch()


def test_a_cell_lies_where_its_centre_does():
    # On the picture itself: only one cell differs, at the second x and the third y.
    figure = Figure(figsize=(4, 3), dpi=100)
    ax = figure.subplots()
    z = np.zeros((3, 4))
    z[2, 1] = 1
    x, y = np.array([1.0, 10, 100, 1000]), np.array([3.0, 2.0, 0.0])
    plot.heat_map(ax, x, y, z, "", log_x=True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    places = ax.transData.transform([[a, b] for b in y for a in x]).astype(int)
    found = pixels[places[:, 1], places[:, 0]].reshape(3, 4, 3)
    yellow = (found == found[2, 1]).all(axis=-1)
    np.testing.assert_array_equal(yellow, z == 1)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("value", [0.3, np.nan])
def test_equal_or_missing_cells_are_drawn(log, value):
    ax = axes()
    plot.heat_map(ax, [1, 2], [1, 2], np.full((2, 2), value), "", log=log)
    ax.figure.draw_without_rendering()
    assert (ax.get_legend() is None) == np.isfinite(value)


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("log_y", [False, True])
def test_the_contour_of_a_plane_as_drawn_is_exact(log_x, log_y):
    # Interpolation along the axes makes no error for f linear in what is drawn.
    x, y = np.geomspace(0.1, 100, 4), np.geomspace(1, 50, 5)[::-1]

    def plane(x, y):
        return (np.log(x) if log_x else x) - 2 * (np.log(y) if log_y else y)

    z = plane(x, y[:, None])
    level = float(np.mean([z.min(), z.max()]))
    ax = axes()
    plot.heat_map(
        ax, x, y, z, "", log_x=log_x, log_y=log_y, contour=z, levels=level, contour_label="half"
    )
    (path,) = ax.collections[1].get_paths()
    assert len(path.vertices) >= 4
    # A few roundings of numbers up to 2 * 100.
    np.testing.assert_allclose(plane(*path.vertices.T), level, rtol=0, atol=200 * 1e-15)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["half"]
    # The line does not widen the axes.
    assert (sorted(ax.get_xlim()), sorted(ax.get_ylim())) == tuple(
        sorted(edges[[0, -1]]) for edges in drawn_edges(ax)
    )


def test_the_contour_leaves_out_what_is_not_finite_and_levels_that_are_not_reached():
    x, y = np.arange(6.0), np.arange(5.0)
    contour = np.tile(x, (5, 1))
    contour[3:] = np.nan
    ax = axes()
    plot.heat_map(ax, x, y, np.ones((5, 6)), "", contour=contour, levels=[9.0, 2.5, -1.0])
    (path,) = ax.collections[1].get_paths()
    np.testing.assert_array_equal(path.vertices[:, 0], 2.5)
    assert sorted(path.vertices[[0, -1], 1]) == [0, 2]
    assert ax.get_legend() is None


def test_a_contour_that_is_nowhere_reached_is_not_in_the_legend():
    ax = axes()
    ones = np.ones((2, 2))
    plot.heat_map(ax, [1, 2], [1, 2], ones, "", contour=ones, levels=2, contour_label="two")
    assert len(ax.collections) == 1
    assert ax.get_legend() is None


def test_several_levels_are_numbered():
    x = np.arange(8.0)
    ax = axes()
    z = np.tile(x, (8, 1))
    plot.heat_map(ax, x, x, z, "", contour=z, levels=[5.5, 1.5])
    assert sorted(text.get_text() for text in ax.texts) == ["1.5", "5.5"]


# --- either ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jax", "xarray", "list"])
def test_arrays_of_any_kind_draw_the_same(rng, kind):
    x, y = np.float32([1, 2, 4]), np.float32([0.5, 1])
    z = rng.uniform(1, 2, (2, 3)).astype(np.float32)
    give = {"jax": jnp.asarray, "list": np.ndarray.tolist, "xarray": xarray.DataArray}[kind]
    pictures = []
    for form in (np.asarray, give):
        figure = Figure(figsize=(6, 3))
        left, right = figure.subplots(1, 2)
        plot.curves(left, form(y), form(z), form(x), "x", log=True)
        plot.heat_map(right, form(x), form(y), form(z), "z", contour=form(z), levels=form(z[0, :1]))
        with plot.settings():
            pictures.append(plot.image(figure, "png"))
    assert pictures[0] == pictures[1]


X, Y, Z = np.arange(1.0, 4), np.arange(1.0, 3), np.ones((2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": Z}, r"y must be \(S, C\).*; got y \(2, 3\), x \(3,\), values \(2,\)\. Transpose"),
        ({"x": 1.0}, r"x \(S,\).*; got y \(3, 2\), x \(\), values \(2,\)\. "),
        ({"values": [1.0, np.nan]}, r"values must all be finite.*; got 1 finite of 2\. Leave"),
        ({"values": [], "y": Z.T[:, :0]}, r"values .* one or more; got 0 finite of 0\. "),
        ({"values": [0.0, 1.0]}, r"values must be > 0 on a log.* scale; got 0\.0\. Leave log out"),
        ({"values": ["AE", "DAE"]}, r"values must be numbers; got \['AE', 'DAE'\]\. Pass"),
    ],
)
def test_mistakes_about_curves(change, message):
    ax = axes()
    good = {"x": X, "y": Z.T, "values": Y, "label": "", "log": True, "log_x": True}
    with pytest.raises(ValueError, match=message):
        plot.curves(ax, **good | change)
    assert not ax.lines
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": Z.T}, r"z must be \(m, n\).*; got z \(3, 2\), y \(2,\), x \(3,\)\. Transpose"),
        ({"contour": X}, r"contour must be \(m, n\).*; got contour \(3,\), y .* one row per y"),
        ({"levels": None}, "contour and levels go together; got contour alone. Give both"),
        ({"contour": None}, "contour and levels go together; got levels alone. Give both"),
        ({"x": [1.0]}, r"x must be 1-D with at least two centres; got shape \(1,\)\. Draw"),
        ({"y": Z}, r"y must be 1-D with at least two centres; got shape \(2, 3\)\. Draw"),
        ({"x": [1, 3, 2]}, r"x must be finite, asc.*; got 3\.0 before 2\.0 at index 1\. Sort"),
        ({"x": [1, 1, 2]}, r"x must be finite, asc.*; got 1\.0 before 1\.0 at index 0\. Sort"),
        ({"y": [1, np.nan]}, r"y must be finite, asc.*; got 1\.0 before nan at index 0\. Sort"),
        ({"y": [np.inf, np.inf]}, r"y must be finite, asc.*; got inf before inf at index 0\. "),
        ({"y": [1, 0]}, r"y must be > 0 on a logarithmic axis; got 0\.0\. Leave log_y out"),
        ({"z": -Z}, r"z must be > 0 on a logarithmic scale; got -1\.0\. Leave log out"),
        ({"levels": "half"}, r"levels must be numbers; got 'half'\. Pass"),
    ],
)
def test_mistakes_about_cells(change, message):
    ax = axes()
    good = {"x": X, "y": Y, "z": Z, "label": "", "log": True, "log_y": True}
    good |= {"contour": Z, "levels": 0.5}
    with pytest.raises(ValueError, match=message):
        plot.heat_map(ax, **good | change)
    assert not ax.collections
    assert ax.get_yscale() == "linear"


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
