"""What the command line sets before JAX begins: it changes how loops are compiled.

No bit of what is computed element by element changes; of sums the order does.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys

import jax
import pytest

from lindae_jax import start
from lindae_jax.batches.devices import num_cores

RUN = """
import json, os, sys
from lindae_jax import Problem, simulate_pairs, start, theory
if sys.argv[1] == "start":
    start.use_all_cores(1)
import jax
import numpy as np

w1, w2, eigenvalue, noise, decay = np.random.default_rng(1).uniform(0.1, 1, (5, 777)).astype("f4")
decay[:400] = 0
problem = Problem(eigenvalue, noise, decay, 0.1)
run = simulate_pairs(w1, w2, problem, num_steps=45, save_every=15)
bits = [np.asarray(x).tobytes().hex() for x in (run.w1, run.w2, theory.mapping(7, w1, w2, problem))]
print(json.dumps([len(jax.devices()), os.environ["XLA_FLAGS"], bits]))
"""


def run(folder, how):
    """Devices, flags and bits of a fresh process, which writes its programs to a folder."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    environment["XLA_FLAGS"] = f"--xla_dump_to={folder}"
    done = subprocess.run(
        [sys.executable, "-c", RUN, how], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def code_size(folder):
    """Bytes of the machine code of the pairs."""
    return sum(path.stat().st_size for path in folder.glob("*jit__core*.o"))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="for x86 only")
@pytest.mark.skipif(not start._has_only_a_cpu(), reason="JAX has an accelerator here")
def test_loops_take_several_vectors_at_once_and_compute_the_same_bits(tmp_path):
    devices, flags, bits = run(tmp_path / "before", "as it is")
    assert start.INTERLEAVE not in flags
    devices_then, flags_then, bits_then = run(tmp_path / "then", "start")
    assert flags_then == f"--xla_dump_to={tmp_path / 'then'} {start.INTERLEAVE}"
    assert (devices, devices_then) == (1, 1)
    assert bits == bits_then
    # Of loops alone it is several times as much; each file has more in it than its loop.
    one, several = code_size(tmp_path / "before"), code_size(tmp_path / "then")
    assert 0 < 1.2 * one < several


@pytest.fixture
def pc(monkeypatch):
    """A machine with nothing but an x86 CPU, as far as anyone can tell."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(start, "_is_known", lambda option: True)
    monkeypatch.setattr(jax, "config", type("Config", (), {"jax_platforms": None}))
    return monkeypatch


def flags(given=None):
    environment = {} if given is None else {"XLA_FLAGS": given}
    start._keep_cores_busy(environment)
    return environment.get("XLA_FLAGS")


def test_flags_of_the_user_stay(pc):
    assert flags() == start.INTERLEAVE
    assert flags("--xla_cpu_max_isa=AVX2") == f"--xla_cpu_max_isa=AVX2 {start.INTERLEAVE}"


def test_who_tells_llvm_something_is_left_alone(pc):
    given = "--xla_backend_extra_options=-force-vector-interleave=2"
    assert flags(given) == given


@pytest.mark.parametrize(
    ("what", "name", "value"),
    [
        (platform, "machine", lambda: "aarch64"),
        (importlib.metadata, "entry_points", lambda group: ("cuda12",)),
        (importlib.util, "find_spec", lambda name: name == "libtpu" or None),
        (importlib.util, "find_spec", lambda name: name == "jax_plugins" or None),
    ],
    ids=["other processors", "a GPU", "a TPU", "another plugin"],
)
def test_other_compilers_are_told_nothing(pc, what, name, value):
    pc.setattr(what, name, value)
    assert flags() is None


def test_what_llvm_does_not_know_is_not_set(pc):
    """A process that is told such an option ends with its first program."""
    pc.setattr(start, "_is_known", lambda option: False)
    assert flags() is None


def test_options_are_looked_up_in_the_library(tmp_path):
    assert not start._is_known("force-vector-interleave", tmp_path)
    (tmp_path / "libjax_common.so").write_bytes(b"a\0force-vector-width\0b\0")
    assert start._is_known("force-vector-width", tmp_path)
    assert not start._is_known("force-vector", tmp_path)


def test_platforms_that_were_chosen_count_not_what_is_installed(pc):
    pc.setattr(jax.config, "jax_platforms", "cuda,cpu")
    assert flags() is None


def test_a_cpu_that_was_chosen_beside_a_gpu(pc):
    pc.setattr(importlib.metadata, "entry_points", lambda group: ("cuda12",))
    pc.setattr(jax.config, "jax_platforms", "cpu")
    assert flags() == start.INTERLEAVE


@pytest.mark.parametrize("given", ["flags.txt", " flags.txt"])
def test_a_file_of_flags_keeps_its_name(pc, given):
    assert flags(given) == given


class Config:
    """As jax.config before JAX has begun, or afterwards."""

    jax_platforms = None

    def __init__(self, devices, begun=False):
        self.jax_num_cpu_devices, self.begun = devices, begun

    def update(self, name, value):
        if self.begun:
            raise RuntimeError("JAX has begun")
        setattr(self, name, value)


@pytest.mark.parametrize(
    ("given", "chosen", "devices"),
    [
        ({}, -1, num_cores()),
        ({}, 3, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}, -1, -1),
    ],
)
def test_devices_that_the_user_chose_stay_and_loops_are_the_same(pc, given, chosen, devices):
    config = Config(chosen)
    pc.setattr(jax, "config", config)
    pc.setattr(os, "environ", dict(given))
    start.use_all_cores()
    assert config.jax_num_cpu_devices == devices
    assert os.environ["XLA_FLAGS"] == " ".join([*given.values(), start.INTERLEAVE])


def test_nothing_is_set_once_jax_has_begun(pc):
    pc.setattr(jax, "config", Config(-1, begun=True))
    pc.setattr(os, "environ", {})
    start.use_all_cores()
    assert os.environ == {}
