"""What a sweep keeps of pairs, rows of a run at once.

The same bits whatever box a member is computed in, and on however many devices.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.batches import layout
from lindae_jax.batches.devices import FEW
from lindae_jax.curvature import sharpness
from lindae_jax.losses import pair_loss
from lindae_jax.problem import Problem
from lindae_jax.sweep import devices, members
from lindae_jax.sweep.observe import gradient, status_of

# So many numbers are computed at a time on a CPU device, never more or fewer.
_BLOCK = 2**13
# A row of few members has a power of two of them, or a multiple of so many.
_MANY_BLOCKS = 16


def of_pairs(
    names: Sequence[str], w1: jax.Array, w2: jax.Array, problem: Problem
) -> dict[str, jax.Array]:
    """Observables by row of pairs, (saves, ...) each, with the status.

    Parameters
    ----------
    names : tuple of str
        Those that need more than the weights are left out.
    w1, w2 : jax.Array, (saves, ...)
    problem : Problem
        Fields (...).
    """
    results = _exact(tuple(names), w1, w2)
    rounded = tuple(name for name in _ROUNDED if name in names)
    if rounded:
        results |= zip(rounded, _rounded(rounded, w1, w2, problem), strict=True)
    return results


@functools.partial(jax.jit, static_argnums=0)
def _exact(names: tuple[str, ...], w1: jax.Array, w2: jax.Array) -> dict[str, jax.Array]:
    """Those of one operation at most, which has but one result."""
    results = {"status": status_of(jnp.isfinite(w1) & jnp.isfinite(w2))}
    if "mapping" in names:
        results["mapping"] = w1 * w2
    if "weights" in names:
        results |= {"w1": w1, "w2": w2}
    return results


def _rounded(
    names: tuple[str, ...], w1: jax.Array, w2: jax.Array, problem: Problem
) -> Sequence[jax.Array | np.ndarray]:
    """Those whose last bits depend on how a program walks its arrays: so all walk alike."""
    shape, lengths = w1.shape, w1.shape[1:]
    fields = [problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate]
    if math.prod(lengths) < _BLOCK:
        return _few_rounded(names, (w1, w2, *fields[:3]), problem)
    if math.prod(lengths) < FEW:
        w1, w2, *fields = devices.on_one((w1, w2, *fields), problem)
    *fields, rate = (jnp.broadcast_to(x, lengths) for x in fields)
    # By the members, not the rows, for members are what is spread over the devices already.
    cut = layout.lay_out((*fields, rate), _BLOCK, _BLOCK)
    if cut.spread is not None:
        cut = cut._replace(spread=cut.spread._replace(shape=shape))

    def placed(cut: layout.Layout, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        return layout.compiled(_rounded_core, (0, 1), arrays)(names, cut, arrays)

    return cut.call(placed, [w1, w2, *fields])


def _few_rounded(
    names: tuple[str, ...], arrays: Sequence[jax.Array], problem: Problem
) -> list[np.ndarray]:
    """Those of few members: of one row as long as it takes, for which others need no program."""
    host = np.broadcast_arrays(*map(np.asarray, arrays))
    shape, size = host[0].shape, host[0].size
    # A compiler that knew of a single block would make a program of its own for it.
    unit = _BLOCK * max(2, min(2 ** (size // _BLOCK).bit_length(), _MANY_BLOCKS))
    rows = [members.padded_to(x.ravel(), unit)[None] for x in host]
    placed = devices.on_one(rows, problem)
    one = layout.lay_out(devices.on_one([host[0].ravel()[:1]], problem), _BLOCK, _BLOCK)
    found = layout.compiled(_rounded_core, (0, 1), placed)(names, one, placed)
    return [np.asarray(x)[0, :size].reshape(shape) for x in found]


def _rounded_core(
    names: tuple[str, ...], cut: layout.Layout, arrays: Sequence[jax.Array]
) -> list[jax.Array]:
    def at_points(w1: jax.Array, w2: jax.Array, *fields: jax.Array) -> list[jax.Array]:
        eigenvalue, noise, decay = fields
        # Which plays no part, but has to be positive.
        problem = Problem(eigenvalue, noise, decay, jnp.ones((), w1.dtype))
        return [_ROUNDED[name](w1, w2, problem) for name in names]

    def part(*arrays: jax.Array) -> list[jax.Array]:
        return at_points(*arrays) if cut.block is None else _walk(at_points, arrays, len(names))

    return cut.compute(part, arrays, len(names))


def _walk(
    compute: Callable[..., Sequence[jax.Array]], arrays: Sequence[jax.Array], outputs: int
) -> list[jax.Array]:
    """An elementwise function of arrays (rows, ...) or (...), one block of a row after another."""
    shape = arrays[0].shape
    size = math.prod(shape[1:])
    flat = [x.reshape(-1, size) for x in arrays]
    # A compiler that knew of a single block would make a program of its own for it.
    if size <= _BLOCK:
        flat = [jnp.pad(x, ((0, 0), (0, _BLOCK + 1 - size)), mode="edge") for x in flat]
    count = jax.lax.optimization_barrier(jnp.asarray(-(-size // _BLOCK)))
    across = flat[0].shape

    def fill(i: jax.Array, results: Sequence[jax.Array]) -> list[jax.Array]:
        # The last one overlaps the one before, and computes the same numbers again.
        start = i // count, jnp.minimum(i % count * _BLOCK, across[1] - _BLOCK)
        pieces = (
            jax.lax.dynamic_slice(x, (start[0] if len(x) > 1 else 0, start[1]), (1, _BLOCK))
            for x in flat
        )
        found = compute(*(x.reshape(_BLOCK) for x in pieces))
        return [
            jax.lax.dynamic_update_slice(y, value.reshape(1, _BLOCK), start)
            for y, value in zip(results, found, strict=True)
        ]

    results = [jnp.zeros(across, flat[0].dtype) for _ in range(outputs)]
    found = jax.lax.fori_loop(0, across[0] * count, fill, results)
    return [y[:, :size].reshape(shape) for y in found]


def _residual(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    return jnp.hypot(*gradient(pair_loss, w1, w2, problem))


_ROUNDED: dict[str, Callable[[jax.Array, jax.Array, Problem], jax.Array]] = {
    "norm": lambda w1, w2, problem: w1 * w1 + w2 * w2,
    "loss": pair_loss,
    "sharpness": sharpness,
    "gradient": _residual,
}
