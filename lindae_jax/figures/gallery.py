"""The page that shows figures in a browser."""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from lindae_jax.figures import sources

# What stands before the figures. Without scripts and without anything from elsewhere:
# the page works from a folder that was copied or sent.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>How linear autoencoders learn: figures</title>
<style>
:root { --text: #1a1a1a; --page: #fdfdfc; --faint: #595959; --line: #d8d8d8; --link: #00568a; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e6; --page: #17181a; --faint: #a8a8a8; --line: #3c3e42; --link: #7cc4f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 48rem; padding: 1rem; color: var(--text);
  background: var(--page); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .5rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1.25rem; }
/* On a phone a picture keeps a size at which its text can be read, and can be pushed sideways. */
.picture { overflow-x: auto; }
img { display: block; width: 100%; min-width: 32rem; height: auto; background: white; }
p { margin: .75rem 0; }
a { color: var(--link); }
nav li { margin: .25rem 0; }
.files a { margin-right: .75rem; }
details, footer, .files { color: var(--faint); font-size: .9rem; }
summary { cursor: pointer; padding: .25rem 0; }
</style>
</head>
<body>
"""


class Shown(NamedTuple):
    """A figure on the page."""

    page: dict[str, Any]
    """As of `figures.compute`."""
    see: str
    """One sentence on what to see."""
    moves: bool = False
    """Whether there is a GIF, to be shown in place of the PNG."""


def text(figures: Sequence[Shown]) -> str:
    """The page, which looks for the figures' files beside itself.

    Parameters
    ----------
    figures : sequence of Shown
        One or more.

    Returns
    -------
    str
        HTML.
    """
    page = figures[0].page
    versions = page["versions"]
    made = (
        f"Made with lindae_jax {versions['lindae_jax']}, JAX {versions['jax']} and NumPy "
        f"{versions['numpy']} in {page['settings']['dtype']} on {page['device']}."
    )
    hint = "Made by a quick run, coarser and shorter. " * page["settings"]["quick"]
    hint += _data([name for shown in figures for name in shown.page["data"]])
    links = "\n".join(
        f'<li><a href="#{_name(shown)}">{html.escape(shown.page["title"])}</a></li>'
        for shown in figures
    )
    return (
        f"{_HEAD}<h1>How linear autoencoders learn, with noise and with weight decay</h1>\n"
        f"<p>{html.escape(hint)}A picture leads to its SVG, which can be enlarged; the JSON holds "
        f"every number drawn.</p>\n"
        f"<nav>\n<ul>\n{links}\n</ul>\n</nav>\n<main>\n"
        + "".join(map(_section, figures))
        + f"</main>\n<footer>\n<p>{html.escape(made)}</p>\n</footer>\n</body>\n</html>\n"
    )


def _data(names: Sequence[str]) -> str:
    """What the figures made from data are made from."""
    if not names:
        return ""
    listed = ", ".join(dict.fromkeys(map(sources.title, names)))
    return f"The data, named in each caption: {listed}. "


def _section(shown: Shown) -> str:
    name, title = _name(shown), html.escape(shown.page["title"])
    return f"""<section id="{name}">
<h2>{title}</h2>
<div class="picture"><a href="{name}.svg">{_picture(name, title, shown.moves)}</a></div>
<p>{html.escape(shown.see)}</p>
<details>
<summary>Caption</summary>
<p>{html.escape(shown.page["caption"])}</p>
</details>
<p class="files">{_links(name, shown.moves)}</p>
</section>
"""


def _links(name: str, moves: bool) -> str:
    """To all files; the GIF is there for those to whom it is not shown as well."""
    kinds = ("PNG", "SVG", *["GIF"] * moves, "JSON")
    return " ".join(f'<a href="{name}.{kind.lower()}">{kind}</a>' for kind in kinds)


def _picture(name: str, title: str, moves: bool) -> str:
    kind = "gif" if moves else "png"
    image = f'<img src="{name}.{kind}" alt="{title}" loading="lazy">'
    if not moves:
        return image
    # For those who have asked their system to keep things still.
    still = f'<source media="(prefers-reduced-motion: reduce)" srcset="{name}.png">'
    return f"<picture>{still}{image}</picture>"


def _name(shown: Shown) -> str:
    return html.escape(shown.page["file"])
