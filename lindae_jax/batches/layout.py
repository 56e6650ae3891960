"""How an elementwise function walks a batch: over devices, block by block."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from lindae_jax import checks
from lindae_jax.batches import devices
from lindae_jax.batches.blocks import in_blocks
from lindae_jax.batches.host import OnHost
from lindae_jax.batches.passes import in_passes
from lindae_jax.batches.portions import portions

# XLA stops at 256 bits of itself. What a sum rounds off is computed in many places, and is zero to
# a compiler that was told, for the whole process, that it may reassociate.
_OPTIONS: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512, "xla_cpu_enable_fast_math": False}


class Layout(NamedTuple):
    """Static, for programs differ by it."""

    spread: devices.Spread | None
    """None: the one device that the arrays are on."""
    block: int | None
    """Elements computed at a time; None for all."""
    platform: str | None = None
    """Of the devices, where it is known: "cpu", "gpu" or another."""

    def place(self, tree: Any) -> Any:
        """The arrays where they are needed."""
        return tree if self.spread is None else jax.tree.map(self.spread.place, tree)

    def transposed(self) -> "Layout":
        """That of matrices whose last two axes are exchanged."""
        return self if self.spread is None else self._replace(spread=self.spread.transposed())

    def call(self, function: Callable[["Layout", Any], Any], tree: Any, rows: int = 1) -> Any:
        """`function(layout, tree)` of a tree of arrays, for a tree of arrays by member.

        It is given arrays where they are needed, as one batch of equal parts or in
        portions, and returns all or those of a portion; nothing is seen of it outside.
        What it returns is its own, not what it was given, and has about so many rows
        of the batch.
        """
        if self.spread is None:
            return function(self, tree)

        def part(spread: devices.Spread, tree: Any) -> Any:
            return function(self._replace(spread=spread), tree)

        by_portions = portions(self.spread, jax.tree.leaves(tree), rows)
        if by_portions is not None:
            return by_portions.call(part, tree)
        even = self.spread.even()
        return jax.tree.map(self.spread.trim, part(even, jax.tree.map(even.place, tree)))

    def compute(
        self, function: Callable[..., list[jax.Array]], arrays: Sequence[jax.Array], outputs: int
    ) -> list[jax.Array]:
        """`function(*arrays)`, on each device its part, for outputs of the batch's shape."""
        if self.spread is None:
            return function(*arrays)
        return self.spread.over(function, arrays, outputs)

    def summed(self, parts: Sequence[jax.Array]) -> Sequence[jax.Array]:
        """Sums along the last axis, within `compute`, of which each device may have taken a part.

        Of arrays of one shape; for what was laid out with `sums`.
        """
        if self.spread is None or self.spread.axis != -1 or self.spread.mesh.size == 1:
            return parts
        return self.spread.summed(parts)

    def elementwise(
        self,
        function: Callable[..., Sequence[jax.Array]],
        arrays: Sequence[jax.Array],
        outputs: int,
        dtypes: Sequence[Any] | None = None,
    ) -> list[jax.Array]:
        """An elementwise function on one device, block by block.

        Its outputs are of these dtypes, by default of that of the first array.
        """
        return in_blocks(function, arrays, outputs, self.block, dtypes)

    def once_each(
        self,
        function: Callable[..., Sequence[jax.Array]],
        arrays: Sequence[jax.Array],
        outputs: int,
    ) -> list[jax.Array]:
        """The same, where it pays to compute every output by itself in one loop.

        For functions of some hundred operations, none of them a loop.
        """
        found = None
        if self.platform == "cpu":
            # Nothing is cut for itself where others may have cut it already.
            found = in_passes(function, arrays, outputs, whole=self.block is None)
        return self.elementwise(function, arrays, outputs) if found is None else found

    def by_platform(
        self,
        *operands: Any,
        cpu: Callable[..., Any],
        gpu: Callable[..., Any],
        default: Callable[..., Any],
    ) -> Any:
        """A function of the operands in the form for the platform that runs it.

        Where that is known the others are not even traced.
        """
        if self.platform is not None:
            return {"cpu": cpu, "gpu": gpu}.get(self.platform, default)(*operands)
        return jax.lax.platform_dependent(*operands, cpu=cpu, cuda=gpu, rocm=gpu, default=default)


WHOLE = Layout(None, None)


def lay_out(
    arrays: Sequence[jax.Array],
    one_core: int,
    all_cores: int,
    *,
    inner: int = 0,
    one_pass: bool = False,
    sums: bool = False,
    also: Sequence[jax.Array] = (),
) -> Layout:
    """The layout for a call with these inputs.

    Under tracing nothing is known of where they will be: the batch stays whole. Where the
    caller is tracing something else, it stays on one device.

    Parameters
    ----------
    arrays : sequence of arrays
        They broadcast together.
    one_core, all_cores : int
        Elements in a block on a CPU device that runs a loop on one core or on all.
    inner : int
        Last axes that belong to a member of the batch, such as those of a matrix.
    one_pass : bool
        Whether the function goes through the batch once, with no loop of its own: XLA
        gives that all cores of a CPU.
    sums : bool
        Whether the last axis may be cut too: the function adds what devices have of sums
        along it by `Layout.summed`.
    also : sequence of arrays
        Other inputs, which may lie somewhere as well.
    """
    inputs = [*arrays, *also]
    if any(map(checks.is_traced, inputs)):
        return WHOLE
    spread = None
    if not checks.is_tracing():
        spread = devices.spread(arrays, inner=inner, one_pass=one_pass, sums=sums, also=also)
    on = devices.of(inputs)
    platform = _platform(on)
    if platform != "cpu" or (spread is None and len(on) > 1):
        return Layout(spread, None, platform)
    block = one_core if spread or devices.one_core() else all_cores
    if spread is None and any(isinstance(x, OnHost) for x in arrays):
        spread = devices.alone(arrays)
    return Layout(spread, block, platform)


def one_cpu_device() -> bool:
    """Whether arrays, traced ones too, can lie nowhere but on a single CPU device."""
    return jax.device_count() == 1 and jax.default_backend() == "cpu"


def _platform(on: Any) -> str | None:
    """Of devices of one kind."""
    platforms = {device.platform for device in on}
    # Some JAX call a GPU by its maker.
    names = {"gpu" if name in ("cuda", "rocm") else name for name in platforms}
    return names.pop() if len(names) == 1 else None


def compiled(
    function: Callable[..., Any], static: Sequence[int], arrays: Sequence[jax.Array]
) -> Any:
    """The function compiled for where arrays are: on a CPU with the widest vectors it has.

    There sums stay as they are written, whatever flags the process has. Not for traced
    arrays: the options would be those of another program.
    """
    return _compiled(function, tuple(static), _platform(devices.of(arrays)) == "cpu")


@functools.cache
def _compiled(function: Callable[..., Any], static: tuple[int, ...], wide: bool) -> Any:
    options = cpu_options() if wide else None
    return jax.jit(function, static_argnums=static, compiler_options=options)


@functools.cache
def cpu_options() -> dict[str, Any] | None:
    """Compiler options for a CPU's widest vectors and for sums as written, those JAX knows."""
    if _known(_OPTIONS):  # to compile once is enough where it can be
        return _OPTIONS
    return {name: value for name, value in _OPTIONS.items() if _known({name: value})} or None


def _known(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=options)(0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
