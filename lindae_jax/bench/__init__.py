"""The library's speed beside that of its rivals, with the limits of the machine."""

from lindae_jax.bench.drawing import check_json, draw, pictures, save
from lindae_jax.bench.report import heading_text, readme_text, result_text, summary_text
from lindae_jax.bench.suite import CASES, run

__all__ = [
    "CASES",
    "check_json",
    "draw",
    "heading_text",
    "pictures",
    "readme_text",
    "result_text",
    "run",
    "save",
    "summary_text",
]
