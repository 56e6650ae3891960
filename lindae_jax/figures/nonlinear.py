"""Training of nonlinear networks beside each other, and when they learn what."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import bars
from lindae_jax.problem import Weights
from lindae_jax.reproduce import NETWORKS
from lindae_jax.simulate import identity_mapping, simulate_networks
from lindae_jax.simulate.passage import first_passage
from lindae_jax.spectrum import Spectrum

# A final mapping from which on a direction counts as learned, and its half-time as known.
LEARNED = 0.3
# Epochs at the end whose mean is the final mapping.
_FINAL = 50
PHI: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": lambda z: jnp.maximum(z, 0),
    "tanh": jnp.tanh,
}


def observer(spectrum: Spectrum, directions: Sequence[int], activation: str) -> Any:
    """A function that measures mapping and loss for clean inputs.

    Parameters
    ----------
    spectrum : Spectrum
        Of the data.
    directions : sequence of int
        Those measured, from 0.
    activation : {"relu", "tanh"}

    Returns
    -------
    function
        As `simulate_networks` wants it; networks have one batch axis.
    """
    phi, product = PHI[activation], jax.lax.Precision.HIGHEST

    def observe(epoch: jax.Array, w1: jax.Array, w2: jax.Array, x: jax.Array) -> Any:
        def loss(weights: Weights) -> jax.Array:
            hidden = phi(jnp.matmul(x, weights.w1.T, precision=product))
            return jnp.mean((jnp.matmul(hidden, weights.w2.T, precision=product) - x) ** 2)

        mapping = identity_mapping(w1, w2, x, spectrum, directions, activation=activation)
        # One after the other: outputs are as large as the data.
        return mapping, jax.lax.map(loss, Weights(w1, w2))

    return observe


def train(
    seed: int,
    start: Weights,
    x: jax.Array,
    epochs: np.ndarray,
    settings: dict[str, Any],
    activation: str,
    observe: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Train AE, WDAE and DAE from one start, each epoch kept a call for the bar's sake.

    Parameters
    ----------
    seed : int
        Of the noise.
    start : Weights
        In the basis of the data.
    x : array, (N, D)
    epochs : array of int, (S,)
        Those kept, from 0.
    settings : dict
        noise, decay, learning_rate.
    activation : {"relu", "tanh"}
    observe : function
        As of `observer`.

    Returns
    -------
    tuple of array
        Mapping (S, 3, K) and loss (S, 3).

    Raises
    ------
    FloatingPointError
        Training diverged.
    """
    weights = Weights(*(jnp.broadcast_to(w, (len(NETWORKS), *w.shape)) for w in start))
    done, carry, rows = 0, None, []
    with bars.bar(True, "cli", total=int(epochs[-1]), desc="training", unit=" epochs") as bar:
        for epoch in map(int, epochs):
            part = simulate_networks(
                *(seed, *weights, x),
                activation=activation,
                noise=np.array([0, 0, settings["noise"]], x.dtype),
                decay=np.array([0, settings["decay"], 0], x.dtype),
                learning_rate=settings["learning_rate"],
                num_epochs=epoch - done,
                first_epoch=done,
                carry=carry,
                observe=observe,
            )
            _stop_if_diverged(np.asarray(part.status), epoch, settings)
            weights, carry = Weights(part.w1[-1], part.w2[-1]), part.carry
            rows.append([np.asarray(row[-1]) for row in part.observed])
            if bar is not None:
                bar.update(epoch - done)
            done = epoch
    mapping, loss = map(np.stack, zip(*rows, strict=True))
    return mapping, loss


def _stop_if_diverged(status: np.ndarray, epoch: int, settings: dict[str, Any]) -> None:
    if status.any():
        names = ", ".join(name for name, code in zip(NETWORKS, status, strict=True) if code)
        raise FloatingPointError(
            f"training diverged ({names}, by epoch {epoch}) at rate "
            f"{settings['learning_rate']:.3g}, noise {settings['noise']:.3g}, "
            f"decay {settings['decay']:.3g}. Rescale the data, or take less noise."
        )


def times(epoch: np.ndarray, mapping: np.ndarray) -> dict[str, Any]:
    """Where each curve ends and when it is halfway there, (3, K), and both over the AE's, (2, K).

    Ratios are those of directions that both networks learn.

    Parameters
    ----------
    epoch : array, (S,)
    mapping : array, (S, 3, K)
    """
    final = mapping[epoch > epoch[-1] - _FINAL].mean(axis=0)
    learned = final >= LEARNED
    last = np.where(learned[0], final[0], np.nan)
    level = np.where(learned, final / 2, np.nan).astype(mapping.dtype)
    half_time = np.where(learned, np.asarray(first_passage(epoch, mapping, level)), np.nan)
    return {
        "final": final,
        "half_time": half_time,
        "learned_by_all": np.flatnonzero(learned.all(axis=0)) + 1,
        "final_ratio": np.where(learned[1:], final[1:] / last, np.nan),
        "half_time_ratio": half_time[1:] / half_time[0],
    }
