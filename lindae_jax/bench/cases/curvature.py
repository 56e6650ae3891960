"""Cases of curvature."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import curvature, initial
from lindae_jax.bench import answers, rivals
from lindae_jax.bench.answers import Matrices
from lindae_jax.bench.cases.matrices import random_matrices
from lindae_jax.bench.cases.plan import LIBRARY, Plan, contenders
from lindae_jax.bench.timing import Case, Contender, Variant
from lindae_jax.problem import Problem


def plans(quick: bool) -> Iterator[Plan]:
    """Lanczos' method at the paper's shape for MNIST."""
    num_directions, hidden = (64, 16) if quick else (784, 256)
    title = f"largest Hessian eigenvalue: D = {num_directions}, H = {hidden}, float32"
    build = functools.partial(_case, title, num_directions, hidden)
    yield Plan("curvature", title, build)


def _case(title: str, num_directions: int, hidden: int) -> Case:
    """Of aligned weights, whose Hessian has a spectrum in closed form."""
    rng = np.random.default_rng(20180710)
    a, b = rng.uniform(0.2, 1.0, (2, hidden)).astype(np.float32)
    weights = initial.aligned(0, a, b, hidden, num_directions)
    spectrum = random_matrices((), num_directions, hidden)
    start = Matrices(np.asarray(weights.w1), np.asarray(weights.w2), *spectrum[2:])
    problem = Problem(jnp.asarray(start.eigenvalue), *start[3:])
    exact = float(curvature.aligned_spectrum(a, b, problem, hidden)[-1])

    def variant(solve: Callable[[], float], label: str = "") -> Variant:
        def run(repeats: int):
            for _ in range(repeats):
                solve()

        def error() -> float:
            return abs(solve() - exact) / exact

        return Variant(label, 1.0, run, error, 1e-3)

    def lanczos() -> float:
        key = jax.random.key(0)
        found = curvature.leading_eigenvalues(*weights, problem, num=1, num_iterations=40, key=key)
        return float(found[0])

    library = Contender(LIBRARY, "library", [variant(lanczos, "40 iterations")])
    best = Contender("41 Hessian-vector products", "ceiling", [_products(weights, problem)])
    others, absent = contenders({"SciPy ARPACK": lambda: [variant(rivals.scipy_lanczos(start))]})
    found = [library, best, *others]
    return Case("curvature", title, "solutions", found, absent, headline=True)


def _products(weights: Any, problem: Problem) -> Variant:
    """What Lanczos' method cannot do without; held against a difference of gradients."""

    def product(v1, v2) -> Any:
        return curvature.matrix_hvp(weights.w1, weights.w2, problem, v1, v2)

    def again(_, v):
        v1, v2 = product(*v)
        largest = jnp.maximum(jnp.abs(v1).max(), jnp.abs(v2).max())
        return type(v)(v1 / largest, v2 / largest)

    many = jax.jit(lambda repeats: jax.lax.fori_loop(0, 41 * repeats, again, weights))

    def run(repeats: int):
        jax.block_until_ready(many(repeats))

    def error() -> float:
        # Along its own weights W the Hessian product is known from gradients at (1 + c h) W.
        h = 1 / 8
        w1, w2 = (np.asarray(w, np.float64) for w in weights)
        start = Matrices(w1, w2, problem.eigenvalue, problem.noise, problem.decay, 1.0)
        at = {c: _ascent(start, 1 + c * h) for c in (-2, -1, 1, 2)}
        # Exact for the cubic polynomial that a gradient is.
        slopes = [
            -(8 * (up - down) - (further_up - further_down)) / (12 * h)
            for down, up, further_down, further_up in zip(at[-1], at[1], at[-2], at[2], strict=True)
        ]
        return answers.relative_error(product(*weights), slopes)

    return Variant("", 1.0, run, error, 1e-4)


def _ascent(start: Matrices, scale: float) -> list[np.ndarray]:
    """Minus the gradient at scaled weights, from one step of learning rate 1."""
    begin = start._replace(w1=scale * start.w1, w2=scale * start.w2)
    return [new - old for new, old in zip(answers.matrix_steps(begin, 1), begin[:2], strict=True)]
