"""Which devices and which share of the chunks a process takes."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lindae_jax import checks
from lindae_jax.problem import Problem
from lindae_jax.sweep.spec import Sweep

# The part of a device's memory that one box may take, for where nobody tells how much
# there is, and for the program's own buffers.
_PART, _UNKNOWN = 0.25, 2**32


def placement(devices: int | None) -> Callable[[Problem], Problem]:
    """A function that puts a problem on the first so many devices of this process.

    Parameters
    ----------
    devices : int, optional
        All by default.

    Raises
    ------
    ValueError
        There are fewer.
    """
    if devices is None:
        return lambda problem: problem
    local = jax.local_devices()
    if checks.count("devices", devices, 1) > len(local):
        raise checks.mistake(
            f"devices must be at most {len(local)}, those of this process",
            devices,
            "Ask for fewer; a CPU has as many as jax_num_cpu_devices said at the start.",
        )
    chosen = local[:devices]
    where: Any = chosen[0]
    if len(chosen) > 1:
        where = NamedSharding(Mesh(np.asarray(chosen), ("batch",)), PartitionSpec())

    def place(problem: Problem) -> Problem:
        # One argument that lies there takes the whole call there.
        rate = jax.device_put(problem.learning_rate, where)
        return Problem(problem.eigenvalue, problem.noise, problem.decay, rate)

    return place


def on_one(arrays: Any, problem: Problem) -> Any:
    """Few arrays on one of a problem's devices, for all of them would compute the whole."""
    return jax.device_put(arrays, min(problem.learning_rate.devices(), key=lambda d: d.id))


def members_that_fit(sweep: Sweep, rows: int, devices: int | None) -> int:
    """How many members one call may have, by the memory of the devices."""
    local = jax.local_devices()[:devices]
    statistics = [device.memory_stats() or {} for device in local]
    # CPU devices share one memory, which counts once.
    shared = local[0].platform == "cpu"
    capacity = sum(s.get("bytes_limit", _UNKNOWN) for s in statistics[: 1 if shared else None])
    return max(1, int(_PART * capacity / _bytes_in_flight(sweep, rows)))


def _bytes_in_flight(sweep: Sweep, rows: int) -> int:
    """Bytes that a member takes while it is computed."""
    item = np.dtype(sweep.dtype).itemsize
    if sweep.model != "matrices":
        return item * (2 * rows * (2 + len(sweep.observe)) + 16)
    matrix = sweep.widest * sweep.num_directions
    saved = rows if "weights" in sweep.observe else 1
    lanczos = 40 * 2 if "sharpness" in sweep.observe else 0
    assert sweep.directions is not None
    return item * (matrix * (2 * saved + 12 + lanczos) + rows * 8 * len(sweep.directions))


def default_share(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """The share of the chunks that is this process's, as Slurm or `jax.distributed` count it.

    Job arrays and the tasks of `srun` multiply: each task of each array element has a share
    of its own.
    """
    index, count = 0, 1
    array = _slurm(environment, "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
    if array is not None:
        index, count = _place_in_array(environment, *array)
    # Not SLURM_NTASKS, which a batch script that starts one process has as well.
    task = _slurm(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    if task is not None:
        index, count = index * task[1] + task[0], count * task[1]
    if count == 1 and jax.process_count() > 1:
        return jax.process_index(), jax.process_count()
    return index, count


def _place_in_array(environment: Mapping[str, str], task: int, count: int) -> tuple[int, int]:
    """The place of a task in a job array without gaps, and of how many."""
    first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
    step = max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", 1))
    last = _number(environment, "SLURM_ARRAY_TASK_MAX", first + step * (count - 1))
    index, between = divmod(task - first, step)
    # Of an array with gaps every task has to stop: some would fit, and do another's share.
    if (last - first) // step + 1 != count or between or not 0 <= index < count:
        raise checks.mistake(
            "process must be told for a job array of Slurm with gaps in it",
            f"its task {task}, of {count} tasks from {first} to {last}",
            "Number the array evenly, as in --array=0-7, or pass process (--process I/N).",
        )
    return index, count


def _slurm(environment: Mapping[str, str], index: str, count: str) -> tuple[int, int] | None:
    """A place and of how many, if both are there."""
    place, size = _number(environment, index, -1), _number(environment, count, 0)
    return (place, size) if place >= 0 and size > 0 else None


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        return default


def checked_share(share: tuple[int, int]) -> tuple[int, int]:
    """(I, N) with 0 <= I < N; ValueError otherwise."""
    try:
        index, count = share
    except (TypeError, ValueError):
        index, count = -1, 0
    whole = all(isinstance(x, int) and not isinstance(x, bool) for x in (index, count))
    if not whole or not 0 <= index < count:
        raise checks.mistake(
            "process must be I of N with 0 <= I < N",
            checks.brief(share),
            "Pass (0, 4), or --process 0/4.",
        )
    return index, count
