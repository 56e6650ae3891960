"""Render the committed results: the README's table, the plot under docs/images.

Run it after measuring, from anywhere:

    lindae bench --json benchmarks/cpu.json
    python benchmarks/render.py
"""

import json
import re
from pathlib import Path

from lindae_jax import bench, files

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "cpu.json"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def rendered(readme: str, report: dict) -> str:
    """The README with the table of a report between its markers."""
    pattern = f"(?s){re.escape(BEGIN)}.*?{re.escape(END)}"
    found, number = re.subn(pattern, lambda _: _block(report), readme)
    if number != 1:
        raise SystemExit(f"README.md must have {BEGIN} and {END} once, in this order")
    return found


def _block(report: dict) -> str:
    return f"{BEGIN}\n{bench.readme_text(report)}\n{END}"


def main() -> None:
    """Write what is to be committed."""
    report = json.loads(RESULTS.read_text())
    readme = ROOT / "README.md"
    text = rendered(readme.read_text(), report)
    files.write(ROOT, {readme.name: text.encode()})
    files.write(IMAGES, bench.pictures(report, "bench", ("png",)))


if __name__ == "__main__":
    main()
