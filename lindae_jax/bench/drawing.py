"""Cost of a pair-step against the number of pairs, drawn."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lindae_jax import checks, files, plot
from lindae_jax.bench.report import kernel_of, library_of, of, rate

# The names of rivals stand so much to the left of their crosses, tied to them, and so much of
# the height apart.
_LABELLED = 2.5
_GAP = 0.042
_TIE: dict[str, Any] = {"color": "0.7", "linewidth": 0.6, "zorder": 0}

# Files are first written under longer names.
_LONGEST_NAME = 200


def draw(report: dict[str, Any]) -> Any:
    """Both axes logarithmic: float32 at the left, float64 at the right.

    Parameters
    ----------
    report : dict
        What `run` returns, with pairs among its cases.

    Returns
    -------
    matplotlib.figure.Figure
        Best made and written under `plot.settings()`.

    Raises
    ------
    ImportError
        matplotlib is missing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.75, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    shown = {
        dtype: [c for c in report["cases"] if c.get("size") and c["dtype"] == dtype]
        for dtype in ("float32", "float64")
    }
    costs = [_cost(x) for cases in shown.values() for c in cases for x in c["contenders"]]
    for ax, (dtype, cases) in zip(panels, shown.items(), strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(min(costs) / 2, 2 * max(costs))
        ax.set_title(dtype)
        ax.set_xlabel("pairs")
        highest = _curves(ax, cases)
        for case in cases:
            _rivals(ax, case, highest)
    panels[0].set_ylabel("nanoseconds per pair-step")
    styles = {"lindae_jax": plot.BLUE, "C kernel, the ceiling": plot.GREEN}
    plot.legend(figure, styles, "crosses: rivals, each at its best; lower is faster")
    return figure


def _cost(contender: dict[str, Any]) -> float:
    return 1e9 / rate(contender)


def _curves(ax: Any, cases: list[dict[str, Any]]) -> float:
    """The library and its ceiling; returns the highest cost of either."""
    curves = {
        plot.BLUE: [(c["size"], library_of(c)) for c in cases],
        plot.GREEN: [(c["size"], x) for c in cases if (x := kernel_of(c)) is not None],
    }
    for style, points in curves.items():
        sizes, costs = [size for size, _ in points], [_cost(x) for _, x in points]
        look = {"color": style.colour, "linestyle": style.dashes, "linewidth": 1.3}
        ax.plot(sizes, costs, marker="o", markersize=3, **look)
    return max((_cost(x) for points in curves.values() for _, x in points), default=np.nan)


def _rivals(ax: Any, case: dict[str, Any], highest: float) -> None:
    """Crosses, their names beside them, apart from each other and above the curves."""
    rivals = of(case, "rival")
    costs = np.array([_cost(rival) for rival in rivals])
    low, high = np.log(ax.get_ylim())
    floor = (np.log(highest) - low) / (high - low) + _GAP
    places = plot.apart((np.log(costs) - low) / (high - low), _GAP, (floor, np.inf))
    for rival, cost, place in zip(rivals, costs, places, strict=True):
        ax.plot(case["size"], cost, color=plot.ORANGE.colour, marker="x", markersize=4.5)
        label = case["size"] / _LABELLED, np.exp(low + place * (high - low))
        ax.plot([case["size"], label[0]], [cost, label[1]], **_TIE)
        ax.text(*label, rival["name"], ha="right", va="center", fontsize=6.5)


def check_json(json: str | os.PathLike) -> None:
    """Try whether results can be drawn and written beside a JSON file; leaves no trace.

    Parameters
    ----------
    json : str or path

    Raises
    ------
    ValueError
        `json` is not a path, is something else than a file, has a picture's
        ending or a very long name; its folder cannot be made or written; the
        disk is full.
    ImportError
        matplotlib is missing.
    """
    path = checks.path("json", json)
    what, remedy = "json must be the path of a file", "Name another, as in results.json."
    if not path.name or len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise checks.mistake(what, str(json)[:60], remedy)
    # A device would be replaced, for files are renamed into their places.
    for place in (path, path.with_suffix(".png"), path.with_suffix(".svg")):
        if os.path.lexists(place) and not place.is_file():
            raise checks.mistake(what, f"{json}, where {place.name} is none", remedy)
    if path.suffix in (".png", ".svg"):
        raise checks.mistake("json must leave .png and .svg to the plot", str(json), remedy)
    with plot.settings():
        pass
    try:
        files.check_folder(path.parent)
    except ValueError as error:
        reason = str(error).removeprefix("out").replace("must be a", "must lie in a", 1)
        raise ValueError(f"json{reason}") from error


def save(report: dict[str, Any], json_file: str | os.PathLike) -> tuple[Path, ...]:
    """Write all numbers, with the plot beside them where pairs were measured.

    Parameters
    ----------
    report : dict
        What `run` returns.
    json_file : str or path
        The plot takes its name, with other endings.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    ValueError
        `json_file` is not a path, or cannot be written.
    ImportError
        matplotlib is missing.
    OSError
        Writing failed; then nothing is left behind.
    """
    check_json(json_file)
    path = Path(json_file)
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    return files.write(path.parent, {path.name: text.encode(), **pictures(report, path.stem)})


def pictures(
    report: dict[str, Any], stem: str, kinds: Sequence[Literal["svg", "png"]] = ("svg", "png")
) -> dict[str, bytes]:
    """The plot as files by name; none where no pairs were measured.

    Parameters
    ----------
    report : dict
        What `run` returns.
    stem : str
        Of the files' names.
    kinds : sequence of str
        "svg", "png".

    Returns
    -------
    dict of str to bytes
        Content by name.

    Raises
    ------
    ImportError
        matplotlib is missing.
    """
    if not any(case.get("size") for case in report["cases"]):
        return {}
    with plot.settings():
        figure = draw(report)
        return {f"{stem}.{kind}": plot.image(figure, kind) for kind in kinds}
