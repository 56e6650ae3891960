"""Cases of gradient descent of whole autoencoders."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.bench import answers, ceilings, rivals
from lindae_jax.bench.answers import Matrices
from lindae_jax.bench.cases.plan import LIBRARY, Plan, contenders
from lindae_jax.bench.timing import Case, Contender, Variant
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_matrices

# A thread of NumPy's waits for the next product for some hundredths of a second, and does so
# by counting, on a core that whoever comes after it could use.
_REST = 0.1

# One by one networks take long runs each: of so many, lest what a call costs be all there is.
# To those of the batches of thousands it is all that counts, and the time is better spent.
_FEW, _MANY = 8, 1000

# Networks, D, H: as many weights in all.
_SMALL = (256, 64, 16), (4096, 16, 4)

_PRODUCTS: tuple[Literal["JAX", "NumPy"], ...] = ("JAX", "NumPy")


def plans(quick: bool) -> Iterator[Plan]:
    """The paper's two shapes, and many small ones at once."""
    shapes = [("MNIST's shape", 784, 256, 6_272 if quick else 50_000)]
    if not quick:
        shapes.append(("CIFAR-10's shape", 3072, 512, 0))
    for which, num_directions, hidden, num_samples in shapes:
        title = f"{which}: D = {num_directions:,}, H = {hidden}, float32"
        shape = (), num_directions, hidden, num_samples
        yield Plan("matrices", title, functools.partial(_case, title, *shape, quick))
    for num, num_directions, hidden in _SMALL[: 1 if quick else None]:
        title = f"{num:,} autoencoders: D = {num_directions}, H = {hidden}, float32"
        build = functools.partial(_case, title, (num,), num_directions, hidden, 0, quick)
        yield Plan("matrices", title, build)


def random_matrices(batch: tuple[int, ...], num_directions: int, hidden: int) -> Matrices:
    """Small random weights and a spectrum like that of images."""
    rng = np.random.default_rng(20180710)

    def small(*shape: int) -> np.ndarray:
        return (0.05 * rng.standard_normal(batch + shape)).astype(np.float32)

    eigenvalue = (1 / (1 + np.arange(num_directions) / 8)).astype(np.float32)
    w1, w2 = small(hidden, num_directions), small(num_directions, hidden)
    full = np.broadcast_to(eigenvalue, (*batch, num_directions))
    return Matrices(w1, w2, full, noise=0.1, decay=0.001, learning_rate=0.1)


def _case(
    title: str,
    batch: tuple[int, ...],
    num_directions: int,
    hidden: int,
    num_samples: int,
    quick: bool,
) -> Case:
    start = random_matrices(batch, num_directions, hidden)
    # What the eigenbasis form needs, whoever does the step.
    each = min(8 * hidden**2 * num_directions, 6 * hidden * num_directions**2)
    work = float(each * int(np.prod(batch)))
    reference = answers.matrix_steps(start, 3)

    def variant(run: Callable[[int], Any], label: str = "", networks: Any = ...) -> Variant:
        """Three steps in float64; 50 eps for sums of up to D products."""
        wanted = [x[networks] for x in reference]

        def error() -> float:
            found = [np.reshape(w, x.shape) for w, x in zip(run(3), wanted, strict=True)]
            return answers.relative_error(found, wanted)

        part = work * wanted[0].size / reference[0].size
        return Variant(label, part, run, error, 50 * float(np.finfo(np.float32).eps))

    ways: dict[str, Callable[[], list[Variant]]] = {
        "NumPy, eigenbasis": lambda: [variant(rivals.numpy_eigenbasis(start))]
    }
    if batch and batch[0] < _MANY and not quick:
        few = slice(_FEW)
        ways["one network at a time"] = lambda: [variant(_one_by_one(start, few), networks=few)]
    if num_samples:
        ways["NumPy, second moment"] = lambda: [variant(rivals.numpy_dense(start))]
        label = f"N = {num_samples // num_directions * num_directions:,}"
        for name, way in (("NumPy", rivals.numpy_data), ("PyTorch", rivals.torch_data)):
            ways[f"{name}, data matrix"] = functools.partial(
                lambda way: [variant(way(start, num_samples), label)], way
            )
    others, absent = contenders(ways)
    library = Contender(LIBRARY, "library", [variant(_library_matrices(start))])
    best = [
        Contender(f"matrix product, {by}", "ceiling", ceilings.products("float32", by, quick=quick))
        for by in _PRODUCTS
    ]
    found = [library, *best, *others]
    return Case("matrices", title, "FLOP", found, absent, headline=True, rest=_REST)


def _library_matrices(start: Matrices) -> Callable[[int], Any]:
    w1, w2, eigenvalue = (jnp.asarray(x) for x in start[:3])
    problem = Problem(eigenvalue, *start[3:])

    def run(num_steps: int):
        found = simulate_matrices(w1, w2, problem, num_steps=num_steps)
        # In a row by itself; to copy it is no part of the work.
        return jax.block_until_ready((found.w1, found.w2))

    return run


def _one_by_one(start: Matrices, networks: slice) -> Callable[[int], Any]:
    runs = [
        _library_matrices(start._replace(w1=w1, w2=w2, eigenvalue=eigenvalue))
        for w1, w2, eigenvalue in zip(*(x[networks] for x in start[:3]), strict=True)
    ]

    def run(num_steps: int):
        return [np.stack(w) for w in zip(*(each(num_steps) for each in runs), strict=True)]

    return run
