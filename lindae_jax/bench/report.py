"""Results as text: rates, spreads, ratios."""

import textwrap
from typing import Any

import numpy as np

# A rate is work * steps / seconds; everything below is derived from the runs here.


def rates(contender: dict[str, Any]) -> np.ndarray:
    """Work per second of each run."""
    return contender["work"] * contender["steps"] / np.array(contender["seconds"])


def rate(contender: dict[str, Any]) -> float:
    """The median."""
    return float(np.median(rates(contender)))


def spread(contender: dict[str, Any]) -> float:
    """Half the distance of the quartiles, relative to the median."""
    low, middle, high = np.percentile(rates(contender), [25, 50, 75])
    return float((high - low) / 2 / middle)


def ratio(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How many times faster one is: the median over rounds, in which both ran side by side."""
    return float(np.median(rates(one) / rates(other)))


def library_of(case: dict[str, Any]) -> dict[str, Any]:
    """The library's part of a case: what a user calls."""
    return next(c for c in case["contenders"] if c["role"] == "library")


def kernel_of(case: dict[str, Any]) -> dict[str, Any] | None:
    """The fastest C kernel of a case."""
    kernels = (c for c in of(case, "ceiling") if c["name"].startswith("C kernel"))
    return next(kernels, None)


def of(case: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """Contenders of a role, the fastest first."""
    return sorted((c for c in case["contenders"] if c["role"] == role), key=rate, reverse=True)


# --- the terminal -------------------------------------------------------------------


def result_text(result: dict[str, Any]) -> str:
    """A result as it comes: a block of lines.

    Parameters
    ----------
    result : dict
        What `run` hands to its `show`.
    """
    if result["name"] == "start":
        return "\n".join(["", "start-up, seconds", *_start_lines(result)])
    if result["name"] == "memory":
        return "\n".join(["", "peak memory of a final-only run", *_memory_lines(result)])
    if "skipped" in result:
        return f"\n{result['title']}\n  skipped: {result['skipped']}"
    library = library_of(result)
    unit = f"{result['unit']}/s"
    lines = ["", result["title"], f"  {unit:>60} {'spread':>7} {'ratio':>9} {'compile':>8}"]
    for role in ("library", "ceiling", "rival"):
        for contender in of(result, role):
            name = " · ".join(filter(None, (contender["name"], contender["label"])))
            times = "" if contender is library else _short(ratio(library, contender))
            compiling = contender["compile_seconds"]
            lines.append(
                f"  {name:<52.52} {_engineering(rate(contender)):>7}"
                f" {100 * spread(contender):>5.0f} % {times:>9}"
                f" {f'{compiling:.1f} s' if compiling >= 0.05 else '':>8}"
            )
    for name, reason in result["absent"].items():
        lines.append(f"  {name}: {reason}")
    return "\n".join(lines)


def _start_lines(start: dict[str, Any]) -> list[str]:
    words = {
        "import_jax": "import jax",
        "import_lindae_jax": "import lindae_jax after it",
        "load_modules": "all its modules, each loaded where it is first used",
        "first_result": "first result of simulate_pairs after that",
    }
    return [f"  {text:<52} {np.median(start[name]):7.3f}" for name, text in words.items()]


def _memory_lines(memory: dict[str, Any]) -> list[str]:
    if "absent" in memory:
        return [f"  {memory['absent']}"]
    title = f"{memory['num_pairs']:,} pairs, {memory['dtype']}: beyond inputs and outputs"
    beyond = [(memory[name] - memory["outputs"]) / 2**20 for name in ("first_call", "second_call")]
    return [
        f"  {title:<52} {beyond[1]:7.0f} MiB",
        f"  {'the same while it compiles':<52} {beyond[0]:7.0f} MiB",
    ]


def heading_text(report: dict[str, Any]) -> str:
    """The machine in a few lines.

    Parameters
    ----------
    report : dict
        What `run` returns.
    """
    machine = report["machine"]
    versions = {k: v for k, v in machine["versions"].items() if v != "not installed"}
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
        f"{len(machine['devices'])} JAX devices ({machine['devices'][0]})",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return "\n".join(line for text in lines for line in textwrap.wrap(text, 88))


def summary_text(report: dict[str, Any]) -> str:
    """What all the results come to, a line each.

    Parameters
    ----------
    report : dict
        What `run` returns.
    """
    lines = []
    for case in report["cases"]:
        if case.get("headline"):
            speed = f"{_engineering(rate(library_of(case)))} {case['unit']}/s"
            lines += [f"  {case['title']}: {speed}", f"    of the ceiling: {_of_ceilings(case)}"]
    lines += [f"  {text}" for text in (*flatness(report), *_distance(report))]
    return "\n".join(["", "lindae_jax in short", *lines]) if lines else ""


def flatness(report: dict[str, Any]) -> list[str]:
    """How much the cost of a pair-step changes with the number of pairs, by dtype.

    Sizes are compared with one that ran in turn with each.
    """
    tunables = report["machine"]["environment"].get("GLIBC_TUNABLES", "")
    pages = ", memory in large pages" if "malloc.hugetlb=1" in tunables else ""
    found = []
    for dtype in ("float32", "float64"):
        cases = [c for c in report["cases"] if c.get("size") and c["dtype"] == dtype]
        pairs = [[x for x in c["contenders"] if x["role"] == "library"] for c in cases]
        sized = [(large, few[0]) for large, *few in pairs if few]
        if not sized:
            continue
        costs = np.array([1.0, *(ratio(few, large) for large, few in sized)])
        sizes = [int(x["work"]) for pair in sized for x in pair]
        steps = min(large["steps"] for large, _ in sized)
        found.append(
            f"cost of a pair-step from {min(sizes):,} to {max(sizes):,} pairs, {dtype}: "
            f"within {100 * (costs.max() / costs.min() - 1):.0f} % "
            f"(runs of {steps:,} steps or more{pages})"
        )
    return found


def _distance(report: dict[str, Any]) -> list[str]:
    """How far the cores were from each other, by the quartiles over all rounds."""
    each = [x for case in report["cases"] for x in case.get("core_to_core_ns", ())]
    if not each:
        return []
    least, low, middle, high, most = np.percentile(each, [0, 25, 50, 75, 100])
    return [
        f"between the first two cores a number took {middle:.0f} ns (quartiles {low:.0f} and "
        f"{high:.0f}, extremes {least:.0f} and {most:.0f})"
    ]


def _of_ceilings(case: dict[str, Any]) -> str:
    """What the library reaches of each ceiling, the highest first."""
    library = library_of(case)
    parts = (f"{_short(ratio(library, c))} ({c['name']})" for c in of(case, "ceiling"))
    return ", ".join(parts)


def _engineering(value: float) -> str:
    """Three digits with a prefix."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}" if value < 999.5 * size else f"{value:.3g}"
    return f"{value:.3g}"


def _short(value: float) -> str:
    """A ratio in two or three digits."""
    if value >= 1000:
        return f"{float(f'{value:.2g}'):,.0f}"
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


# --- the README -----------------------------------------------------------------------


def readme_text(report: dict[str, Any]) -> str:
    """The table of the README, in Markdown.

    Parameters
    ----------
    report : dict
        What `run` returns.
    """
    lines = [
        "| work | lindae_jax | part of the ceiling | times as fast as |",
        "|---|---|---|---|",
    ]
    for case in report["cases"]:
        if not case.get("headline"):
            continue
        library = library_of(case)
        beaten = ", ".join(
            f"{rival['name']} **{_short(ratio(library, rival))}**" for rival in of(case, "rival")
        )
        speed = f"{_engineering(rate(library))} {case['unit']}/s"
        lines.append(f"| {case['title']} | {speed} | {_of_ceilings(case)} | {beaten} |")
    return "\n".join([*lines, "", _caption(report)])


def _caption(report: dict[str, Any]) -> str:
    machine, settings = report["machine"], report["settings"]
    versions = machine["versions"]
    switches = "".join(f", `{name}={value}`" for name, value in machine["environment"].items())
    parts = [
        f"Medians of {settings['rounds']} alternating runs on {machine['cores']} cores "
        f"({machine['processor']}), JAX {versions['jax']}, NumPy {versions['numpy']}{switches}",
        *flatness(report),
        *_distance(report),
    ]
    if report["start"]:
        added, loaded, first = (
            np.median(report["start"][name])
            for name in ("import_lindae_jax", "load_modules", "first_result")
        )
        parts.append(
            f"`import lindae_jax` adds {added:.2g} s to `import jax`, all its modules, which load "
            f"where they are first used, {loaded:.2g} s; a first result comes {first:.1f} s later"
        )
    for memory in report["memory"]:
        if "absent" not in memory:
            first, second = (
                max(0, memory[name] - memory["outputs"]) / 2**20
                for name in ("first_call", "second_call")
            )
            parts.append(
                f"a final-only run of {memory['num_pairs']:,} pairs takes {second:.0f} MiB "
                f"beyond its inputs and outputs, the first one, which compiles, {first:.0f} MiB"
            )
    text = ". ".join(part[0].upper() + part[1:] for part in parts) + "."
    return "\n".join(textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False))
