"""The command line: what it prints, writes and returns."""

import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray

from lindae_jax import Spectrum, Sweep, cli, figures, reproduce
from lindae_jax.sweep import lock
from lindae_jax.sweep.cluster import WorkersLost

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


# --- lindae figure --------------------------------------------------------------

FIGURE_OPTIONS = (
    "--data NAME|FILE --root DIR --samples N --noise V --decay G --seed K --start-of-theory "
    "--quick --float64 --out DIR"
)


def test_help_of_figure_shows_every_option_and_every_figure(capsys):
    text = help_text(capsys, "figure")
    for option in re.findall(r"--[\w-]+(?: [A-Z]\S*)?", FIGURE_OPTIONS):
        assert option in text
    assert "(default: lindae-figures)" in text
    # Those of Figure 6, and the seed that is its functions' own.
    for option in ("noise 0.3, 4", "decay 0.008, 0.0045", "seed 0"):
        name, *defaults = option.replace(",", "").split()
        part = text.split(f"--{name} ")[1].split("(default: ")[1].split(")")[0]
        assert re.findall(r"\b\d[\d.]*\b", part.replace("cifar10", ""))[: len(defaults)] == defaults
    assert "None" not in text
    given = {name.replace("_", "-") for name in inspect.signature(cli.figure).parameters}
    assert given - {"which"} == set(re.findall(r"--([\w-]+)", FIGURE_OPTIONS))
    numbers = [int(which) for which in figures.FIGURES if which.isdigit()]
    assert f"{min(numbers)} to {max(numbers)}, " in text
    assert {which for which in figures.FIGURES if which not in text} <= {str(n) for n in numbers}


def test_a_figure_is_written_with_its_title_and_caption(capsys, tmp_path):
    assert cli.main(["figure", "3", "--quick", "--out", "here/there"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    folder = Path("here/there")
    content = json.loads((folder / "figure3.json").read_text())
    assert out.startswith(f"{content['title']} (")
    assert " ".join(content["caption"].split()) in " ".join(out.split())
    files = [folder / f"figure3.{kind}" for kind in ("png", "svg", "json")]
    assert out.endswith("\n".join([*map(str, files), "\n"]))
    assert sorted(folder.iterdir()) == sorted(files)


def test_options_reach_the_figures(monkeypatch, tmp_path):
    got = []

    def prepare(which, out, **options):
        got.append((which, out, options))
        return ()

    monkeypatch.setattr("lindae_jax.figures.prepare", prepare)
    monkeypatch.setattr("lindae_jax.figures.save_gallery", lambda *_: ())
    line = "figure all --data x --root r --samples 3 --quick --out o --noise 2 --decay 0.1 --seed 4"
    assert cli.main([*line.split(), "--start-of-theory", "mean"]) == 0
    assert cli.main(["figure", "1"]) == 0
    options = {"data": "x", "root": Path("r"), "num_samples": 3}
    options |= {"noise": 2.0, "decay": 0.1, "seed": 4, "start_of_theory": "mean", "quick": True}
    none = dict.fromkeys(options) | {"quick": False}
    assert got == [("all", Path("o"), options), ("1", Path("lindae-figures"), none)]


OF_FIGURE = {
    "": "Missing from lindae figure: N|all. Try --help.",
    "x": "the figure must be 1, 2, ",
    "1 2": "Unrecognized options: 2. Try --help.",
    "1 --data mnist": "--data is for figures 5, 6, 6-tanh and stopping, not for figure 1; got mn",
    "1 --samples 3": "--samples is for figures 5, 6, 6-tanh and stopping, not for figure 1; got 3",
    "1 --samples x": "--samples: it must be a whole number, not 'x'. Try --help.",
    "1 --root .": "--root is for figures 5, 6, 6-tanh and stopping, not for figure 1; got ..",
    "5 --quick --root .": "--root goes with other data than digits, which a quick run takes; got",
    "all --quick --root .": "--root goes with other data than digits, which a quick run takes; got",
    "5 --quick --samples 1600": "--samples must be at most the rows of split 'train'",
    "5 --noise 1": "--noise is for figures 6 and 6-tanh, not for figure 5; got 1.0. Leave it out.",
    "6 --quick --noise -1": "--noise must be a finite number >= 0; got -1.0. Leave it out for the",
    "6-tanh --quick --decay nan": "--decay must be a finite number >= 0; got nan. Leave it out",
    "all --quick --seed -1": "--seed must be a whole number in [0, 2^32); got -1. Pass for",
    "6 --start-of-theory mean": "--start-of-theory is for figure 5, not for figure 6; got mean. Le",
    "5 --quick --start-of-theory x": "--start-of-theory must be 'each' or 'mean'; got 'x'. Name on",
    "1 --out file": "--out must be a folder one can write; got file (File exists). Name another",
    "all --out file/below": "--out must be a folder one can write; got file/below (",
}


@pytest.mark.parametrize(("line", "message"), OF_FIGURE.items(), ids=list(OF_FIGURE))
def test_a_wrong_figure_is_one_line_and_code_2(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("lindae_jax.figures.compute", lambda _: pytest.fail("computed"))
    (tmp_path / "file").touch()
    assert cli.main(["figure", *line.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert one_line(captured).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("which", ["5", "6", "stopping"])
def test_data_of_no_use_to_a_figure_are_one_line_and_code_2(which, capsys, tmp_path):
    np.save(tmp_path / "zeros.npy", np.zeros((20, 4), np.float32))
    command = ["figure", which, "--quick", "--data", "zeros.npy", "--out", "out"]
    assert cli.main(command) == 2
    assert one_line(capsys.readouterr()).startswith("--data must have a second moment that is nei")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_of_a_figure_is_one_line_and_code_1(capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lindae_jax.files.write", full)
    assert cli.main(["figure", "3", "--quick"]) == 1
    assert "No space left on device" in one_line(capsys.readouterr())
    assert not any(tmp_path.iterdir())


def test_all_figures_end_with_a_page_that_shows_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("lindae_jax.figures.run.FIGURES", {"3": "figure3"})
    assert cli.main(["figure", "all", "--quick", "--out", "o"]) == 0
    assert capsys.readouterr().out.endswith("\no/figure3.json\n\no/index.html\n")
    names = ["figure3.json", "figure3.png", "figure3.svg", "index.html"]
    assert sorted(path.name for path in Path("o").iterdir()) == names


def test_interrupting_all_figures_says_that_some_were_written(capsys, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lindae_jax.figures.run.FIGURES", {"3": "figure3"})
    monkeypatch.setattr("lindae_jax.figures.save_gallery", interrupted)
    assert cli.main(["figure", "all", "--quick", "--out", "o"]) == 130
    assert capsys.readouterr().err == "lindae: interrupted; the files listed were written\n"
    assert len(list(Path("o").iterdir())) == 3


def test_interrupting_a_figure_ends_with_one_line_and_code_130(capsys, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lindae_jax.figures.compute", interrupted)
    assert cli.main(["figure", "1"]) == 130
    assert capsys.readouterr().err == "lindae: interrupted; nothing was written\n"
    assert not any(tmp_path.iterdir())


# --- lindae sweep ---------------------------------------------------------------

SWEEP = """\
num_steps = 20
save_every = 10

[axes]
eigenvalue = [0.5, 1.0, 2.0]
noise = { linspace = [0, 1, 4] }
init_w1 = 0.1
init_w2 = 0.1
"""
# Of widths there is a chunk each.
NETWORKS = """\
model = "matrices"
num_steps = 5

[spectrum]
file = "spectrum.npz"

[axes]
hidden = [2, 3]
noise = [0.0, 0.5]
"""


@pytest.fixture
def sweeps(tmp_path):
    (tmp_path / "s.toml").write_text(SWEEP)
    (tmp_path / "networks.toml").write_text(NETWORKS)
    eigenvalues, eigenvectors = np.float32([3, 2, 1]), np.eye(3, dtype=np.float32)
    Spectrum(eigenvalues, eigenvectors).save(tmp_path / "spectrum.npz")
    return set(tmp_path.iterdir())


SWEEP_OPTIONS = (
    "--store DIR --dry-run --status --devices N --process I/N --scheduler ADDRESS --takeover "
    "--allow-large --float64"
)


def test_help_of_sweep_shows_every_option(capsys):
    text = help_text(capsys, "sweep")
    for option in re.findall(r"--[\w-]+(?: [A-Z]\S*)?", SWEEP_OPTIONS):
        assert option in text
    assert "SWEEP.toml" in text
    assert "None" not in text
    given = {name.replace("_", "-") for name in inspect.signature(cli.sweep).parameters}
    assert given - {"config"} == set(re.findall(r"--([\w-]+)", SWEEP_OPTIONS))


def test_a_dry_run_prints_what_it_would_take_and_writes_nothing(capsys, tmp_path, sweeps):
    assert cli.main(["sweep", "s.toml", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[:6] == [
        "grid     eigenvalue 3 x noise 4",
        "members  12",
        "saves    3",
        "kept     mapping, final_w1, final_w2, status",
        "chunks   1 of 12 members each",
        # 12 members of 3 mappings and statuses, and 2 last weights, in 4 files with checksums.
        "size     292 bytes",
    ]
    assert re.fullmatch(r"time     about \S+ seconds on the devices here.*", lines[6])
    assert set(tmp_path.iterdir()) == sweeps


def test_a_dry_run_counts_what_the_dtype_does_not_resolve(capsys, tmp_path):
    (tmp_path / "s.toml").write_text(SWEEP + "learning_rate = 5e-6\n")
    assert cli.main(["sweep", "s.toml", "--dry-run"]) == 0
    # Below 64 eps of float32 = 7.6e-6 are the steps for the eigenvalues 0.5 and 1.
    assert "Note: for 8 members learning rate times" in capsys.readouterr().out


def test_a_dry_run_refuses_what_does_not_fit_unless_told_otherwise(capsys, tmp_path):
    many = "{ linspace = [0.1, 1, 100000] }"
    axes = "".join(f"{name} = {many}\n" for name in ("eigenvalue", "noise", "decay"))
    text = f"num_steps = 1\n[axes]\n{axes}init_w1 = 0.1\ninit_w2 = 0.1\n"
    (tmp_path / "large.toml").write_text(text)
    command = ["sweep", "large.toml", "--store", "out", "--dry-run"]
    assert cli.main(command) == 2
    captured = capsys.readouterr()
    assert "members  1,000,000,000,000,000\n" in captured.out
    assert re.search(r"must fit into free space in .*; got [\d.e+]+ \w+\. ", one_line(captured))
    assert cli.main([*command, "--allow-large"]) == 0
    capsys.readouterr()
    # Without a store the disk of the current folder counts.
    assert cli.main(["sweep", "large.toml", "--dry-run"]) == 2
    assert f"must fit into free space in {tmp_path}" in one_line(capsys.readouterr())
    assert cli.main(["sweep", "large.toml", "--store", "out"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"large.toml"}


def test_a_sweep_makes_its_store_and_says_how_it_ended(capsys, tmp_path, sweeps):
    assert cli.main(["sweep", "s.toml", "--store", "there/out"]) == 0
    assert capsys.readouterr() == ("12 members: 12 OK\nthere/out\n", "")
    assert set(tmp_path.iterdir()) - sweeps == {tmp_path / "there"}
    with xarray.open_zarr(tmp_path / "there" / "out") as found:
        assert dict(found.sizes) == {"step": 3, "eigenvalue": 3, "noise": 4, "end": 1}
        np.testing.assert_array_equal(found.noise, np.linspace(0, 1, 4))
        last = found.mapping.isel(step=-1).values
    axes = {"eigenvalue": [0.5, 1.0, 2.0], "noise": np.linspace(0, 1, 4)}
    want = Sweep({**axes, "init_w1": 0.1, "init_w2": 0.1}, 20, save_every=10)
    np.testing.assert_array_equal(last, want.run(progress=False).mapping.isel(step=-1))
    # Again, there is nothing left to do.
    assert cli.main(["sweep", "s.toml", "--store", "there/out"]) == 0
    assert capsys.readouterr() == ("12 members: 12 OK\nthere/out\n", "")


def test_two_processes_share_the_chunks_and_the_status_follows(capsys, sweeps):
    command = ["sweep", "networks.toml", "--store", "out"]
    assert cli.main([*command, "--process", "0/2"]) == 0
    assert capsys.readouterr().out == "4 members: 2 OK, 2 not run yet\nout\n"
    assert cli.main([*command, "--status"]) == 0
    half = "step 5: 2 of 4 members (50.0 %), 1 of 2 chunks\nat work: nobody\n"
    assert capsys.readouterr() == (half, "")
    assert cli.main([*command, "--process", "1/2"]) == 0
    assert capsys.readouterr() == ("4 members: 4 OK\nout\n", "")
    assert cli.main([*command, "--status"]) == 0
    assert "4 of 4 members (100.0 %), 2 of 2 chunks" in capsys.readouterr().out


def test_options_reach_the_sweep(sweeps, monkeypatch):
    got = []
    monkeypatch.setattr(Sweep, "run", lambda *given, **named: got.append((given, named)))
    monkeypatch.setattr("lindae_jax.sweep.progress.summary_text", lambda *_: "")
    command = "sweep s.toml --store out --devices 1 --process 2/5 --takeover --allow-large"
    assert cli.main(command.split()) == 0
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 0
    (given, named), (_, by_default) = got
    assert given[1:] == (Path("out"), None, 1)
    assert named == {"process": (2, 5), "client": None, "takeover": True, "allow_large": True}
    assert by_default["process"] is None


def test_interrupting_a_sweep_says_how_to_go_on(capsys, sweeps, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sweep, "run", interrupted)
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 130
    assert capsys.readouterr().err == "lindae: interrupted; the same command goes on\n"


def test_a_failed_write_of_a_sweep_is_one_line_and_code_1(capsys, sweeps, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Sweep, "run", full)
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 1
    assert "No space left on device" in one_line(capsys.readouterr())


def test_work_that_another_process_has_is_refused_in_one_line(capsys, tmp_path, sweeps):
    command = ["sweep", "networks.toml", "--store", "out"]
    assert cli.main([*command, "--process", "0/2"]) == 0
    capsys.readouterr()
    with lock.held(tmp_path / "out" / "status" / ".locks", (1, 2)):
        assert cli.main([*command, "--status"]) == 0
        assert capsys.readouterr().out.endswith("at work: 1/2\n")
        assert cli.main([*command, "--process", "1/2"]) == 2
        assert "another process is at work on this store, share 1/2. Wait" in one_line(
            capsys.readouterr()
        )


NO_TABLE = "s.toml: axes must be a table; got 3. Write [axes]."
OF_SWEEP = {
    "": "Missing from lindae sweep: SWEEP.toml. Try --help.",
    "s.toml": "--store must be given; got nothing. Name a folder, or pass --dry-run.",
    "s.toml --status": "--store must be given; got nothing. Name a folder",
    "s.toml --store": "Missing value for argument '--store'",
    "s.toml --store out --bogus": "Unrecognized options: --bogus. Try --help.",
    "s.toml t.toml --dry-run": "Unrecognized options: t.toml. Try --help.",
    "s.toml --store out --dry-run --status": "--status and --dry-run exclude each other; got both.",
    "s.toml --store out --status": "--store must exist to have a status; got out, where nothing "
    "is. Run the sweep first, or correct the path.",
    "s.toml --store s.toml": "--store must be a sweep's; got s.toml. Name another path",
    "s.toml --store . --status": "--store must be a sweep's; got .. Name another path",
    "s.toml --store s.toml/out": "--store must be a path one can write; got s.toml/out (Not a",
    "s.toml --store out --devices": "Missing value for argument '--devices'",
    "s.toml --store out --devices x": "--devices: it must be a whole number, not 'x'. Try --help.",
    "s.toml --store out --devices 0": "--devices must be at least 1; got 0. Leave it out for all.",
    "s.toml --store out --devices -1": "--devices must be at least 1; got -1.",
    "s.toml --store out --devices 99999999999": "--devices must be at most ",
    "s.toml --dry-run --devices 99999999999": "--devices must be at most ",
    "s.toml --store out --process": "Missing value for argument '--process'",
    **{
        f"s.toml --store out --process {x}": f"--process must be I/N with 0 <= I < N; got '{x}'. "
        "Say 0/4."
        for x in ("2/2", "0/0", "1", "1/", "/2", "a/b", "0/1/2", "0.0/2", "1,2")
    },
    "s.toml --store out --scheduler": "Missing value for argument '--scheduler'",
    "s.toml --store out --scheduler foo": "--scheduler must be an address; got 'foo' (missing port",
    "s.toml --store out --devices 1 --scheduler foo": "--devices and --scheduler exclude each ot",
    "s.toml --store /proc/out": "--store must be a path one can write; got /proc/out (",
    "none.toml --dry-run": "none.toml: the sweep must be a file one can read; got none.toml (No su",
    ". --dry-run": ".: the sweep must be a file one can read; got . (Is a directory). Name one.",
    "spectrum.npz --dry-run": "spectrum.npz: the sweep must be written in TOML; got ",
}


@pytest.mark.parametrize(("line", "message"), OF_SWEEP.items(), ids=list(OF_SWEEP))
def test_a_wrong_command_is_one_line_and_code_2(line, message, capsys, tmp_path, sweeps):
    assert cli.main(["sweep", *line.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert one_line(captured).startswith(message)
    assert set(tmp_path.iterdir()) == sweeps


@pytest.mark.parametrize("options", ["--dry-run", "--store out", "--store out --status"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("noise =", "nosie =", "axes.nosie must be a parameter of model = 'pairs'"),
        ("[axes]", "[axis]", "axis must be a key that a sweep has; got another. Those are axes,"),
        ("num_steps = 20\n", "", "num_steps must be given; got nothing. Pass an integer >= 0."),
        ("= 20", '= "20"', "num_steps must be an integer >= 0; got '20'."),
        ("[0, 1, 4]", "[0, 1, -4]", "axes.noise.linspace must give values; got [0, 1, -4] ("),
        ("[0.5, 1.0", "[0.5, -1.0", "axes.eigenvalue must be finite and >= 0; got -1.0 at index"),
        ("init_w2 = 0.1", "init_w2 = 1e39", "axes.init_w2 must be 0 or between 1.2e-38 and 3.4e+3"),
        ("init_w2 = 0.1", "init_w2 = 2018-07-10", "axes.init_w2 must be a number or a list of num"),
        ("init_w2 = 0.1", "save_log = 3", "axes.save_log must be a parameter; got a setting of th"),
        ("[axes]", "[linked]\na = ['noise']\n[axes]", "linked.a must list two parameters or more;"),
        ("[axes]", "[spectrum]\ndate = 1\n[axes]", "spectrum.date must be a key that spectrum has"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_and_nothing_is_written(
    options, old, new, message, capsys, tmp_path
):
    (tmp_path / "s.toml").write_text(SWEEP.replace(old, new, 1))
    assert cli.main(["sweep", "s.toml", *options.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert one_line(captured).startswith(f"s.toml: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"s.toml"}


def test_another_configuration_is_refused_with_the_difference(capsys, tmp_path, sweeps):
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 0
    (tmp_path / "s.toml").write_text(SWEEP.replace("init_w2 = 0.1", "init_w2 = 0.2"))
    capsys.readouterr()
    for more in ([], ["--status"]):
        assert cli.main(["sweep", "s.toml", "--store", "out", *more]) == 2
        assert "axes.init_w2: 0.2 here, 0.1 in the store" in one_line(capsys.readouterr())


@pytest.mark.parametrize("module", ["xarray", "zarr"])
def test_without_what_sweeps_need_the_extra_is_named(module, capsys, tmp_path, sweeps, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 2
    assert "lindae_jax[sweep]" in one_line(capsys.readouterr())
    assert set(tmp_path.iterdir()) == sweeps


def test_a_scheduler_needs_dask(capsys, tmp_path, sweeps, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["sweep", "s.toml", "--store", "out", "--scheduler", "localhost:1"]) == 2
    message = "--scheduler needs dask; install it with: pip install 'lindae_jax[dask]'"
    assert one_line(capsys.readouterr()) == message
    assert set(tmp_path.iterdir()) == sweeps


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (WorkersLost("dask's workers died"), "dask's workers died"),
        (OSError("Timed out"), "--scheduler tcp://far:1 cannot be reached (Timed out)"),
    ],
)
def test_a_lost_cluster_is_one_line_and_code_1(error, line, capsys, sweeps, monkeypatch):
    distributed = pytest.importorskip("distributed")

    class Client(contextlib.nullcontext):
        def __init__(self, address, timeout, set_as_default):
            assert not set_as_default
            if isinstance(error, OSError):
                raise error
            super().__init__()

    def lost(*_, **__):
        raise error

    monkeypatch.setattr(distributed, "Client", Client)
    monkeypatch.setattr(Sweep, "run", lost)
    command = ["sweep", "s.toml", "--store", "out", "--scheduler", "tcp://far:1"]
    assert cli.main(command) == 1
    assert one_line(capsys.readouterr()) == line


def test_a_dry_run_refuses_what_the_run_would(capsys, sweeps):
    assert cli.main(["sweep", "s.toml", "--store", "s.toml/out", "--dry-run"]) == 2
    line = "lindae: error: --store must be a path one can write; got s.toml/out (Not a directory). "
    assert capsys.readouterr().err == line + "Name another.\n"


def test_a_dry_run_of_a_finished_store_says_that_nothing_is_left(capsys, sweeps):
    assert cli.main(["sweep", "s.toml", "--store", "out"]) == 0
    capsys.readouterr()
    assert cli.main(["sweep", "s.toml", "--store", "out", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "size     292 bytes, 0 bytes of which are not there yet" in lines
    assert "time     none: nothing is left to compute" in lines


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


def test_a_sweep_in_float64_is_that_of_the_option_or_of_the_file(tmp_path, sweeps):
    (tmp_path / "wide.toml").write_text(f'dtype = "float64"\n{SWEEP}')
    for command in (("s.toml", "--float64"), ("wide.toml",)):
        with process("sweep", *command, "--store", command[0][:-5]) as running:
            out, err = running.communicate()
        assert (running.returncode, err) == (0, "")
        assert out.startswith("12 members: 12 OK\n")
    with xarray.open_zarr(tmp_path / "s") as first, xarray.open_zarr(tmp_path / "wide") as second:
        assert first.mapping.dtype == np.float64
        np.testing.assert_array_equal(first.mapping, second.mapping)
        assert first.attrs["configuration_hash"] == second.attrs["configuration_hash"]


def test_a_reader_that_leaves_early_is_told_nothing():
    with process("reproduce", "--help") as running:
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait() == 1
