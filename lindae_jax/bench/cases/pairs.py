"""Cases of gradient descent of weight pairs."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.bench import answers, ceilings, rivals
from lindae_jax.bench.answers import Pairs
from lindae_jax.bench.cases.plan import LIBRARY, Plan, contenders
from lindae_jax.bench.machine import dtypes, free_memory
from lindae_jax.bench.timing import Absent, Case, Contender, Variant
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_pairs

_SAVE_EVERY = 25
# Who simulates 10^8 pairs does not stop after ten steps.
_LEAST_STEPS = 600

# Beyond so many pairs, whose runs last seconds, the library runs alone.
_MANY = 10**7

# Sizes from here on should cost the same for each pair. They are held against this one in turn,
# for a machine is another one some minutes later.
_FLAT = 10**5

# Rivals whose steps are those of the library, and those that solve the flow.
_STEPPING = {
    "original algorithm, Python loop": rivals.python_loop,
    "NumPy": rivals.numpy_blocks,
    "NumPy, a thread per core": rivals.numpy_threads,
    "numba, loop over pairs": rivals.numba_pairs,
    "numba, loop over blocks": rivals.numba_blocks,
    "lax.scan": rivals.plain_scan,
    "diffrax Euler": rivals.diffrax_euler,
    "PyTorch": rivals.torch_eager,
}
_FLOWING = {
    "diffrax Tsit5, adaptive": rivals.diffrax_adaptive,
    "SciPy solve_ivp": rivals.scipy_adaptive,
}


def plans(quick: bool) -> Iterator[Plan]:
    """Final-only runs of all sizes, with and without decay; runs with saves."""
    main = 10**5 if quick else 10**6
    sizes = {
        "float32": (10**3, main) if quick else tuple(10**k for k in range(3, 9)),
        "float64": (main,) if quick else (*(10**k for k in range(3, 8)), 3 * 10**7),
    }
    for dtype in dtypes():
        for num_pairs in sizes[dtype]:
            title = f"{num_pairs:,} pairs, {dtype}"
            case = functools.partial(_final_case, title, num_pairs, dtype, quick)
            yield Plan("pairs", title, functools.partial(case, headline=num_pairs == main))
        if quick and dtype == "float64":
            continue
        title = f"{main:,} pairs without decay, {dtype}"
        case = functools.partial(_final_case, title, main, dtype, quick, decay=False)
        yield Plan("pairs", title, case)
    for num_pairs in (10**4,) if quick else (10**3, 10**4, 10**5, 10**6):
        title = f"{num_pairs:,} pairs saved every {_SAVE_EVERY} steps, float32"
        case = functools.partial(_saves_case, title, num_pairs, quick)
        # What saves cost is seen at one size; at the others the time is better spent.
        yield Plan("pairs", title, functools.partial(case, with_bare=quick or num_pairs == main))


def random_pairs(num_pairs: int, dtype: str, *, decay: bool = True) -> Pairs:
    """Settings that learn without diverging; none comes near the smallest floats."""
    rng = np.random.default_rng(20180710)

    def uniform(low: float, high: float) -> np.ndarray:
        x = rng.random(num_pairs, dtype=np.dtype(dtype).type)
        x *= high - low
        x += low
        return x

    return Pairs(
        w1=uniform(0.01, 0.5),
        w2=uniform(0.01, 0.5),
        eigenvalue=uniform(0.2, 1.2),
        noise=uniform(0.0, 1.0),
        decay=uniform(0.001, 0.1) if decay else np.zeros(num_pairs, dtype),
        learning_rate=uniform(0.005, 0.05),
    )


def _final_case(
    title: str,
    num_pairs: int,
    dtype: str,
    quick: bool,
    *,
    decay: bool = True,
    headline: bool = False,
) -> Case:
    _require_memory(num_pairs, dtype)
    pairs = random_pairs(num_pairs, dtype, decay=decay)
    least = 10 if quick else _LEAST_STEPS
    found = [Contender(LIBRARY, "library", [_library_pairs(pairs, least)])]
    if decay and num_pairs > _FLAT:
        few = _library_pairs(random_pairs(_FLAT, dtype), least)
        found.append(Contender(f"{LIBRARY}, {_FLAT:,} pairs", "library", [few]))
    kernels = _kernels(pairs, quick, least, every_width=headline)
    compiled, absent = contenders(kernels if num_pairs <= _MANY else {}, "ceiling")
    others: list[Contender] = []
    if headline:
        fast = ceilings.multiply_adds(dtype, quick=quick)
        compiled.append(Contender("multiply-adds in JAX", "ceiling", fast))
    if headline and not (quick and dtype == "float64"):
        others, missing = contenders(_rivals(pairs, quick, flowing=dtype == "float32"))
        absent |= missing
    return Case(
        *("pairs", title, "pair-steps", [*found, *compiled, *others], absent),
        headline=headline,
        dtype=dtype,
        size=num_pairs if decay else None,
    )


def _kernels(
    pairs: Pairs, quick: bool, least: int = 1, *, every_width: bool = True
) -> dict[str, Callable[[], list[Variant]]]:
    """In C, by the width of the vectors: the widest here, or also that of most machines."""

    def kernel(bits: int) -> Callable[[], list[Variant]]:
        way = functools.partial(ceilings.c_pairs, bits=bits, quick=quick)
        return lambda: _stepping(way, pairs, least_steps=least)

    some = ceilings.vector_bits()[0 if every_width else -1 :]
    return {f"C kernel, {bits} bits": kernel(bits) for bits in some}


def _rivals(pairs: Pairs, quick: bool, *, flowing: bool) -> dict[str, Callable[[], list[Variant]]]:
    kinds = ((_stepping, _STEPPING), (_flowing, _FLOWING if flowing else {}))
    return {
        name: functools.partial(of, functools.partial(way, quick=quick), pairs)
        for of, ways in kinds
        for name, way in ways.items()
    }


def _require_memory(num_pairs: int, dtype: str) -> None:
    # Inputs, also on the device, outputs, what is checked of them, and half as much again.
    wanted, free = num_pairs * np.dtype(dtype).itemsize * 16 * 1.5, free_memory()
    if free is not None and wanted > free:
        raise Absent(f"needs {wanted / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free")


def _library_pairs(pairs: Pairs, least_steps: int = 1) -> Variant:
    on_device = Pairs(*map(jnp.asarray, pairs))
    problem = Problem(*on_device[2:5], on_device.learning_rate)
    if not pairs.decay[:1].any():
        problem = Problem(*on_device[2:4], 0.0, on_device.learning_rate)

    def run(num_steps: int):
        found = simulate_pairs(on_device.w1, on_device.w2, problem, num_steps=num_steps)
        # In a row by itself; to copy it is no part of the work.
        return jax.block_until_ready((found.w1, found.w2))

    return _stepping_variant("", len(pairs.w1), run, pairs, least_steps)


def _stepping(
    way: Callable[[Pairs], rivals.Ways], pairs: Pairs, *, least_steps: int = 1
) -> list[Variant]:
    return [_stepping_variant(*found, pairs, least_steps) for found in way(pairs)]


def _stepping_variant(
    label: str, num: int, run: Callable[[int], Any], pairs: Pairs, least_steps: int
) -> Variant:
    """Held against the same steps; an error of 4 eps a step, relative to the weights."""
    # Enough steps to learn something, and never a multiple of a power of two.
    num_steps = int(np.clip(10**9 // num, 37, 501))
    index = answers.sample(num)

    def error() -> float:
        found = [np.asarray(w).reshape(-1)[index] for w in run(num_steps)]
        return answers.relative_error(found, answers.steps(pairs.take(index), num_steps))

    tolerance = 4 * num_steps * float(np.finfo(pairs.w1.dtype).eps)
    return Variant(label, float(num), run, error, tolerance, least_steps)


def _flowing(way: Callable[[Pairs], rivals.Ways], pairs: Pairs) -> list[Variant]:
    """Held against the flow; solvers asked for 1e-5 in each step may end within 1e-3."""

    def variant(label: str, num: int, run: Callable[[int], Any]) -> Variant:
        index = answers.sample(num)

        def error() -> float:
            found = [np.asarray(w)[index] for w in run(300)]
            return answers.relative_error(found, answers.flow(300, pairs.take(index)))

        return Variant(label, float(num), run, error, 1e-3)

    return [variant(*found) for found in way(pairs)]


def _saves_case(title: str, num_pairs: int, quick: bool, *, with_bare: bool) -> Case:
    pairs = random_pairs(num_pairs, "float32")
    on_device = Pairs(*map(jnp.asarray, pairs))
    problem = Problem(*on_device[2:])
    # At most 128 MB of saves at a time.
    num_steps = _SAVE_EVERY * int(np.clip((2 if quick else 16) * 10**6 // num_pairs, 1, 16_000))

    def simulate(num_steps: int):
        found = simulate_pairs(*on_device[:2], problem, num_steps=num_steps, save_every=_SAVE_EVERY)
        return jax.block_until_ready(found)

    def run(repeats: int):
        for _ in range(repeats):
            simulate(num_steps)

    def error() -> float:
        found, index = simulate(2 * _SAVE_EVERY + 3), answers.sample(num_pairs)
        return max(
            answers.relative_error(
                [np.asarray(w[row])[index] for w in (found.w1, found.w2)],
                answers.steps(pairs.take(index), int(step)),
            )
            for row, step in enumerate(found.step)
        )

    tolerance = 4 * 3 * _SAVE_EVERY * float(np.finfo(np.float32).eps)
    library = Variant("", float(num_pairs * num_steps), run, error, tolerance)
    # Two numbers are written for each pair in as many steps.
    copies = ceilings.copies("float32", _SAVE_EVERY / 2, quick=quick)
    compiled, absent = contenders({"copy in JAX": lambda: copies}, "ceiling")
    found = [Contender(LIBRARY, "library", [library]), *compiled]
    if with_bare:
        final_only = [_library_pairs(pairs)]
        found.insert(1, Contender(f"{LIBRARY} without saves", "ceiling", final_only))
    return Case("pairs", title, "pair-steps", found, absent)
