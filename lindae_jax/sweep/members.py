"""The members of a box of a sweep's grid: their problems and their start."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import initial
from lindae_jax.batches.blocks import VECTORS
from lindae_jax.problem import Problem, Weights
from lindae_jax.sweep.grid import Box
from lindae_jax.sweep.spec import Sweep


def values(sweep: Sweep, name: str, box: Box, lengths: Sequence[int]) -> np.ndarray:
    """A parameter over a box, of length 1 along the axes that it does not vary along.

    Beyond the box's end its last value is repeated, up to the lengths: so all boxes of a
    sweep have one shape, for which one program is compiled.
    """
    array = sweep.axes[name]
    shape = [1] * len(sweep.shape)
    for dim in sweep.dims_of(name):
        axis = list(sweep.dims).index(dim)
        array = array[box.start[axis] : box.stop[axis]]
        array = np.pad(array, (0, lengths[axis] - array.size), mode="edge")
        shape[axis] = array.size
    if array.dtype.kind == "f":
        array = array.astype(sweep.dtype)
    return array.reshape(shape)


def padded_to(x: np.ndarray, unit: int, least: int = 0) -> np.ndarray:
    """A row that is a multiple of a unit long, and at least so long; its last value repeated."""
    size = max(least, x.size)
    return np.pad(x, (0, size - x.size + -size % unit), mode="edge")


def problem(sweep: Sweep, box: Box, lengths: Sequence[int]) -> Problem:
    """The problems of a box, to which the fields broadcast; eigenvalues (D,) of matrices."""
    noise, decay, rate = (
        values(sweep, name, box, lengths) for name in ("noise", "decay", "learning_rate")
    )
    if sweep.spectrum is not None:
        eigenvalue = np.asarray(sweep.spectrum.eigenvalues, sweep.dtype)
    else:
        eigenvalue = values(sweep, "eigenvalue", box, lengths)
    return Problem(*map(jnp.asarray, (eigenvalue, noise, decay, rate)))


def start_pairs(sweep: Sweep, box: Box, lengths: Sequence[int]) -> Weights:
    """Weights of pairs at the start, on the host; they broadcast to the box."""
    if sweep.init == "given":
        return Weights(*(values(sweep, name, box, lengths) for name in ("init_w1", "init_w2")))
    std = values(sweep, "init_std", box, lengths)
    if sweep.init == "aligned":
        return Weights(std, std)
    seed = values(sweep, "seed", box, lengths)
    # In whole vectors, so that boxes of other shapes need no other program.
    drawn = initial.small(padded_to(seed.ravel(), VECTORS), std=np.ones((), std.dtype))
    return Weights(*(np.asarray(w)[: seed.size].reshape(seed.shape) * std for w in drawn))


def start_matrices(sweep: Sweep, box: Box, lengths: Sequence[int], padded: int) -> Weights:
    """Weights of networks at the start, (..., H, D) and (..., D, H), H padded with zero units."""
    hidden = width(sweep, box)
    if sweep.weights is not None:
        w1, w2 = (jnp.asarray(np.asarray(w, sweep.dtype)) for w in sweep.weights)
        grid = (1,) * len(sweep.shape)
        return Weights(w1.reshape(*grid, *w1.shape), w2.reshape(*grid, *w2.shape))
    seed = values(sweep, "seed", box, lengths)
    std = jnp.asarray(values(sweep, "init_std", box, lengths))
    size = sweep.num_directions
    if sweep.init == "small":
        drawn = initial.small(seed, std=std, num_directions=size, hidden=padded)
        return _narrowed(drawn, jnp.int32(hidden))
    diagonal = jnp.repeat(std[..., None], min(hidden, size), axis=-1)
    w1, w2 = initial.aligned(seed, diagonal, diagonal, hidden, size)
    return Weights(_with_units(w1, -2, padded), _with_units(w2, -1, padded))


@jax.jit
def _narrowed(weights: Weights, hidden: jax.Array) -> Weights:
    """The first units of a wider network are those of a narrower one."""
    kept = jnp.arange(weights.w1.shape[-2]) < hidden
    w1, w2 = jnp.where(kept[:, None], weights.w1, 0), jnp.where(kept[None, :], weights.w2, 0)
    return Weights(w1, w2)


def width(sweep: Sweep, box: Box) -> int:
    """H of the networks of a box, which is one wide along `hidden`."""
    hidden = sweep.axes["hidden"]
    if hidden.ndim == 0:
        return int(hidden)
    axis = list(sweep.dims).index(sweep.dims_of("hidden")[0])
    return int(hidden[box.start[axis]])


def padded_width(sweep: Sweep, hidden: int) -> int:
    """The width for which networks are compiled: the largest of those up to twice the least."""
    widths = sorted(set(np.atleast_1d(sweep.axes["hidden"]).tolist()), reverse=True)
    while widths:
        largest = widths[0]
        if largest >= hidden >= largest / 2:
            return largest
        widths = [width for width in widths if 2 * width < largest]
    raise AssertionError(hidden)


def _with_units(matrix: jax.Array, axis: int, padded: int) -> jax.Array:
    widths = [(0, 0)] * matrix.ndim
    widths[axis] = (0, padded - matrix.shape[axis])
    return jnp.pad(matrix, widths)
