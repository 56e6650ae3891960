"""A large batch on CPU devices that cannot share it as it lies: one portion after the other."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lindae_jax.batches.devices import Spread

# Of one array of a portion: so many that calls cost little, so few that what is held beside
# the results does, two portions of them and perhaps one of the inputs.
_BYTES = 2**21
# Of that and of the batch: what a portion may have besides, and what may be computed twice,
# that it lies in one piece.
_TOO_MANY, _TWICE = 1.2, 0.1

# Memory that begins at a multiple of this is shared with a CPU device, not copied; so many
# numbers of float32 fill it, and twice as much of float64.
_LINE, _NUMBERS = 64, 16


class Portions(NamedTuple):
    """Of equal size, along one axis; the last overlaps with the one before."""

    spread: Spread
    """Of a portion."""
    shape: tuple[int, ...]
    """Of the whole batch."""

    def call(self, function: Callable[[Spread, Any], Any], tree: Any) -> Any:
        """`function(spread, tree)` of a tree of arrays, for a tree of arrays by member.

        The results are in one piece, as if one device had computed them.
        """
        leaves, structure = jax.tree.flatten(tree)
        whole = [None if self._is_cut(x) else self.spread.place(x) for x in leaves]
        host = [np.asarray(x) for x in leaves]
        results: Any = None
        before: tuple[int, Any] | None = None
        for start in self._starts():
            placed = [
                self._place(x, start) if there is None else there
                for x, there in zip(host, whole, strict=True)
            ]
            found = function(self.spread, jax.tree.unflatten(structure, placed))
            # One is copied while the next is computed.
            if before is None:
                results = jax.tree.map(self._empty, found)
            else:
                self._keep(results, *before)
            before = start, found
        if before is not None:
            self._keep(results, *before)
        return jax.tree.map(lambda x: jax.device_put(x, may_alias=True), results)

    def _starts(self) -> Iterator[int]:
        """Where portions begin along the axis."""
        size, rows = self.shape[self.spread.axis], self.spread.shape[self.spread.axis]
        return (max(0, min(start, size - rows)) for start in range(0, size, rows))

    def _is_cut(self, x: jax.Array) -> bool:
        return x.ndim >= -self.spread.axis and x.shape[self.spread.axis] > 1

    def _place(self, x: np.ndarray, start: int) -> jax.Array:
        """A portion of an array on the devices; beyond its end, the last values."""
        axis, rows = self.spread.axis, self.spread.shape[self.spread.axis]
        part = x[_along(axis, slice(start, start + rows))]
        missing = rows - part.shape[axis]
        if missing:
            part = part.take(np.minimum(np.arange(rows), rows - missing - 1), axis=axis)
        return self.spread.place(part)

    def _empty(self, x: jax.Array) -> np.ndarray:
        shape = list(x.shape)
        shape[self.spread.axis] = self.shape[self.spread.axis]
        return _aligned(tuple(shape), x.dtype)

    def _keep(self, results: Any, start: int, found: Any) -> None:
        """Copy what was found into its place, without what pads it."""
        axis = self.spread.axis

        def copy(whole: np.ndarray, x: jax.Array) -> None:
            for shard in x.addressable_shards:
                first = shard.index[axis].start or 0
                length = shard.data.shape[axis]
                place = whole[_along(axis, slice(start + first, start + first + length))]
                place[...] = np.asarray(shard.data)[_along(axis, slice(place.shape[axis]))]

        jax.tree.map(copy, results, found)


def portions(spread: Spread, arrays: Sequence[jax.Array]) -> Portions | None:
    """Those of a batch that is spread; None where its devices can have their parts of it as it is.

    A small one they can have if they divide it, a large one if besides each part lies in
    one piece and begins where memory is shared.
    """
    devices = spread.mesh.devices.flat
    if devices[0].platform != "cpu" or any(len(x.sharding.device_set) > 1 for x in arrays):
        return None
    shape, num = spread.shape, len(devices)
    size, most = math.prod(shape), _BYTES // arrays[0].dtype.itemsize
    if not spread.padding and (size <= most or _shared(shape, spread.axis, num)):
        return None
    axis, rows = _cut(shape, num, most)
    portion = (*shape[:axis], rows, *shape[axis + 1 :])
    return Portions(spread._replace(shape=portion, axis=axis - len(shape)), shape)


def _cut(shape: tuple[int, ...], num: int, most: int) -> tuple[int, int]:
    """The axis, and how many rows along it make a portion for so many devices.

    In one piece if possible, whose parts begin where memory is shared; others are copied.
    """
    size, cut = math.prod(shape), (0, 0)
    for axis in (_first(shape), int(np.argmax(shape))):
        row = size // shape[axis]
        for unit in (num * _unit(row), num):
            count = -(-size // most)
            rows = -(-shape[axis] // (count * unit)) * unit
            cut = axis, rows
            twice = -shape[axis] % rows
            if rows * row <= _TOO_MANY * most and twice <= _TWICE * shape[axis]:
                return cut
    return cut


def _shared(shape: tuple[int, ...], axis: int, num: int) -> bool:
    """Whether so many parts lie in one piece each and begin where memory is shared."""
    first = _first(shape)
    row = math.prod(shape[first + 1 :])
    return axis == first - len(shape) and shape[first] % (num * _unit(row)) == 0


def _first(shape: tuple[int, ...]) -> int:
    """The first axis along which there is more than one."""
    return next(i for i, size in enumerate(shape) if size > 1)


def _unit(row: int) -> int:
    """Rows that fill whole lines."""
    return _NUMBERS // math.gcd(_NUMBERS, row)


def _along(axis: int, part: slice) -> tuple[Any, ...]:
    """The index of a part along an axis counted from the right."""
    return (..., part, *[slice(None)] * (-axis - 1))


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory that a CPU device can use as it is."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _LINE, np.uint8)
    begin = -memory.ctypes.data % _LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)
