"""What is measured: the work, its inputs, its contenders, the answers expected."""

from collections.abc import Iterator

from lindae_jax.bench.cases import curvature, matrices, pairs, theory
from lindae_jax.bench.cases.plan import Plan

_BY_NAME = {
    "pairs": pairs.plans,
    "matrices": matrices.plans,
    "theory": theory.plans,
    "curvature": curvature.plans,
}


def plans(name: str, *, quick: bool) -> Iterator[Plan]:
    """The cases of a name, in order; those in float64 where 64-bit mode is on."""
    yield from _BY_NAME[name](quick)


__all__ = ["Plan", "plans"]
