"""The page of figures: well-formed, complete, nothing from elsewhere, nothing unescaped."""

import importlib
import re
from html.parser import HTMLParser

import pytest

from lindae_jax import figures
from lindae_jax.figures import gallery

VOID = {"img", "link", "meta", "source"}


class Reader(HTMLParser):
    """Tags that close in order, what they point at, text by tag."""

    def __init__(self, page):
        super().__init__()
        self.open, self.targets, self.names, self.tags, self.text = [], [], [], [], {}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("href", "src", "srcset"):
                self.targets.append(value)
            if name == "id":
                self.names.append(value)
            assert not name.startswith("on")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data)


def shown(name="figure1", moves=False, quick=False, **others):
    page = {
        "name": name,
        "file": name,
        "data": [],
        "title": f"Title of {name}",
        "caption": f"All about {name}.",
        "settings": {"quick": quick, "dtype": "float32"},
        "versions": {"lindae_jax": "1.2.3", "jax": "4.5", "numpy": "6.7"},
        "device": "cpu: cpu",
        **others,
    }
    return gallery.Shown(page, f"See {name}.", moves)


def test_each_figure_has_its_words_picture_and_files():
    page = Reader(gallery.text([shown("a"), shown("b")]))
    assert page.names == ["a", "b"]
    assert page.text["h2"] == ["Title of a", "Title of b"]
    for name in "ab":
        assert {f"See {name}.", f"All about {name}."} <= set(page.text["p"])
        assert {f"#{name}", f"{name}.png", f"{name}.svg", f"{name}.json"} <= set(page.targets)
    made = "Made with lindae_jax 1.2.3, JAX 4.5 and NumPy 6.7 in float32 on cpu: cpu."
    assert page.text["p"][-1] == made


def test_what_moves_is_shown_moving_but_not_to_those_who_mind():
    page = Reader(gallery.text([shown("a", moves=True)]))
    images = [target for target in page.targets if target in ("a.gif", "a.png")]
    assert images == ["a.png", "a.gif", "a.png", "a.gif"]  # shown, then linked
    text = gallery.text([shown("a", moves=True)])
    assert '<source media="(prefers-reduced-motion: reduce)" srcset="a.png">' in text
    assert ".gif" not in gallery.text([shown("a")])


def test_nothing_comes_from_elsewhere_and_nothing_runs():
    text = gallery.text([shown("a"), shown("b", moves=True)])
    page = Reader(text)
    assert "//" not in text
    assert not re.search(r"@import|url\(|javascript", text)
    assert "script" not in page.tags
    assert all(re.fullmatch(r"#?\w+(\.\w+)?", target) for target in page.targets)


def test_text_is_escaped():
    nasty = "a < b & c > \"d\" 'e' </p><script>x</script>"
    text = gallery.text([shown(title=nasty, caption=nasty, device=nasty)])
    page = Reader(text)
    assert "script" not in page.tags
    assert page.text["h2"] == [nasty]
    assert nasty in page.text["p"]
    assert page.text["p"][-1].endswith(f"on {nasty}.")
    (image,) = re.findall(r'alt="([^"]*)"', text)
    assert "<" not in image


def test_a_quick_run_says_that_it_is_one():
    assert "quick run" in gallery.text([shown(quick=True)])
    assert "quick" not in gallery.text([shown()])


@pytest.mark.parametrize("quick", [True, False])
def test_the_data_named_are_those_of_the_figures(quick):
    pages = [shown("a", quick=quick), shown("b", quick=quick, data=["mnist", "cifar10"])]
    pages.append(shown("c", quick=quick, data=["/home/me/<own>.npy", "mnist"]))
    text = gallery.text(pages)
    assert "The data, named in each caption: MNIST, CIFAR-10, &lt;own&gt;.npy. " in text
    assert "digits" not in text
    assert "The data" not in gallery.text(pages[:1])


def test_files_may_be_named_after_their_data():
    page = Reader(gallery.text([shown("figure6", file="figure6-cifar10")]))
    kinds = {f"figure6-cifar10.{kind}" for kind in ("png", "svg", "json")}
    assert kinds <= set(page.targets)


@pytest.mark.parametrize("name", figures.FIGURES.values())
def test_each_figure_says_what_to_see_in_one_sentence(name):
    see = importlib.import_module(f"lindae_jax.figures.{name}").SEE
    assert 40 < len(see) < 240
    assert see[0].isupper()
    assert see.endswith(".")
    assert ". " not in see
