"""Which data a figure is made from: those named, else in a quick run the digits."""

import pytest

from lindae_jax import figures
from lindae_jax.figures import run, sources

TWO = ("mnist", "cifar10")


def test_data_that_are_named_are_taken_and_a_quick_run_has_the_digits():
    assert sources.names(TWO, None, quick=False) == TWO
    assert sources.names(TWO, None, quick=True) == ("digits",)
    for quick in (True, False):
        assert sources.names(TWO, "own.npy", quick) == ("own.npy",)


@pytest.mark.parametrize(
    ("usual", "data", "quick", "suffix"),
    [
        (("mnist",), None, False, ""),
        (("mnist",), None, True, ""),
        (("mnist",), "mnist", False, ""),
        (("mnist",), "digits", True, ""),
        (("mnist",), "mnist", True, "-mnist"),
        (("mnist",), "digits", False, "-digits"),
        (("mnist",), "cifar10", False, "-cifar10"),
        (TWO, "mnist", False, "-mnist"),
        (TWO, "a/b/own.data.npz", False, "-own-data"),
        (TWO, 'a "b" <c>#?.npy', False, "-a-b-c-"),
    ],
)
def test_files_are_named_after_data_that_are_not_the_usual(usual, data, quick, suffix):
    assert sources.suffix(usual, data, quick) == suffix


def test_titles_are_those_of_the_paper_or_file_names():
    assert list(map(sources.title, ("mnist", "cifar10", "digits", "a/own.npy"))) == [
        *("MNIST", "CIFAR-10", "digits", "own.npy"),
    ]


def test_figures_that_take_data_say_which_they_have_by_default():
    for name in figures.FIGURES.values():
        module = run._module(name)
        assert run._takes(module, "data") == hasattr(module, "DATA")
