"""Theory beside training on real data: three autoencoders from one start."""

from lindae_jax.reproduce.report import FILES, NETWORKS, Reproduction, as_json, check_out, draw
from lindae_jax.reproduce.settings import DEFAULTS, Settings, prepare
from lindae_jax.reproduce.training import compare, reproduce

__all__ = [
    "DEFAULTS",
    "FILES",
    "NETWORKS",
    "Reproduction",
    "Settings",
    "as_json",
    "check_out",
    "compare",
    "draw",
    "prepare",
    "reproduce",
]
