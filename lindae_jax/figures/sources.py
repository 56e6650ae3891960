"""Which data a figure is made from."""

import os
import re
from pathlib import Path
from typing import Any

DIGITS = ("digits",)
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def names(
    usual: tuple[str, ...], data: str | os.PathLike | None, quick: bool
) -> tuple[str | os.PathLike, ...]:
    """Data sets by the one rule of all figures: those named, else in a quick run the digits.

    Parameters
    ----------
    usual : tuple of str
        The figure's own, where neither holds.
    data : str or path, optional
        The one named.
    quick : bool
    """
    if data is not None:
        return (data,)
    return DIGITS if quick else usual


def suffix(usual: tuple[str, ...], data: str | os.PathLike | None, quick: bool) -> str:
    """What the names of a figure's files end in: data that are not those by default.

    Parameters
    ----------
    usual, data, quick
        As of `names`.
    """
    if data is None or (str(data),) == names(usual, None, quick):
        return ""
    # As part of a link, too.
    return "-" + re.sub(r"[^\w-]+", "-", Path(data).stem)


def used(numbers: dict[str, Any]) -> list[str]:
    """Names of the data sets that a figure was made from, none where it needs none.

    Parameters
    ----------
    numbers : dict
        Of the figure.
    """
    found = numbers.get("data", [])
    return [found] if isinstance(found, str) else [one["settings"]["data"] for one in found]


def title(name: str) -> str:
    """A data set in words; of a file its name without the folder.

    Parameters
    ----------
    name : str
    """
    return _TITLES.get(name, os.path.basename(name))
