"""From a figure's name to its picture and numbers on disk."""

import importlib
import inspect
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax import checks, files, plot, record
from lindae_jax.figures import gallery

# What the command line calls it -> the module here, which names its files too.
FIGURES = {
    "1": "figure1",
    "2": "figure2",
    "3": "figure3",
    "4": "figure4",
    "5": "figure5",
    "6": "figure6",
    "6-tanh": "figure6_tanh",
    "sampled": "sampled",
    "stopping": "stopping",
    "animation": "animation",
}


# Of all figures, those that take fewer samples where that is asked for: their cost grows
# with the samples, and that of no other does.
_BY_SAMPLES = {"figure6", "figure6_tanh"}


class Job(NamedTuple):
    """A figure to be made."""

    name: str
    """Of its module and files."""
    options: dict[str, Any]
    """Arguments of its `numbers`."""


def make(
    which: str | int,
    out: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    num_samples: int | None = None,
    quick: bool = False,
) -> tuple[Path, ...]:
    """Compute a figure, or all of them, and write picture and numbers.

    Parameters
    ----------
    which : str or int
        A key of `FIGURES`, or "all".
    out : str or path
        Folder, made if need be; earlier figures in it are replaced.
    data, root, num_samples : optional
        For the figures that are made from data: as of `reproduce`. The samples of all figures
        are those of Figure 6, whose cost grows with them.
    quick : bool
        At lower resolution, in shorter runs, where no data are named on smaller ones.

    Returns
    -------
    tuple of Path
        For each figure NAME.png, NAME.svg and NAME.json, of one that moves
        NAME.gif too, which are written together or not at all. In the JSON
        what is not finite is null. For all of them index.html at last, a page
        that shows them.

    Raises
    ------
    ValueError
        No such figure, an option that it does not have, or `out` cannot be a
        folder one can write.
    ImportError
        matplotlib is missing, or what the data need.
    OSError
        Writing failed.
    """
    jobs = prepare(which, out, data=data, root=root, num_samples=num_samples, quick=quick)
    pages: list[dict[str, Any]] = []
    paths: list[Path] = []
    for job in jobs:
        pages.append(compute(job))
        paths.extend(save(pages[-1], out))
    if which == "all":
        paths.extend(save_gallery(pages, out))
    return tuple(paths)


def prepare(
    which: str | int,
    out: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    root: str | os.PathLike | None = None,
    num_samples: int | None = None,
    quick: bool = False,
) -> tuple[Job, ...]:
    """All that can be found wrong before anything is computed.

    Parameters
    ----------
    which, out, data, root, num_samples, quick
        As of `make`.

    Raises
    ------
    ValueError, ImportError
        As of `make`.
    """
    given = {"data": data, "root": root, "num_samples": num_samples}
    given = {name: value for name, value in given.items() if value is not None}
    modules = {name: _module(name) for name in _names(which)}
    taken = {name: inspect.signature(module.numbers).parameters for name, module in modules.items()}
    for option, value in given.items():
        if not any(option in parameters for parameters in taken.values()):
            what = "the figures" if which == "all" else f"figure {which}"
            raise checks.mistake(
                f"{option} is for figures made from data, not for {what}", value, "Leave it out."
            )
    with plot.settings():
        pass
    files.check_folder(out)
    jobs = []
    for name, module in modules.items():
        options = {key: value for key, value in given.items() if key in taken[name]}
        if which == "all" and name not in _BY_SAMPLES:
            options.pop("num_samples", None)
        jobs.append(Job(name, {"quick": bool(quick), **options}))
        if hasattr(module, "check"):
            module.check(**jobs[-1].options)
    return tuple(jobs)


def compute(job: Job) -> dict[str, Any]:
    """A figure in numbers and words, as its JSON holds it.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        name, title, caption, settings, numbers, versions, device, seconds; of
        plain values only.
    """
    module = _module(job.name)
    begin = time.perf_counter()
    numbers = module.numbers(**job.options)
    seconds = time.perf_counter() - begin
    arguments = inspect.signature(module.numbers).bind(**job.options)
    arguments.apply_defaults()
    page = {
        "name": job.name,
        "title": module.TITLE,
        "caption": module.caption(numbers),
        "settings": {**arguments.arguments, "dtype": jnp.result_type(float).name},
        "numbers": numbers,
        "versions": record.versions(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "seconds": {"numbers": seconds},
    }
    return record.plain(page)


def draw(page: dict[str, Any]) -> Any:
    """A figure from its numbers alone, just computed or read back from its JSON.

    Parameters
    ----------
    page : dict
        As of `compute`.

    Returns
    -------
    matplotlib.figure.Figure
        Best made and written under `plot.settings()`.

    Raises
    ------
    ImportError
        matplotlib is missing.
    """
    return _module(page["name"]).draw(record.arrays(page["numbers"]))


def save(page: dict[str, Any], out: str | os.PathLike) -> tuple[Path, ...]:
    """Draw a figure, write it with its numbers, together or not at all.

    Parameters
    ----------
    page : dict
        As of `compute`.
    out : str or path
        As of `make`.

    Returns
    -------
    tuple of Path
        The picture as PNG and SVG, the JSON, and the GIF of a figure that moves.

    Raises
    ------
    ValueError, ImportError, OSError
        As of `make`; then nothing is left behind.
    """
    begin = time.perf_counter()
    module, numbers = _module(page["name"]), record.arrays(page["numbers"])
    with plot.settings():
        figure = module.draw(numbers)
        content = {kind: plot.image(figure, kind) for kind in ("png", "svg")}
        moving = {"gif": module.animate(numbers)} if _moves(module) else {}
    seconds = {**page["seconds"], "picture": time.perf_counter() - begin}
    content["json"] = json.dumps({**page, "seconds": seconds}, allow_nan=False).encode()
    named = {f"{page['name']}.{kind}": data for kind, data in {**content, **moving}.items()}
    return files.write(checks.path("out", out), named)


def save_gallery(pages: Sequence[dict[str, Any]], out: str | os.PathLike) -> tuple[Path, ...]:
    """Write a page that shows figures, beside them.

    Parameters
    ----------
    pages : sequence of dict
        As of `compute`, of figures that `save` has written to `out`.
    out : str or path
        As of `make`.

    Returns
    -------
    tuple of Path
        index.html alone.

    Raises
    ------
    ValueError, OSError
        As of `make`.
    """
    modules = [_module(page["name"]) for page in pages]
    shown = [
        gallery.Shown(page, module.SEE, _moves(module))
        for page, module in zip(pages, modules, strict=True)
    ]
    return files.write(checks.path("out", out), {"index.html": gallery.text(shown).encode()})


def _names(which: str | int) -> tuple[str, ...]:
    if which == "all":
        return tuple(FIGURES.values())
    if str(which) not in FIGURES:
        known = f"{', '.join(FIGURES)} or all"
        raise checks.mistake(f"the figure must be {known}", repr(which), "Name one of them.")
    return (FIGURES[str(which)],)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"lindae_jax.figures.{name}")


def _moves(module: ModuleType) -> bool:
    return hasattr(module, "animate")
