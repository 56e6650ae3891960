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

# Below this many members the way to other devices and back costs more than it saves.
FEW = 50_000
_AXIS = "batch"


class Spread(NamedTuple):
    """Devices in a row, and the axis of the batch that is cut into as many parts."""

    mesh: Mesh
    shape: tuple[int, ...]
    """Of the batch."""
    axis: int
    """From the right, so negative: it means the same axis in every array."""

    @property
    def padding(self) -> int:
        """How many members short of equal parts the axis is."""
        return -self.shape[self.axis] % self.mesh.size

    def place(self, x: jax.Array) -> jax.Array:
        """The array on these devices; no copy if it is there already, or in their memory."""
        whole = self.padding or not self._is_cut(x)
        sharding = NamedSharding(self.mesh, PartitionSpec() if whole else self._cut(x.ndim))
        if len(x.devices()) > 1 or self.mesh.devices.flat[0].platform != "cpu":
            return jax.device_put(x, sharding)
        # CPU devices share one memory, which device_put from one to the other would copy.
        host = np.asarray(x)
        parts = [
            jax.device_put(host[index], device, may_alias=True)
            for device, index in sharding.addressable_devices_indices_map(x.shape).items()
        ]
        return jax.make_array_from_single_device_arrays(x.shape, sharding, parts)

    def over(
        self, function: Callable[..., list[jax.Array]], arrays: Sequence[jax.Array], outputs: int
    ) -> list[jax.Array]:
        """`function(*arrays)`, on each device its part, for outputs of the batch's shape."""
        results = jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(
                self._cut(x.ndim) if self._is_cut(x) else PartitionSpec() for x in arrays
            ),
            out_specs=[self._cut(len(self.shape))] * outputs,
            check_vma=False,
        )(*map(self._padded, arrays))
        size = self.shape[self.axis]
        return [jax.lax.slice_in_dim(y, 0, size, axis=y.ndim + self.axis) for y in results]

    def _is_cut(self, x: jax.Array) -> bool:
        return x.ndim >= -self.axis and x.shape[self.axis] > 1

    def _cut(self, num_axes: int) -> PartitionSpec:
        return PartitionSpec(*[None] * (num_axes + self.axis), _AXIS)

    def _padded(self, x: jax.Array) -> jax.Array:
        if not self.padding or not self._is_cut(x):
            return x
        widths = [(0, 0)] * x.ndim
        widths[self.axis] = (0, self.padding)
        return jnp.pad(x, widths, mode="edge")


def spread(arrays: Sequence[jax.Array], *, inner: int = 0) -> Spread | None:
    """The devices to use for a call with these inputs; None for the one they are on.

    Inputs that lie on several devices stay on these, those that were put on
    one device stay there, all others go to every device of this process. The
    last `inner` axes belong to a member, uncut.
    """
    if any(map(checks.is_traced, arrays)):
        return None
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    batch = shape[: len(shape) - inner]
    if math.prod(shape) < FEW or math.prod(batch) == 1:
        return None
    devices = _devices(arrays)
    if len(devices) < 2:
        return None
    equal = [axis for axis, size in enumerate(batch) if size % len(devices) == 0]
    axis = equal[0] if equal else int(np.argmax(batch))
    return Spread(Mesh(np.asarray(devices), (_AXIS,)), shape, axis - len(shape))


def _devices(arrays: Sequence[jax.Array]) -> Sequence[Any]:
    for x in arrays:
        if len(x.sharding.device_set) > 1:
            here = sorted(x.sharding.device_set, key=operator.attrgetter("id"))
            return here if x.is_fully_addressable else []
    if any(x.committed for x in arrays) or _default_device() is not None:
        return []
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        _hint()
    return devices


def _default_device() -> Any:
    """What the caller chose by `jax.default_device`, if anything."""
    return jax.config.jax_default_device  # type: ignore[attr-defined]


@functools.cache
def _hint() -> None:
    """Say once which line makes the other cores work, where XLA leaves them idle."""
    cores = num_cores()
    if cores > 1 and jax.__version_info__ >= (0, 12):
        logging.getLogger("lindae_jax").warning(
            "one of %d cores is in use, for this JAX has one CPU device; before the first array "
            'is made, call jax.config.update("jax_num_cpu_devices", %d)',
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
