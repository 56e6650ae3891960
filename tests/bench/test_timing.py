"""Answers before times; steps that fill the time asked for; contenders in turn."""

import numpy as np
import pytest

from lindae_jax.bench import timing
from lindae_jax.bench.timing import Case, Contender, Variant, WrongAnswer


class Clock:
    """Time that passes only where a run says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def variant(self, cost, overhead=0.0, work=1.0, label="", error=0.0, log=None):
        def run(steps):
            self.now += overhead + cost * steps
            if log is not None:
                log.append(label)

        return Variant(label, work, run, lambda: error, 1e-3)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.mark.parametrize("cost", [1e-9, 1e-6, 1e-3, 0.1])
def test_a_run_lasts_as_long_as_asked(clock, cost):
    steps, rate = timing.calibrate(clock.variant(cost, work=3.0), 0.5)
    # Rounding to a whole number of steps is all that is left.
    assert abs(steps * cost - 0.5) <= cost
    np.testing.assert_allclose(rate, 3 / cost, rtol=1e-12)


def test_what_a_call_costs_is_not_taken_for_the_cost_of_a_step(clock):
    steps, _ = timing.calibrate(clock.variant(1e-6, overhead=0.02), 0.5)
    assert 0.25 <= steps * 1e-6 + 0.02 <= 0.55


def test_a_moment_s_disturbance_is_no_cost(clock):
    """A first run of several steps that takes a hundred times as long as the next."""
    steady, disturbed = clock.variant(1e-3), []

    def run(steps):
        steady.run(steps)
        if steps > 1 and not disturbed:
            disturbed.append(steps)
            steady.run(99 * steps)

    steps, _ = timing.calibrate(steady._replace(run=run), 0.5)
    assert disturbed
    assert abs(steps - 500) <= 1


def test_a_step_longer_than_the_run_is_taken_once(clock):
    assert timing.calibrate(clock.variant(7.0), 0.5)[0] == 1


@pytest.mark.parametrize(
    ("overhead", "steps"), [(0.2, 100), (0.85, 100), (1.0, 85), (1.8, 4), (2.0, 1)]
)
def test_a_variant_can_ask_for_more_steps_if_they_end_within_two_seconds(clock, overhead, steps):
    variant = clock.variant(0.01, overhead=overhead)._replace(least_steps=100)
    chosen = timing.prepare(Contender("a", "library", [variant]), 0.1).steps
    assert abs(chosen - steps) <= 1


def test_a_run_chosen_in_a_slow_moment_is_filled(clock):
    variant = clock.variant(1e-3)
    chosen = timing.Ready(Contender("a", "library", [variant]), variant, 300, 0.0, 0.0)
    assert timing.filled(chosen, 0.5) == (chosen._replace(steps=500), 0.5)
    for steps in (490, 500, 2_000):
        long = chosen._replace(steps=steps)
        found, spent = timing.filled(long, 0.5)
        assert found == long
        np.testing.assert_allclose(spent, 1e-3 * steps)
    free = chosen._replace(variant=clock.variant(0.0))
    assert timing.filled(free, 0.5) == (free._replace(steps=2**30), 0.0)


def test_compiling_for_a_number_of_steps_does_not_fill_a_run(clock, monkeypatch):
    steady, compiled = clock.variant(1e-3), set()

    def run(steps):
        clock.now += 0.0 if steps in compiled else 2.0
        compiled.add(steps)
        steady.run(steps)

    contender = Contender("a", "library", [steady._replace(run=run)])
    chosen = timing.Ready(contender, contender.variants[0], 300, 0.0, 0.0)
    monkeypatch.setattr(timing, "prepare", lambda *_: chosen)
    found = timing.measure(Case("b", "c", "d", [contender], {}), 0.5, 3)["contenders"][0]
    assert found["steps"] in (500, 501)
    np.testing.assert_allclose(found["seconds"], 1e-3 * found["steps"])


def test_a_run_of_no_cost_ends(clock):
    assert timing.calibrate(clock.variant(0.0), 0.5)[0] <= 2**30


def test_the_fastest_variant_is_kept(clock):
    # The second does half as many steps a second, but three times the work in each.
    slow, fast = clock.variant(1e-3, label="slow"), clock.variant(2e-3, work=3.0, label="fast")
    ready = timing.prepare(Contender("a", "rival", [slow, fast]), 0.5)
    assert ready.variant.label == "fast"
    assert abs(ready.steps - 250) <= 1


def test_a_lucky_moment_does_not_choose(clock):
    """Half as fast as the other, but for one run among those that choose."""
    runs = []

    def lucky(steps):
        runs.append(steps)
        clock.now += 1e-9 if len(runs) == 8 else 2e-3 * steps

    steady = clock.variant(1e-3, label="steady")
    variants = [steady._replace(label="lucky", run=lucky), steady]
    assert timing.prepare(Contender("a", "rival", variants), 0.5).variant.label == "steady"
    assert len(runs) == 11


@pytest.mark.parametrize("error", [2e-3, np.inf, np.nan])
def test_a_wrong_answer_is_not_timed(clock, error):
    wrong = Contender("a", "rival", [clock.variant(1e-3, label="blocks", error=error)])
    right = Contender("b", "library", [clock.variant(1e-3)])
    with pytest.raises(WrongAnswer, match=r"a blocks: wrong by .*, where 0\.001 is allowed"):
        timing.measure(Case("pairs", "title", "steps", [right, wrong], {}), 0.1, 3)


def test_a_rival_that_breaks_is_left_out_with_a_word_and_the_library_is_not(clock):
    def broken(steps):
        raise TypeError("other version")

    variant = Variant("", 1.0, broken, lambda: 0.0, 1.0)
    library = Contender("b", "library", [clock.variant(1e-3)])
    case = Case("pairs", "title", "steps", [library, Contender("a", "rival", [variant])], {})
    found = timing.measure(case, 0.1, 3)
    assert found["absent"] == {"a": "failed: TypeError: other version"}
    assert [c["name"] for c in found["contenders"]] == ["b"]
    with pytest.raises(TypeError, match="other version"):
        timing.measure(case._replace(contenders=[Contender("b", "library", [variant])]), 0.1, 3)


def test_a_rival_that_breaks_later_is_left_out_too(clock):
    """In the middle of the rounds, of which the others' times are kept."""
    steady, runs = clock.variant(1e-3), []

    def breaking(steps):
        runs.append(steps)
        if len(runs) in breaks:
            raise MemoryError("gone")
        steady.run(steps)

    library = Contender("b", "library", [steady])
    rival = Contender("a", "rival", [steady._replace(run=breaking)])
    breaks: set[int] = set()
    case = Case("pairs", "title", "steps", [library, rival], {})
    assert len(timing.measure(case, 0.1, 3)["contenders"]) == 2
    for run in range(len(runs) - 2, len(runs) + 1):
        breaks = {run}
        del runs[:]
        found = timing.measure(case, 0.1, 3)
        assert found["absent"] == {"a": "failed: MemoryError: gone"}
        assert [(c["name"], len(c["seconds"])) for c in found["contenders"]] == [("b", 3)]


def test_contenders_run_in_turn_and_each_begins_a_round(clock):
    log: list[str] = []
    contenders = [
        Contender(name, "rival", [clock.variant(0.1, label=name, log=log)]) for name in "abc"
    ]
    found = timing.measure(Case("pairs", "title", "steps", contenders, {}), 0.1, 4)
    assert "".join(log)[-12:] == "abcbcacababc"
    assert [len(c["seconds"]) for c in found["contenders"]] == [4, 4, 4]


def test_the_machine_is_looked_at_before_each_round(clock):
    seen = iter([26.0, None, 165.0, 27.0])
    contenders = [Contender("a", "library", [clock.variant(0.1)])]
    case = Case("pairs", "title", "steps", contenders, {})
    assert timing.measure(case, 0.1, 4, lambda: next(seen))["core_to_core_ns"] == [26, 165, 27]
    assert timing.measure(case, 0.1, 4)["core_to_core_ns"] == []


def test_each_run_of_many_steps_comes_after_one_of_a_single_step(clock):
    """Whatever ran in between: here a call costs more, the longer ago the last one was."""
    steady, ended = clock.variant(1e-3), [0.0]

    def forgetting(steps):
        clock.now += 0.01 * (clock.now - ended[0])
        steady.run(steps)
        ended[0] = clock.now

    library = Contender("a", "library", [steady._replace(run=forgetting)])
    others = [Contender(name, "rival", [steady]) for name in "bc"]
    found = timing.measure(Case("pairs", "title", "steps", [library, *others], {}), 0.5, 5)
    for each in found["contenders"]:
        np.testing.assert_allclose(each["seconds"], 1e-3 * each["steps"], rtol=1e-9)


def test_compiling_is_told_apart(clock):
    calls = []

    def run(steps):
        clock.now += 1e-3 * steps + (0 if calls else 2.0)
        calls.append(steps)

    ready = timing.prepare(Contender("a", "rival", [Variant("", 1.0, run, lambda: 0.0, 1.0)]), 0.1)
    np.testing.assert_allclose(ready.compile_seconds, 2.0, rtol=1e-9)
    assert abs(ready.steps - 100) <= 1
