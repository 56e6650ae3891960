"""What the main job found: its curves, its figure, its numbers."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lindae_jax import files, plot, record
from lindae_jax.reproduce.settings import Settings

NETWORKS = ("AE", "WDAE", "DAE")
FILES = ("reproduce.png", "reproduce.svg", "reproduce.json")


@dataclasses.dataclass(frozen=True, eq=False)
class Reproduction:
    """Curves of the three networks, in the order of `NETWORKS`, as NumPy arrays.

    K = min(H, D) directions, those of the largest eigenvalues; S epochs.

    Parameters
    ----------
    settings : Settings
    eigenvalue : array, (K,)
        lambda_j, descending.
    start : array, (K,)
        w(0) of the theory.
    epochs : array of int, (S,)
        Those kept, from 0 to `settings.num_steps`: dense at first, then even.
    theory, training : array, (S, 3, K)
        The mapping w = w2 w1 along each direction.
    fixed_point : array, (3, K)
        w*, predicted; what was reached is `training[-1]`.
    half_time, half_time_reached : array, (3, K)
        Epoch at which the mapping of the theory, and of the network, first
        reaches w*/2 (w* of the theory in both); between two epochs by linear
        interpolation. Infinite if never, or for the network not yet; NaN
        where w* = 0.
    notes : tuple of str
        What to bear in mind about these settings, a sentence each.
    seconds : dict
        Wall-clock time of each part, compilation included.
    """

    settings: Settings
    eigenvalue: np.ndarray
    start: np.ndarray
    epochs: np.ndarray
    theory: np.ndarray
    training: np.ndarray
    fixed_point: np.ndarray
    half_time: np.ndarray
    half_time_reached: np.ndarray
    notes: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def reached(self) -> np.ndarray:
        """Mapping at the last epoch, (3, K)."""
        return self.training[-1]

    @property
    def worst_difference(self) -> np.ndarray:
        """Largest distance of the two curves at the epochs kept, (3, K)."""
        return np.abs(self.training - self.theory).max(axis=0)

    def save(self, out: str | os.PathLike) -> tuple[Path, ...]:
        """Write the figure and all its numbers, together or not at all.

        Parameters
        ----------
        out : str or path
            Folder, made if need be; earlier results in it are replaced.

        Returns
        -------
        tuple of Path
            The picture as PNG and SVG, and the JSON. In the JSON what is not
            finite is null.

        Raises
        ------
        ValueError
            `out` cannot be a folder, or is not writable.
        ImportError
            matplotlib is missing.
        OSError
            Writing failed; then nothing is left behind.
        """
        check_out(out)
        with plot.settings():
            figure = draw(self)
            pictures = [plot.image(figure, kind) for kind in ("png", "svg")]
        numbers = json.dumps(as_json(self), allow_nan=False).encode()
        return files.write(Path(out), dict(zip(FILES, [*pictures, numbers], strict=True)))


def check_out(out: str | os.PathLike) -> None:
    """Try whether results can be drawn and written to a folder; leaves no trace.

    Parameters
    ----------
    out : str or path

    Raises
    ------
    ValueError
        `out` is not a path; the folder cannot be made or written; the disk is
        full.
    ImportError
        matplotlib is missing.
    """
    with plot.settings():
        pass
    files.check_folder(out)


def draw(result: Reproduction) -> Any:
    """The paper's Figure 5: AE and WDAE at the left, AE and DAE at the right.

    Parameters
    ----------
    result : Reproduction

    Returns
    -------
    matplotlib.figure.Figure
        Best made and written under `plot.settings()`.

    Raises
    ------
    ImportError
        matplotlib is missing.
    """
    settings = result.settings
    columns = np.array(settings.directions) - 1
    labels = [str(j) for j in settings.directions]
    shown = np.concatenate([result.theory[..., columns], result.training[..., columns]])
    figure = plot.two_panels(
        ("Weight decay", "Noise"),
        settings.num_steps,
        "epochs",
        "mapping",
        values=(min(0.0, shown.min()), max(1.0, shown.max())),
    )
    styles = (plot.BLUE, plot.ORANGE, plot.GREEN)
    for ax, other in zip(figure.axes, (1, 2), strict=True):
        for k in (0, other):
            curves = result.theory[:, k, columns], result.training[:, k, columns]
            plot.dynamics(ax, result.epochs, *curves, styles[k], upright=k > 0)
        plot.label_above(ax, result.half_time_reached[0, columns], labels)
        plot.label_right(ax, result.theory[-1, other, columns], labels)
    names = (
        "AE",
        f"WDAE, decay {settings.decay:.3g}",
        f"DAE, noise variance {settings.noise:.3g}",
    )
    caption = "lines: theory; crosses (AE) and pluses: training; numbers: directions"
    plot.legend(figure, dict(zip(names, styles, strict=True)), caption)
    return figure


def as_json(result: Reproduction) -> dict[str, Any]:
    """Every number drawn or tabulated, with settings, versions and times.

    Parameters
    ----------
    result : Reproduction

    Returns
    -------
    dict
        Of numbers, strings, lists and None (for what is not finite).
    """
    settings = result.settings
    columns = np.array(settings.directions) - 1
    networks = [
        {
            "name": name,
            "noise": settings.noise if name == "DAE" else 0.0,
            "decay": settings.decay if name == "WDAE" else 0.0,
            "fixed_point": result.fixed_point[k, columns],
            "reached": result.reached[k, columns],
            "half_time": result.half_time[k, columns],
            "half_time_reached": result.half_time_reached[k, columns],
            "worst_difference": result.worst_difference[k, columns],
            "theory": result.theory[:, k, columns].T,
            "training": result.training[:, k, columns].T,
        }
        for k, name in enumerate(NETWORKS)
    ]
    content = {
        "settings": dataclasses.asdict(settings),
        "notes": list(result.notes),
        "seconds": result.seconds,
        "versions": record.versions("jax", "jaxlib", "numpy", "matplotlib"),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "directions": list(settings.directions),
        "eigenvalue": result.eigenvalue[columns],
        "start": result.start[columns],
        "epochs": result.epochs,
        "networks": networks,
    }
    return record.plain(content)
