"""Coordinates of a store that were damaged: found, and written anew from the sweep."""

from pathlib import Path
from typing import Any

import numpy as np

from lindae_jax.sweep import config, lock, store
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import coordinates, row_dim


def mend(path: Path, sweep: Sweep) -> None:
    """Make the coordinates of a store those of its sweep, where a file is lost or damaged.

    Parameters
    ----------
    path : Path
    sweep : Sweep
        The one that the store was made by or extended to; with another nothing is written.

    Raises
    ------
    store.Refused
        A damaged one can be told from this sweep alone.
    """
    state, group = store.read_state(path), store.open_group(path)
    if not config.same(sweep, state["sweep"]):
        for name in (row_dim(sweep), "end", *sweep.axes):
            if name in group:
                store.coordinate(path, group, name)
        return
    wanted = _wanted(path, sweep, group, state)
    bad = [name for name, values in wanted.items() if not _is_there(group, name, values)]
    if bad:
        with lock.gate(path / "status" / ".locks"):
            for name in bad:
                store.array_of(group, name)[...] = wanted[name]


def _wanted(path: Path, sweep: Sweep, group: Any, state: dict[str, Any]) -> dict[str, np.ndarray]:
    """What all coordinates should be."""
    dim, found = row_dim(sweep), {name: c.values for name, c in coordinates(sweep).items()}
    # A store that was extended may have more rows than its sweep asks for.
    right = group.attrs["configuration_hash"]
    for rows in (sweep.rows, store.values_of(group, dim)):
        if rows is not None and config.hash_of(config.configuration(sweep, rows)) == right:
            found[dim] = rows
            break
    else:
        raise store.damaged(path, dim)
    if "end" in found:
        found["end"] = np.array([found[dim][last - 1] for _, last, _ in state["runs"]], np.int64)
    return found


def _is_there(group: Any, name: str, values: np.ndarray) -> bool:
    got = store.values_of(group, name)
    return got is not None and np.array_equal(got, values)
