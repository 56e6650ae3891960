"""Which devices and which share a process takes, and that no result depends on them."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lindae_jax import Sweep
from lindae_jax.sweep import cluster, devices, store


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, (0, 1)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "10"}, (7, 10)),
        # An array counted from 1, and one in steps of 5.
        (
            {
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "1",
            },
            (2, 4),
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "10",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_STEP": "5",
            },
            (2, 3),
        ),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, (3, 8)),
        # A batch script that starts one process by itself, though it has room for eight.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_ARRAY_TASK_COUNT": "2",
                "SLURM_PROCID": "2",
                "SLURM_STEP_NUM_TASKS": "4",
            },
            (6, 8),
        ),
    ],
)
def test_slurm_counts_the_processes(environment, share):
    assert devices.default_share(environment) == share


def test_a_job_array_with_gaps_has_to_be_told(tmp_path):
    gaps = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "3"}
    with pytest.raises(ValueError, match=r"^process must be told .* its task 7, of 2 tasks"):
        devices.default_share(gaps)


def array_of(tasks, step=1):
    """What Slurm tells each task of an array."""
    for task in tasks:
        values = {"ID": task, "COUNT": len(tasks), "MIN": tasks[0], "MAX": tasks[-1], "STEP": step}
        yield {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("tasks", "step"),
    [([1, 3, 7], 1), ([0, 2, 4], 1), ([0, 1, 3], 1), ([0, 9], 1)],
)
def test_of_a_job_array_with_gaps_every_task_is_refused(tasks, step):
    for environment in array_of(tasks, step):
        with pytest.raises(ValueError, match=r"^process must be told for a job array"):
            devices.default_share(environment)


@pytest.mark.parametrize(
    ("tasks", "step"),
    [([0, 1, 2], 1), ([4, 5, 6, 7], 1), ([1, 3, 5], 2), ([0, 5, 10], 5), ([7], 1)],
)
def test_of_a_job_array_without_gaps_each_task_has_a_share(tasks, step):
    shares = [devices.default_share(environment) for environment in array_of(tasks, step)]
    assert shares == [(i, len(tasks)) for i in range(len(tasks))]


def test_a_share_that_nobody_asked_for_is_announced(tmp_path, monkeypatch, caplog):
    axes = {"eigenvalue": np.linspace(0.1, 1, 10), "init_w1": 0.1, "init_w2": 0.1}
    sweep, name = Sweep(axes, 5), iter("abc")
    sweep.run(tmp_path / next(name), progress=False)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "10")
    sweep.run(tmp_path / next(name), progress=False, process=(1, 10))
    assert not caplog.records
    sweep.run(tmp_path / next(name), progress=False)
    assert [r.getMessage()[:42] for r in caplog.records] == [
        "computing share 1/10 of the chunks only, a"
    ]


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({"SLURM_ARRAY_TASK_STEP": "0"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_STEP": "x", "SLURM_ARRAY_TASK_MIN": ""}, (2, 4)),
        ({"SLURM_ARRAY_TASK_COUNT": "0"}, (0, 1)),
        ({"SLURM_ARRAY_TASK_ID": "", "SLURM_PROCID": "-1", "SLURM_STEP_NUM_TASKS": "2"}, (0, 1)),
    ],
)
def test_what_slurm_would_not_say_is_as_if_it_said_nothing(environment, share):
    usual = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"}
    assert devices.default_share(usual | environment) == share


def test_every_task_of_every_array_element_has_a_share_of_its_own():
    shares = {
        devices.default_share(
            {
                "SLURM_ARRAY_TASK_ID": str(i),
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_PROCID": str(k),
                "SLURM_STEP_NUM_TASKS": "4",
            }
        )
        for i in range(3)
        for k in range(4)
    }
    assert shares == {(i, 12) for i in range(12)}


def test_jax_distributed_counts_them_too(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 5)
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    assert devices.default_share({}) == (3, 5)


def test_memory_bounds_the_members_of_a_call():
    axes = {"eigenvalue": np.linspace(0.1, 1, 10), "init_w1": 0.1, "init_w2": 0.1}
    few = devices.members_that_fit(Sweep(axes, 1_000), 1, None)
    many_rows = devices.members_that_fit(Sweep(axes, 1_000, save_every=1), 1_001, None)
    assert few > 100 * many_rows >= 100


# Whatever is compiled while sweeps run is kept, for no device may wait for another.
_BEGIN = """
import dataclasses
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
import xarray
from jax._src import compiler
from lindae_jax import Spectrum, Sweep
from lindae_jax.batches.devices import FEW
from lindae_jax.sweep import store

texts, real = [], compiler.backend_compile_and_load
def seen(*arguments, **named):
    executable = real(*arguments, **named)
    texts.append("\\n".join(m.to_string() for m in executable.hlo_modules()))
    return executable
compiler.backend_compile_and_load = seen
"""

_PAIRS_AND_THEORY = """
ALL = ["mapping", "norm", "loss", "distance", "first_passage", "sharpness", "gradient"]
pairs = Sweep(
    {
        "eigenvalue": np.linspace(0.1, 3, 331),
        "noise": [0.1, 0.3, 0.5],
        "seed": range(80),
        "init_std": 0.1,
        "learning_rate": 0.1,
    },
    40, init="small", save_every=20, observe=ALL,
)
theory = dataclasses.replace(pairs, model="theory", observe=["mapping", "first_passage"])
for sweep in (pairs, theory):
    results = [
        sweep.run(f"{sys.argv[1]}/{sweep.model}-{n}", devices=n, chunk_size=size, progress=False)
        for n, size in ((1, None), (2, 11_000), (4, None))
    ]
    for other in results[1:]:
        for name in other.variables:
            np.testing.assert_array_equal(other[name], results[0][name], err_msg=name)
"""

_NETWORKS = """
x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
networks = Sweep(
    # So many that they are spread over the devices.
    {"hidden": 8, "noise": np.linspace(0, 1, 11), "seed": range(40), "learning_rate": 0.1},
    2_000, model="matrices", spectrum=Spectrum.from_data(x), observe=["weights"],
)
def near(one, other, bound):
    for name in ("w1", "w2"):
        largest = np.abs(one[name]).max(("unit", "input"))
        assert (np.abs(one[name] - other[name]) <= bound * 2.0**-23 * largest).all()

assert networks.num_members * 8 * 16 >= FEW
# After one step, and where steps have added up.
for steps, bound in ((1, 8 * 16**0.5), (2_000, 5e4)):
    sweep, path = dataclasses.replace(networks, num_steps=steps), f"{sys.argv[1]}/{steps}-of-"
    store._MEMBERS = 2**20
    one = sweep.run(f"{path}1", devices=1, progress=False)
    for n in (2, 4):
        near(one, sweep.run(f"{path}{n}", devices=n, progress=False), bound)
    store._MEMBERS = 200
    sweep.run(f"{path}shares", process=(0, 2), progress=False)
    assert (xarray.open_zarr(f"{path}shares").status == 3).any()
    near(one, sweep.run(f"{path}shares", process=(1, 2), progress=False), bound)
"""

_END = """
several = [t for t in texts if "num_partitions=4" in t]
assert len(several) >= int(sys.argv[2]), len(several)
for text in several:
    for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
        assert word not in text, (word, text.split(",")[0])
print("same")
"""


@pytest.mark.parametrize(
    ("program", "spread"),
    [(_PAIRS_AND_THEORY, 3), (_NETWORKS, 1)],
    ids=["pairs and theory", "networks"],
)
def test_results_are_those_of_one_device_without_a_collective(program, spread, tmp_path):
    code = _BEGIN + program + _END
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path), str(spread)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "same\n")


def test_dasks_workers_do_the_whole_even_where_slurm_counts_their_client(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 2)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "10")
    units = []
    monkeypatch.setattr(cluster, "run", lambda client, sweep, path, u, *rest: units.extend(u))
    axes = {"eigenvalue": np.linspace(0.1, 1, 10), "init_w1": 0.1, "init_w2": 0.1}
    Sweep(axes, 5).run(tmp_path / "a.zarr", client=SimpleNamespace(submit=None), progress=False)
    assert [unit.chunk for unit in units] == [0, 1, 2, 3, 4]
