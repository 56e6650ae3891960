"""Whether values are there yet."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp


def is_traced(x: Any) -> bool:
    """Whether x has no concrete value yet (under jit, vmap, grad)."""
    return isinstance(x, jax.core.Tracer)


def is_tracing() -> bool:
    """Whether the caller is tracing something, be it with other values than ours."""
    return is_traced(_nothing())


@jax.jit
def _nothing() -> jax.Array:
    """A number; a call of what is compiled costs a tenth of making one."""
    return jnp.zeros(())


def at_top_level() -> contextlib.AbstractContextManager[None]:
    """A context in which concrete values are computed now, whatever the caller is tracing.

    If nothing, it does nothing: where the constants of a function are computed while it is
    being traced, each of them is a program by itself.
    """
    return jax.ensure_compile_time_eval() if is_tracing() else contextlib.nullcontext()
