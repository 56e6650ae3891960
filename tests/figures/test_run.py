"""From a name to files: written together or not at all, drawn from what they hold."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pages
import pytest
from drawings import collisions
from matplotlib.figure import Figure

from lindae_jax import data, figures, plot, record
from lindae_jax.figures import figure5, figure6, run, stopping


@pytest.fixture
def small(monkeypatch):
    """Two figures that cost nothing, the second of them made from data."""

    class Plain:
        DATA = ("digits",)
        TITLE = "Figure A"
        SEE = "See that."

        @staticmethod
        def numbers(*, quick=False):
            return {"x": np.float32([0.1, np.inf, 3]), "quick": quick}

        @staticmethod
        def draw(numbers):
            figure = Figure()
            figure.subplots().plot(numbers["x"])
            return figure

        @staticmethod
        def caption(numbers):
            return f"{len(numbers['x'])} points"

    class Sampled(Plain):
        @staticmethod
        def numbers(*, quick=False, data="digits", root=None, num_samples=None):
            return {"x": np.zeros(num_samples or 2), "data": data}

        @staticmethod
        def check(*, quick, data="digits", root=None, num_samples=None):
            if data not in ("digits", "mnist"):
                raise ValueError("data must be digits or mnist")

    made = {"a": Plain, "b": Sampled}
    monkeypatch.setattr(run, "FIGURES", {"1": "a", "own": "b"})
    monkeypatch.setattr(run, "_module", made.__getitem__)
    return made


# --- every figure -----------------------------------------------------------------


@pytest.mark.parametrize("which", figures.FIGURES)
def test_a_figure_is_drawn_from_the_numbers_in_its_json(which, tmp_path, monkeypatch):
    name = figures.FIGURES[which]

    def compute(job):
        assert job == (name, {"quick": True})
        return pages.small(name)

    monkeypatch.setattr(run, "compute", compute)
    files = figures.make(which, tmp_path / "new" / "out", quick=True)
    kinds = ["png", "svg", "json", *["gif"] * (name == "animation")]
    assert [path.name for path in files] == [f"{name}.{kind}" for kind in kinds]
    assert sorted(files[0].parent.iterdir()) == sorted(files)
    page = json.loads(files[2].read_text())
    with plot.settings():
        assert collisions(figures.draw(page)) == []
        drawn = figures.draw(page)
        for path, kind in zip(files, ("png", "svg"), strict=False):
            assert plot.image(drawn, kind) == path.read_bytes()
    assert page["name"] == page["file"] == name
    # A quick run without data named has the digits, whatever the figure.
    assert set(page["data"]) <= {"digits"}
    assert page["settings"]["quick"] is True
    assert page["settings"]["dtype"] == "float32"
    assert page["versions"]["jax"] == jax.__version__
    assert page["seconds"].keys() == {"numbers", "picture"}
    module = importlib.import_module(f"lindae_jax.figures.{name}")
    assert page["title"] == module.TITLE
    # Captions are made from numbers, too, and from those of the JSON.
    assert module.caption(record.arrays(page["numbers"])) == page["caption"]
    assert len(page["caption"]) > 200
    assert "nan" not in page["caption"]
    assert "Unlike the paper" in page["caption"] or not name.startswith("figure")


# --- the frame --------------------------------------------------------------------


def test_all_are_made_in_their_order_with_a_page_that_shows_them(small, tmp_path):
    *files, index = figures.make("all", tmp_path)
    assert [path.name for path in files] == [
        f"{name}.{kind}" for name in "ab" for kind in ("png", "svg", "json")
    ]
    text = index.read_text()
    assert index == tmp_path / "index.html"
    assert "3 points" in text
    assert "2 points" in text
    named = set(re.findall(r'(?:href|src)="([^"#]+)"', text))
    assert named == {path.name for path in files}


def test_one_figure_leaves_the_page_as_it_is(small, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    figures.make("1", tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"


def test_a_figure_that_moves_is_written_with_the_rest_or_not_at_all(small, tmp_path):
    small["a"].animate = staticmethod(lambda numbers: b"GIF" * len(numbers["x"]))
    files = figures.make("1", tmp_path)
    assert [path.name for path in files] == ["a.png", "a.svg", "a.json", "a.gif"]
    assert files[-1].read_bytes() == b"GIFGIFGIF"
    index = figures.make("all", tmp_path)[-1]
    assert 'src="a.gif"' in index.read_text()
    small["a"].animate = staticmethod(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        figures.make("1", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_options_go_to_the_figures_that_have_them(small, tmp_path, monkeypatch):
    jobs = figures.prepare("all", tmp_path, data="mnist", num_samples=3, quick=True)
    assert jobs == (("a", {"quick": True}), ("b", {"quick": True, "data": "mnist"}))
    # Of all figures those that cost more with more samples.
    monkeypatch.setattr(run, "_BY_SAMPLES", {"b"})
    jobs = figures.prepare("all", tmp_path, data="mnist", num_samples=3, quick=True)
    assert jobs == (
        ("a", {"quick": True}),
        ("b", {"quick": True, "data": "mnist", "num_samples": 3}),
    )
    page = figures.compute(jobs[1])
    assert page["file"] == "b-mnist"
    assert page["data"] == ["mnist"]
    expected = {"quick": True, "data": "mnist", "root": None, "num_samples": 3}
    assert page["settings"] == {**expected, "dtype": "float32"}
    assert page["numbers"] == {"x": [0, 0, 0], "data": "mnist"}


def test_figures_that_cost_more_with_more_samples_are_figures():
    assert run._BY_SAMPLES.issubset(figures.FIGURES.values())


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Data sets read, with the samples asked for; the folder of the paper's is tmp_path."""
    images = np.random.default_rng(0).normal(size=(3_000, 20)).astype(np.float32)
    found = []

    def load(name, root=None, *, num_samples=None, split="train"):
        found.append((name, num_samples))
        assert root == (None if name == "digits" else tmp_path)
        if name != "digits":
            return images[:num_samples]
        return data.load(name, root, num_samples=num_samples, split=split)

    monkeypatch.setattr(figure5, "data_sets", SimpleNamespace(load=load))
    monkeypatch.setattr(stopping, "data_sets", SimpleNamespace(load=load))
    monkeypatch.setattr(figure6, "load", load)
    return found


PAPER = {("mnist", 9), ("mnist", None), ("cifar10", None)}
DIGITS = {("digits", None)}


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({}, PAPER | DIGITS),
        # Named, they are those of all that repeat the paper's experiments, but of no other.
        ({"data": "cifar10"}, {("cifar10", None), ("cifar10", 9)} | DIGITS),
        ({"data": "cifar10", "quick": True}, {("cifar10", None), ("cifar10", 9)} | DIGITS),
    ],
)
def test_all_take_a_folder_of_data_and_a_number_of_samples(loaded, tmp_path, options, read):
    # The real ones: digits, which have no folder, are the default of some.
    jobs = figures.prepare("all", tmp_path / "out", root=tmp_path, num_samples=9, **options)
    assert len(jobs) == len(figures.FIGURES)
    assert set(loaded) == read


@pytest.mark.parametrize(
    ("which", "options"),
    [(which, {"quick": True}) for which in ("5", "6", "6-tanh", "stopping", "all")]
    + [("stopping", {}), ("all", {"data": "digits"}), ("6", {"data": "digits", "quick": True})],
)
def test_a_folder_that_would_go_unused_is_refused(loaded, tmp_path, which, options):
    with pytest.raises(ValueError, match="root goes with other data than digits"):
        figures.prepare(which, tmp_path, root=tmp_path / "none", **options)
    assert loaded == []


def test_amounts_go_to_figure_6_and_the_start_of_theory_to_figure_5(tmp_path):
    given = {"noise": 0.5, "decay": 0.01, "seed": 3, "start_of_theory": "mean"}
    jobs = figures.prepare("all", tmp_path, quick=True, **given)
    had = {job.name: set(job.options) - {"quick"} for job in jobs}
    assert {name: options for name, options in had.items() if options} == {
        "figure5": {"start_of_theory"},
        "figure6": {"noise", "decay", "seed"},
        "figure6_tanh": {"noise", "decay", "seed"},
    }


def test_files_of_other_data_stand_beside_the_usual_ones(small, tmp_path):
    for options in ({}, {"data": "digits"}, {"data": "mnist"}):
        figures.make("own", tmp_path, **options)
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"b", "b-mnist"}
    assert json.loads((tmp_path / "b.json").read_text())["data"] == ["digits"]
    index = figures.make("all", tmp_path, data="mnist")[-1]
    assert 'src="b-mnist.png"' in index.read_text()
    assert "each caption: mnist" in index.read_text().lower()


def test_what_is_not_finite_is_null_and_still_drawn(small, tmp_path):
    _, _, path = figures.make(1, tmp_path)
    page = json.loads(path.read_text())
    assert page["numbers"] == {"x": [0.1, None, 3], "quick": False}
    (line,) = figures.draw(page).axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [0.1, np.nan, 3])


@pytest.mark.parametrize(
    ("which", "options", "message"),
    [
        ("2", {}, r"the figure must be 1, own or all; got '2'\. Name one"),
        ("", {}, "the figure must be 1, own or all; got ''"),
        (None, {}, "the figure must be 1, own or all; got None"),
        ("a", {}, "the figure must be 1, own or all; got 'a'"),
        ("1", {"data": "mnist"}, "data is for figure own, not for figure 1; got mnist. Leave it"),
        ("1", {"root": Path("x")}, "root is for .*; got x. Leave it out"),
        ("1", {"num_samples": 3}, "num_samples is for .*, not for figure 1; got 3. Leave it out"),
        ("own", {"data": "none"}, "data must be digits or mnist"),
        ("all", {"data": "none"}, "data must be digits or mnist"),
    ],
)
def test_mistakes_are_found_before_anything_is_computed(small, tmp_path, which, options, message):
    small["a"].numbers = staticmethod(lambda *, quick: pytest.fail("computed"))
    with pytest.raises(ValueError, match=message):
        figures.make(which, tmp_path / "out", **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["file", "file/below", "n" * 300, None])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_computed(small, tmp_path, out):
    (tmp_path / "file").touch()
    small["a"].numbers = staticmethod(lambda *, quick: pytest.fail("computed"))
    with pytest.raises(ValueError, match=r"out must be (a folder|text or)"):
        figures.make("1", out and tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_matplotlib_the_extra_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError, match=r"lindae_jax\[plot\]"):
        figures.make("1", tmp_path / "out")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_failure_while_writing_leaves_nothing(small, tmp_path, monkeypatch, good):
    write, written = Path.write_bytes, []

    def full(path, content):
        if len(written) == good:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        figures.make("1", tmp_path / "new" / "out")
    assert len(written) == good
    assert not any(tmp_path.iterdir())


def test_a_failure_while_drawing_leaves_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr("lindae_jax.plot.image", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        figures.make("1", tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_earlier_figures_are_replaced_and_nothing_else(small, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    (tmp_path / "a.json").write_text("old")
    figures.make("1", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert json.loads((tmp_path / "a.json").read_text())["caption"] == "3 points"
    assert len(list(tmp_path.iterdir())) == 4
