"""Elementwise functions with long loops, each number kept in a register of a GPU."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import checks
from lindae_jax.batches.blocks import common_shape

# Elements that a group of threads takes, one each. Smaller groups where there are so few
# elements that larger ones would leave multiprocessors idle.
_GROUP, _SMALL_GROUP = 128, 64
_FEW = 2**16

# Threads that go in step, of all NVIDIA GPUs.
_WARP = 32

# Type and register of a number in PTX.
_PTX = {"float32": ("f32", "f"), "float64": ("f64", "d")}


def in_registers(
    compute: Callable[..., Sequence[jax.Array]],
    arrays: Sequence[jax.Array],
    num_outputs: int,
    *,
    interpret: bool = False,
) -> list[jax.Array]:
    """An elementwise function of arrays that broadcast, as one kernel of a GPU.

    Whatever loops the function has, nothing but its inputs and outputs passes through
    memory, and there is one launch. XLA would launch a kernel for each trip of a loop.

    Parameters
    ----------
    compute : function
        Takes the arrays' parts, all of one length but for integers, and returns arrays of
        that length. It must not close over arrays.
    arrays : sequence of arrays
        Of one floating dtype, that of the outputs, but for integers of size 1.
    num_outputs : int
        How many arrays `compute` returns.
    interpret : bool
        Run it by JAX's own operations, on any device, for tests.

    Returns
    -------
    list of arrays
        Of the common shape.
    """
    from jax.experimental import pallas as pl

    shape = common_shape(arrays)
    size = math.prod(shape)
    group = _GROUP if size >= _FEW else _SMALL_GROUP
    padding = -size % group
    dtype = next(x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.floating))
    if size == 0:
        return [jnp.zeros(shape, dtype)] * num_outputs

    def flat(x: jax.Array) -> jax.Array:
        if x.size == 1:
            return x.reshape(1)
        x = jnp.broadcast_to(x, shape).reshape(-1)
        return jnp.pad(x, (0, padding), mode="edge") if padding else x

    def read(reference: Any) -> jax.Array:
        x = reference[...]
        return x if jnp.issubdtype(x.dtype, jnp.integer) else jnp.broadcast_to(x, (group,))

    def kernel(*references: Any) -> None:
        inputs, outputs = references[: len(arrays)], references[len(arrays) :]
        for output, value in zip(outputs, compute(*map(read, inputs)), strict=True):
            output[...] = value

    part, number = pl.BlockSpec((group,), lambda i: (i,)), pl.BlockSpec((None,), lambda i: (0,))
    options: dict[str, Any] = {} if interpret else {"compiler_params": _threads(group)}
    results = pl.pallas_call(
        kernel,
        grid=((size + padding) // group,),
        in_specs=[number if x.size == 1 else part for x in arrays],
        out_specs=[part] * num_outputs,
        out_shape=[jax.ShapeDtypeStruct((size + padding,), dtype)] * num_outputs,
        interpret=interpret,
        **options,
    )(*map(flat, arrays))
    return [y[:size].reshape(shape) for y in results]


def _threads(group: int) -> Any:
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=group // _WARP, num_stages=1)


def multiply_add(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """a b + c rounded once, within `in_registers`: there no compiler joins the two by itself."""
    from jax.experimental.pallas import triton

    kind, register = _PTX[c.dtype.name]
    shape = jnp.broadcast_shapes(a.shape, b.shape, c.shape)
    (found,) = triton.elementwise_inline_asm(
        f"fma.rn.{kind} $0, $1, $2, $3;",
        args=[jnp.broadcast_to(x, shape) for x in (a, b, c)],
        constraints=",".join([f"={register}"] + [register] * 3),
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(shape, c.dtype)],
    )
    return found


def available(devices: Iterable[Any]) -> bool:
    """Whether kernels can be made for devices: NVIDIA GPUs, where this JAX can.

    Not while the caller is tracing something else: constants would be evaluated at once
    (`jax.ensure_compile_time_eval`), and be arrays that a kernel closes over.
    """
    found = list(devices)
    if not all(map(_is_nvidia, found)):
        return False
    return not checks.is_tracing() and all(map(_works, found))


def _is_nvidia(device: Any) -> bool:
    return device.platform in ("gpu", "cuda") and "cuda" in device.client.platform_version


@functools.cache
def _works(device: Any) -> bool:
    """Whether a small kernel gives what it should there."""

    def compute(n: jax.Array, x: jax.Array) -> list[jax.Array]:
        return [jax.lax.fori_loop(0, n, lambda _, y: multiply_add(x, y, x), x)]

    try:
        with jax.default_device(device):
            x = jnp.arange(100, dtype=jnp.float32)
            (found,) = jax.jit(lambda n, x: in_registers(compute, [n, x], 1))(jnp.int32(2), x)
            return bool(np.array_equal(found, x * (x * (x + 1) + 1)))
    # An interface on trial, whose every version may fail in a way of its own; the loops
    # that XLA makes are slower, and right.
    except Exception as reason:
        logging.getLogger("lindae_jax").warning(
            "no kernel of our own can be made for %s, and pairs take the slower loops of XLA: %s",
            *(device, checks.brief(reason)),
        )
        return False
