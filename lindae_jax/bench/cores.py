"""How far the cores are from each other, which a virtual machine's host may change at any time."""

import contextlib
import ctypes
import os
import statistics
from concurrent.futures import ThreadPoolExecutor

import jax

from lindae_jax.bench import native
from lindae_jax.bench.timing import Absent

_ROUNDS, _TIMES = 500, 5


def one_way() -> float | None:
    """Nanoseconds that a number takes from one core of this process to the next, or None.

    None where there is one core or no C compiler, where the system does not tell which
    cores there are, and where JAX computes elsewhere.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2 or jax.default_backend() != "cpu":
        return None
    try:
        play = native.load("cores.c").play
    except Absent:
        return None
    play.restype, play.argtypes = ctypes.c_double, (ctypes.c_int, ctypes.c_int)

    def on(core: int, serves: int) -> float:
        with contextlib.suppress(OSError):  # one that gives up would leave the other waiting
            os.sched_setaffinity(0, {core})  # of this thread alone
        return statistics.median(play(serves, _ROUNDS) for _ in range(_TIMES))

    with ThreadPoolExecutor(2) as pool:
        server, other = pool.submit(on, cores[0], 1), pool.submit(on, cores[1], 0)
        other.result()
        return server.result()
