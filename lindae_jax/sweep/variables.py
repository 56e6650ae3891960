"""The arrays of a sweep's result: their axes, types, attributes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lindae_jax.simulate import NOT_RUN, status_message
from lindae_jax.sweep.observe import OBSERVABLES
from lindae_jax.sweep.parameters import KINDS
from lindae_jax.sweep.spec import Sweep


class Variable(NamedTuple):
    """An array with the grid's axes, others before and after them."""

    before: tuple[str, ...]
    after: dict[str, int]
    dtype: str
    attrs: dict[str, Any]

    def dims(self, sweep: Sweep) -> tuple[str, ...]:
        """Names of its axes."""
        return (*self.before, *sweep.dims, *self.after)

    def shape(self, sizes: dict[str, int], grid: Sequence[int]) -> tuple[int, ...]:
        """Lengths of its axes, for `sizes` of a sweep and so many members."""
        return (*(sizes[dim] for dim in self.before), *grid, *self.after.values())

    @property
    def fill(self) -> float | int:
        """What stands where nothing has been computed yet."""
        return NOT_RUN if self.dtype == "int8" else float("nan")


class Coordinate(NamedTuple):
    """An array along one axis or none."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]


def row_dim(sweep: Sweep) -> str:
    """The axis of saves, or of times."""
    return "t" if sweep.times is not None else "step"


def sizes(sweep: Sweep, num_rows: int, num_runs: int = 1) -> dict[str, int]:
    """Lengths of the axes that stand before those of the grid."""
    return {row_dim(sweep): num_rows, "end": num_runs}


def variables(sweep: Sweep) -> dict[str, Variable]:
    """What a sweep computes, `status` last: with it a chunk counts as done."""
    row = (row_dim(sweep),)
    found: dict[str, Variable] = {}
    for name in sweep.observe:
        kind = OBSERVABLES[name]
        attrs = _attrs(kind)
        if name == "weights":
            found |= _weights(sweep, row, ("w1", "w2"), "at each save")
            continue
        if name == "first_passage":
            attrs["long_name"] = f"first epoch at {sweep.fraction:g} of the fixed point"
            when = "at any time" if sweep.model == "theory" else "by the last save"
            attrs["comment"] = f"infinite: not reached {when}; NaN: nothing to reach, or not run"
        after = {}
        if kind.by_direction and sweep.directions is not None:
            after = {"direction": len(sweep.directions)}
        found[name] = Variable(row if kind.by_row else (), after, sweep.dtype, attrs)
    if sweep.model != "theory" and sweep.keep_weights and "weights" not in sweep.observe:
        found |= _weights(sweep, ("end",), ("final_w1", "final_w2"), "at the end of each run")
    return found | {"status": Variable(row, {}, "int8", _status_attrs())}


def _status_attrs() -> dict[str, Any]:
    """Of the status; its codes as the CF conventions have them, which netCDF holds too."""
    codes = range(NOT_RUN + 1)
    return {
        "units": "1",
        "symbol": "status",
        "long_name": "status of the run",
        "flag_values": list(codes),
        "flag_meanings": "OK DIVERGED INVALID_INPUT NOT_RUN",
        "comment": " ".join(f"{code}: {status_message(code)}" for code in codes),
    }


def _weights(
    sweep: Sweep, before: tuple[str, ...], names: tuple[str, str], when: str
) -> dict[str, Variable]:
    axes: tuple[dict[str, int], dict[str, int]] = {}, {}
    if sweep.model == "matrices":
        units, inputs = {"unit": sweep.widest}, {"input": sweep.num_directions}
        axes = units | inputs, inputs | units
    words = ("encoder", "decoder")
    return {
        name: Variable(
            before,
            after,
            sweep.dtype,
            {"units": "1", "symbol": name[-2] + "_" + name[-1], "long_name": f"{word} {when}"},
        )
        for name, after, word in zip(names, axes, words, strict=True)
    }


def _attrs(kind: Any) -> dict[str, Any]:
    return {"units": kind.units, "symbol": kind.symbol, "long_name": kind.words}


def coordinates(sweep: Sweep) -> dict[str, Coordinate]:
    """What stands along the axes of a result of one run."""
    found = {}
    for name, values in sweep.axes.items():
        found[name] = Coordinate(sweep.dims_of(name), values, _attrs(KINDS[name]))
    row = row_dim(sweep)
    attrs = {"units": "epochs", "symbol": "t", "long_name": "steps of gradient descent"}
    if sweep.model == "theory":
        attrs["long_name"] = "time of the flow"
    found[row] = Coordinate((row,), sweep.rows, attrs)
    if sweep.model != "theory":
        attrs = {"units": "epochs", "symbol": "t", "long_name": "steps at the end of each run"}
        found["end"] = Coordinate(("end",), sweep.rows[-1:], attrs)
    if sweep.directions is not None:
        chosen = np.array(sweep.directions, np.int64)
        attrs = {"units": "1", "symbol": "j", "long_name": "eigen-direction, 1 the largest"}
        found["direction"] = Coordinate(("direction",), chosen, attrs)
        eigenvalues = np.asarray(sweep.spectrum.eigenvalues, np.float64)  # type: ignore[union-attr]
        found["eigenvalue"] = Coordinate(
            ("direction",), eigenvalues[chosen - 1], _attrs(KINDS["eigenvalue"])
        )
    return found


def member_bytes(sweep: Sweep, rows: int) -> int:
    """Bytes of a member's results over so many rows."""
    return sum(
        math.prod(variable.shape(sizes(sweep, rows), ())) * np.dtype(variable.dtype).itemsize
        for variable in variables(sweep).values()
    )


def bytes_text(number: float) -> str:
    """A number of bytes in words."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            return f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError
