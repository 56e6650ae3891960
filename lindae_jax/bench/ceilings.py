"""The fastest this machine can do: a C kernel, products, multiply-adds, copies, exponentials."""

import ctypes
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lindae_jax.batches import layout, registers
from lindae_jax.batches.devices import num_cores
from lindae_jax.bench import native
from lindae_jax.bench.answers import Pairs, relative_error
from lindae_jax.bench.machine import vectors
from lindae_jax.bench.timing import Variant

# Multiplications and additions, fused where the machine can, of one step of a pair with decay.
OPERATIONS_PER_PAIR_STEP = 6

_CHAINS, _LINKS = 8, 8  # independent, so that they overlap; and how long each is


# --- a kernel in C ---------------------------------------------------------------


def vector_bits() -> tuple[int, ...]:
    """Widths of vectors worth trying on this processor."""
    known = {"avx512f": (256, 512), "asimd": (128, 256)}
    return next((bits for name, bits in known.items() if name in vectors()), (256,))


def c_pairs(
    pairs: Pairs, *, bits: int, quick: bool
) -> Iterator[tuple[str, int, Callable[[int], tuple[np.ndarray, np.ndarray]]]]:
    """Gradient descent of pairs by `pairs.c` with vectors of so many bits, one thread per core.

    Yields
    ------
    label, number of pairs, run
        For each number of vectors in flight.

    Raises
    ------
    Absent
        No C compiler here, or it fails.
    """
    out = np.empty_like(pairs.w1), np.empty_like(pairs.w2)
    shares = _shares(len(pairs.w1), num_cores())
    pool = ThreadPoolExecutor(len(shares))
    decay = bool(np.any(pairs.decay[:1]))
    for in_flight in (6,) if quick else (4, 6, 8):
        advance = _kernel(pairs.w1.dtype.name, bits // 8, in_flight, decay)

        def run(num_steps: int, advance=advance):
            calls = [pool.submit(_call, advance, num_steps, pairs, out, share) for share in shares]
            for call in calls:
                call.result()
            return out

        yield f"{in_flight} vectors in flight", len(pairs.w1), run


def _shares(num: int, parts: int) -> list[slice]:
    """Slices of whole blocks of pairs, one per thread."""
    length = -(-num // parts // 512) * 512 or 512
    return [slice(i, min(i + length, num)) for i in range(0, num, length)]


def _call(advance, num_steps: int, pairs: Pairs, out: tuple, share: slice) -> None:
    inputs = (ctypes.c_void_p * 6)(*(x[share].ctypes.data for x in pairs))
    outputs = (ctypes.c_void_p * 2)(*(x[share].ctypes.data for x in out))
    # ctypes lets other threads run meanwhile.
    advance(share.stop - share.start, num_steps, inputs, outputs)


def _kernel(dtype: str, width: int, in_flight: int, decay: bool) -> Callable[..., None]:
    """The function in `pairs.c` for these."""
    real = {"float32": "float", "float64": "double"}[dtype]
    defined = {"REAL": real, "BYTES": width, "VECTORS": in_flight, "DECAY": int(decay)}
    advance = native.load(
        "pairs.c", *(f"{name}={value}" for name, value in defined.items())
    ).advance
    advance.argtypes = [ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p]
    advance.restype = None
    return advance


# --- kernels in JAX, which serve on any device --------------------------------------


def _everywhere(x: np.ndarray) -> jax.Array:
    """An array cut over all devices, as the library cuts its own, where it can be."""
    devices = np.asarray(jax.local_devices())
    if len(devices) == 1 or len(x) % len(devices):
        return jnp.asarray(x)
    return jax.device_put(x, NamedSharding(Mesh(devices, ("part",)), PartitionSpec("part")))


def multiply_adds(dtype: str, *, quick: bool) -> list[Variant]:
    """Chains of fused multiply-adds that leave nothing to wait for; work in pair-steps."""
    work = _CHAINS * _LINKS / OPERATIONS_PER_PAIR_STEP
    return [
        _multiply_adds(dtype, size, work * size) for size in ((2**17,) if quick else (2**14, 2**20))
    ]


def _multiply_adds(dtype: str, size: int, work: float) -> Variant:
    x = _everywhere(np.linspace(0, 1, size).astype(dtype))
    # XLA's loop would launch a kernel for each visit, and the launches be what is measured.
    alone = len(x.devices()) == 1 and registers.available(x.devices())
    chains = _chains_in_registers if alone else _chains

    def run(steps: int) -> jax.Array:
        return jax.block_until_ready(chains(x, np.int32(steps)))

    def error() -> float:
        reference = np.asarray(x, np.longdouble)
        for _ in range(3):
            reference = _pass(reference)
        return relative_error([run(3)], [reference])

    return Variant(f"{size:,} numbers", work, run, error, 1000 * float(jnp.finfo(dtype).eps))


@jax.jit
def _chains(x: jax.Array, steps: int) -> jax.Array:
    return jax.lax.fori_loop(0, steps, lambda _, x: _pass(x), x)


@functools.partial(jax.jit, static_argnames=("multiply_add", "interpret"))
def _chains_in_registers(
    x: jax.Array,
    steps: jax.Array,
    *,
    multiply_add: Callable[..., Any] = registers.multiply_add,
    interpret: bool = False,
) -> jax.Array:
    def compute(steps: jax.Array, x: jax.Array) -> list[jax.Array]:
        return [jax.lax.fori_loop(0, steps, lambda _, x: _pass(x, multiply_add), x)]

    return registers.in_registers(compute, [steps, x], 1, interpret=interpret)[0]


def _multiply_add(a, b, c):
    return a * b + c


def _pass(x, multiply_add=_multiply_add):
    """One visit of a number: several chains at once, whose sum stays between 0 and 1."""
    total = 0 * x
    for chain in range(1, _CHAINS + 1):
        y = x
        for _ in range(_LINKS):
            y = multiply_add(y, x.dtype.type(0.5), x.dtype.type(chain / 64))
        total = total + y
    return total * x.dtype.type(0.25)


def copies(dtype: str, per_copy: float, *, quick: bool) -> list[Variant]:
    """Writing of negated numbers to memory; `per_copy` is the work that one number stands for."""
    size = 2**22 if quick else 2**24
    x = _everywhere(np.linspace(0, 1, size).astype(dtype))

    def run(steps: int) -> jax.Array:
        y = x
        for _ in range(steps):
            y = _negative(y)
        return jax.block_until_ready(y)

    def error() -> float:
        return relative_error([run(3)], [-np.asarray(x)])

    return [Variant(f"{size:,} numbers", per_copy * size, run, error, 0.0)]


_negative = jax.jit(jnp.negative)


def products(dtype: str, library: Literal["JAX", "NumPy"], *, quick: bool) -> list[Variant]:
    """Products of square matrices; work in operations."""
    sizes = (512,) if quick else (512, 1024, 2048)
    return [_product(dtype, library, size) for size in sizes]


def _product(dtype: str, library: str, size: int) -> Variant:
    rng = np.random.default_rng(0)
    host = [(rng.random((size, size)) / size).astype(dtype) for _ in range(2)]
    device = [jnp.asarray(x) for x in host]

    def by_numpy(steps: int) -> np.ndarray:
        for _ in range(steps):
            out = host[0] @ host[1]
        return out

    def by_jax(steps: int) -> jax.Array:
        for _ in range(steps):
            out = jax.block_until_ready(_matmul(*device))
        return out

    run = by_numpy if library == "NumPy" else by_jax

    def error() -> float:
        reference = host[0].astype(np.float64) @ host[1].astype(np.float64)
        return relative_error([run(1)], [reference])

    tolerance = size * float(np.finfo(dtype).eps)
    return Variant(f"{size} x {size}", 2.0 * size**3, run, error, tolerance)


_matmul = jax.jit(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))


def compiled(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The function under `jit`, and on a CPU with wide vectors also as told to use them.

    Yields
    ------
    label, function
    """
    yield "", jax.jit(function)
    if jax.default_backend() != "cpu" or max(vector_bits()) <= 256:
        return
    options = layout.cpu_options() or {}
    if "xla_cpu_prefer_vector_width" in options:
        yield "512-bit vectors", jax.jit(function, compiler_options=options)


def exponentials(shape: tuple[int, ...], dtype: str) -> list[Variant]:
    """`sum(exp(x))` of an array; work in numbers."""
    size = int(np.prod(shape))
    numbers = np.linspace(-20, 0, size).reshape(shape).astype(dtype)
    places = {"": _everywhere(numbers)}
    if len(places[""].devices()) > 1:
        # In one piece a processor may be faster, for XLA cuts such a sum by itself.
        places["one device"] = jnp.asarray(numbers)

    def variant(label: str, total: Callable[[jax.Array], jax.Array], x: jax.Array) -> Variant:
        def run(steps: int) -> jax.Array:
            for _ in range(steps):
                out = jax.block_until_ready(total(x))
            return out

        def error() -> float:
            return relative_error([run(1)], [np.exp(np.asarray(x, np.longdouble)).sum()])

        return Variant(label, float(size), run, error, 1000 * float(jnp.finfo(dtype).eps))

    return [
        variant(", ".join(filter(None, (label, place))), total, x)
        for label, total in compiled(lambda x: jnp.exp(x).sum())
        for place, x in places.items()
    ]
