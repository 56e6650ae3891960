"""A large batch on CPU devices that cannot share it as it lies: one portion after the other."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lindae_jax.batches.devices import Spread
from lindae_jax.batches.host import OnHost

# Of one array of a portion, and of its results where they have many rows: so many that calls
# cost little, so few that what is held beside all results does, two portions' results and
# perhaps one's inputs. At least so many bytes for a device, and members however many rows.
_BYTES, _BYTES_EACH, _LEAST = 2**20, 2**17, 2**16

# What a portion may have besides, so that they are of equal size; and in computed members,
# what it costs that there is one more, and that a member is copied.
_TOO_MANY, _CALL, _COPY = 1.2, 2**16, 0.1

# Memory that begins at a multiple of this is shared with a CPU device, not copied; so many
# numbers of float32 fill it, and twice as much of float64.
_LINE, _NUMBERS = 64, 16


class Portions(NamedTuple):
    """Of equal size; the last along an axis overlaps with the one before."""

    spread: Spread
    """Of a portion."""
    shape: tuple[int, ...]
    """Of the whole batch."""

    def call(self, function: Callable[[Spread, Any], Any], tree: Any) -> Any:
        """`function(spread, tree)` of a tree of arrays, for a tree of arrays by member.

        The results are in one piece, as if one device had computed them.
        """
        leaves, structure = jax.tree.flatten(tree)
        givers = [self._giver(x) for x in leaves]
        results: Any = None
        before: Any = None
        for place in self._places():
            placed = [give(place) for give in givers]
            found = function(self.spread, jax.tree.unflatten(structure, placed))
            del placed
            # One is copied while the next is computed; more are not held at a time.
            if before is None:
                results = jax.tree.map(self._empty, found)
            else:
                self._keep(results, *before)
            before = place, jax.block_until_ready(found)
        self._keep(results, *before)
        return jax.tree.map(lambda x: jax.device_put(x, may_alias=True), results)

    def _places(self) -> Iterator[tuple[slice, ...]]:
        """Where portions lie in the batch; beyond its end where an axis is shorter than they."""
        sizes = zip(self.shape, self.spread.shape, strict=True)
        starts = [
            [max(0, min(start, size - rows)) for start in range(0, size, rows)]
            for size, rows in sizes
        ]
        for start in itertools.product(*starts):
            yield tuple(
                slice(i, i + rows) for i, rows in zip(start, self.spread.shape, strict=True)
            )

    def _giver(self, x: jax.Array | OnHost) -> Callable[[tuple[slice, ...]], jax.Array]:
        """Of an array, what gives the portion at a place, on the devices.

        Beyond the end of the array, its last values. What is given holds until the next is.
        """
        lengths = list(zip(reversed(x.shape), reversed(self.spread.shape), strict=False))
        cut = self.spread.is_cut(x) or any(a != b and a > 1 for a, b in lengths)
        if not cut:
            all_of_it = self.spread.place(np.asarray(x))
            return lambda place: all_of_it
        take: Callable[[tuple[slice, ...]], np.ndarray]
        if isinstance(x, OnHost):
            # Always the same memory, which nothing else uses by then.
            size = math.prod(min(a, b) for a, b in lengths)
            take = functools.partial(x.copy_to, _aligned((size,), x.dtype))
        else:
            take = functools.partial(_part, np.asarray(x))

        def portion(place: tuple[slice, ...]) -> jax.Array:
            here = place[len(place) - x.ndim :]
            index = [slice(None) if n == 1 else i for n, i in zip(x.shape, here, strict=True)]
            return self.spread.place(take(tuple(index)))

        return portion

    def _empty(self, x: jax.Array) -> np.ndarray:
        return _aligned(x.shape[: x.ndim - len(self.shape)] + self.shape, x.dtype)

    def _keep(self, results: Any, place: tuple[slice, ...], found: Any) -> None:
        """Copy what was found into its place, without what pads it."""
        axis = self.spread.axis

        def copy(whole: np.ndarray, x: jax.Array) -> None:
            for shard in x.addressable_shards:
                here: list[Any] = list(place)
                start = here[axis].start + (shard.index[axis].start or 0)
                here[axis] = slice(start, start + shard.data.shape[axis])
                there = whole[(..., *here)]
                there[...] = _first_rows(np.asarray(shard.data), axis, there.shape[axis])

        jax.tree.map(copy, results, found)


def portions(spread: Spread, arrays: Sequence[jax.Array], rows: int = 1) -> Portions | None:
    """Those of a batch that is spread; None where its devices can have their parts of it as it is.

    A small one they can have if they divide it, a large one if besides each part lies in
    one piece and begins where memory is shared, which arrays of NumPy rarely do. Results
    have so many rows of the batch.
    """
    devices = spread.mesh.devices.flat
    if devices[0].platform != "cpu" or any(len(x.sharding.device_set) > 1 for x in arrays):
        return None
    shape, num = spread.shape, len(devices)
    most = max(_BYTES, num * _BYTES_EACH) // arrays[0].dtype.itemsize
    on_host = any(isinstance(x, OnHost) for x in arrays)
    as_it_is = math.prod(shape) <= most or _shared(shape, spread.axis, num)
    if not on_host and not spread.padding and as_it_is:
        return None
    axis, portion = _cut(shape, num, max(most // rows, min(most, _LEAST)))
    return Portions(spread._replace(shape=portion, axis=axis - len(shape)), shape)


def _cut(shape: tuple[int, ...], num: int, most: int) -> tuple[int, tuple[int, ...]]:
    """The axis whose rows so many devices share, and the shape of a portion, of what costs least.

    Of the axes before it portions have one index each and lie in one piece, or all.
    """

    def cost(axis: int, portion: tuple[int, ...], copied: bool) -> tuple[float, float]:
        members = math.prod(portion)
        number = math.prod(-(-n // m) for n, m in zip(shape, portion, strict=True))
        too_many = max(members, _TOO_MANY * most)
        return too_many, number * (members * (1 + _COPY * copied) + _CALL)

    return min(_cuts(shape, num, most), key=lambda found: cost(*found))[:2]


def _cuts(
    shape: tuple[int, ...], num: int, most: int
) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """Axis and shape of portions, and whether their parts are copied."""
    for axis, size in enumerate(shape):
        after = shape[axis + 1 :]
        for before in {(1,) * axis, shape[:axis]}:
            row, whole = math.prod(before) * math.prod(after), math.prod(before) > 1
            for unit in {num * _unit(math.prod(after)), num}:
                copied = whole or unit % (num * _unit(math.prod(after))) > 0
                units = size / unit / -(-size * row // most)
                for rows in {max(1, math.floor(units)), math.ceil(units)}:
                    yield axis, (*before, rows * unit, *after), copied


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


def _part(x: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
    """Where it lies, uncopied."""
    return x[index]


def _first_rows(x: np.ndarray, axis: int, number: int) -> np.ndarray:
    """So many along an axis counted from the right."""
    index: list[Any] = [slice(None)] * x.ndim
    index[axis] = slice(number)
    return x[tuple(index)]


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory that a CPU device can use as it is."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _LINE, np.uint8)
    begin = -memory.ctypes.data % _LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)
