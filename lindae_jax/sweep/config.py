"""A sweep as plain data: what its store remembers, and how two of them differ."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from lindae_jax.sweep.spec import Sweep

# Of the store's layout: a store of another version is not read.
STORE_VERSION = 1

# Longer axes are remembered by a hash; their values stand in the store's coordinates.
_LONGEST = 256


def configuration(sweep: Sweep, rows: np.ndarray | None = None) -> dict[str, Any]:
    """Every setting of a sweep, defaults filled in, as what JSON holds.

    Equal for sweeps that give equal results, in whatever order or type they were written.
    A store that has been extended may have more rows than the sweep asks for.
    """
    return {
        "store_version": STORE_VERSION,
        "model": sweep.model,
        "init": sweep.init,
        "dtype": sweep.dtype,
        "axes": {name: _values(array) for name, array in sweep.axes.items()},
        "dims": list(sweep.dims),
        "linked": {dim: sorted(names) for dim, names in sweep.linked.items()},
        # A step is a time, but the results' axes have other names.
        "along": "step" if sweep.times is None else "t",
        "rows": _values(sweep.rows if rows is None else rows),
        "observe": list(sweep.observe),
        "fraction": sweep.fraction if "first_passage" in sweep.observe else None,
        "directions": None if sweep.directions is None else _values(np.array(sweep.directions)),
        "spectrum": None
        if sweep.spectrum is None
        else digest(np.asarray(sweep.spectrum.eigenvalues, np.float64)),
        "weights": None
        if sweep.weights is None
        else [digest(np.asarray(w, np.float64)) for w in sweep.weights],
        # Whether more steps can be taken later, by whatever is kept.
        "keep_weights": sweep.keep_weights or sweep.model == "theory" or "weights" in sweep.observe,
    }


def remembered(sweep: Sweep) -> dict[str, Any]:
    """What a store keeps of the sweep it was last asked for."""
    return {
        "configuration": configuration(sweep),
        "early": _values(sweep.rows[:-1]),
        "logarithmic": sweep.save_log is not None,
    }


def same(sweep: Sweep, theirs: dict[str, Any]) -> bool:
    """Whether a sweep is the one remembered."""
    return configuration(sweep) == theirs["configuration"]


def saves_on(sweep: Sweep, theirs: dict[str, Any], end: float) -> bool:
    """Whether a sweep's rows are those remembered, which end at `end`, or go on from them.

    The last step is always saved, in whatever rhythm. Logarithmic steps to a later end are
    others before this one too.
    """
    wanted = sweep.rows
    logarithmic = sweep.save_log is not None and theirs["logarithmic"]
    early = _values(wanted[wanted < end])
    return bool(wanted[-1] >= end) and (
        (logarithmic and bool(wanted[-1] > end)) or early == theirs["early"]
    )


def canonical(configuration: dict[str, Any]) -> str:
    """JSON in one form: keys sorted, no spaces."""
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(configuration: dict[str, Any]) -> str:
    """SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(configuration).encode()).hexdigest()


def digest(array: np.ndarray) -> dict[str, Any]:
    """What is remembered of a large array."""
    content = np.ascontiguousarray(array).tobytes()
    return {"shape": list(array.shape), "sha256": hashlib.sha256(content).hexdigest()}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What two configurations say differently, a line per dotted key."""
    mine, other = dict(_flat(ours)), dict(_flat(theirs))
    return [
        f"{key}: {_short(mine.get(key))} here, {_short(other.get(key))} in the store"
        for key in sorted({*mine, *other})
        if mine.get(key) != other.get(key)
    ]


def _values(array: np.ndarray) -> Any:
    if array.ndim == 0 or array.size <= _LONGEST:
        return array.tolist()
    return {"first": array[0].item(), "last": array[-1].item(), **digest(array)}


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "sha256" not in value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:28]} ... {text[-28:]}"
