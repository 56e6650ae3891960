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
from lindae_jax.figures import gallery, sources

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
# Of all figures, those that keep to their own data where others are named: it is not they that
# repeat the paper's experiments, and with such data they take longest.
_KEEP_DATA = {"stopping"}


class Job(NamedTuple):
    """A figure to be made."""

    name: str
    """Of its module."""
    options: dict[str, Any]
    """Arguments of its `numbers`."""


def make(which: str | int, out: str | os.PathLike, **options: Any) -> tuple[Path, ...]:
    """Compute a figure, or all of them, and write picture and numbers.

    Parameters
    ----------
    which : str or int
        A key of `FIGURES`, or "all".
    out : str or path
        Folder, made if need be; earlier figures in it are replaced.
    **options
        As of `prepare`.

    Returns
    -------
    tuple of Path
        For each figure NAME.png, NAME.svg and NAME.json, of one that moves
        NAME.gif too, which are written together or not at all; NAME ends in the
        data that are named, unless they are those by default. In the JSON
        what is not finite is null. For all of them index.html at last, a page
        that shows them.

    Raises
    ------
    ValueError
        No such figure, an option that it does not have, or `out` cannot be a
        folder one can write.
    ImportError
        matplotlib is missing, or what the data need.
    FloatingPointError
        Training diverged.
    OSError
        Writing failed.
    """
    pages: list[dict[str, Any]] = []
    paths: list[Path] = []
    for job in prepare(which, out, **options):
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
    noise: float | None = None,
    decay: float | None = None,
    seed: int | None = None,
    start_of_theory: str | None = None,
    quick: bool = False,
) -> tuple[Job, ...]:
    """All that can be found wrong before anything is computed.

    Parameters
    ----------
    which, out
        As of `make`.
    data, root, num_samples : optional
        For the figures that are made from data: as of `reproduce`. Of all figures
        "stopping" keeps to the digits, and the samples are those of Figure 6, whose
        cost grows with them.
    noise, decay, seed : optional
        Of Figure 6 and its version with tanh.
    start_of_theory : {"each", "mean"}, optional
        Of Figure 5.
    quick : bool
        At lower resolution, in shorter runs, of the digits unless data are named.

    Raises
    ------
    ValueError, ImportError
        As of `make`.
    """
    given: dict[str, Any] = {"data": data, "root": root, "num_samples": num_samples}
    given |= {"noise": noise, "decay": decay, "seed": seed, "start_of_theory": start_of_theory}
    given = {name: value for name, value in given.items() if value is not None}
    modules = {name: _module(name) for name in _names(which)}
    for option, value in given.items():
        _check_option(option, value, which, modules)
    with plot.settings():
        pass
    files.check_folder(out)
    jobs = []
    for name, module in modules.items():
        options = _options(name, module, given, which, bool(quick))
        jobs.append(Job(name, {"quick": bool(quick), **options}))
    if root is not None and not any("root" in job.options for job in jobs):
        why = ", which a quick run takes" if quick and data is None else ""
        remedy = "Name the data, or leave it out."
        raise checks.mistake(f"root goes with other data than digits{why}", root, remedy)
    for job in jobs:
        if hasattr(modules[job.name], "check"):
            modules[job.name].check(**job.options)
    return tuple(jobs)


def _check_option(
    option: str, value: Any, which: str | int, modules: dict[str, ModuleType]
) -> None:
    """That a figure to be made has it."""
    if any(_takes(module, option) for module in modules.values()):
        return
    those = [key for key, name in FIGURES.items() if _takes(_module(name), option)]
    what = "the figures" if which == "all" else f"figure {which}"
    listed = " and ".join(filter(None, [", ".join(those[:-1]), those[-1]]))
    figures = "figures" if len(those) > 1 else "figure"
    raise checks.mistake(
        f"{option} is for {figures} {listed}, not for {what}", value, "Leave it out."
    )


def _takes(module: ModuleType, option: str) -> bool:
    return option in inspect.signature(module.numbers).parameters


def _options(
    name: str, module: ModuleType, given: dict[str, Any], which: str | int, quick: bool
) -> dict[str, Any]:
    """Those given that are for a figure."""
    options = {key: value for key, value in given.items() if _takes(module, key)}
    if which == "all" and name not in _BY_SAMPLES:
        options.pop("num_samples", None)
    if which == "all" and name in _KEEP_DATA:
        options.pop("data", None)
    if "root" in options and _data(module, options, quick) == sources.DIGITS:
        # They have no folder; whether another figure has a use for it is seen at the end.
        del options["root"]
    return options


def _data(module: ModuleType, options: dict[str, Any], quick: bool) -> tuple[str, ...]:
    """Data sets that a figure will be made from."""
    return tuple(map(str, sources.names(module.DATA, options.get("data"), quick)))


def compute(job: Job) -> dict[str, Any]:
    """A figure in numbers and words, as its JSON holds it.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        name (of the module), file (name without ending), title, caption, settings,
        data, numbers, versions, device, seconds; of plain values only.
    """
    module = _module(job.name)
    begin = time.perf_counter()
    numbers = module.numbers(**job.options)
    seconds = time.perf_counter() - begin
    arguments = inspect.signature(module.numbers).bind(**job.options)
    arguments.apply_defaults()
    page = {
        "name": job.name,
        "file": job.name + _suffix(module, job.options),
        "title": module.TITLE,
        "caption": module.caption(numbers),
        "settings": {**arguments.arguments, "dtype": jnp.result_type(float).name},
        "data": sources.used(numbers),
        "numbers": numbers,
        "versions": record.versions("jax", "jaxlib", "numpy", "matplotlib"),
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
    named = {f"{page['file']}.{kind}": data for kind, data in {**content, **moving}.items()}
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


def _suffix(module: ModuleType, options: dict[str, Any]) -> str:
    """Of the names of its files."""
    if options.get("data") is None:
        return ""
    return sources.suffix(module.DATA, options["data"], options.get("quick", False))


def _moves(module: ModuleType) -> bool:
    return hasattr(module, "animate")
