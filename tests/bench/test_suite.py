"""The suite as a whole, and its command."""

import datetime
import json
import os
import subprocess
import sys

import jax
import pytest

from lindae_jax import bench, cli
from lindae_jax.batches import devices
from lindae_jax.bench import cases, suite
from lindae_jax.bench.probe import require_sound_backend


def sound():
    """Whether this JAX is one that gets a report."""
    try:
        require_sound_backend()
    except FloatingPointError:
        return False
    return True


def process(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "lindae_jax.cli", "bench", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "case", ["curvature", *(pytest.param(c, marks=pytest.mark.slow) for c in ("pairs", "all"))]
)
def test_the_command_measures_or_refuses_to(tmp_path, case):
    done = process("--quick", "--case", case, "--json", "new/r.json", folder=tmp_path)
    if not sound():
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("lindae: error: this JAX")
        assert done.stderr.count("\n") == 1
        assert not any(tmp_path.iterdir())
        return
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "new" / "r.json").read_text())
    assert report["settings"]["names"] == (list(bench.CASES) if case == "all" else [case])
    assert datetime.datetime.fromisoformat(report["date"]).tzinfo == datetime.UTC
    assert report["seconds"] > 1
    assert report["machine"]["dtypes"] == ["float32", "float64"]
    # One device for each core, where nothing else was asked for.
    assert len(report["machine"]["devices"]) == devices.num_cores()
    for measured in report["cases"]:
        assert measured["title"] in done.stdout
        for each in measured["contenders"]:
            assert each["name"] in done.stdout
    assert done.stdout.endswith("r.json\n" if case == "curvature" else "r.png\n")


def test_help_names_the_command(capsys):
    assert cli.main(["bench", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for option in ("--quick", "--case {all,pairs,matrices,theory,curvature,start}", "--json FILE"):
        assert option in shown


def test_a_backend_that_miscompiles_gets_no_report(monkeypatch, tmp_path, capsys):
    def bad():
        raise FloatingPointError("this JAX miscompiles")

    def never(*_, **__):
        raise AssertionError("it went on")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(suite, "require_sound_backend", bad)
    monkeypatch.setattr(cases, "plans", never)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    assert cli.main(["bench", "--quick", "--json", "r.json"]) == 1
    assert capsys.readouterr().err == "lindae: error: this JAX miscompiles\n"
    assert not any(tmp_path.iterdir())


def test_the_plans_cover_all_that_is_asked_for():
    titles = [plan.title for name in bench.CASES[:-1] for plan in cases.plans(name, quick=False)]
    for title in (
        *("1,000 pairs, float32", "100,000,000 pairs, float32"),
        "1,000,000 pairs saved every 25 steps, float32",
        "MNIST's shape: D = 784, H = 256, float32",
        "CIFAR-10's shape: D = 3,072, H = 512, float32",
        "256 autoencoders: D = 64, H = 16, float32",
        "4,096 autoencoders: D = 16, H = 4, float32",
        "mapping, no decay, 1,024 times x 1,024 settings, float32",
        "mapping, decay in half of the settings, 1,048,576 points, float32",
    ):
        assert title in titles
    assert len(titles) == len(set(titles))


@pytest.mark.x64
def test_the_plans_have_float64_in_64_bit_mode():
    titles = [plan.title for name in bench.CASES[:-1] for plan in cases.plans(name, quick=False)]
    assert "30,000,000 pairs, float64" in titles
    assert "mapping, no decay, 1,024 times x 1,024 settings, float64" in titles


def test_a_case_without_memory_is_skipped_with_a_word(monkeypatch):
    monkeypatch.setattr(cases.pairs, "free_memory", lambda: 10**3)
    plan = next(cases.plans("pairs", quick=True))
    found = suite._measured(plan, 0.01, 1)
    assert found["title"] == plan.title
    assert "of memory" in found["skipped"]
