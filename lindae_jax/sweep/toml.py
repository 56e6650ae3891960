"""A sweep written as a TOML file."""

import contextlib
import dataclasses
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lindae_jax import checks, data
from lindae_jax.problem import Weights
from lindae_jax.spectrum import Spectrum
from lindae_jax.sweep.parameters import count, flag
from lindae_jax.sweep.spec import Sweep

# Ways to write a list of values: name -> how many numbers it takes.
_LISTS = {"linspace": (3, 3), "geomspace": (3, 3), "range": (1, 3)}

# More values would be a slip of the hand, and fill the memory before anybody sees it.
_MOST = 10**8

# What NumPy raises for files that are none of its own, or damaged.
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)

_SPECTRUM = ("data", "root", "num_samples", "split", "center", "file")


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    ValueError
        No such file, or not TOML.
    """
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise checks.mistake(
            "the sweep must be a file one can read", f"{path} ({error.strerror})", "Name one."
        ) from error
    except (ValueError, RecursionError) as error:
        raise checks.mistake(
            "the sweep must be written in TOML", f"{error}", "See docs/examples."
        ) from error


def sweep_of(tables: Mapping[str, Any], folder: Path) -> Sweep:
    """The sweep that tables describe.

    Keys are the arguments of `Sweep`. A list of values may be written as
    `{ linspace = [first, last, number] }`, `{ geomspace = [first, last, number] }` or
    `{ range = [start, stop, step] }`, as NumPy means them. `spectrum` is a table, with
    `data` and the arguments of `lindae_jax.data.load` (and `center`) or with `file`, what
    `Spectrum.save` wrote; `weights` is the path of an .npz file with w1 and w2.

    Parameters
    ----------
    tables : mapping
        As `read` gives them.
    folder : Path
        From which paths are meant.

    Raises
    ------
    ValueError
        An unknown key, a wrong type or value, named by its dotted key; data that cannot be had.
    """
    fields = {f.name for f in dataclasses.fields(Sweep)} - {"_"}
    for key in tables:
        if key not in fields:
            raise _unknown(key, "a sweep", sorted(fields))
    given = dict(tables)
    for key in _table("axes", tables):
        if key in fields:
            raise checks.mistake(
                f"axes.{key} must be a parameter",
                "a setting of the sweep",
                "Write it above [axes].",
            )
    given["axes"] = {
        name: _expanded(f"axes.{name}", value) for name, value in _table("axes", tables).items()
    }
    if "linked" in tables:
        given["linked"] = _table("linked", tables)
    for key in ("times", "save_steps", "directions"):
        if key in tables:
            given[key] = _expanded(key, tables[key])
    if "spectrum" in tables:
        given["spectrum"] = _spectrum(_table("spectrum", tables), folder)
    if "weights" in tables:
        given["weights"] = _weights(_path("weights", tables["weights"], folder))
    return Sweep(**given)


def _table(key: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    value = tables.get(key, {})
    if not isinstance(value, dict):
        raise checks.mistake(f"{key} must be a table", checks.brief(value), f"Write [{key}].")
    return value


def _expanded(key: str, value: Any) -> Any:
    """A list of values, however it was written."""
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or not set(value) <= set(_LISTS):
        raise checks.mistake(
            f"{key} must have one of {', '.join(_LISTS)}",
            ", ".join(value) or "an empty table",
            "Write { linspace = [0, 1, 11] }, or a list.",
        )
    ((name, numbers),) = value.items()
    least, most = _LISTS[name]
    whole = name == "range"
    kinds = (int,) if whole else (int, float)
    listed = isinstance(numbers, list) and least <= len(numbers) <= most
    if not listed or any(isinstance(x, bool) or not isinstance(x, kinds) for x in numbers):
        what = "one to three integers" if whole else "first, last and number of values"
        example = "[0, 10]" if whole else "[0.1, 1, 10]"
        raise checks.mistake(
            f"{key}.{name} must be {what}",
            checks.brief(numbers),
            f"Write {{ {name} = {example} }}.",
        )
    try:
        size = len(range(*numbers)) if whole else int(numbers[2])
        if size > _MOST:
            raise OverflowError(f"{size:,} of them, at most {_MOST:,} can be")
        with np.errstate(all="ignore"):
            return np.arange(*numbers) if whole else getattr(np, name)(*numbers)
    except (ValueError, TypeError, OverflowError, MemoryError, ZeroDivisionError) as error:
        raise checks.mistake(
            f"{key}.{name} must give values",
            f"{checks.brief(numbers)} ({error})",
            f"See numpy.{'arange' if whole else name}.",
        ) from error


def _spectrum(table: dict[str, Any], folder: Path) -> Spectrum:
    for key in table:
        if key not in _SPECTRUM:
            raise _unknown(f"spectrum.{key}", "spectrum", _SPECTRUM)
    if ("file" in table) == ("data" in table) or ("file" in table and len(table) > 1):
        raise checks.mistake(
            "spectrum must have data, with what goes with it, or file",
            ", ".join(table) or "an empty table",
            'Write data = "digits".',
        )
    if "file" in table:
        path = _path("spectrum.file", table["file"], folder)
        with _within("spectrum.file"):
            return Spectrum.load(path)
    center = flag("spectrum.center", table.get("center", False))
    if "num_samples" in table:
        count("spectrum.num_samples", table["num_samples"], 1)
    options = {k: v for k, v in table.items() if k in ("num_samples", "split")}
    if "root" in table:
        options["root"] = _path("spectrum.root", table["root"], folder)
    name = table["data"]
    if isinstance(name, str) and name.endswith((".npy", ".npz")) and "root" not in table:
        name = _path("spectrum.data", name, folder)
    with _within("spectrum"):
        return Spectrum.from_data(data.load(name, **options), center=center)


@contextlib.contextmanager
def _within(key: str) -> Iterator[None]:
    """Say of a mistake under which key it was made."""
    try:
        yield
    except ValueError as error:
        dotted = str(error).partition(" ")[0] in _SPECTRUM
        raise ValueError(f"{key}{'.' if dotted else ': '}{error}") from error


def _weights(path: Path) -> Weights:
    try:
        # NumPy does not close what it opened and cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return Weights(arrays["w1"], arrays["w2"])
    except (*_UNREADABLE, KeyError, TypeError, AttributeError) as error:
        raise checks.mistake(
            "weights must be an .npz file with w1 and w2",
            f"{path}" + ("" if path.is_file() else ", which is no file"),
            "Write it with numpy.savez(path, w1=w1, w2=w2).",
        ) from error


def _path(key: str, value: Any, folder: Path) -> Path:
    if not isinstance(value, str):
        raise checks.mistake(f"{key} must be a path", checks.brief(value), "Write it in quotes.")
    return folder / Path(value).expanduser()


def _unknown(key: str, table: str, known: Sequence[str]) -> ValueError:
    return checks.mistake(
        f"{key} must be a key that {table} has", "another", f"Those are {', '.join(known)}."
    )
