"""Cases of the flow in closed form."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import theory
from lindae_jax.bench import answers, ceilings, rivals
from lindae_jax.bench.answers import Pairs
from lindae_jax.bench.cases.pairs import random_pairs
from lindae_jax.bench.cases.plan import LIBRARY, Plan, contenders
from lindae_jax.bench.machine import dtypes
from lindae_jax.bench.timing import Case, Contender, Variant
from lindae_jax.problem import Problem

# Of the solvers in each run: more points at a time are no faster.
_DIFFRAX_POINTS, _SCIPY_POINTS = 2**11, 8


class _Points(NamedTuple):
    """Times with pairs; they broadcast."""

    t: np.ndarray
    pairs: Pairs

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.t.shape, self.pairs.w1.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def take(self, index) -> "_Points":
        """Some of the points, as if all were in one row."""
        flat = [np.broadcast_to(x, self.shape).ravel()[index] for x in (self.t, *self.pairs)]
        return _Points(flat[0], Pairs(*flat[1:]))


def plans(quick: bool) -> Iterator[Plan]:
    """Every shape and kind of decay, in both precisions."""
    side = 2**8 if quick else 2**10
    kinds = (("none", True), ("none", False), ("all", False), ("half", False))
    for dtype in dtypes()[:1] if quick else dtypes():
        for decay, grid in kinds[1:3] if quick else kinds:
            words = {"none": "no decay", "all": "decay", "half": "decay in half of the settings"}
            shape = f"{side:,} times x {side:,} settings" if grid else f"{side * side:,} points"
            title = f"mapping, {words[decay]}, {shape}, {dtype}"
            build = functools.partial(_case, title, decay, grid, side, dtype, quick)
            yield Plan("theory", title, build)


def _points(decay: str, grid: bool, side: int, dtype: str) -> _Points:
    num = side if grid else side * side
    pairs = random_pairs(num, dtype, decay=decay != "none")
    if decay == "half":
        pairs.decay[::2] = 0
    # Late enough to be done learning, early enough for the reference's fixed number of steps.
    t = np.random.default_rng(1).uniform(0, 400, num).astype(dtype)
    return _Points(t[:, None] if grid else t, pairs)


def _case(title: str, decay: str, grid: bool, side: int, dtype: str, quick: bool) -> Case:
    points = _points(decay, grid, side, dtype)
    call, *within_jit = _library(points, decay != "none")
    best = Contender("sum(exp(x))", "ceiling", ceilings.exponentials(points.shape, dtype))
    ways: dict[str, Callable[[], list[Variant]]] = {}
    if decay == "none":
        ways["NumPy, eq. (5) unguarded"] = lambda: [_formula(points)]
    # To a solver a grid is so many points, and no decay is a number like any other.
    if dtype == "float32" and not grid and decay != "half" and not quick:
        ways["diffrax Tsit5, adaptive"] = lambda: [_diffrax(points)]
        ways["SciPy solve_ivp"] = lambda: [_scipy(points)]
    others, absent = contenders(ways)
    found = [Contender(LIBRARY, "library", [call]), best, *others]
    if decay == "none":  # with decay each run of it would last seconds
        found.insert(1, Contender(f"{LIBRARY}, summed under jit", "library", within_jit))
    return Case("theory", title, "points", found, absent, headline=True, dtype=dtype)


def _reference(points: _Points) -> np.ndarray:
    """The mapping, right to 1e-12."""
    return np.prod(answers.flow(*points), axis=0)


def _library(points: _Points, decay: bool) -> Iterator[Variant]:
    """A call of the library, and those within the caller's own `jit` that sum what it gives.

    Held against the reference at a few points, and the sum against that of all the points.
    """
    arguments = jnp.asarray(points.t), *map(jnp.asarray, points.pairs)
    eps = float(np.finfo(points.t.dtype).eps)
    call = functools.partial(_mapping, decay)
    totals = ceilings.compiled(functools.partial(_sum_of_mappings, decay))

    def error() -> float:
        found, index = np.asarray(call(*arguments)), answers.sample(points.size)
        return answers.relative_error([found.ravel()[index]], [_reference(points.take(index))])

    def error_of_sum(total: Callable[..., jax.Array]) -> float:
        whole = float(np.asarray(call(*arguments)).sum(dtype=np.longdouble))
        off = abs(float(total(*arguments)) - whole)
        return error() if off <= points.size**0.5 * eps * whole else np.inf

    def variant(
        label: str, function: Callable[..., jax.Array], of_it: Callable[[], float]
    ) -> Variant:
        def run(repeats: int):
            for _ in range(repeats):
                found = jax.block_until_ready(function(*arguments))
            return found

        return Variant(label, float(points.size), run, of_it, 100 * eps + 1e-12)

    yield variant("", call, error)
    for label, total in totals:
        yield variant(label, total, functools.partial(error_of_sum, total))


def _mapping(decay: bool, t, w1, w2, eigenvalue, noise, gamma, learning_rate) -> jax.Array:
    # A decay of Python's zero is known to be zero under jit too.
    problem = Problem(eigenvalue, noise, gamma if decay else 0.0, learning_rate)
    return theory.mapping(t, w1, w2, problem)


def _sum_of_mappings(decay: bool, *arguments: jax.Array) -> jax.Array:
    return _mapping(decay, *arguments).sum()


def _formula(points: _Points) -> Variant:
    def mapping(points: _Points) -> np.ndarray:
        w1, w2, eigenvalue, noise, _, learning_rate = points.pairs
        return rivals.numpy_mapping(points.t, w1, w2, eigenvalue, noise, learning_rate)

    def run(repeats: int):
        for _ in range(repeats):
            mapping(points).sum()

    def error() -> float:
        few = points.take(answers.sample(points.size))
        return answers.relative_error([mapping(few)], [_reference(few)])

    eps = float(np.finfo(points.t.dtype).eps)
    return Variant("", float(points.size), run, error, 10_000 * eps + 1e-12)


def _diffrax(points: _Points) -> Variant:
    some = points.take(slice(_DIFFRAX_POINTS))
    return _solver(rivals.diffrax_points(*some), some)


def _scipy(points: _Points) -> Variant:
    import scipy.integrate  # noqa: F401 - missed here, not while timing

    some = points.take(slice(_SCIPY_POINTS))

    def solve() -> np.ndarray:
        found = [
            rivals.scipy_flow(t, some.pairs.take(slice(i, i + 1)), rtol=1e-6, atol=1e-7)
            for i, t in enumerate(some.t)
        ]
        return np.array(found)[..., 0].T

    return _solver(solve, some)


def _solver(solve: Callable[[], tuple | np.ndarray], points: _Points) -> Variant:
    """Asked for 1e-6 in each step, it may end within 1e-3."""

    def run(repeats: int):
        for _ in range(repeats):
            solve()

    def error() -> float:
        index = answers.sample(points.size)
        w1, w2 = (np.asarray(w)[index] for w in solve())
        return answers.relative_error([w1 * w2], [_reference(points.take(index))])

    return Variant(f"{points.size:,} points", float(points.size), run, error, 1e-3)
