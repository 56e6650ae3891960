"""More values on a finished sweep's axes, or more steps of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lindae_jax import checks
from lindae_jax.sweep import config, store
from lindae_jax.sweep.durable import remove_partial
from lindae_jax.sweep.lock import Busy
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import row_dim, sizes, variables


def extend(path: Path, sweep: Sweep, at_work: Callable[[], Sequence[str]] = tuple) -> bool:
    """Make room in a store for a sweep that goes beyond it.

    The group's file is written last: until then the store is that of the smaller sweep,
    and after a kill all this is done again.

    Parameters
    ----------
    path : Path
    sweep : Sweep
    at_work : function
        Gives the shares that other processes hold, whose chunks have other numbers in a
        larger grid.

    Returns
    -------
    bool
        False if the store is this sweep's already.

    Raises
    ------
    store.Refused
        The sweep is not one that the store can be extended to.
    lock.Busy
        It is, but others are at work on the store.
    """
    rows = rows_of(path, sweep)
    if rows is None:
        return False
    state, group = store.read_state(path), store.open_group(path)
    runs = _grown_runs(sweep, group, state["runs"], rows)
    if holders := at_work():
        listed = ", ".join(holders)
        raise Busy(f"share {listed} of this store is at work, so it cannot grow. Wait for it.")
    for name in ("", *variables(sweep), *sweep.axes):
        remove_partial(path / name / "zarr.json")
    _resize(sweep, group, rows, runs)
    for name, values in _coordinates(sweep, rows, runs).items():
        array = store.array_of(group, name)
        array.resize(values.shape)
        array[...] = values
    store.commit(path, sweep, rows, state["chunk"], runs)
    return True


def rows_of(path: Path, sweep: Sweep) -> np.ndarray | None:
    """The rows of a store once it is extended to a sweep; None if it is that one's already.

    Raises
    ------
    store.Refused
        The sweep is not one that the store can be extended to.
    """
    remembered = store.read_state(path)["sweep"]
    if config.same(sweep, remembered):
        return None
    group = store.open_group(path)
    _refuse_other(sweep, group, remembered)
    before = store.coordinate(path, group, row_dim(sweep))
    return _extended_rows(sweep, before, remembered)


def rows_and_runs(path: Path, sweep: Sweep) -> tuple[np.ndarray, list[list[int]]]:
    """Rows and runs of a store of a sweep, once it is extended to it where need be.

    Raises
    ------
    store.Refused
        The sweep is not one that the store can be extended to.
    """
    rows, group = rows_of(path, sweep), store.open_group(path)
    if rows is None:
        rows = store.coordinate(path, group, row_dim(sweep))
    return rows, _grown_runs(sweep, group, store.read_state(path)["runs"], rows)


def _grown_runs(
    sweep: Sweep, group: Any, runs: list[list[int]], rows: np.ndarray
) -> list[list[int]]:
    """A store's runs, and one more for rows beyond their end."""
    if len(rows) > runs[-1][1]:
        return [*runs, [runs[-1][1], len(rows), _end(sweep, group)]]
    return runs


def _refuse_other(sweep: Sweep, group: Any, remembered: dict[str, Any]) -> None:
    """Raise unless the two differ in what can be extended, and there grow only."""
    ours, theirs = config.configuration(sweep), remembered["configuration"]
    rest = {*ours, *theirs} - {"axes", "rows"}
    if any(ours.get(key) != theirs.get(key) for key in rest):
        raise store.refused(sweep, remembered)
    for name, values in sweep.axes.items():
        before = np.asarray(group[name][...])
        grown = values.ndim == before.ndim and np.array_equal(
            values if values.ndim == 0 else values[: before.size], before
        )
        if not grown or name not in theirs["axes"]:
            why = ", or one that adds values at the end of an axis"
            raise store.refused(sweep, remembered, why)
    for name, variable in variables(sweep).items():
        inner = tuple(variable.after.values())
        if inner and tuple(group[name].shape[-len(inner) :]) != inner:
            raise store.refused(sweep, remembered, ", or one that has no wider networks")


def _extended_rows(sweep: Sweep, before: np.ndarray, remembered: dict[str, Any]) -> np.ndarray:
    """The store's rows, with those of the sweep beyond its end."""
    if not config.saves_on(sweep, remembered, before[-1]):
        raise store.refused(sweep, remembered, ", or one that saves later steps too")
    more = sweep.rows[sweep.rows > before[-1]]
    kept = sweep.model == "theory" or sweep.keep_weights or "weights" in sweep.observe
    if more.size and not kept:
        raise store.Refused(
            str(
                checks.mistake(
                    "store must hold the last weights to go on from",
                    "keep_weights = false",
                    "Run it anew, with keep_weights = true.",
                )
            )
        )
    return np.concatenate([before, more])


def _end(sweep: Sweep, group: Any) -> int:
    """The step that the store has reached; a flow begins anew at each time."""
    return 0 if sweep.model == "theory" else int(group["end"][-1])


def _resize(sweep: Sweep, group: Any, rows: np.ndarray, runs: list[list[int]]) -> None:
    lengths = sizes(sweep, len(rows), len(runs))
    for name, variable in variables(sweep).items():
        group[name].resize(variable.shape(lengths, sweep.shape))


def _coordinates(sweep: Sweep, rows: np.ndarray, runs: list[list[int]]) -> dict[str, np.ndarray]:
    found = {name: values for name, values in sweep.axes.items() if values.ndim == 1}
    found[row_dim(sweep)] = rows
    if sweep.model != "theory":
        found["end"] = np.array([rows[last - 1] for _, last, _ in runs], np.int64)
    return found
