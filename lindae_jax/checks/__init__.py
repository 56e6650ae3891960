"""What every public door checks, and the dtype rule."""

from lindae_jax.checks.arguments import broadcast, count, data_matrix, finite_rows, key, path
from lindae_jax.checks.doors import cast, check_served, door, half_door, matrix_door
from lindae_jax.checks.dtypes import on_host, requested_dtype, result_dtype
from lindae_jax.checks.messages import brief, mistake
from lindae_jax.checks.tracing import at_top_level, is_traced, is_tracing
from lindae_jax.checks.values import (
    PROBLEM_RULES,
    allowed,
    check_host,
    check_values,
    decays,
    on_processors,
    valid,
)

__all__ = [
    "PROBLEM_RULES",
    "allowed",
    "at_top_level",
    "brief",
    "broadcast",
    "cast",
    "check_host",
    "check_served",
    "check_values",
    "count",
    "data_matrix",
    "decays",
    "door",
    "finite_rows",
    "half_door",
    "is_traced",
    "is_tracing",
    "key",
    "matrix_door",
    "mistake",
    "on_host",
    "on_processors",
    "path",
    "requested_dtype",
    "result_dtype",
    "valid",
]
