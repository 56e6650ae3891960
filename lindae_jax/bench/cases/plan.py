"""A case before its arrays are made."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from lindae_jax.bench.timing import Absent, Case, Contender, Variant

LIBRARY = "lindae_jax"


class Plan(NamedTuple):
    """A case not built yet: its arrays can be large."""

    name: str
    title: str
    build: Callable[[], Case]


def contenders(
    ways: dict[str, Callable[[], list[Variant]]], role: Literal["ceiling", "rival"] = "rival"
) -> tuple[list[Contender], dict[str, str]]:
    """Those that can run here, and in a word why the others cannot."""
    found, absent = [], {}
    for name, variants in ways.items():
        try:
            found.append(Contender(name, role, variants()))
        except ImportError as error:
            absent[name] = f"not installed ({error})"
        except Absent as error:
            absent[name] = str(error)
        except OSError as error:  # of a library that cannot be loaded
            absent[name] = f"failed: {error}"[:200]
    return found, absent
