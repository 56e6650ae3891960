"""What is reported follows from the times; what is committed is what render makes of them."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from lindae_jax import bench, files
from lindae_jax.bench import fresh, report, timing

ROOT = Path(__file__).parents[2]
RENDER = runpy.run_path(str(ROOT / "benchmarks" / "render.py"))


def contender(name, role, seconds, work=1e6, steps=1000, label=""):
    return {
        "name": name,
        "role": role,
        "label": label,
        "work": work,
        "steps": steps,
        "seconds": seconds,
        "compile_seconds": 0.3,
        "error": 0.0,
        "tolerance": 1.0,
    }


def case(size=10**6, times=1.0, headline=True, dtype="float32"):
    contenders = [
        contender("lindae_jax", "library", [0.1 * times, 0.2 * times, 0.1 * times]),
        contender("C kernel", "ceiling", [0.05 * times, 0.1 * times, 0.05 * times], label="six"),
        contender("slow", "rival", [4.0, 8.0, 4.0], work=10.0),
        contender("fast", "rival", [0.3, 0.6, 0.3]),
    ]
    found = {"name": "pairs", "title": f"{size} pairs", "unit": "pair-steps", "dtype": dtype}
    return {
        **found,
        "headline": headline,
        "size": size,
        "contenders": contenders,
        "absent": {"PyTorch": "not installed"},
    }


def whole(*cases):
    return {
        "settings": {"names": ["pairs"], "quick": True, "rounds": 3, "seconds": 0.1},
        "machine": {
            "processor": "abacus",
            "cores": 2,
            "system": "Linux",
            "devices": ["cpu: cpu"] * 2,
            "versions": {"jax": "1.0", "numpy": "2.0", "torch": "not installed"},
            "environment": {"CC": "clang"},
        },
        "cases": list(cases),
        "memory": [
            {
                "num_pairs": 9,
                "dtype": "float32",
                "outputs": 2**20,
                "first_call": 5 * 2**20,
                "second_call": 4 * 2**20,
            }
        ],
        "start": {
            "import_jax": [0.5],
            "import_lindae_jax": [0.001],
            "load_modules": [0.04],
            "first_result": [1.26],
        },
    }


def test_rates_and_ratios():
    library, ceiling, slow, fast = case()["contenders"]
    np.testing.assert_allclose(report.rate(library), 1e10)
    # Both slowed down in the second round: side by side nothing changed.
    np.testing.assert_allclose(report.rates(library) / report.rates(ceiling), 0.5)
    assert report.ratio(library, ceiling) == 0.5
    np.testing.assert_allclose(report.ratio(library, fast), 3.0)
    np.testing.assert_allclose(report.ratio(library, slow), 4e6)
    # Quartiles 7.5e9 and 1e10 of 5e9, 1e10, 1e10.
    np.testing.assert_allclose(report.spread(library), 0.125)


def test_the_block_of_a_case_shows_every_contender_and_who_is_absent():
    lines = bench.result_text(case()).splitlines()[1:]
    assert lines[0] == "1000000 pairs"
    assert re.split(r"  +", lines[2].strip()) == ["lindae_jax", "10 G", "12 %", "0.3 s"]
    assert re.split(r"  +", lines[3].strip()) == ["C kernel · six", "20 G", "12 %", "0.50", "0.3 s"]
    assert [line.split()[0] for line in lines[4:]] == ["fast", "slow", "PyTorch:"]
    assert "4,000,000" in lines[5]


def test_other_results_have_their_lines():
    skipped = {"name": "pairs", "title": "many pairs", "skipped": "needs 9 GiB"}
    assert bench.result_text(skipped) == "\nmany pairs\n  skipped: needs 9 GiB"
    text = bench.result_text({"name": "start", **whole()["start"]})
    assert re.search(r"import lindae_jax after it +0\.001\n.* first used +0\.040\n", text)
    text = bench.result_text({"name": "memory", **whole()["memory"][0]})
    assert re.search(r"beyond inputs and outputs +3 MiB\n.* 4 MiB$", text)
    assert bench.result_text({"name": "memory", "absent": "no word"}).endswith("\n  no word")


def test_the_summary_names_the_ceiling_and_the_flatness():
    larger = case(10**6, 1.1)
    beside = contender("lindae_jax, 100,000 pairs", "library", [0.01, 0.02, 0.01], work=1e5)
    larger["contenders"].insert(1, beside)
    report = whole(case(10**5, 2.0), larger, case(10**3, 9.0))
    text = bench.summary_text(report)
    assert "1000000 pairs: 9.09 G pair-steps/s\n    of the ceiling: 0.50 (C kernel)" in text
    assert "cost of a pair-step from 100,000 to 1,000,000 pairs, float32: within 10 %" in text
    assert "large pages" not in text
    report["machine"]["environment"]["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    assert "steps or more, memory in large pages)" in bench.summary_text(report)


def test_how_far_cores_were_is_told_where_it_is_known():
    one, other = case(), case(10**5)
    assert "a number took" not in bench.summary_text(whole(one)) + bench.readme_text(whole(one))
    one["core_to_core_ns"], other["core_to_core_ns"] = [26.0, 25.8, 165.0], [27.0, 170.4]
    expected = (
        "etween the first two cores a number took 27 ns (quartiles 26 and 165, extremes 26 and 170)"
    )
    for text in (bench.summary_text, bench.readme_text):
        assert expected in " ".join(text(whole(one, other)).split())


def test_the_heading_tells_what_is_installed():
    text = bench.heading_text(whole())
    assert "abacus, 2 cores, Linux" in text
    assert "jax 1.0, numpy 2.0" in text
    assert "torch" not in text


def test_the_table_of_the_readme():
    skipped = {"name": "pairs", "title": "many pairs", "skipped": "needs 9 GiB"}
    lines = bench.readme_text(whole(case(), case(10**5, headline=False), skipped)).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:3] == ["1000000 pairs", "10 G pair-steps/s", "0.50 (C kernel)"]
    assert cells[3] == "fast **3.00**, slow **4,000,000**"
    assert lines[3] == ""
    assert "Medians of 3 alternating runs on 2 cores (abacus)" in lines[4]
    assert "`CC=clang`" in lines[4]
    assert "takes 3 MiB beyond" in " ".join(lines[4:])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (2.5e6, "2.5 M"), (10.6e9, "10.6 G"), (3e12, "3 T")],
)
def test_rates_are_written_in_three_digits(value, text):
    assert report._engineering(value) == text


def test_all_is_written_or_nothing(tmp_path, monkeypatch):
    full = whole(case(), case(10**5, dtype="float64"))
    written = bench.save(full, tmp_path / "new" / "r.json")
    assert [path.name for path in written] == ["r.json", "r.svg", "r.png"]
    assert json.loads(written[0].read_text()) == full
    assert bench.save(whole(), tmp_path / "s.json") == (tmp_path / "s.json",)

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", broken)
    with pytest.raises(OSError, match="No space left"):
        bench.save(full, tmp_path / "other" / "r.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "s.json"]


def test_the_plot_has_a_cross_for_each_rival():
    figure = bench.draw(whole(case(10**5, headline=False), case()))
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["fast", "slow"] * 2
    np.testing.assert_allclose(left.lines[0].get_xdata(), [10**5, 10**6])
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.1, 0.1])
    assert not right.texts


# --- what is committed ----------------------------------------------------------------


def committed():
    return json.loads(RENDER["RESULTS"].read_text())


def test_the_readme_has_the_table_of_the_committed_results():
    readme = (ROOT / "README.md").read_text()
    assert RENDER["rendered"](readme, committed()) == readme


def test_every_committed_answer_was_right():
    for measured in committed()["cases"]:
        for each in measured.get("contenders", ()):
            assert each["error"] <= each["tolerance"]
            assert len(each["seconds"]) == committed()["settings"]["rounds"]


def test_a_readme_without_markers_is_refused():
    with pytest.raises(SystemExit, match="once, in this order"):
        RENDER["rendered"]("no markers", committed())


# --- fresh processes --------------------------------------------------------------------


def test_start_up_is_seen_in_processes_of_their_own():
    found = fresh.start_up(1)
    assert set(found) == {"import_jax", "import_lindae_jax", "load_modules", "first_result"}
    assert all(len(times) == 1 and times[0] > 0 for times in found.values())


def test_peak_memory_counts_the_outputs():
    found = fresh.peak_memory(1000, "float32", 1)
    # Two weights and a status for each pair.
    assert found.get("outputs", 9000) == 9000 or "absent" in found


def test_a_wrong_first_result_is_found_out(monkeypatch):
    wrong = dict.fromkeys(fresh.start_up(0), 1.0) | {"mapping": 0.5}
    monkeypatch.setattr(fresh, "_run", lambda *_: wrong)
    with pytest.raises(timing.WrongAnswer, match="first result"):
        fresh.start_up(1)
    unequal = {"ends": [0.4, 0.5], "outputs": 1, "first_call": 1, "second_call": 1}
    monkeypatch.setattr(fresh, "_run", lambda *_: unequal)
    with pytest.raises(timing.WrongAnswer, match="unequally"):
        fresh.peak_memory(1000, "float32", 1)
