"""The description of a sweep: its grid, its saves, its defaults, its configuration."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from lindae_jax import Spectrum, Sweep, Weights
from lindae_jax.sweep import config

START = {"init_w1": 0.1, "init_w2": 0.2}
SPECTRUM = Spectrum(np.array([3.0, 2.0, 1.0], np.float32), np.eye(3, dtype=np.float32))


def pairs(num_steps=10, **settings):
    axes = {"eigenvalue": [1.0, 2.0, 3.0], "noise": [0.0, 0.1], **START}
    return Sweep(**{"axes": axes, "num_steps": num_steps, **settings})


def matrices(**settings):
    return Sweep(
        **{"axes": {"hidden": [4, 2]}, "num_steps": 10, "model": "matrices", "spectrum": SPECTRUM}
        | settings
    )


def test_a_sweep_does_not_change():
    w1, w2 = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    sweep = matrices(axes={}, init="given", weights=(w1, w2), linked={})
    w1[:] = 7
    assert (sweep.weights.w1 == 1).all()
    for frozen in (sweep.axes, sweep.linked):
        for change in (
            lambda d: d.__setitem__("noise", 3),
            lambda d: d.update(noise=3),
            lambda d: d.clear(),
            lambda d: d.setdefault("bogus", 3),
        ):
            with pytest.raises(TypeError, match="does not change"):
                change(frozen)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sweep.axes = {}
    for values in (*sweep.axes.values(), *sweep.weights):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 3
    # It travels to other processes, where it is the same.
    again = copy.deepcopy(sweep)
    assert config.configuration(again) == config.configuration(sweep)


# --- the grid -------------------------------------------------------------------


def test_lists_are_axes_in_the_order_given_numbers_are_none():
    axes = {"noise": [0.0, 0.1], "init_w2": 0.2, "eigenvalue": [1.0, 2.0, 3.0], "init_w1": [0.1]}
    sweep = Sweep(axes, 5)
    assert list(sweep.dims.items()) == [("noise", 2), ("eigenvalue", 3), ("init_w1", 1)]
    assert sweep.shape == (2, 3, 1)
    assert sweep.num_members == 6
    assert sweep.dims_of("eigenvalue") == ("eigenvalue",)
    assert sweep.dims_of("init_w2") == sweep.dims_of("decay") == ()


def test_numbers_alone_are_a_single_member():
    sweep = Sweep({"eigenvalue": 1.0, **START}, 5)
    assert (sweep.dims, sweep.shape, sweep.num_members) == ({}, (), 1)


def test_linked_parameters_move_along_one_axis_that_stands_where_the_first_does():
    axes = {"eigenvalue": [1.0, 2.0], "noise": [0.1, 0.2, 0.3], "decay": [0.3, 0.2, 0.1], **START}
    sweep = Sweep(axes, 5, linked={"strength": ["decay", "noise"]})
    assert list(sweep.dims.items()) == [("eigenvalue", 2), ("strength", 3)]
    assert sweep.dims_of("noise") == sweep.dims_of("decay") == ("strength",)
    assert sweep.dims_of("eigenvalue") == ("eigenvalue",)
    assert sweep.num_members == 6
    apart = Sweep(axes, 5)
    assert apart.shape == (2, 3, 3)


def test_two_links_are_two_axes():
    three = [0.1, 0.2, 0.3]
    axes = {"noise": three, "init_w1": [1.0, 2.0], "decay": three, "init_w2": [2.0, 1.0]}
    links = {"strength": ("noise", "decay"), "start": ["init_w1", "init_w2"]}
    sweep = Sweep({"eigenvalue": 1.0, **axes}, 5, linked=links)
    assert list(sweep.dims.items()) == [("strength", 3), ("start", 2)]


def test_values_are_kept_as_float64_and_int64_whatever_they_were():
    axes = {"eigenvalue": np.float32([1, 2]), "seed": np.arange(3, dtype=np.uint8), "noise": 1}
    sweep = Sweep(axes, 5, init="small")
    kinds = {name: (x.dtype.name, x.ndim) for name, x in sweep.axes.items()}
    assert kinds == {
        "eigenvalue": ("float64", 1),
        "seed": ("int64", 1),
        "noise": ("float64", 0),
        "decay": ("float64", 0),
        "learning_rate": ("float64", 0),
        "init_std": ("float64", 0),
    }


def test_what_the_caller_changes_later_changes_no_sweep():
    values, axes = np.array([1.0, 2.0]), {"noise": 0.1, **START}
    sweep = Sweep({"eigenvalue": values, **axes}, 5)
    values[:] = 7.0
    axes["noise"] = 7.0
    np.testing.assert_array_equal(sweep.axes["eigenvalue"], [1.0, 2.0])
    assert sweep.axes["noise"] == 0.1


def test_a_billion_members_are_described_at_once():
    many = np.linspace(0.1, 1.0, 1000)
    sweep = Sweep({"eigenvalue": many, "noise": many, "decay": many, **START}, 5)
    assert sweep.num_members == 10**9


# --- defaults --------------------------------------------------------------------


def test_what_is_left_out_has_the_documented_default():
    sweep = pairs()
    assert {name: sweep.axes[name].item() for name in ("decay", "learning_rate")} == {
        "decay": 0.0,
        "learning_rate": 0.01,
    }
    small = Sweep({"eigenvalue": 1.0}, 5, init="small")
    assert {name: small.axes[name].item() for name in ("seed", "init_std", "noise")} == {
        "seed": 0,
        "init_std": 0.001,
        "noise": 0.0,
    }
    assert (sweep.model, sweep.init, sweep.observe) == ("pairs", "given", ("mapping",))
    assert (sweep.fraction, sweep.keep_weights, sweep.dtype) == (0.5, True, "float32")
    assert matrices().init == "small"


def test_by_default_all_directions_that_the_widest_network_learns():
    assert matrices().directions == (1, 2, 3)
    assert matrices(axes={"hidden": [1, 2]}).directions == (1, 2)
    assert matrices(axes={"hidden": 2}, directions=[3, 1]).directions == (3, 1)
    assert pairs().directions is None


def test_given_matrices_have_their_own_width():
    start = Weights(np.ones((2, 3)), np.ones((3, 2)))
    sweep = matrices(axes={}, init="given", weights=start)
    assert sweep.widest == 2
    assert matrices(axes={"hidden": 2}, init="given", weights=start).widest == 2
    assert sweep.num_directions == 3


def test_observables_stand_in_one_order_once():
    sweep = pairs(observe=["loss", "mapping", "loss"])
    assert sweep.observe == ("mapping", "loss")
    assert pairs(observe=[]).observe == ()


# --- saves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saves", "steps"),
    [
        ({}, [10]),
        ({"save_every": 3}, [0, 3, 6, 9, 10]),
        ({"save_every": 5}, [0, 5, 10]),
        ({"save_every": 99}, [0, 10]),
        ({"save_steps": [1, 4]}, [1, 4, 10]),
        ({"save_steps": (0, 10)}, [0, 10]),
        ({"save_steps": []}, [10]),
        ({"save_log": 1}, [1, 10]),
        ({"save_log": 4}, [1, 2, 5, 10]),
        ({"save_log": 10}, [*range(1, 11)]),
        ({"save_log": 10**12}, [*range(1, 11)]),
    ],
)
def test_the_last_step_is_always_saved(saves, steps):
    rows = pairs(**saves).rows
    assert rows.dtype == np.int64
    assert rows.tolist() == steps
    theory = pairs(model="theory", **saves)
    assert theory.rows.tolist() == steps


def test_no_step_at_all_saves_the_start():
    for saves in ({}, {"save_every": 1}, {"save_log": 3}, {"save_steps": [0]}):
        assert pairs(0, **saves).rows.tolist() == [0]


def test_logarithmic_saves_grow_by_a_constant_factor():
    rows = pairs(10**6, save_log=25).rows
    assert (rows[0], rows[-1]) == (1, 10**6)
    # From 30 on, where rounding to whole steps is below 2 %.
    factors = rows[1:] / rows[:-1]
    np.testing.assert_allclose(factors[rows[:-1] > 30], 10 ** (6 / 24), rtol=0.04)


def test_times_of_the_theory_are_kept_as_given():
    sweep = pairs(None, model="theory", times=[0, 0.5, 1e6])
    np.testing.assert_array_equal(sweep.rows, [0.0, 0.5, 1e6])
    assert sweep.rows.dtype == np.float64


# --- configuration -------------------------------------------------------------------


def hash_of(sweep):
    return config.hash_of(config.configuration(sweep))


LONG = np.linspace(0.1, 1.0, 1000)
SAME = {
    "defaults filled in": (pairs(), pairs(save_steps=[], init="given", observe=("mapping",))),
    "types": (
        pairs(),
        pairs(
            np.int32(10),
            axes={
                "eigenvalue": (1, 2, 3),
                "noise": np.array([0, 0.1]),
                "decay": 0,
                "learning_rate": np.float64(0.01),
                **START,
            },
        ),
    ),
    "order of what is no axis": (
        pairs(axes={"eigenvalue": [1.0, 2.0], "decay": 0.0, "init_w1": 0.1, "init_w2": 0.2}),
        pairs(axes={"init_w2": 0.2, "init_w1": 0.1, "eigenvalue": [1.0, 2.0]}),
    ),
    "order of observables": (
        pairs(observe=["loss", "norm"]),
        pairs(observe=("norm", "loss", "norm")),
    ),
    "order in a link": (
        pairs(
            axes={"eigenvalue": [1.0, 2.0], "noise": [1.0, 2.0], **START},
            linked={"both": ["noise", "eigenvalue"]},
        ),
        pairs(
            axes={"eigenvalue": [1.0, 2.0], "noise": [1.0, 2.0], **START},
            linked={"both": ("eigenvalue", "noise")},
        ),
    ),
    "ways to say which steps": (pairs(save_every=5), pairs(save_steps=[0, 5])),
    "a sign of zero": (
        pairs(axes={"eigenvalue": [1.0], **START, "noise": -0.0}),
        pairs(axes={"eigenvalue": [1.0], **START}),
    ),
    "a fraction that nobody asks for": (pairs(fraction=0.1), pairs(fraction=0.9)),
    "weights that are kept anyway": (
        pairs(observe=["weights"], keep_weights=False),
        pairs(observe=["weights"]),
    ),
    "weights that the theory has none of": (
        pairs(model="theory", keep_weights=False),
        pairs(model="theory"),
    ),
    "long axes": (
        pairs(axes={"eigenvalue": LONG, **START}),
        pairs(axes={"eigenvalue": LONG.tolist(), **START}),
    ),
    "directions": (matrices(), matrices(directions=[1, 2, 3])),
    "eigenvectors": (
        matrices(),
        matrices(spectrum=Spectrum([3.0, 2.0, 1.0], -np.eye(3), num_samples=9)),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_sweeps_with_equal_results_have_one_configuration(name):
    first, second = SAME[name]
    assert config.configuration(first) == config.configuration(second)
    assert hash_of(first) == hash_of(second)
    assert config.differences(*map(config.configuration, (first, second))) == []


GIVEN = {
    "axes": {"noise": [0.0, 0.1]},
    "init": "given",
    "weights": Weights(np.ones((2, 3)), np.ones((3, 2))),
}
OTHER = {
    # what differs -> the key by which it is told, a sweep, another
    "a value": ("axes.decay", pairs(), pairs(axes=pairs().axes | {"decay": 0.1})),
    "one of a list": (
        "axes.noise",
        pairs(),
        pairs(axes=pairs().axes | {"noise": [0.0, np.nextafter(0.1, 1)]}),
    ),
    "one of a long list": (
        "axes.eigenvalue",
        pairs(axes={"eigenvalue": LONG, **START}),
        pairs(axes={"eigenvalue": np.where(np.arange(1000) == 500, 0.3, LONG), **START}),
    ),
    "a number or a list of one": (
        "axes.noise",
        pairs(axes={"eigenvalue": [1.0], "noise": 0.1, **START}),
        pairs(axes={"eigenvalue": [1.0], "noise": [0.1], **START}),
    ),
    "the order of axes": (
        "dims",
        pairs(axes={"eigenvalue": [1.0, 2.0], "noise": [1.0, 2.0], **START}),
        pairs(axes={"noise": [1.0, 2.0], "eigenvalue": [1.0, 2.0], **START}),
    ),
    "a link": (
        "linked.both",
        pairs(axes={"eigenvalue": [1.0, 2.0], "noise": [1.0, 2.0], **START}),
        pairs(
            axes={"eigenvalue": [1.0, 2.0], "noise": [1.0, 2.0], **START},
            linked={"both": ["noise", "eigenvalue"]},
        ),
    ),
    "num_steps": ("rows", pairs(), pairs(11)),
    "saves": ("rows", pairs(), pairs(save_every=5)),
    "times": (
        "rows",
        pairs(None, model="theory", times=[1.0, 2.0]),
        pairs(None, model="theory", times=[1.0, 3.0]),
    ),
    "times or steps": (
        "along",
        pairs(model="theory"),
        pairs(None, model="theory", times=[10.0]),
    ),
    "model": ("model", pairs(), pairs(model="theory")),
    "init": (
        "init",
        pairs(axes={"eigenvalue": 1.0, "init_std": 0.1}, init="small"),
        pairs(axes={"eigenvalue": 1.0, "init_std": 0.1}, init="aligned"),
    ),
    "observe": ("observe", pairs(), pairs(observe=["mapping", "loss"])),
    "fraction": (
        "fraction",
        pairs(observe=["first_passage"], save_every=1),
        pairs(observe=["first_passage"], save_every=1, fraction=0.9),
    ),
    "keep_weights": ("keep_weights", pairs(), pairs(keep_weights=False)),
    "dtype": ("dtype", pairs(), pairs(dtype="float64")),
    "directions": ("directions", matrices(), matrices(directions=[1, 3])),
    "order of directions": ("directions", matrices(), matrices(directions=[1, 3, 2])),
    "spectrum": ("spectrum", matrices(), matrices(spectrum=Spectrum([3.0, 2.0, 1.5], np.eye(3)))),
    "weights": (
        "weights",
        matrices(**GIVEN),
        matrices(**GIVEN | {"weights": Weights(np.ones((2, 3)), np.eye(3, 2))}),
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_every_setting_that_changes_results_changes_the_hash(name):
    key, first, second = OTHER[name]
    ours, theirs = config.configuration(first), config.configuration(second)
    assert ours != theirs
    assert config.hash_of(ours) != config.hash_of(theirs)
    told = config.differences(ours, theirs)
    assert key in [line.split(":")[0] for line in told]
    for line in told:
        assert line.endswith(" in the store")
        assert len(line) < 200


def test_every_setting_is_in_these_tables():
    fields = {field.name for field in dataclasses.fields(Sweep)} - {"_"}
    # Of axes and saves the tables have values, of links a link.
    fields -= {"axes", "linked", "save_every", "save_steps", "save_log"}
    assert fields <= set(OTHER)


def test_a_difference_shows_both_values_under_a_dotted_key():
    first, second = pairs(), pairs(axes=pairs().axes | {"decay": 0.5}, dtype="float64")
    assert config.differences(*map(config.configuration, (first, second))) == [
        "axes.decay: 0.0 here, 0.5 in the store",
        'dtype: "float32" here, "float64" in the store',
    ]
    linked = pairs(axes=pairs().axes | {"decay": [0.1, 0.2]}, linked={"both": ["noise", "decay"]})
    assert "linked.both: nothing here, [" in ";".join(
        config.differences(*map(config.configuration, (first, linked)))
    )


def test_a_configuration_is_plain_data():
    for sweep in (pairs(), matrices(**GIVEN), pairs(axes={"eigenvalue": LONG, **START})):
        found = config.configuration(sweep)
        assert json.loads(config.canonical(found)) == found
        assert len(config.canonical(found)) < 2000


def test_the_canonical_form_is_not_the_order_of_keys():
    found = config.configuration(pairs())
    turned = dict(reversed(found.items()))
    assert config.canonical(found) == config.canonical(turned)


def test_the_hash_stays_the_same_from_version_to_version():
    # Golden: of the canonical JSON as it is now. A change makes old stores unreadable, and
    # asks for a new store version.
    assert hash_of(pairs())[:16] == "a9d446d96be49170"
