"""Large arrays of NumPy, handed to CPU devices part by part."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

# Smaller ones cost little as a copy, and a batch of them is one portion anyway.
_LEAST_BYTES = 2**20


class OnHost:
    """An array of NumPy that stays where it is, with what others ask of an array of JAX.

    Its numbers are those of the call's dtype, cast where they are taken.
    """

    committed = False

    def __init__(self, array: np.ndarray, first: jax.Array) -> None:
        """`first` is its first number, in the call's dtype and where JAX would put it all."""
        self.array, self._first = array, first
        self.shape, self.ndim, self.size = array.shape, array.ndim, array.size
        self.dtype, self.sharding = first.dtype, first.sharding

    def devices(self) -> set[Any]:
        """Where JAX would put it."""
        return self._first.devices()

    def copy_to(self, memory: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
        """The numbers at an index, cast, in the first of a flat array's."""
        part = self.array[index]
        there = memory[: part.size].reshape(part.shape)
        with np.errstate(over="ignore"):
            np.copyto(there, part, casting="same_kind")
        return there

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The numbers at an index, cast."""
        with np.errstate(over="ignore"):
            return np.asarray(self.array[index], self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[()]


def may_stay(x: Any, dtype: np.dtype) -> bool:
    """Whether an input of a call is an array of NumPy large enough to be left where it is."""
    # What else Python takes for one, such as a masked array, is for JAX to understand.
    return type(x) in (np.ndarray, np.memmap) and x.size * dtype.itemsize >= _LEAST_BYTES


def can_share(arrays: Iterable[jax.Array]) -> bool:
    """Whether CPU devices may have parts of a batch: it has been put nowhere in particular."""
    return all(
        not x.committed and len(x.devices()) == 1 and next(iter(x.devices())).platform == "cpu"
        for x in arrays
    )
