"""Figure 2: noise beside the decay that ends where it does."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lindae_jax import plot, theory
from lindae_jax.figures import agreement
from lindae_jax.problem import Problem

TITLE = "Figure 2: noise beside weight decay, from small weights"
SEE = (
    "Above, more noise lowers where a curve ends but hardly shifts its rise; below, more decay "
    "lowers and delays it, the more so the smaller the eigenvalue."
)

_EIGENVALUES = 2.5, 1.0, 0.5, 0.1
_NOISE = 0.03 * np.arange(11)
_START, _LEARNING_RATE = 0.01, 0.005
# Each column ends when the slowest curve has been halfway up for so long.
_BEYOND_HALF_TIME = 1.5
# Strengths whose crosses are drawn, for all of them would hide the lines.
_CROSSED = 0, 4, 10
# Of ten lines that end within a tenth of the axes.
_WIDTH = 0.7
_AE = plot.BLUE._replace(dashes="dashed")
_STYLES = plot.GREEN._replace(dashes="solid"), plot.ORANGE._replace(dashes="solid")


def numbers(*, quick: bool = False) -> dict[str, Any]:
    """Mappings for four eigenvalues and ten noises, with the equivalent decays.

    Parameters
    ----------
    quick : bool
        Fewer points on the curves.
    """
    columns = [_column(eigenvalue, 61 if quick else 241) for eigenvalue in _EIGENVALUES]
    agreements = [column.pop("agreement") for column in columns]
    stacked = {name: np.array([column[name] for column in columns]) for name in columns[0]}
    return {
        "eigenvalue": np.array(_EIGENVALUES),
        "noise": _NOISE,
        "start": _START,
        "learning_rate": _LEARNING_RATE,
        "networks": ["DAE", "WDAE"],
        **stacked,
        **agreement.numbers(agreements),
    }


def _column(eigenvalue: float, num: int) -> dict[str, Any]:
    """One eigenvalue; networks and strengths are the axes (2, 11)."""
    start = jnp.asarray(_START)
    noise = jnp.asarray(_NOISE)
    decay = theory.equivalent_decay(eigenvalue, noise)
    none = jnp.zeros_like(noise)
    problem = Problem(
        eigenvalue, jnp.stack([noise, none]), jnp.stack([none, decay]), _LEARNING_RATE
    )
    fixed_point = theory.fixed_point(problem)
    half_time = np.asarray(theory.time_to_mapping(fixed_point / 2, start, start, problem))
    last = int(np.ceil(_BEYOND_HALF_TIME * half_time.max()))
    both = agreement.compare(start, start, problem, agreement.epochs(last, num))
    return {
        "decay": np.asarray(decay),
        "fixed_point": np.asarray(fixed_point),
        "half_time": half_time,
        "epoch": both.epoch,
        "theory": both.theory,
        "simulated": both.simulated,
        "difference": both.difference.max(),
        "difference_at_half_rate": both.difference_at_half_rate.max(),
        "agreement": both,
    }


def draw(numbers: dict[str, Any]) -> Any:
    """Noise above, decay below, a column per eigenvalue.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plot.grid(2, 4, 4.3, sharey=True, sharex="col")
    for column, eigenvalue in enumerate(numbers["eigenvalue"]):
        epoch = numbers["epoch"][column]
        axes[0, column].set_title(f"λ = {eigenvalue:g}")
        axes[1, column].set_xlabel("epochs")
        for network, ax in enumerate(axes[:, column]):
            ax.set(xlim=(-0.02 * epoch[-1], epoch[-1]), ylim=(-0.03, 1.05))
            ax.locator_params(axis="x", nbins=2)
            styles = [_AE, *plot.shades(_STYLES[network], len(numbers["noise"]) - 1)]
            for strength, style in enumerate(styles):
                at = column, slice(None), network, slice(strength, strength + 1)
                measured = numbers["simulated"][at]
                if strength not in _CROSSED:
                    measured = np.full_like(measured, np.nan)
                curves = numbers["theory"][at], measured
                plot.dynamics(ax, epoch, *curves, style, spacing=0.16, width=_WIDTH)
    axes[0, 0].set_ylabel("mapping, noise")
    axes[1, 0].set_ylabel("mapping, decay")
    entries = {"AE": _AE, "DAE": _STYLES[0], "WDAE": _STYLES[1]}
    weakest, strongest = numbers["noise"][[1, -1]]
    plot.legend(
        figure,
        entries,
        "lines: theory, crosses: gradient descent\n"
        f"darker: more noise, {weakest:g} to {strongest:g}, or its equivalent decay",
    )
    return figure


def caption(numbers: dict[str, Any]) -> str:
    """What to see, where the mathematics differs from the paper, and the distances found.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    apart, halved = numbers["largest_difference"], numbers["ratio"]
    half_time = numbers["half_time"][-1]
    without, noisy, decayed = half_time[0, 0], half_time[0, -1], half_time[1, -1]
    return (
        f"From small weights (w1 = w2 = {numbers['start']:g}) the mapping of a direction waits, "
        f"rises and stays; the larger the eigenvalue, the sooner. Above, ten amounts of noise, "
        f"{numbers['noise'][1]:g} to {numbers['noise'][-1]:g}; below, the decays that lead to the "
        f"same mapping, decay = eigenvalue noise / (eigenvalue + noise); the darker, the more. "
        f"(The paper does not give its amounts.) Decay delays learning, noise does not: with "
        f"eigenvalue {numbers['eigenvalue'][-1]:g} half of the final mapping is reached at epoch "
        f"{without:,.0f} without either, at {noisy:,.0f} with the most noise and at "
        f"{decayed:,.0f} with its equivalent decay. "
        f"Unlike the paper, which says that noise leaves the learning time as it is, we find "
        f"that it shortens it, by log(1 + noise/eigenvalue) / (2 eigenvalue rate) epochs: the "
        f"growth is the same, the end is nearer. The paper's equation (7) prints E without the "
        f"eigenvalue in its exponent, which belongs there and is in these curves. "
        f"Theory and gradient descent at rate {numbers['learning_rate']:g} are at most "
        f"{apart:.2g} apart, and {halved:.3f} of that at half the rate."
    )
