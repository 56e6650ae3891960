"""What a sweep keeps of each member."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import checks
from lindae_jax.curvature import leading_eigenvalues
from lindae_jax.losses import matrix_loss
from lindae_jax.problem import Problem
from lindae_jax.simulate import DIVERGED, OK
from lindae_jax.simulate.directions import mapping

# Lanczos' iterations for the sharpness of a network, and the seed of their start.
ITERATIONS, _LANCZOS_SEED = 40, 0


class Observable(NamedTuple):
    """Something that can be observed, as it stands in the result."""

    units: str
    symbol: str
    words: str
    models: tuple[str, ...] = ("pairs", "matrices", "theory")
    by_row: bool = True
    """At every save; otherwise once for the whole run."""
    by_direction: bool = False
    """Of matrices, along each direction."""


_LOSS = "squared units of the data"
OBSERVABLES = {
    "mapping": Observable("1", "w", "mapping w1 w2 along a direction", by_direction=True),
    "weights": Observable("1", "w_1, w_2", "weights"),
    "norm": Observable("1", "|W_1|^2 + |W_2|^2", "squared norm of the weights"),
    "loss": Observable(_LOSS, "l", "expected loss, with the penalty of the decay"),
    "distance": Observable(
        *("1", "|w - w(t)|", "distance of the mapping from the flow's"),
        models=("pairs", "matrices"),
        by_direction=True,
    ),
    "first_passage": Observable(
        *("epochs", "t", "first epoch at a fraction of the fixed point"),
        by_row=False,
        by_direction=True,
    ),
    "sharpness": Observable(_LOSS, "mu_1", "largest eigenvalue of the Hessian"),
    "gradient": Observable(_LOSS, "|grad l|", "norm of the gradient that is left"),
}

# Axes of the result that are not those of the grid.
DIMENSIONS = ("step", "t", "end", "direction", "unit", "input")


def variable_names() -> tuple[str, ...]:
    """Names that results have, whatever is observed."""
    weights = ("w1", "w2", "final_w1", "final_w2")
    return (*OBSERVABLES, *weights, "status", "eigenvalue", "direction_eigenvalue")


def checked(names: Any, model: str, has_rows: bool) -> tuple[str, ...]:
    """Names of observables in the order of `OBSERVABLES`; ValueError for a mistake."""
    if isinstance(names, str) or not np.iterable(names):
        raise checks.mistake(
            "observe must be a list of names", checks.brief(names), 'Write observe=["mapping"].'
        )
    chosen = list(names)
    for name in chosen:
        if not isinstance(name, str) or name not in OBSERVABLES:
            raise checks.mistake(
                "observe must list what can be observed",
                checks.brief(name),
                f"That is {', '.join(OBSERVABLES)}.",
            )
        if model not in OBSERVABLES[name].models:
            raise checks.mistake(
                f"observe must not hold {name!r} for model = {model!r}",
                repr(name),
                "It compares a simulation with the theory.",
            )
    if "first_passage" in chosen and model != "theory" and not has_rows:
        raise checks.mistake(
            "observe can hold 'first_passage' only with several saves",
            "the last step alone",
            "Pass save_every, save_steps or save_log; it interpolates between saves.",
        )
    return tuple(name for name in OBSERVABLES if name in chosen)


# --- of matrices, at each save -----------------------------------------------------


@functools.cache
def of_matrices(names: tuple[str, ...], directions: tuple[int, ...]) -> Any:
    """A function for `simulate_matrices` to observe with; the same for the same names."""
    chosen = np.asarray(directions) - 1

    def observe(
        step: jax.Array, w1: jax.Array, w2: jax.Array, problem: Problem
    ) -> dict[str, jax.Array]:
        finite = jnp.isfinite(w1).all((-2, -1)) & jnp.isfinite(w2).all((-2, -1))
        along = mapping(w1[..., :, chosen], w2[..., chosen, :])
        results = {"status": status_of(finite), "mapping": along}
        if "weights" in names:
            results |= {"w1": w1, "w2": w2}
        if "norm" in names:
            results["norm"] = _squares(w1) + _squares(w2)
        if "loss" in names:
            results["loss"] = matrix_loss(w1, w2, problem)
        if "gradient" in names:
            first, second = gradient(matrix_loss, w1, w2, problem)
            results["gradient"] = jnp.sqrt(_squares(first) + _squares(second))
        if "sharpness" in names:
            results["sharpness"] = _network_sharpness(w1, w2, problem)
        return results

    return observe


def _network_sharpness(w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    size = 2 * w1.shape[-2] * w1.shape[-1]
    key = jax.random.key(_LANCZOS_SEED, impl="threefry2x32")
    iterations = min(ITERATIONS, size)
    top = leading_eigenvalues(w1, w2, problem, num=1, num_iterations=iterations, key=key)
    return top[..., 0]


def gradient(loss: Any, w1: jax.Array, w2: jax.Array, problem: Problem) -> Any:
    """Of each member's loss, for both weights."""
    # Members do not interact: the gradient of the sum is each one's own.
    return jax.grad(lambda w1, w2: loss(w1, w2, problem).sum(), argnums=(0, 1))(w1, w2)


def status_of(finite: jax.Array) -> jax.Array:
    """OK or DIVERGED, by whether weights are finite."""
    return jnp.where(finite, OK, DIVERGED).astype(jnp.int8)


def _squares(matrix: jax.Array) -> jax.Array:
    return jnp.sum(matrix * matrix, axis=(-2, -1))
