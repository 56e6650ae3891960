"""Jacobians of elementwise functions at many points, through one small program.

Compiling the derivative of the flow with decay takes seconds, so all points of
a session go, a fixed number at a time, through one compiled `jvp` and one `vjp`
with the directions as data. `jax.jacfwd` and `jax.grad` are these two with the
unit vectors in place.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

ROWS = 256

# These programs are large and run once or twice: compiling is all of their cost.
_quickly = functools.partial(
    jax.jit,
    static_argnums=0,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


@_quickly
def _forward(function, columns, tangents):
    return jax.jvp(function, (columns,), (tangents,))[1]


@_quickly
def _backward(function, columns, cotangents):
    return jax.vjp(function, columns)[1](cotangents)[0]


@_quickly
def _forward_twice(function, columns, tangents):
    return jax.jvp(lambda x: jax.jvp(function, (x,), (tangents,))[1], (columns,), (tangents,))[1]


def _in_blocks(program, columns, directions):
    """program(columns, directions), ROWS rows at a time; the last block is filled up."""
    n = len(columns)
    fill = [*range(n), *[0] * (-n % ROWS)]
    columns, directions = columns[np.array(fill)], directions[np.array(fill)]
    blocks = [
        np.stack(program(_split(columns[i : i + ROWS]), _split(directions[i : i + ROWS])), axis=1)
        for i in range(0, len(columns), ROWS)
    ]
    return np.concatenate(blocks)[:n].astype(np.float64)


def _split(rows):
    return tuple(jnp.asarray(rows[:, i]) for i in range(rows.shape[1]))


def pushforward(function, points, tangents):
    """Directional derivatives (n, outputs) of a function of columns, one tangent a point."""
    return _in_blocks(functools.partial(_forward, function), points, tangents)


def acceleration(function, points, tangents):
    """Second derivatives (n, outputs) along straight lines, one tangent a point."""
    return _in_blocks(functools.partial(_forward_twice, function), points, tangents)


def pullback(function, points, cotangents):
    """Gradients (n, inputs) of the outputs weighted by the cotangents (n, outputs)."""
    return _in_blocks(functools.partial(_backward, function), points, cotangents)


def jacobians(function, points, num_outputs, mode):
    """Jacobians (n, outputs, inputs) by "forward" or "backward" differentiation."""
    n, num_inputs = points.shape
    forward = mode == "forward"
    size = num_inputs if forward else num_outputs
    unit = np.tile(np.eye(size, dtype=points.dtype), (n, 1))
    apply = pushforward if forward else pullback
    result = apply(function, np.repeat(points, size, axis=0), unit).reshape(n, size, -1)
    return result.swapaxes(1, 2) if forward else result
