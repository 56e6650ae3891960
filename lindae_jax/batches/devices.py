"""A batch spread over the devices there are."""

import functools
import logging
import math
import operator
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lindae_jax import checks
from lindae_jax.batches.blocks import common_shape

# Below this many members the way to other devices and back costs more than it saves.
FEW = 50_000
# Of a batch of matrices, what may be padding that CPU devices are given equal parts.
_PADDING = 0.2
# Directions of a network that a CPU device takes at least: what devices tell each other at a step
# does not grow with them.
_LEAST = 256
_AXIS = "batch"


class Spread(NamedTuple):
    """Devices in a row, and the axis of the arrays that is cut into as many parts."""

    mesh: Mesh
    shape: tuple[int, ...]
    """Of all arrays together: the batch, and the axes of a member."""
    axis: int
    """From the right, so negative: it means the same axis in every array."""

    @property
    def padding(self) -> int:
        """How many members short of equal parts the axis is."""
        return -self.shape[self.axis] % self.mesh.size

    def even(self) -> "Spread":
        """The same for a batch of equal parts, to which this one can be padded."""
        shape = list(self.shape)
        shape[self.axis] += self.padding
        return self._replace(shape=tuple(shape))

    def place(self, x: Any) -> jax.Array:
        """The array on these devices; no copy if it is there already, or in their memory.

        An array of fewer members than there are is padded to as many.
        """
        whole = self.padding or not self.is_cut(x)
        sharding = NamedSharding(self.mesh, PartitionSpec() if whole else self._cut(x.ndim))
        x = _padded(x, self.axis, 0 if whole else self.shape[self.axis] - x.shape[self.axis])
        here = isinstance(x, np.ndarray) or len(x.devices()) == 1
        if not here or self.mesh.devices.flat[0].platform != "cpu":
            return jax.device_put(x, sharding)
        # CPU devices share one memory, which device_put from one to the other would copy.
        host = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: host[index])

    def trim(self, x: jax.Array) -> jax.Array:
        """An array of the even batch without what pads it."""
        size = self.shape[self.axis]
        if x.shape[self.axis] == size:
            return x
        return jax.lax.slice_in_dim(x, 0, size, axis=x.ndim + self.axis)

    def transposed(self) -> "Spread":
        """The same parts of matrices whose last two axes are exchanged."""
        axis = {-1: -2, -2: -1}.get(self.axis, self.axis)
        return self._replace(shape=(*self.shape[:-2], *self.shape[:-3:-1]), axis=axis)

    def over(
        self, function: Callable[..., list[jax.Array]], arrays: Sequence[jax.Array], outputs: int
    ) -> list[jax.Array]:
        """`function(*arrays)`, on each device its part, for outputs of the batch's shape."""
        if self.mesh.size == 1:
            return function(*arrays)
        results = jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(
                self._cut(x.ndim) if self.is_cut(x) else PartitionSpec() for x in arrays
            ),
            out_specs=[self._cut(len(self.shape))] * outputs,
            check_vma=False,
        )(*map(self._padded, arrays))
        size = self.shape[self.axis]
        return [jax.lax.slice_in_dim(y, 0, size, axis=y.ndim + self.axis) for y in results]

    def summed(self, parts: Sequence[jax.Array]) -> list[jax.Array]:
        """Sums over the devices, within `over`, of arrays of one shape."""
        return list(jax.lax.psum(jnp.stack(parts), _AXIS))

    def is_cut(self, x: Any) -> bool:
        """Whether each device has a part of the array, not all of it."""
        return x.ndim >= -self.axis and x.shape[self.axis] > 1

    def _cut(self, num_axes: int) -> PartitionSpec:
        return PartitionSpec(*[None] * (num_axes + self.axis), _AXIS)

    def _padded(self, x: jax.Array) -> jax.Array:
        return _padded(x, self.axis, self.padding if self.is_cut(x) else 0)


def _padded(x: Any, axis: int, missing: int) -> jax.Array:
    if not missing:
        return x
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, missing)
    return (np if isinstance(x, np.ndarray) else jnp).pad(x, widths, mode="edge")


def spread(
    arrays: Sequence[jax.Array],
    *,
    inner: int = 0,
    one_pass: bool = False,
    sums: bool = False,
    also: Sequence[jax.Array] = (),
) -> Spread | None:
    """The devices to use for a call with these inputs; None for the one they are on.

    Inputs that lie on several devices stay on these, those that were put on
    one device stay there, all others go to every device of this process. The
    last `inner` axes belong to a member. A function that is `one_pass`
    over the batch has all cores of a CPU from one of its devices. One that `sums`
    over the last axis by `Spread.summed` can be given parts of that on a CPU, where
    the batch has no equal ones. Of the inputs in `also` the place counts, not the shape.
    """
    inputs = [*arrays, *also]
    if any(map(checks.is_traced, inputs)):
        return None
    shape = common_shape(arrays)
    batch = shape[: len(shape) - inner]
    if math.prod(shape) < FEW or (math.prod(batch) == 1 and not sums):
        return None
    devices = _devices(inputs)
    if sums and _by_last_axis(shape, devices, inner):
        return Spread(Mesh(np.asarray(devices), (_AXIS,)), shape, -1)
    if math.prod(batch) == 1:
        return None
    if devices and devices[0].platform == "cpu" and _first_spread(inputs) is None:
        if one_pass or not _evenly(batch, len(devices), inner):
            return None
        # Before JAX 0.12 products of matrices keep all cores busy, elementwise loops most.
        if len(devices) == 1 and (one_core() or not inner) and _evenly(batch, num_cores(), inner):
            _hint()
    if len(devices) < 2:
        return None
    mesh = Mesh(np.asarray(devices), (_AXIS,))
    return Spread(mesh, shape, _axis(batch, len(devices)) - len(shape))


def alone(arrays: Sequence[jax.Array]) -> Spread:
    """The one device that a program with these inputs runs on, for `batches/portions.py`."""
    shape = common_shape(arrays)
    return Spread(Mesh(np.asarray(list(of(arrays))), (_AXIS,)), shape, -1)


def _axis(batch: tuple[int, ...], num: int) -> int:
    """The axis to cut into so many parts: one that they divide, else the longest."""
    equal = [axis for axis, size in enumerate(batch) if size % num == 0]
    return equal[0] if equal else int(np.argmax(batch))


def _evenly(batch: tuple[int, ...], num: int, inner: int) -> bool:
    """Whether CPU devices gain by taking a part each.

    Products of matrices use all cores from one device too, so that little may be padding.
    """
    size = batch[_axis(batch, num)]
    return not inner or -size % num <= _PADDING * size


def _by_last_axis(shape: tuple[int, ...], devices: Sequence[Any], inner: int) -> bool:
    """Whether CPU devices gain by taking parts of the last axis, and not of the batch."""
    num, batch = len(devices), shape[: len(shape) - inner]
    if num < 2 or devices[0].platform != "cpu":
        return False
    if math.prod(batch) > 1 and _evenly(batch, num, inner):
        return False
    large = math.prod(shape[-inner:]) >= FEW and shape[-1] // num >= _LEAST
    return large and shape[-1] % num == 0


def of(arrays: Sequence[jax.Array]) -> set[Any]:
    """Those that a program with these inputs runs on: where something has been put, if any."""
    put = (x for x in arrays if x.committed)
    return next(put, arrays[0]).devices()


def _first_spread(arrays: Sequence[jax.Array]) -> jax.Array | None:
    """The first that lies on several devices."""
    return next((x for x in arrays if len(x.sharding.device_set) > 1), None)


def _devices(arrays: Sequence[jax.Array]) -> Sequence[Any]:
    x = _first_spread(arrays)
    if x is not None:
        here = sorted(x.sharding.device_set, key=operator.attrgetter("id"))
        return here if x.is_fully_addressable else []
    if any(x.committed for x in arrays) or _default_device() is not None:
        return []
    return jax.local_devices()


def _default_device() -> Any:
    """What the caller chose by `jax.default_device`, if anything."""
    return jax.config.jax_default_device  # type: ignore[attr-defined]


@functools.cache
def _hint() -> None:
    """Say once which line makes each core a device."""
    cores = num_cores()
    if cores > 1:
        logging.getLogger("lindae_jax").warning(
            "JAX has one CPU device for %d cores, of which it leaves some idle; before the first "
            'array is made, call jax.config.update("jax_num_cpu_devices", %d)',
            *(cores, cores),
        )


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_core() -> bool:
    """Whether a CPU device runs an elementwise loop on one core (docs/speed.md)."""
    return jax.__version_info__ >= (0, 12)
