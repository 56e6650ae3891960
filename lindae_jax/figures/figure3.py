"""Figure 3: noise beside decay, each at its optimal learning rate."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lindae_jax import curvature, plot, theory
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_pairs

TITLE = "Figure 3: noise beside weight decay, each at its optimal learning rate"
SEE = (
    "At one rate for both, the network with noise is ahead (right, orange); with its own optimal "
    "rate each, the two cannot be told apart: the circles lie on the lines."
)

_EIGENVALUE, _START = 1.0, 0.01
_NOISE = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
_NUM_STEPS = 360
# Of them, those that are drawn where each learns at its own rate.
_SHOWN = 120
_LARGEST_NOISE = 5.0
_STYLES = plot.GREEN._replace(dashes="solid"), plot.ORANGE._replace(dashes="dashed")
_RATIO = plot.BLUE._replace(dashes="dashdot")


def numbers(*, quick: bool = False) -> dict[str, Any]:
    """Rates out of the Hessian, the formula's, and real gradient descent at them.

    Parameters
    ----------
    quick : bool
        Fewer points on the curves of the rates; the runs are short anyway.
    """
    noise = jnp.asarray(_NOISE)
    rates = _rates(noise)
    decay = theory.equivalent_decay(_EIGENVALUE, noise)
    dae = _descent(Problem(_EIGENVALUE, noise, 0.0, rates["hessian"][0]))
    wdae = _descent(Problem(_EIGENVALUE, 0.0, decay, rates["hessian"][1]))
    slowed = _descent(Problem(_EIGENVALUE, 0.0, decay, rates["hessian"][0]))
    return {
        "eigenvalue": _EIGENVALUE,
        "start": _START,
        "noise": noise,
        "decay": decay,
        "networks": ["DAE", "WDAE"],
        "fixed_point": theory.fixed_point(Problem(_EIGENVALUE, noise)),
        "rate": rates["hessian"],
        "epoch": np.arange(_NUM_STEPS + 1),
        "mapping": np.stack([dae, wdae], axis=1),
        "mapping_of_wdae_at_rate_of_dae": slowed,
        "difference": dae - wdae,
        "difference_at_rate_of_dae": dae - slowed,
        "curves": _rates(jnp.linspace(0, _LARGEST_NOISE, 21 if quick else 101)),
    }


def _descent(problem: Problem) -> np.ndarray:
    """Mapping at every epoch, (S, P), from small equal weights."""
    start = jnp.asarray(_START)
    trained = simulate_pairs(start, start, problem, num_steps=_NUM_STEPS, save_every=1)
    return np.asarray(trained.w1 * trained.w2)


def _rates(noise: Any) -> dict[str, Any]:
    """Optimal rates of DAE and WDAE, (2, P), by both ways, and their ratio, (P,)."""
    decay = theory.equivalent_decay(_EIGENVALUE, noise)
    none = jnp.zeros_like(noise)
    problem = Problem(_EIGENVALUE, jnp.stack([noise, none]), jnp.stack([none, decay]))
    one = jnp.ones_like(noise)
    hessian = np.asarray(curvature.optimal_learning_rate(one, one, problem))
    formula = np.asarray(theory.optimal_learning_rate(problem))
    apart = np.abs(hessian - formula) / formula
    return {
        "noise": noise,
        "decay": decay,
        "hessian": hessian,
        "formula": formula,
        "difference_in_eps": apart.max() / np.finfo(hessian.dtype).eps,
        "ratio": hessian[0] / hessian[1],
        "ratio_of_formula": theory.learning_rate_ratio(_EIGENVALUE, noise, decay),
    }


def draw(numbers: dict[str, Any]) -> Any:
    """Dynamics, rates, differences, from left to right.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, ((left, middle, right),) = plot.grid(1, 3, 3.7)
    epoch, num = numbers["epoch"], len(numbers["noise"])
    shades = [plot.shades(style, num) for style in _STYLES]
    for k in range(num):
        dae, wdae = numbers["mapping"][:, :, k].T
        left.plot(epoch, dae, color=shades[0][k].colour, linewidth=1.3)
        # As circles, for as lines they would hide those that they lie on.
        drawn = plot.spaced(epoch / _SHOWN, wdae, column=0.12, height=0.12)
        left.plot(epoch[drawn], wdae[drawn], color=shades[1][k].colour, **_CIRCLE)
        ahead = numbers["difference_at_rate_of_dae"][:, k]
        right.plot(epoch, ahead, color=shades[1][k].colour, linewidth=1.3)
        right.plot(epoch, numbers["difference"][:, k], color="black", linewidth=2.0)
    left.set(title="each at its rate", ylabel="mapping", ylim=(-0.03, 0.85))
    right.set(title="DAE \u2212 WDAE", ylabel="difference", ylim=(-0.03, 0.55))
    for ax, last in ((left, _SHOWN), (right, epoch[-1])):
        ax.set(xlabel="epochs", xlim=(-0.02 * last, last))
    _draw_rates(middle, numbers["curves"])
    entries = {"DAE": _STYLES[0], "WDAE": _STYLES[1], "ratio R": _RATIO}
    plot.legend(figure, entries, _KEY.format(*numbers["noise"][[0, -1]]))
    return figure


_KEY = (
    "darker: more noise, {:g} to {:g}, or its equivalent decay\n"
    "left: circles WDAE; middle: crosses Hessian, lines formula\n"
    "right: black each at its optimal rate, orange both at the DAE's"
)
_CIRCLE: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": "none",
    "markeredgewidth": 1.0,
}


def _draw_rates(ax: Any, curves: dict[str, Any]) -> None:
    """Formulas as lines, what the Hessian gives as crosses."""
    noise, styles = curves["noise"], (*_STYLES, _RATIO)
    lines = [*curves["formula"], curves["ratio_of_formula"]]
    points = [*curves["hessian"], curves["ratio"]]
    ax.set(title="optimal rates", xlabel="noise", ylabel="rate, ratio")
    ax.set(xlim=(-0.02 * noise[-1], noise[-1]), ylim=(-0.03, 1.05))
    for line, crosses, style in zip(lines, points, styles, strict=True):
        plot.dynamics(ax, noise, line[:, None], crosses[:, None], style, spacing=0.12)


def caption(numbers: dict[str, Any]) -> str:
    """What to see, where the mathematics differs from the paper, and the distances found.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    same = np.abs(numbers["difference"]).max()
    ahead = np.abs(numbers["difference_at_rate_of_dae"]).max()
    return (
        f"The optimal learning rate is 1 / (largest eigenvalue of the Hessian at w1 = w2 = 1), "
        f"computed (crosses) and by formula (lines), 1 / (2 eigenvalue + 3 noise) for the DAE, "
        f"1 / (2 eigenvalue + decay) for the WDAE; computed and formula agree within "
        f"{numbers['curves']['difference_in_eps']:.2g} eps. Their ratio R, the paper's equation "
        f"(8), falls as noise grows: the DAE has to take smaller steps. At one rate for both, "
        f"the DAE's, it is ahead, by up to {ahead:.2g} (right, orange), and the longer the more "
        f"noise there is. "
        f"Unlike the paper, which finds the DAE faster even where each has its own optimal rate "
        f"and the decay is equivalent, we find no difference then (left; right, black): from "
        f"equal weights the two take the same steps, since w* is the same and rate * eigenvalue "
        f"of the DAE equals rate * (eigenvalue - decay) of the WDAE. Their mappings by gradient "
        f"descent are at most {same:.1g} apart, which is rounding. What the WDAE "
        f"loses by its delay its larger rate makes good exactly."
    )
