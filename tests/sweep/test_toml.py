"""Sweeps in TOML files: every form, and the same sweep as one written in Python."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from lindae_jax import Spectrum, Sweep, Weights, data
from lindae_jax.sweep import config, toml

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
START = {"init_w1": 0.1, "init_w2": 0.2}


def same(first, second):
    return config.configuration(first) == config.configuration(second)


def read(text, folder=Path()):
    return toml.sweep_of(tomllib.loads(text), folder)


def pairs(noise, more=""):
    return read(
        f"num_steps = 5\n{more}\n[axes]\neigenvalue = 1\ninit_w1 = 0.1\ninit_w2 = 0.2\n"
        f"noise = {noise}"
    )


# --- values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("0.5", 0.5),
        ("1", 1),
        ("1e-3", 0.001),
        ("[0.5]", [0.5]),
        ("[0, 1, 2.5]", [0, 1, 2.5]),
        ("{ linspace = [0, 1, 11] }", np.linspace(0, 1, 11)),
        ("{ linspace = [1.5, 0.5, 3] }", [1.5, 1.0, 0.5]),
        ("{ linspace = [2, 3, 1] }", [2]),
        ("{ geomspace = [1, 1000, 4] }", np.geomspace(1, 1000, 4)),
        ("{ geomspace = [1e-3, 1, 7] }", np.geomspace(1e-3, 1, 7)),
        ("{ range = [4] }", [0, 1, 2, 3]),
        ("{ range = [2, 4] }", [2, 3]),
        ("{ range = [9, 0, -3] }", [9, 6, 3]),
    ],
)
def test_values_are_a_number_a_list_or_made_as_numpy_makes_them(written, values):
    want = Sweep({"eigenvalue": 1.0, "noise": values, **START}, 5)
    assert same(pairs(written), want)
    np.testing.assert_array_equal(pairs(written).axes["noise"], want.axes["noise"])


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("[0, 0.5, 2]", [0, 0.5, 2]),
        ("{ linspace = [0, 10, 5] }", np.linspace(0, 10, 5)),
        ("{ geomspace = [1, 100, 3] }", np.geomspace(1, 100, 3)),
        ("{ range = [0, 10, 4] }", [0, 4, 8]),
    ],
)
def test_so_are_times(written, values):
    axes = "[axes]\neigenvalue = 1\ninit_w1 = 0.1\ninit_w2 = 0.2"
    found = read(f'model = "theory"\ntimes = {written}\n{axes}')
    want = Sweep({"eigenvalue": 1.0, **START}, model="theory", times=values)
    assert same(found, want)


def test_so_are_lists_of_steps_and_of_directions(tmp_path):
    assert pairs("0.1", "save_steps = { range = [1, 4] }").rows.tolist() == [1, 2, 3, 5]
    Spectrum(*map(np.float32, ([3, 2, 1], np.eye(3)))).save(tmp_path / "s.npz")
    text = 'model = "matrices"\nnum_steps = 5\ndirections = { range = [1, 3] }\n'
    sweep = read(f'{text}[axes]\nhidden = 3\n[spectrum]\nfile = "s.npz"', tmp_path)
    assert sweep.directions == (1, 2)


# --- every setting --------------------------------------------------------------------


def test_every_setting_is_that_of_python():
    text = """
    num_steps = 100
    model = "pairs"
    init = "small"
    save_log = 7
    observe = ["loss", "mapping", "first_passage"]
    fraction = 0.25
    keep_weights = false
    dtype = "float64"

    [linked]
    strength = ["noise", "decay"]

    [axes]
    seed = { range = [3] }
    eigenvalue = [1.0, 2.0]
    noise = [0.1, 0.2, 0.3]
    decay = { linspace = [0.3, 0.1, 3] }
    learning_rate = 0.02
    init_std = 0.01
    """
    want = Sweep(
        {
            "seed": range(3),
            "eigenvalue": [1.0, 2.0],
            "noise": [0.1, 0.2, 0.3],
            "decay": np.linspace(0.3, 0.1, 3),
            "learning_rate": 0.02,
            "init_std": 0.01,
        },
        100,
        linked={"strength": ["noise", "decay"]},
        init="small",
        save_log=7,
        observe=["first_passage", "loss", "mapping"],
        fraction=0.25,
        keep_weights=False,
        dtype="float64",
    )
    found = read(text)
    assert same(found, want)
    assert list(found.dims.items()) == [("seed", 3), ("eigenvalue", 2), ("strength", 3)]
    for saves in ("save_every = 3", "save_steps = [1, 4]"):
        kept = tomllib.loads(saves)
        assert same(pairs("0.1", saves), Sweep({"eigenvalue": 1, "noise": 0.1, **START}, 5, **kept))


def matrices(spectrum, folder, more="", axes="hidden = [2, 3]"):
    return read(
        f'model = "matrices"\nnum_steps = 5\n{more}\n[axes]\n{axes}\n[spectrum]\n{spectrum}', folder
    )


def test_a_spectrum_is_that_of_named_data(tmp_path):
    rows = data.load("digits", num_samples=50, split="held_out")
    for center in (False, True):
        text = f'data = "digits"\nnum_samples = 50\nsplit = "held_out"\ncenter = {center}'.lower()
        want = Spectrum.from_data(rows, center=center)
        found = matrices(text, tmp_path).spectrum
        np.testing.assert_array_equal(found.eigenvalues, want.eigenvalues)


@pytest.fixture
def x(rng, tmp_path):
    """Own data, in the folder of the sweep's file and in one below."""
    array = rng.normal(size=(30, 4)).astype(np.float32)
    (tmp_path / "below").mkdir()
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "below" / "x.npz", x=array)
    Spectrum.from_data(array).save(tmp_path / "below" / "s.npz")
    return array


@pytest.mark.parametrize(
    "written",
    [
        'data = "x.npy"\nsplit = "all"',
        'data = "below/x.npz"\nsplit = "all"',
        'data = "x.npz"\nroot = "below"\nsplit = "all"',
        'data = "~/x.npy"\nsplit = "all"',
        'file = "below/s.npz"',
        'file = "~/below/s.npz"',
    ],
)
def test_paths_are_meant_from_the_folder_of_the_file(written, x, tmp_path, monkeypatch):
    want = Spectrum.from_data(x).eigenvalues
    monkeypatch.setenv("HOME", str(tmp_path))
    # From elsewhere, and with a relative name of the folder.
    monkeypatch.chdir(tmp_path.parent)
    for folder in (tmp_path, Path(tmp_path.name)):
        found = matrices(written, folder).spectrum
        np.testing.assert_array_equal(found.eigenvalues, want)


def test_weights_are_those_of_a_file(x, tmp_path):
    start = Weights(np.full((2, 4), 0.1), np.full((4, 2), 0.2))
    np.savez(tmp_path / "w.npz", w1=start.w1, w2=start.w2, other=3)
    more = 'init = "given"\nweights = "w.npz"'
    found = matrices('file = "below/s.npz"', tmp_path, more, "noise = [0.0, 0.1]")
    want = Sweep(
        {"noise": [0.0, 0.1]},
        5,
        model="matrices",
        init="given",
        spectrum=Spectrum.from_data(x),
        weights=start,
    )
    assert same(found, want)


# --- files ---------------------------------------------------------------------------


def test_reading_gives_the_tables(tmp_path):
    (tmp_path / "s.toml").write_text("a = 1\n[b]\nc = [1.5]\n")
    assert toml.read(tmp_path / "s.toml") == {"a": 1, "b": {"c": [1.5]}}


def test_tables_are_left_as_they_were():
    tables = tomllib.loads(
        "num_steps = 5\n[axes]\neigenvalue = { linspace = [1, 2, 3] }\ninit_w1 = 1\ninit_w2 = 1"
    )
    before = str(tables)
    assert same(toml.sweep_of(tables, Path()), toml.sweep_of(tables, Path()))
    assert str(tables) == before


def example(name):
    return toml.sweep_of(toml.read(EXAMPLES / f"{name}.toml"), EXAMPLES)


def test_the_examples_are_all_read():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {"noise_and_decay", "widths"}


def test_the_example_of_pairs_is_the_sweep_it_speaks_of():
    sweep = example("noise_and_decay")
    want = Sweep(
        {
            "eigenvalue": np.geomspace(0.1, 2.5, 40),
            "noise": np.linspace(0, 2, 41),
            "decay": np.linspace(0, 0.5, 41),
            "seed": range(30),
            "init_std": 0.01,
        },
        20_000,
        init="small",
        save_log=40,
        observe=["mapping", "distance", "first_passage"],
    )
    assert same(sweep, want)
    # "2 x 10^6 pairs"
    assert round(sweep.num_members, -6) == 2_000_000
    # "logarithmically, the last one included"
    assert 35 <= len(sweep.rows) <= 40
    assert sweep.rows[-1] == 20_000


def test_the_example_of_widths_is_the_sweep_it_speaks_of():
    sweep = example("widths")
    assert list(sweep.dims.items()) == [("hidden", 4), ("strength", 3), ("seed", 5)]
    assert sweep.rows.tolist() == [*range(0, 3001, 100)]
    # "the decay that shrinks the mapping of the first direction as much": as N epsilon does,
    # 1 - w* is gamma/lambda for the one and epsilon/(lambda + epsilon) for the other.
    first = float(sweep.spectrum.eigenvalues[0])
    noise, decay = sweep.axes["noise"], sweep.axes["decay"]
    np.testing.assert_allclose(decay / first, noise / (first + noise), rtol=0.02)
