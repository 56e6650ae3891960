"""Elementwise functions as one loop over their batch, on a processor."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lindae_jax.batches.blocks import VECTORS, common_shape, merged_axes

# What XLA computes once only, however often it is used.
_EXPENSIVE = {"div", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log1p", "pow", "tanh"}

# Calls of functions, which are taken apart.
_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"}

# Bits of the exponent, one more than there are, and of the fraction.
_ALL_BITS = {"float32": (9, 23), "float64": (12, 52)}


def in_passes(
    compute: Callable[..., Sequence[jax.Array]],
    arrays: Sequence[jax.Array],
    num_outputs: int,
    *,
    whole: bool = False,
) -> list[jax.Array] | None:
    """An elementwise function of arrays that broadcast, a loop over the batch for each output.

    Every output is computed from the start: nothing is written but the outputs. For
    functions without loops of their own, whose derivatives nobody takes.

    Parameters
    ----------
    compute : function
        Takes the arrays' parts, which broadcast together, and returns arrays
        of their common shape.
    arrays : sequence of arrays
    num_outputs : int
        How many arrays `compute` returns.
    whole : bool
        Leave arrays in one piece, also where their length is no multiple of a vector's.

    Returns
    -------
    list of arrays or None
        Of the common shape. None where the last axis is too short for a loop along it.
    """
    shape = common_shape(arrays)
    if math.prod(shape) < VECTORS:
        return None
    merged, parts = merged_axes(shape, arrays)
    if merged[-1] < VECTORS:
        return None
    outputs = []
    for i in range(num_outputs):
        one = fusible(lambda *parts, i=i: jnp.broadcast_to(compute(*parts)[i], common_shape(parts)))
        found = one(*parts) if whole or len(merged) > 1 else _whole_vectors(one, parts)
        outputs.append(found.reshape(shape))
        # What the outputs have in common would be computed apart, in many passes.
        parts = jax.lax.optimization_barrier(parts)
    return outputs


def _whole_vectors(one: Callable[..., jax.Array], arrays: Sequence[jax.Array]) -> jax.Array:
    """A function of 1-D arrays, for a loop along an odd length might be scalar code."""
    (size,) = common_shape(arrays)
    rest = size % VECTORS
    if not rest:
        return one(*arrays)
    # The last vectors overlap with those before.
    head, tail = (
        jax.lax.optimization_barrier(one(*(x if x.size == 1 else x[a:b] for x in arrays)))
        for a, b in ((0, size - rest), (size - VECTORS, size))
    )
    return jnp.concatenate([head, tail[VECTORS - rest :]])


def fusible(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a form that XLA's processor backend makes one loop of.

    It ends a loop at each division, root or exponential whose result is used twice, lest
    that be computed twice. Here each result is used once, by an operation that does
    nothing, costs nothing and may be repeated: a rounding to all the bits there are.
    """

    def rewritten(*arrays: jax.Array) -> Any:
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*arrays)
        found = _evaluated(traced.jaxpr, traced.consts, arrays)
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return rewritten


def _evaluated(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def value(x: Any) -> Any:
        return x.val if hasattr(x, "val") else values[x]  # a literal has its own

    for equation in jaxpr.eqns:
        inputs, name = list(map(value, equation.invars)), equation.primitive.name
        if name in _CALLS:
            inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            found = _evaluated(inner.jaxpr, inner.consts, inputs)
        else:
            bound = equation.primitive.bind(*inputs, **equation.params)
            found = list(bound) if equation.primitive.multiple_results else [bound]
            if name in _EXPENSIVE:
                found = [_untouched(x) for x in found]
        values |= dict(zip(equation.outvars, found, strict=True))
    return list(map(value, jaxpr.outvars))


def _untouched(x: jax.Array) -> jax.Array:
    if x.dtype.name not in _ALL_BITS:
        return x
    return jax.lax.reduce_precision(x, *_ALL_BITS[x.dtype.name])
