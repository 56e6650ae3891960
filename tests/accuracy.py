"""Measure the accuracy of the closed forms per regime; write docs/accuracy.md.

    python tests/accuracy.py                  the table, 100,000 points a regime
    python tests/accuracy.py --points 2000    a quick look, printed only
    python tests/accuracy.py --references     tests/references/decay_box.npz, for the tests

The reference is tests/oracle.py, the points tests/regimes.py; both dtypes are
measured in one process. Nothing is timed.
"""

import argparse
import itertools
import multiprocessing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import oracle
import regimes

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "accuracy.md"
REFERENCES = ROOT / "tests" / "references" / "decay_box.npz"

# What is promised: eps of the scale without decay, absolute with decay.
FLOW_EPS = 16
DECAY = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-10}
DECAY_WORST = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-7}
DECAY_SHARE = 1e-3
DECAY_FLOOR = 1e-6
ROUND_TRIP_EPS = 64
TIME = {np.dtype(np.float32): 64 * 2.0**-23, np.dtype(np.float64): 1e-13}
DECAY_ROUND_TRIP = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}


class Errors(NamedTuple):
    """Errors of the mapping and of the worse weight, each over its scale, (n,)."""

    mapping: np.ndarray
    weights: np.ndarray


# --- the code under test ----------------------------------------------------


def problem_of(points: np.ndarray, dtype):
    from lindae_jax import Problem

    return Problem(*(points[:, i].astype(dtype) for i in (3, 4, 5, 6)))


def evaluate(points: np.ndarray, dtype) -> np.ndarray:
    """w1, w2 and mapping of `lindae_jax.theory` at the points, (n, 3), in the dtype."""
    from lindae_jax import theory

    t, w1, w2 = (points[:, i].astype(dtype) for i in range(3))
    problem = problem_of(points, dtype)
    weights = theory.weights(t, w1, w2, problem)
    result = np.stack([weights.w1, weights.w2, theory.mapping(t, w1, w2, problem)], axis=1)
    assert result.dtype == dtype
    return result


# --- errors -----------------------------------------------------------------


def difference(result: np.ndarray, reference: np.ndarray, dtype) -> np.ndarray:
    """|result - reference|, (n, 3); what is below the smallest normal number counts as 0.

    NaN and infinity come out as infinity.
    """
    high, low = reference[:, :3], reference[:, 3:]
    info = np.finfo(dtype)
    zero = float(info.tiny) * (1 + 64 * float(info.eps))
    result = result.astype(np.float64)
    error = np.abs((result - high) - low)
    error = np.where((np.abs(result) < zero) & (np.abs(high) < zero), 0.0, error)
    return np.where(np.isfinite(result), error, np.inf)


def _norm(reference: np.ndarray) -> np.ndarray:
    return reference[:, 0] ** 2 + reference[:, 1] ** 2


def flow_errors(result, points, reference, dtype) -> Errors:
    """Errors without decay, in eps: of w for w0 > 0, else of the norm; of sqrt(norm)."""
    info = np.finfo(dtype)
    error = difference(result, reference, dtype)
    norm = np.maximum(_norm(reference), float(info.tiny))
    positive = np.sign(points[:, 1]) * np.sign(points[:, 2]) > 0
    scale = np.where(positive, np.maximum(np.abs(reference[:, 2]), float(info.tiny)), norm)
    return Errors(
        error[:, 2] / scale / float(info.eps),
        error[:, :2].max(axis=1) / np.sqrt(norm) / float(info.eps),
    )


def decay_errors(result, points, reference, dtype) -> Errors:
    """Errors with decay, absolute: over max(norm, 1e-6) and over its square root."""
    error = difference(result, reference, dtype)
    norm = np.maximum(_norm(reference), DECAY_FLOOR)
    return Errors(error[:, 2] / norm, error[:, :2].max(axis=1) / np.sqrt(norm))


# --- passage times ----------------------------------------------------------


class Passage(NamedTuple):
    """First-passage times to targets on the curves of a regime.

    `steep`: where |dw/dt| t > |w|, so that the time is well conditioned;
    elsewhere the round trip is.
    """

    points: np.ndarray
    target: np.ndarray
    time: np.ndarray
    steep: np.ndarray
    scale: np.ndarray


def passages(points: np.ndarray, reference: np.ndarray, dtype) -> Passage:
    """Targets that the flow without decay reaches, w(t) rounded to the dtype."""
    target = reference[:, 2].astype(dtype).astype(np.float64)
    usable = np.abs(target) >= np.finfo(dtype).tiny
    points, target, reference = points[usable], target[usable], reference[usable]
    rows = np.delete(points, [0, 5], axis=1).tolist()
    time = np.array(
        [
            float(oracle.time_to_mapping_no_decay(x, *row))
            for x, row in zip(target.tolist(), rows, strict=True)
        ]
    )
    lam, noise, rate = points[:, 3], points[:, 4], points[:, 6]
    slope = (lam - (lam + noise) * target) * _norm(reference) * rate
    finite = time < float(np.finfo(dtype).max)
    steep = finite & (np.abs(slope) * np.where(finite, time, 0) > np.abs(target))
    positive = np.sign(points[:, 1]) * np.sign(points[:, 2]) > 0
    scale = np.where(positive, np.abs(target), _norm(reference))
    return Passage(points, target, time, steep, scale)


def passage_errors(passage: Passage, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the round trip, in eps, where not steep, and of t, relative, where steep."""
    from lindae_jax import theory

    w1, w2 = (passage.points[:, i].astype(dtype) for i in (1, 2))
    problem = problem_of(passage.points, dtype)
    t = theory.time_to_mapping(passage.target.astype(dtype), w1, w2, problem)
    back = np.asarray(theory.mapping(t, w1, w2, problem), np.float64)
    steep, gentle = passage.steep, ~passage.steep
    trip = np.abs(back - passage.target)[gentle] / passage.scale[gentle]
    relative = np.abs(np.asarray(t, np.float64) / np.where(steep, passage.time, 1) - 1)[steep]
    trip, relative = (np.nan_to_num(x, nan=np.inf) for x in (trip, relative))
    return trip / float(np.finfo(dtype).eps), relative


def decay_round_trip(points, reference, dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets taken from curves with decay, the epochs found, the error of going back.

    The error is over max(norm, 1e-6), and 0 where |dw/dt| t > |w| (no promise
    there). Where found is infinite the way back is to the fixed point, and the
    norm that of the weights the target was taken from: right where the curve has
    all but come to rest.
    """
    from lindae_jax import theory

    w1, w2 = (points[:, i].astype(dtype) for i in (1, 2))
    problem, target = problem_of(points, dtype), reference[:, 2].astype(dtype)
    found = theory.time_to_mapping(target, w1, w2, problem)
    back = np.asarray(theory.mapping(found, w1, w2, problem), np.float64)
    a, b = (np.asarray(x, np.float64) for x in theory.weights(found, w1, w2, problem))
    target, found = target.astype(np.float64), np.asarray(found, np.float64)
    lam, noise, decay, rate = points[:, 3:].T
    norm = a * a + b * b
    slope = rate * ((lam - (lam + noise) * target) * norm - 2 * decay * target)
    steep = np.abs(slope) * np.where(np.isfinite(found), found, 0) > np.abs(target)
    norm = np.where(np.isfinite(found), norm, _norm(reference))
    error = np.abs(back - target) / np.maximum(norm, DECAY_FLOOR)
    small = np.abs(target) < DECAY_FLOOR
    return target, found, np.where(steep | small, 0, np.nan_to_num(error, nan=np.inf))


# --- the document -----------------------------------------------------------


def _tables(named: dict[tuple, np.ndarray], processes: int) -> dict[tuple, np.ndarray]:
    """References of many regimes; each process takes 2,000 rows at a time."""
    chunks = {key: np.array_split(p, -(-len(p) // 2000)) for key, p in named.items()}
    everything = list(itertools.chain.from_iterable(chunks.values()))
    if processes == 1:
        rows = [oracle.flow_table(chunk) for chunk in everything]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            rows = pool.map(oracle.flow_table, everything, chunksize=1)
    ends = np.cumsum([len(c) for c in chunks.values()])
    starts = [0, *ends[:-1]]
    return {key: np.concatenate(rows[i:j]) for key, i, j in zip(chunks, starts, ends, strict=True)}


DTYPES = (np.dtype(np.float64), np.dtype(np.float32))


def _thinned(group: dict, name: str) -> int:
    """References with decay cost 25 times as much: all points for the box alone."""
    return 20 if group is regimes.DECAY and name != "box" else 1


def _samples(group: dict, num_points: int) -> dict[tuple, np.ndarray]:
    return {
        (name, dtype): regimes.sample(group, name, num_points // _thinned(group, name), dtype)
        for name in group
        for dtype in DTYPES
    }


def _row(name: str, cells: list[str]) -> str:
    return "| " + " | ".join([name, *cells]) + " |"


def _header(first: str, columns: list[str]) -> list[str]:
    return [_row(first, columns), "|---" * (len(columns) + 1) + "|"]


def _flow_section(num_points: int, processes: int) -> list[str]:
    points = _samples(regimes.NO_DECAY, num_points)
    tables = _tables(points, processes)
    lines = _header(
        "regime",
        [
            f"{what}, {d}, {how}"
            for d in DTYPES
            for what in ("w", "weights")
            for how in ("max", "mean")
        ],
    )
    times = _header(
        "regime",
        [f"{d}, {what}" for d in DTYPES for what in ("round trip max (eps)", "t max (relative)")],
    )
    for name in regimes.NO_DECAY:
        cells, time_cells = [], []
        for dtype in DTYPES:
            p, table = points[name, dtype], tables[name, dtype]
            errors = flow_errors(evaluate(p, dtype), p, table, dtype)
            cells += [f"{x:.2g}" for e in errors for x in (e.max(), e.mean())]
            trip, relative = passage_errors(passages(p, table, dtype), dtype)
            time_cells += [f"{trip.max(initial=0):.2g}", f"{relative.max(initial=0):.1e}"]
        lines.append(_row(name, cells))
        times.append(_row(name, time_cells))
    return [*_FLOW_TEXT, "", *lines, "", *_TIME_TEXT, "", *times]


def _decay_section(num_points: int, processes: int) -> list[str]:
    points = _samples(regimes.DECAY, num_points)
    tables = _tables(points, processes)
    columns = [
        *[f"{d}, {how}" for d in DTYPES for how in ("max", "mean", "99.9 %", "misses")],
        *[f"{d}, weights max" for d in DTYPES],
        *[f"{d}, round trip max" for d in DTYPES],
    ]
    lines, missed = _header("regime", columns), []
    for name in regimes.DECAY:
        cells, weights, trips = [], [], []
        for dtype in DTYPES:
            p, table = points[name, dtype], tables[name, dtype]
            error, weight_error = decay_errors(evaluate(p, dtype), p, table, dtype)
            weights.append(f"{weight_error.max():.1e}")
            trips.append(f"{_round_trip_maximum(p, table, dtype):.1e}")
            misses = error > DECAY[dtype]
            cells += [f"{x:.1e}" for x in (error.max(), error.mean(), np.quantile(error, 0.999))]
            cells.append(str(misses.sum()))
            worst = np.argsort(-error)[: min(3, misses.sum())]
            missed += [_row(f"{name}, {dtype}", [f"{error[i]:.1e}", _point(p[i])]) for i in worst]
        lines.append(_row(name, cells + weights + trips))
    if missed:
        missed = [
            "",
            "The worst misses of each row:",
            "",
            *_header("row", ["error", "point"]),
            *missed,
        ]
    return [*_DECAY_TEXT, "", *lines, *missed]


def _round_trip_maximum(points, reference, dtype) -> float:
    """Largest error of a round trip with decay, but for targets that are never met."""
    target, found, error = decay_round_trip(points, reference, dtype)
    for i in np.flatnonzero(error > DECAY_ROUND_TRIP[dtype]):
        if found[i] == np.inf == oracle.time_to_mapping(target[i], *points[i, 1:].tolist()):
            error[i] = 0  # rounded beyond the peak of the curve
    return error.max()


def _point(row: np.ndarray) -> str:
    return ", ".join(f"{n} = {x:.6g}" for n, x in zip(regimes.COLUMNS, row, strict=True))


_FLOW_TEXT = [
    "## The flow without decay",
    "",
    "Errors in eps. `w`: of w itself where w1 w2 > 0 at the start, of w1(t)^2 + w2(t)^2",
    "elsewhere. `weights`: the worse of w1(t), w2(t), of sqrt(w1(t)^2 + w2(t)^2).",
    f"Promised: {FLOW_EPS} everywhere, and nothing that is not finite.",
]
_TIME_TEXT = [
    "## First-passage times without decay",
    "",
    "`round trip`: mapping(time_to_mapping(x)) against x, in eps of the same scale, where",
    f"|dw/dt| t <= |w| (promised: {ROUND_TRIP_EPS}). Elsewhere `t`: its relative error",
    "(promised: 1e-13 in float64, 64 eps = 7.6e-6 in float32).",
]
_DECAY_TEXT = [
    "## The flow with decay",
    "",
    "Error of w over max(w1(t)^2 + w2(t)^2, 1e-6). `misses`: points above 1e-10 (float64) or",
    "2e-5 (float32). Promised for the box, eigenvalue in {0} or [1e-3, 1e3], noise in {0} or",
    "[1e-3, 10], decay in {0} or [1e-6, 5], weights of magnitude 1e-4 to 3 and any signs,",
    "learning_rate t up to 1e4: at most 0.1 % misses, none above 1e-7 (float64), 1e-3 (float32).",
    "`weights`: the worse of w1, w2, over the square root. `round trip`: of time_to_mapping and",
    "mapping, over max(norm, 1e-6), where |dw/dt| t <= |w| (promised: 1e-9 and 1e-4).",
]


def document(num_points: int, processes: int) -> str:
    lines = [
        "# Accuracy of the closed forms",
        "",
        f"Written by `make accuracy` (tests/accuracy.py): {num_points:,} seeded points a regime,",
        "with decay for the box and a twentieth of them for the others (tests/regimes.py",
        "defines each), against 60-digit arithmetic (tests/oracle.py).",
        "eps is 2.2e-16 in float64 and 1.2e-7 in float32. Numbers below the smallest normal",
        "number count as 0.",
        "",
        *_flow_section(num_points, processes),
        "",
        *_decay_section(num_points, processes),
    ]
    return "\n".join(lines) + "\n"


def references(num_points: int = 2000) -> dict[str, np.ndarray]:
    """The decay box in both dtypes: points and float64-rounded w1, w2, mapping."""
    result = {}
    for dtype in DTYPES:
        points = regimes.sample(regimes.DECAY, "box, random learning rate", num_points, dtype, 1)
        result[f"points_{dtype}"] = points.astype(dtype)
        result[f"flow_{dtype}"] = oracle.flow_table(points)[:, :3]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000, help="points a regime and dtype")
    parser.add_argument("--processes", type=int, default=2, help="for the reference values")
    parser.add_argument("--references", action="store_true", help="write the tests' stored values")
    args = parser.parse_args()
    if args.references:
        REFERENCES.parent.mkdir(exist_ok=True)
        np.savez_compressed(REFERENCES, **references())
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    text = document(args.points, args.processes)
    print(text)
    if args.points >= 100_000:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(text)


if __name__ == "__main__":
    main()
