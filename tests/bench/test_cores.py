"""How far cores are from each other: found, or not told."""

import os
import shutil

import pytest

from lindae_jax.bench import cores

several = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="one core, or a system that does not tell",
)


@several
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_number_takes_its_time_and_threads_stay_where_they_were():
    """Again and again, for each game begins when both have seen the end of the one before."""
    before = os.sched_getaffinity(0)
    for _ in range(20):
        nanoseconds = cores.one_way()
        assert nanoseconds is not None
        # In less no signal crosses a chip; in more a thread that lost its core has it back.
        assert 1 < nanoseconds < 1e7
    assert os.sched_getaffinity(0) == before


@several
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_where_it_cannot_be_seen_nothing_is_told(monkeypatch):
    with monkeypatch.context() as here:
        here.setenv("CC", "no-such-compiler")
        assert cores.one_way() is None
    with monkeypatch.context() as here:
        here.setattr(os, "sched_getaffinity", lambda _: {0})
        assert cores.one_way() is None
    with monkeypatch.context() as here:
        here.setattr(cores.jax, "default_backend", lambda: "gpu")
        assert cores.one_way() is None


@several
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_system_that_lets_no_thread_choose_is_asked_all_the_same(monkeypatch):
    def refused(*_):
        raise PermissionError("no")

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    assert cores.one_way() is not None
