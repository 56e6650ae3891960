"""A sweep's result in a zarr store: made, opened, extended, verified."""

import glob
import itertools
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lindae_jax import checks, record
from lindae_jax.sweep import config, cost, durable, grid
from lindae_jax.sweep.results import Results, Run
from lindae_jax.sweep.spec import Sweep
from lindae_jax.sweep.variables import Coordinate, coordinates, row_dim, sizes, variables

# Those whose versions a store tells.
_LIBRARIES = "jax", "numpy", "xarray", "zarr"

# What a chunk holds at most: members, and bytes over all variables.
_MEMBERS, _BYTES = 2**20, 2**28
# Of networks as many as take about so many seconds.
_SECONDS = 60

# Where zarr keeps what is known of an array or group, and where the group's attributes
# have what is not for the eye.
_META, _STATE = "zarr.json", "lindae_jax"


# What zarr raises for a chunk that is cut short or of another checksum.
UNREADABLE = ValueError, RuntimeError, OSError


class Refused(ValueError):
    """A store that is not this sweep's."""


def chunk_of(sweep: Sweep, member_bytes: int) -> tuple[int, ...]:
    """Lengths of a store chunk along the grid's axes."""
    most = max(1, min(_MEMBERS, _BYTES // member_bytes))
    single = [False] * len(sweep.shape)
    if sweep.model == "matrices":
        local = jax.local_devices()
        each = int(_SECONDS / cost.seconds_of_network(sweep, local[0].platform))
        # Networks are for one device each, as a rule: it takes as many to keep all of them busy.
        most = max(1, min(most, len(local) * max(1, each)))
        # Networks of a chunk have one width, for they are computed together.
        single = [dim in sweep.dims_of("hidden") for dim in sweep.dims]
    return grid.chunk_shape(sweep.shape, most, single)


def exists(path: Path) -> bool:
    """Whether something is at this path."""
    return os.path.lexists(path)


# --- making ---------------------------------------------------------------------


def make(path: Path, sweep: Sweep, chunk: tuple[int, ...]) -> None:
    """Make a store of a sweep, nothing computed yet, under its name in one step.

    Raises
    ------
    OSError
        It cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        durable.make_folder(path.parent)
        _write_new(partial, sweep, chunk)
        durable.rename_folder(partial, path)
    except Exception:
        if not path.is_dir():  # else another process was faster, and has removed ours
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    # Of killed processes; one that is still at it finds the store made.
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _write_new(path: Path, sweep: Sweep, chunk: tuple[int, ...]) -> None:
    import zarr

    group = zarr.open_group(durable.DurableStore(path), mode="w-", zarr_format=3)
    rows = sweep.rows
    lengths = sizes(sweep, len(rows))
    for name, variable in variables(sweep).items():
        _create(
            group,
            name,
            shape=variable.shape(lengths, sweep.shape),
            chunks=variable.shape(lengths, chunk),
            dtype=variable.dtype,
            fill_value=variable.fill,
            dimension_names=variable.dims(sweep),
            attributes=variable.attrs,
        )
    for name, coordinate in coordinates(sweep).items():
        _coordinate(group, name, coordinate)
    commit(path, sweep, rows, chunk=list(chunk), runs=[[0, len(rows), 0]])


def _create(group: Any, name: str, **options: Any) -> Any:
    from zarr.codecs import Crc32cCodec

    # A checksum by chunk; floats of a simulation would hardly shrink.
    return group.create_array(
        name, compressors=[Crc32cCodec()], config={"write_empty_chunks": True}, **options
    )


def _coordinate(group: Any, name: str, coordinate: Coordinate) -> None:
    values = coordinate.values
    array = _create(
        group,
        name,
        shape=values.shape,
        chunks=tuple(max(1, n) for n in values.shape),
        dtype=values.dtype,
        fill_value=0 if values.dtype.kind == "i" else float("nan"),
        dimension_names=coordinate.dims,
        attributes=coordinate.attrs,
    )
    array[...] = values


def commit(
    path: Path, sweep: Sweep, rows: np.ndarray, chunk: list[int], runs: list[list[int]]
) -> None:
    """Write the group's own file, by which readers know all arrays and which sweep it is.

    In one step, as zarr's own functions would not: what says how long the arrays are must
    not disagree with what says why.
    """
    along = coordinates(sweep)
    beside = [name for name, c in along.items() if c.dims != (name,)]
    state = {"sweep": config.remembered(sweep), "chunk": chunk, "runs": runs}
    names = sorted({*variables(sweep), *along})
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            **attributes(sweep, rows),
            _STATE: json.dumps(state, sort_keys=True),
            # By this, of the CF conventions, xarray knows them from results.
            "coordinates": " ".join(beside),
        },
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": {n: json.loads((path / n / _META).read_bytes()) for n in names},
        },
    }
    durable.write(path / _META, json.dumps(group, indent=2).encode())


def attributes(sweep: Sweep, rows: np.ndarray) -> dict[str, Any]:
    """Of a whole result with these rows."""
    return {
        "title": f"lindae_jax sweep of {sweep.model}",
        "configuration_hash": config.hash_of(config.configuration(sweep, rows)),
        "versions": json.dumps(record.versions(*_LIBRARIES), sort_keys=True),
    }


# --- opening ---------------------------------------------------------------------


def read_state(path: Path) -> dict[str, Any]:
    """What a store remembers of its sweep.

    Raises
    ------
    Refused
        Not a sweep's store, or one of another version.
    """
    remedy = "Name another path, or remove what is there."
    try:
        attributes = json.loads((path / _META).read_bytes())["attributes"]
        state = json.loads(attributes[_STATE])
        version = state["sweep"]["configuration"]["store_version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(str(checks.mistake("store must be a sweep's", f"{path}", remedy))) from None
    if version != config.STORE_VERSION:
        raise Refused(f"store must be of version {config.STORE_VERSION}; got {version}. {remedy}")
    return state


def open_for(path: Path, sweep: Sweep) -> Results:
    """The arrays of a store, for the sweep that it was made by or extended to.

    Raises
    ------
    Refused
        Another configuration; the message shows the difference.
    """
    state = read_state(path)
    if not config.same(sweep, state["sweep"]):
        raise refused(sweep, state["sweep"])

    group = open_group(path)
    arrays = {name: array_of(group, name) for name in variables(sweep)}
    runs = [
        Run(first, last, offset, number)
        for number, (first, last, offset) in enumerate(state["runs"])
    ]
    rows = coordinate(path, group, row_dim(sweep))
    return Results(sweep, arrays, tuple(state["chunk"]), runs, rows)


def refused(sweep: Sweep, remembered: dict[str, Any], why: str = "") -> Refused:
    """The error for a store of another configuration."""
    ours = config.configuration(sweep)
    lines = "; ".join(config.differences(ours, remembered["configuration"]))
    return Refused(
        f"store must be of this sweep's configuration{why}; got another: {lines}. "
        f"Name another store, or restore these settings."
    )


def open_group(path: Path) -> Any:
    """The group as its own file has it: arrays of the lengths that were committed."""
    import zarr

    return zarr.open_group(
        durable.DurableStore(path), mode="r+", zarr_format=3, use_consolidated=True
    )


def array_of(group: Any, name: str) -> Any:
    """An array to be written to.

    A chunk that is all fill value is a result too: its file tells that it is there. A store
    does not remember that it is to be written.
    """
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        return group[name]


def coordinate(path: Path, group: Any, name: str) -> np.ndarray:
    """Values of a coordinate of the store at this path; Refused where its file is damaged."""
    values = values_of(group, name)
    if values is None:
        raise damaged(path, name)
    return values


def values_of(group: Any, name: str) -> np.ndarray | None:
    """Values of a coordinate; None where they cannot be read, or a file of them is lost."""
    array = group[name]
    if array.nchunks_initialized < array.nchunks:
        return None  # zarr would read what was never written
    try:
        return np.asarray(array[...])
    except UNREADABLE:
        return None


def damaged(path: Path, name: str) -> Refused:
    """The error for a coordinate whose file is lost or damaged."""
    return Refused(
        f"store must have its coordinate {name}; got {path / name} lost or damaged. Run the "
        f"very sweep that the store was made by, which writes it anew, or remove the store."
    )


# --- verifying ---------------------------------------------------------------------


def tidy(results: Results, path: Path, share: tuple[int, int]) -> None:
    """Remove what killed processes left half-written of a share's chunks, in one walk."""
    mine = {
        file
        for chunk in range(share[0], results.num_chunks, share[1])
        for name in results.variables
        for file in _files(results, path, name, chunk)
    }
    for name in results.variables:
        for left in durable.partial_files(path / name):
            if left.with_name(durable.whole_name(left)) in mine:
                left.unlink(missing_ok=True)


def verify(results: Results, path: Path, chunk: int) -> bool:
    """Whether all that is there of a chunk can be read; if not, the chunk is undone.

    Every array's chunk has a checksum, which reading compares. What is missing though the
    status says that it is done counts as damaged too.
    """
    files = {name: _files(results, path, name, chunk) for name in results.variables}
    if not any(file.exists() for file in itertools.chain(*files.values())):
        return True
    bad = {name for name in files if not _reads(results, name, chunk)}
    if "status" not in bad:
        done = [run for run in results.runs if results.num_done(run, chunk)]
        for name, run in itertools.product(files, done):
            if not all(files[name][row].exists() for row in results.file_rows(name, run)):
                bad.add(name)
    if not bad:
        return True
    # All of the chunk is computed again, from the start: its later runs go on from it.
    for name in {"status", *bad}:
        for file in files[name]:
            file.unlink(missing_ok=True)
    return False


def _reads(results: Results, name: str, chunk: int) -> bool:
    before = tuple(slice(None) for _ in results.variables[name].before)
    try:
        np.asarray(results.arrays[name][(*before, *results.box(chunk).slices)])
    except UNREADABLE:
        return False
    return True


def _files(results: Results, path: Path, name: str, chunk: int) -> list[Path]:
    """Where a variable's chunk lies, in one file or more for its rows."""
    start = results.box(chunk).start
    place = [a // n for a, n in zip(start, results.chunk, strict=True)]
    array, variable = results.arrays[name], results.variables[name]
    rows = range(-(-array.shape[0] // array.chunks[0])) if variable.before else [None]
    return [
        path.joinpath(
            *(name, "c"),
            *([] if row is None else [str(row)]),
            *map(str, place),
            *["0"] * len(variable.after),
        )
        for row in rows
    ]
