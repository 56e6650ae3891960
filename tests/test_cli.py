"""The command line: what it prints, writes and returns."""

import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from lindae_jax import cli, reproduce

QUICK = ["reproduce", "--steps", "30", "--hidden", "8"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(captured):
    """The single line of a failure."""
    assert captured.err.endswith("\n")
    (line,) = captured.err.splitlines()
    assert line.startswith("lindae: error: ")
    return line.removeprefix("lindae: error: ")


# --- help ---------------------------------------------------------------------


def help_text(capsys, *arguments):
    assert cli.main([*arguments, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    # Without the box, and with lines joined, to be searched.
    return " ".join(re.sub("[\u2500-\u257f]", " ", captured.out).split())


def test_help_names_the_commands(capsys):
    assert "reproduce Train three autoencoders" in help_text(capsys)


OPTIONS = (
    "--data NAME|FILE --root DIR --samples N --hidden H --noise V --decay G --learning-rate A "
    "--steps T --init {small,aligned} --init-std S --seed K --directions 1,2,4 --out DIR"
)


def test_help_shows_every_option(capsys):
    text = help_text(capsys, "reproduce")
    for option in re.findall(r"--[\w-]+ \S+", OPTIONS):
        assert option in text
    assert "--float64" in text
    assert "None" not in text


def test_help_tells_the_true_defaults(capsys):
    text = help_text(capsys, "reproduce")
    assert "(default: digits 1,497, mnist 50,000, cifar10 30,000, FILE all)" in text
    for name in ("hidden", "noise", "learning_rate"):
        part = text.split(f"--{name.replace('_', '-')} ")[1].split("(default: ")[1]
        for source in ("digits", "mnist", "cifar10"):
            value = re.match(rf".*?\b{source} ([\d.]+),", part)[1]
            assert float(value) == reproduce.DEFAULTS[source][name]
    for source in ("digits", "mnist", "cifar10"):
        defaults = reproduce.DEFAULTS[source]
        assert defaults["noise"] == defaults["decay"]
        assert ",".join(map(str, defaults["directions"])) in text.split("--directions ")[1]
    assert f"(default: {reproduce.DEFAULTS['any']['num_steps']:,})" in text
    assert f"(default: {reproduce.DEFAULTS['any']['init_std']})" in text


# --- a run --------------------------------------------------------------------


def test_a_run_prints_settings_and_table_and_writes_files(capsys, tmp_path):
    assert cli.main([*QUICK, "--directions", "1,4", "--noise", "11"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    folder = tmp_path / "lindae-reproduce-digits"
    assert sorted(path.name for path in folder.iterdir()) == sorted(reproduce.FILES)
    for name in reproduce.FILES:
        assert f"lindae-reproduce-digits/{name}\n" in out
    assert "digits: 1,497 samples of 64 inputs" in out
    content = json.loads((folder / "reproduce.json").read_text())
    rows = re.findall(
        r"^ +([14]) +([\d.]+) +([\d.]+) +([\d.]+) +(.+?)  +(.+?)  +([\d.]+)$", out, re.M
    )
    assert [row[0] for row in rows] == ["1", "4"] * 3
    for i, row in enumerate(rows):
        network, j = content["networks"][i // 2], i % 2
        shown = [float(row[n]) for n in (1, 2, 3, 6)]
        values = [content["eigenvalue"][j]] + [
            network[name][j] for name in ("fixed_point", "reached", "worst_difference")
        ]
        np.testing.assert_allclose(shown, values, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(float(row[4]), network["half_time"][j], atol=0.06)
        reached = network["half_time_reached"][j]
        assert row[5] == ("> 30" if reached is None else f"{reached:.1f}")


def test_a_direction_that_ends_at_zero_has_no_half_time(capsys):
    assert cli.main([*QUICK, "--decay", "5"]) == 0
    block = capsys.readouterr().out.split("WDAE (decay 5)")[1].split("DAE (noise")[0]
    assert re.search(r"^ +2 +[\d.]+ +0\.0000 +0\.0000 +- +- ", block, re.M)


def test_all_options_reach_the_run(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(40))
    given = (
        "--data own.npz --root . --samples 30 --hidden 5 --noise 0.2 --decay 0.1 "
        "--learning-rate 0.01 --steps 12 --init aligned --init-std 0.01 --seed 7 "
        "--directions 5,1 --out here/there"
    )
    assert cli.main(["reproduce", *given.split()]) == 0
    settings = json.loads((tmp_path / "here/there/reproduce.json").read_text())["settings"]
    assert settings == {
        "data": "own.npz",
        "root": ".",
        "split": "all",
        "num_samples": 30,
        "num_inputs": 9,
        "hidden": 5,
        "noise": 0.2,
        "decay": 0.1,
        "learning_rate": 0.01,
        "num_steps": 12,
        "init": "aligned",
        "init_std": 0.01,
        "seed": 7,
        "directions": [1, 5],
        "float64": False,
    }


# --- mistakes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "extra"), [("tyro", "cli"), ("matplotlib.style", "plot"), ("tqdm", "cli")]
)
def test_a_missing_library_is_a_mistake_that_names_the_extra(
    capsys, tmp_path, monkeypatch, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(QUICK) == 2
    assert f"lindae_jax[{extra}]" in one_line(capsys.readouterr())
    assert not any(tmp_path.iterdir())


# --- failures -----------------------------------------------------------------


def test_divergence_ends_with_one_line_and_code_1(capsys, tmp_path):
    assert cli.main(["reproduce", "--learning-rate", "3", "--steps", "300"]) == 1
    assert "training diverged (AE, WDAE, DAE" in one_line(capsys.readouterr())
    assert not any(tmp_path.iterdir())


def test_interrupting_ends_with_one_line_and_code_130(capsys, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lindae_jax.reproduce.training.simulate_matrices", interrupted)
    assert cli.main(QUICK) == 130
    assert capsys.readouterr().err == "lindae: interrupted; nothing was written\n"
    assert not any(tmp_path.iterdir())


def test_a_failed_write_comes_after_the_table_with_code_1(capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lindae_jax.files.write", full)
    assert cli.main(QUICK) == 1
    captured = capsys.readouterr()
    assert "worst" in captured.out
    assert "No space left on device" in one_line(captured)
    assert not any(tmp_path.iterdir())


def test_a_fault_of_the_program_is_not_dressed_as_a_mistake(monkeypatch):
    def faulty(*_, **__):
        raise ValueError("a fault")

    monkeypatch.setattr("lindae_jax.reproduce.training.simulate_matrices", faulty)
    with pytest.raises(ValueError, match="a fault"):
        cli.main(QUICK)


# --- as a process -------------------------------------------------------------


def process(*arguments):
    # Warnings are errors in there too; the tests' own switch stays outside.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-W", "error", "-m", "lindae_jax.cli", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_float64_switches_itself_on(tmp_path):
    before = jax.config.jax_enable_x64
    with process(*QUICK, "--float64", "--out", "wide") as running:
        out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert "float64" in out
    content = json.loads((tmp_path / "wide" / "reproduce.json").read_text())
    values = np.array(content["networks"][0]["training"])
    assert (values != values.astype(np.float32)).any()
    assert jax.config.jax_enable_x64 == before


def test_a_reader_that_leaves_early_is_told_nothing():
    with process("reproduce", "--help") as running:
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait() == 1
