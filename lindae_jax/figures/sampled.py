"""Training on sampled noise, beside training on its expectation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax import initial, plot
from lindae_jax.data import load
from lindae_jax.problem import Problem
from lindae_jax.simulate import simulate_matrices, simulate_sampled
from lindae_jax.simulate.directions import mapping
from lindae_jax.spectrum import Spectrum

TITLE = "Sampled noise: runs that scatter around that of the expected loss"
SEE = (
    "Runs that draw new noise at every step scatter around the run on the expected loss, "
    "half as widely with four times the samples."
)

_HIDDEN, _STD, _SEED = 32, 0.001, 0
_NOISE, _LEARNING_RATE, _EVERY = 1.0, 0.07, 5
_DIRECTIONS = 2, 4, 8
# From as many samples as components on, so that any of them may span the data's directions.
_FEWEST, _FACTOR = 64, 4
# Numbers of samples whose runs have a panel, of those there are.
_SHOWN = 0, 2
_MOST_DRAWN = 8
_EXPECTED = plot.Style("black", "dashed")
_RUN = plot.GREEN._replace(dashes="solid")
_MARKERS = "o", "^", "s"


def numbers(*, quick: bool = False) -> dict[str, Any]:
    """Mappings with noise drawn anew at every step, for several N and seeds, in one call.

    Parameters
    ----------
    quick : bool
        Fewer seeds, and half as long.
    """
    num_seeds, num_sizes, last = (10, 4, 400) if quick else (40, 5, 800)
    num_samples = _FEWEST * _FACTOR ** np.arange(num_sizes)
    x = jnp.asarray(load("digits"), jnp.result_type(float))
    spectrum = Spectrum.from_data(x)
    std = jnp.asarray(_STD, x.dtype)
    start = initial.small(_SEED, std=std, num_directions=x.shape[1], hidden=_HIDDEN)
    problem = Problem(spectrum.eigenvalues, _NOISE, 0.0, _LEARNING_RATE)
    run: dict[str, Any] = {"num_steps": last, "save_every": _EVERY, "observe": _observe}
    expected = simulate_matrices(*start, problem, **run)
    drawn = simulate_sampled(
        np.arange(num_seeds), *start, problem, num_samples=num_samples[:, None], **run
    )
    centre, runs = np.asarray(expected.observed), np.asarray(drawn.observed)
    difference = (runs - centre[:, None, None]).astype(np.float64)
    return {
        "data": "digits",
        "direction": np.array(_DIRECTIONS),
        "eigenvalue": np.asarray(spectrum.eigenvalues)[np.array(_DIRECTIONS) - 1],
        "hidden": _HIDDEN,
        "noise": _NOISE,
        "learning_rate": _LEARNING_RATE,
        "std": _STD,
        "num_seeds": num_seeds,
        "num_samples": num_samples,
        "epoch": np.asarray(expected.step),
        "expected": centre,
        "sampled": runs[:, :, :_MOST_DRAWN],
        "largest_difference": np.abs(difference).max(axis=(0, 2)),
        **_mean(difference),
        **_scatter(num_samples, difference),
    }


def _observe(step: jax.Array, w1: jax.Array, w2: jax.Array, problem: Problem) -> jax.Array:
    columns = np.array(_DIRECTIONS) - 1
    return mapping(w1[..., columns], w2[..., columns, :])


def _mean(runs: np.ndarray) -> dict[str, np.ndarray]:
    """Means of (S, P, R, K) over epochs and seeds, with standard errors: seeds are independent."""
    means = runs.mean(axis=0)
    error = means.std(axis=1, ddof=1) / np.sqrt(means.shape[1])
    return {"mean_difference": means.mean(axis=1), "mean_difference_standard_error": error}


def _scatter(num_samples: np.ndarray, runs: np.ndarray) -> dict[str, np.ndarray]:
    """Standard deviations (P, K) over seeds, out of (S, P, R, K), and how they fall with N.

    Runs of one seed share their draws whatever N, so that their scatters are not
    independent: the standard error is that of leaving out one seed at a time.
    """

    def deviation(runs: np.ndarray) -> np.ndarray:
        return np.sqrt(runs.var(axis=2, ddof=1).mean(axis=0))

    def slope(runs: np.ndarray) -> np.ndarray:
        return np.polyfit(np.log(num_samples), np.log(deviation(runs)), 1)[0]

    num_seeds = runs.shape[2]
    without = np.stack([slope(np.delete(runs, r, axis=2)) for r in range(num_seeds)])
    return {
        "scatter": deviation(runs),
        "slope": slope(runs),
        "slope_standard_error": np.sqrt((num_seeds - 1) * without.var(axis=0)),
    }


def draw(numbers: dict[str, Any]) -> Any:
    """Runs with few and with more samples above; below their differences and scatter.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.lines import Line2D

    figure, axes = plot.grid(2, 2, 5.8)
    for ax, size in zip(axes[0], _SHOWN, strict=True):
        _draw_runs(ax, numbers, size)
    axes[0, 0].set_ylabel("mapping")
    _draw_differences(axes[1, 0], numbers)
    _draw_scatter(axes[1, 1], numbers)
    entries = [
        Line2D([], [], color=_EXPECTED.colour, linestyle="dashed", label="expected loss"),
        Line2D([], [], color=_RUN.colour, linewidth=1.3, label="sampled noise"),
    ]
    few, many = numbers["num_samples"][[0, -1]]
    words = (
        "above: numbers are directions\n"
        f"below, left: darker for more samples, N = {few:,} to {many:,}"
    )
    plot.legend_row(figure, entries, words)
    return figure


def _draw_runs(ax: Any, numbers: dict[str, Any], size: int) -> None:
    epoch, centre = numbers["epoch"], numbers["expected"]
    ax.set(xlim=(-0.02 * epoch[-1], epoch[-1]), ylim=(-0.02, 1.15 * centre.max()))
    ax.set(xlabel="epochs", title=f"N = {numbers['num_samples'][size]:,}")
    for k in range(centre.shape[1]):
        ax.plot(epoch, numbers["sampled"][:, size, :, k], color=_RUN.colour, linewidth=0.6)
        ax.plot(epoch, centre[:, k], color="black", linestyle="dashed", linewidth=1.3)
    plot.label_right(ax, centre[-1], [str(j) for j in numbers["direction"]])


def _draw_differences(ax: Any, numbers: dict[str, Any]) -> None:
    """Bands that the runs drawn keep to in the first direction, of few samples behind."""
    epoch, sizes = numbers["epoch"], numbers["num_samples"]
    for size, style in enumerate(plot.shades(_RUN, len(sizes))):
        difference = numbers["sampled"][:, size, :, 0] - numbers["expected"][:, None, 0]
        band = difference.min(axis=1), difference.max(axis=1)
        ax.fill_between(epoch, *band, color=style.colour, linewidth=0)
    ax.set(xlim=(-0.02 * epoch[-1], epoch[-1]), xlabel="epochs", ylabel="difference")
    shown = numbers["sampled"].shape[2]
    ax.set_title(f"range of {shown} runs, direction {numbers['direction'][0]}")


def _draw_scatter(ax: Any, numbers: dict[str, Any]) -> None:
    """Measured, on lines of slope -1/2 through their means."""
    sizes, scatter = numbers["num_samples"], numbers["scatter"]
    for k, marker in enumerate(_MARKERS):
        measured = scatter[:, k]
        line = np.exp(np.log(measured * sizes**0.5).mean()) / sizes**0.5
        ax.plot(sizes, line, color="black", linestyle="dashdot", linewidth=1.0)
        label = str(numbers["direction"][k])
        look: dict[str, Any] = {"marker": marker, "markerfacecolor": "none", "linestyle": "none"}
        ax.plot(sizes, measured, color=_RUN.colour, markersize=5, label=label, **look)
    ax.set(xscale="log", yscale="log", xlabel="N", title="scatter; lines: slope -1/2")
    small: dict[str, Any] = {"fontsize": 9.5, "title_fontsize": 9.5, "labelspacing": 0.2}
    ax.legend(loc="upper right", title="direction", handletextpad=0.1, borderpad=0.0, **small)


def caption(numbers: dict[str, Any]) -> str:
    """What to see, and how fast the scatter falls.

    Parameters
    ----------
    numbers : dict
        As of `numbers`.
    """
    slopes = zip(numbers["slope"], numbers["slope_standard_error"], strict=True)
    fitted = ", ".join(f"{slope:.3f} +- {error:.3f}" for slope, error in slopes)
    listed = ", ".join(map(str, numbers["direction"]))
    few, many = numbers["num_samples"][[0, -1]]
    wide, narrow = numbers["scatter"][[0, -1], 0]
    means, errors = (
        numbers[name][[0, -1], 0] for name in ("mean_difference", "mean_difference_standard_error")
    )
    return (
        f"A linear denoising autoencoder ({numbers['hidden']} hidden units) learns directions "
        f"{listed} of the digits. The theory puts the expectation over the noise for the loss "
        f"(dashed); training draws new noise of variance {numbers['noise']:g} for every sample at "
        f"every epoch (green, a line for each of {numbers['sampled'].shape[2]} seeds). Each step "
        f"is on average the one that the expected loss would take from the same weights, but no "
        f"step is: the runs scatter. "
        f"N is the number of samples in a step, each with noise of its own; the eigenvalues of "
        f"the data are kept, so that N changes nothing but how well the noise averages out. With "
        f"N = {few:,} the mapping of direction {numbers['direction'][0]} scatters by {wide:.2g} "
        f"(standard deviation over {numbers['num_seeds']} seeds, taken over all epochs), with "
        f"N = {many:,} by {narrow:.2g}. In directions {listed} the scatter falls as N to the "
        f"power of {fitted} (with standard errors): at -0.5, four times the samples halve it. The "
        f"runs' mean, over all epochs, lies off the expected run by {means[0]:.2g} +- "
        f"{errors[0]:.2g} and {means[1]:.2g} +- {errors[1]:.2g} at these N: what a run scatters "
        f"changes its later steps, and the mean of those by its square, so that with enough seeds "
        f"the mean is off in proportion to 1/N, and falls faster than the scatter. The paper's "
        f"data sets have N of 30,000 and more, where by this law the scatter here would be "
        f"{narrow * (many / 30_000) ** 0.5:.1g}. All runs are one batched call and cost the same "
        f"whatever N: of the noisy samples a step sees two matrices only, which are drawn "
        f"directly, exactly in distribution (docs/theory.md, section 7)."
    )
