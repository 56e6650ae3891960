"""What a sweep costs beside its kernel, and what memory a large one takes.

    python benchmarks/sweep.py            both figures, a minute or two

Overhead: 10^7 pairs by 10,000 steps, last step only, with store and bar, over the bare
`simulate_pairs` on the same chunks in the same process; the median of five alternating
rounds, import and compilation apart. Memory: the largest resident set of a process that
runs 10^8 pairs by 100 steps into a store.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import Sweep, simulate_pairs
from lindae_jax.batches.devices import num_cores
from lindae_jax.sweep import grid, members, store
from lindae_jax.sweep.variables import member_bytes


def sweep_of(num_eigenvalues: int, num_steps: int, decay: float) -> Sweep:
    """10^3 members for each eigenvalue."""
    axes = {
        "eigenvalue": np.geomspace(0.1, 3, num_eigenvalues),
        "noise": np.linspace(0, 1, 100),
        "learning_rate": np.linspace(0.01, 0.1, 10),
        "decay": decay,
        "init_w1": 0.1,
        "init_w2": 0.2,
    }
    return Sweep(axes, num_steps)


def bare(sweep: Sweep) -> float:
    """Seconds of the kernel alone, chunk by chunk."""
    begin = time.perf_counter()
    chunk = store.chunk_of(sweep, member_bytes(sweep, 1))
    for index in range(grid.num_chunks(sweep.shape, chunk)):
        box = grid.chunk_box(sweep.shape, chunk, index)
        start, problem = (f(sweep, box, chunk) for f in (members.start_pairs, members.problem))
        w1 = jnp.broadcast_to(start.w1, chunk)
        assert sweep.num_steps is not None
        run = simulate_pairs(w1, start.w2, problem, num_steps=sweep.num_steps)
        jax.block_until_ready(run)
    return time.perf_counter() - begin


def stored(sweep: Sweep, folder: str, number: int) -> float:
    """Seconds of the sweep into a store of its own."""
    begin = time.perf_counter()
    sweep.run(Path(folder) / f"{number}.zarr")
    return time.perf_counter() - begin


def overhead(decay: float, rounds: int = 5) -> None:
    """Print the time of a sweep over that of its kernel."""
    sweep = sweep_of(10_000, 10_000, decay)
    ratios, times = [], []
    with tempfile.TemporaryDirectory() as folder:
        stored(sweep_of(10_000, 8, decay), folder, -1)
        bare(sweep_of(10_000, 8, decay))
        for number in range(rounds):
            alone, whole = bare(sweep), stored(sweep, folder, number)
            ratios.append(whole / alone)
            times.append(alone)
    print(
        f"10^7 pairs, 10,000 steps, decay {decay:g}: {statistics.median(times):.2f} s bare, "
        f"times {statistics.median(ratios):.3f} as a sweep "
        f"({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def memory() -> None:
    """Print what memory a large sweep takes."""
    sweep = sweep_of(100_000, 100, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        seconds = stored(sweep, folder, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"10^8 members, 100 steps: {seconds:.1f} s, at most {peak:.2f} GiB resident", flush=True)


def main() -> None:
    """Print all of it, or with --memory that alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="that figure alone")
    if parser.parse_args().memory:
        memory()
        return
    for decay in (0.0, 0.01):
        overhead(decay)
    # In a process of its own, for the largest resident set is never forgotten.
    subprocess.run([sys.executable, __file__, "--memory"], check=True)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", num_cores())
    main()
