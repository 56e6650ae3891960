"""Alternating runs of contenders whose answers were checked first."""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

_MOST_STEPS, _MOST_TRIALS = 2**30, 12
_CHOOSING_ROUNDS = 5
# Of the time asked for, in which a run still counts as long enough.
_SHORTFALL = 0.05
# Steps of a run beside which one more, before it, costs little.
_MANY_STEPS = 50
# Seconds that the least number of steps may last; they are fewer where it would be longer.
_LONGEST = 1.85


class Absent(Exception):
    """A contender that cannot run here, and why."""


class WrongAnswer(FloatingPointError):
    """A contender whose answer differs from the reference; it is not worth timing."""


class Variant(NamedTuple):
    """One configuration of a contender."""

    label: str
    """Of what sets it apart from the others; may be empty."""
    work: float
    """Units of work in one step."""
    run: Callable[[int], Any]
    """Takes so many steps, returns when all is done."""
    error: Callable[[], float]
    """Of the answer to a short run, against a reference."""
    tolerance: float
    least_steps: int = 1
    """In a run, if it then ends within two seconds: what a call costs besides is shared by them."""


class Contender(NamedTuple):
    """One way to do the work of a case, at its best configuration."""

    name: str
    role: Literal["library", "ceiling", "rival"]
    variants: list[Variant]


class Case(NamedTuple):
    """Work done by several contenders in turn."""

    name: str
    """That by which it is asked for: pairs, matrices, ..."""
    title: str
    unit: str
    """Of the work, as in "pair-steps"."""
    contenders: list[Contender]
    absent: dict[str, str]
    """Contenders that cannot run here, with a word why."""
    headline: bool = False
    """Whether it belongs in a short table."""
    dtype: str = "float32"
    size: int | None = None
    """Position on the plot of cost against size, for cases that belong there."""
    rest: float = 0.0
    """Seconds before each run, for what the one before has left running."""


class Ready(NamedTuple):
    """A contender at its best configuration, answer checked."""

    contender: Contender
    variant: Variant
    steps: int
    error: float
    compile_seconds: float


def measure(
    case: Case, seconds: float, rounds: int, watch: Callable[[], Any] = lambda: None
) -> dict[str, Any]:
    """Check every answer, then time all contenders in turn, round by round.

    `watch` looks at the machine before each round; what it sees is kept.

    Returns
    -------
    dict
        For JSON. The rate of a contender is work * steps / seconds.

    Raises
    ------
    WrongAnswer
        An answer is off by more than its tolerance.
    """
    absent, ready = dict(case.absent), []
    for contender in case.contenders:
        with _excused(contender, absent):
            each = prepare(contender, seconds)
            each.variant.run(each.steps)  # some compile for a number of steps
            ready.append(each)
    times: list[list[float]] = [[] for _ in ready]
    seen = []
    for turn in range(rounds):
        seen.append(watch())
        # Another one begins each round, for a core may tire or be taken away in rhythm.
        for i in range(len(ready)):
            at = (turn + i) % len(ready)
            if ready[at].contender.name in absent:
                continue
            time.sleep(case.rest)
            with _excused(ready[at].contender, absent):
                if ready[at].steps >= _MANY_STEPS:
                    # Caches and memory are then as they are to who makes call after call.
                    ready[at].variant.run(1)
                if turn == 0:
                    ready[at], spent = filled(ready[at], seconds)
                else:
                    spent = timed(ready[at].variant.run, ready[at].steps)
                times[at].append(spent)
    timed_ones = (x for x in zip(ready, times, strict=True) if x[0].contender.name not in absent)
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "headline": case.headline,
        "dtype": case.dtype,
        "size": case.size,
        "contenders": [_as_json(*each) for each in timed_ones],
        "absent": absent,
        "core_to_core_ns": [x for x in seen if x is not None],
    }


@contextlib.contextmanager
def _excused(contender: Contender, absent: dict[str, str]) -> Iterator[None]:
    """A rival that fails is absent, for versions do not always get along with each other."""
    try:
        yield
    except WrongAnswer:
        raise
    except Exception as error:
        if contender.role != "rival":
            raise
        absent[contender.name] = f"failed: {type(error).__name__}: {error}"[:200]


def _as_json(ready: Ready, seconds: list[float]) -> dict[str, Any]:
    return {
        "name": ready.contender.name,
        "role": ready.contender.role,
        "label": ready.variant.label,
        "work": ready.variant.work,
        "steps": ready.steps,
        "seconds": seconds,
        "compile_seconds": ready.compile_seconds,
        "error": ready.error,
        "tolerance": ready.variant.tolerance,
    }


def prepare(contender: Contender, seconds: float) -> Ready:
    """Check every configuration, keep the fastest, choose its number of steps."""
    found = []
    several = len(contender.variants) > 1
    for variant in contender.variants:
        compiling = timed(variant.run, 2) - timed(variant.run, 2)
        error = float(variant.error())
        if not error <= variant.tolerance:
            name = " ".join(filter(None, (contender.name, variant.label)))
            raise WrongAnswer(
                f"{name}: wrong by {error:.3g}, where {variant.tolerance:.3g} is allowed"
            )
        steps, rate = calibrate(variant, seconds / 10 if several else seconds)
        found.append((rate, Ready(contender, variant, steps, error, max(compiling, 0.0))))
    rate, best = _fastest([ready for _, ready in found]) if several else found[0]
    steps = max(1, round(seconds * rate / best.variant.work))
    if steps < best.variant.least_steps:
        steps = max(steps, _affordable(best.variant))
    return best._replace(steps=min(steps, _MOST_STEPS))


def _affordable(variant: Variant) -> int:
    """The least steps of a variant, or so many of them as are done in time."""
    least = variant.least_steps
    one, all_of_them = (min(timed(variant.run, steps) for _ in range(2)) for steps in (1, least))
    if all_of_them <= _LONGEST:
        return least
    return max(1, int((least - 1) * (_LONGEST - one) / (all_of_them - one)))


def filled(ready: Ready, seconds: float) -> tuple[Ready, float]:
    """The seconds of a run that lasts as long as asked, and what it takes.

    If it falls short the number of steps was chosen in a slow moment, and it takes more.
    """
    run, steps = ready.variant.run, ready.steps
    spent = timed(run, steps)
    if spent >= seconds * (1 - _SHORTFALL) or steps == _MOST_STEPS:
        return ready, spent
    more = min(math.ceil(steps * seconds / max(spent, 1e-7)), _MOST_STEPS)
    run(more)  # some compile for a number of steps
    return ready._replace(steps=more), timed(run, more)


def _fastest(all_ready: list[Ready]) -> tuple[float, Ready]:
    """The one of the best rate in short runs, taken in turn: a moment must not decide."""
    rates: list[list[float]] = [[] for _ in all_ready]
    for _ in range(_CHOOSING_ROUNDS):
        for each, ready in zip(rates, all_ready, strict=True):
            each.append(ready.variant.work * ready.steps / timed(ready.variant.run, ready.steps))
    middle = [statistics.median(each) for each in rates]
    best = middle.index(max(middle))
    return middle[best], all_ready[best]


def calibrate(variant: Variant, seconds: float) -> tuple[int, float]:
    """Steps that last about so many seconds, at least 1, and the rate of work."""
    steps = 1
    for _ in range(_MOST_TRIALS):
        # Twice: it may have to compile for this number, or be disturbed for a moment.
        spent = max(min(timed(variant.run, steps) for _ in range(2)), 1e-7)
        # What a call costs besides its steps is not to be taken for the cost of a step.
        if steps == _MOST_STEPS or spent >= seconds / 4:
            break
        steps = min(_MOST_STEPS, round(steps * min(max(seconds / spent, 2), 100)))
    wanted = min(max(round(steps * seconds / spent), 1), _MOST_STEPS)
    return wanted, variant.work * steps / spent


def timed(run: Callable[[int], Any], steps: int) -> float:
    """Seconds that a run lasts."""
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start
