"""Boxes of a grid: how it is cut into chunks."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A box of a grid."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along the axes."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Members in it."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """To index an array of the grid's shape with."""
        return tuple(map(slice, self.start, self.stop))

    def within(self, outer: "Box") -> "Box":
        """The same box, counted from where another one begins."""
        return self.moved([-o for o in outer.start])

    def moved(self, by: Sequence[int]) -> "Box":
        """The box elsewhere."""
        return Box(*(tuple(x + d for x, d in zip(xs, by, strict=True)) for xs in self))


def chunk_shape(
    shape: Sequence[int], most: int, single: Sequence[bool] | None = None
) -> tuple[int, ...]:
    """Lengths of a chunk of at most so many members.

    Trailing axes whole as far as they fit, the one before them in equal parts, those in
    front one by one.

    Parameters
    ----------
    shape : sequence of int
        Of the grid.
    most : int
        Members in a chunk, at least 1.
    single : sequence of bool, optional
        Axes along which a chunk has one member only.
    """
    lengths, left = [1] * len(shape), max(1, most)
    for axis in reversed(range(len(shape))):
        if single is not None and single[axis]:
            continue
        parts = -(-shape[axis] // max(1, min(left, shape[axis])))
        lengths[axis] = -(-shape[axis] // parts)
        left //= lengths[axis]
        if parts > 1:
            break
    return tuple(lengths)


def num_chunks(shape: Sequence[int], chunk: Sequence[int]) -> int:
    """Chunks of a grid."""
    return math.prod(_counts(shape, chunk))


def chunk_box(shape: Sequence[int], chunk: Sequence[int], index: int) -> Box:
    """The chunk of a number, counted with the last axis fastest; cut at the grid's end."""
    places, left = [], index
    for count in reversed(_counts(shape, chunk)):
        left, place = divmod(left, count)
        places.append(place)
    start = tuple(p * c for p, c in zip(reversed(places), chunk, strict=True))
    return Box(start, tuple(min(a + c, n) for a, c, n in zip(start, chunk, shape, strict=True)))


def parts(box: Box, lengths: Sequence[int]) -> Iterator[Box]:
    """The box cut into boxes of these lengths, those at its end shorter."""
    starts = (range(a, b, n) for a, b, n in zip(*box, lengths, strict=True))
    for start in itertools.product(*starts):
        stop = (min(a + n, b) for a, n, b in zip(start, lengths, box.stop, strict=True))
        yield Box(start, tuple(stop))


def boxes_of(mask: np.ndarray) -> Iterator[Box]:
    """Boxes that hold exactly the members which a mask names, few where it is simple.

    Stretches of the first axis along which the mask is the same, each cut along the other
    axes likewise.
    """
    if mask.all():
        yield Box((0,) * mask.ndim, mask.shape)
    elif mask.any():
        other = np.any(mask[1:] != mask[:-1], axis=tuple(range(1, mask.ndim)))
        edges = [0, *(np.flatnonzero(other) + 1).tolist(), len(mask)]
        for a, b in itertools.pairwise(edges):
            for inner in boxes_of(mask[a]):
                yield Box((a, *inner.start), (b, *inner.stop))


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of these."""
    starts, stops = zip(*boxes, strict=True)
    return Box(
        tuple(map(min, zip(*starts, strict=True))), tuple(map(max, zip(*stops, strict=True)))
    )


def halved(lengths: Sequence[int]) -> tuple[int, ...] | None:
    """Half of the lengths along the longest axis; None if there is but one member."""
    longest = max(lengths, default=1)
    if longest == 1:
        return None
    axis = list(lengths).index(longest)
    return tuple(-(-n // 2) if i == axis else n for i, n in enumerate(lengths))


def _counts(shape: Sequence[int], chunk: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
