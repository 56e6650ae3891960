"""The whole suite: sound backend first, then case after case."""

import datetime
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lindae_jax import checks
from lindae_jax.bench import cases, cores, fresh, machine, timing
from lindae_jax.bench.probe import require_sound_backend

CASES = ("pairs", "matrices", "theory", "curvature", "start")

_ROUNDS, _QUICK_ROUNDS = 11, 3
_SECONDS, _QUICK_SECONDS = 0.53, 0.05


def run(
    names: Sequence[str] = CASES,
    *,
    quick: bool = False,
    show: Callable[[dict[str, Any]], Any] | None = None,
) -> dict[str, Any]:
    """Measure the library beside its rivals and the limits of the machine.

    Every answer is checked against an independent one before it is timed.
    Contenders run in turn, half a second or more each (pairs for 600 steps,
    if that is less than two seconds), 11 times, runs of 50 steps or more after
    a call of one step; a rival at the fastest of its configurations.
    float64 is measured where `jax_enable_x64` is on.

    Parameters
    ----------
    names : sequence of str
        Of `CASES`.
    quick : bool
        Smaller sizes, 3 short runs each: less than a minute in all, and good
        for a first look only.
    show : function, optional
        Called with each result as soon as it is there.

    Returns
    -------
    dict
        For JSON: `date` (UTC) and `seconds` of the whole, `settings`, `machine`,
        `cases` (every time of every run), `start` and `memory`. A rate is
        work * steps / seconds.

    Raises
    ------
    ValueError
        An unknown name; `quick` no bool; `show` no function.
    FloatingPointError
        The backend miscompiles, or an answer is wrong; there is no report.
    """
    names = _checked(names)
    if not isinstance(quick, bool):
        raise checks.mistake("quick must be True or False", repr(quick), "Pass a bool.")
    if show is not None and not callable(show):
        raise checks.mistake("show must be a function", repr(show)[:60], "Leave it out if unsure.")
    require_sound_backend()
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if quick else (_ROUNDS, _SECONDS)
    begin, now = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    found: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "seconds": None,
        "settings": {"names": names, "quick": quick, "rounds": rounds, "seconds": seconds},
        "machine": machine.describe(),
        "cases": [],
        "memory": [],
        "start": None,
    }
    tell = show or (lambda _: None)
    for name in names:
        if name == "start":
            found["start"] = fresh.start_up(rounds)
            tell({"name": "start", **found["start"]})
            continue
        for plan in cases.plans(name, quick=quick):
            found["cases"].append(_measured(plan, seconds, rounds))
            tell(found["cases"][-1])
        if name == "pairs":
            found["memory"] = [_memory(found["cases"])]
            tell({"name": "memory", **found["memory"][0]})
    found["seconds"] = round(time.perf_counter() - begin, 1)
    return found


def _checked(names: Any) -> list[str]:
    remedy = f"Name some of {', '.join(CASES)}."
    if isinstance(names, str) or not isinstance(names, Sequence) or not len(names):
        raise checks.mistake("names must be a sequence of cases", repr(names)[:60], remedy)
    for name in names:
        if not isinstance(name, str) or name not in CASES:
            raise checks.mistake("each of names must be a case", repr(name)[:60], remedy)
    return list(dict.fromkeys(names))


def _measured(plan: cases.Plan, seconds: float, rounds: int) -> dict[str, Any]:
    try:
        return timing.measure(plan.build(), seconds, rounds, cores.one_way)
    except timing.Absent as reason:
        return {"name": plan.name, "title": plan.title, "skipped": str(reason)}


def _memory(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Peak memory of the largest run that was timed."""
    sizes = [c["size"] for c in measured if c.get("size") and c["dtype"] == "float32"]
    return fresh.peak_memory(max(sizes), "float32", jax.local_device_count())
