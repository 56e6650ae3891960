"""When a simulated curve first reaches a level."""

import numpy as np
from numpy.typing import ArrayLike


def first_passage(step: ArrayLike, rows: ArrayLike, level: ArrayLike) -> np.ndarray:
    """The step at which each curve first reaches its level, linear between saves.

    On the host, where one pass over curves that are there is all it takes.

    Parameters
    ----------
    step : array_like, (saves,)
        Ascending.
    rows : array_like, (saves, ...)
        A value per save. NaN counts as 0, infinity as the largest finite number.
    level : array_like, (...)

    Returns
    -------
    array, (...)
        In the units of `step` and the dtype of `rows`: that of the first save where the
        level is reached there already, infinite where it never is or is NaN.
    """
    # The mapping of a network that is about to diverge may be infinite already.
    curves = np.nan_to_num(np.asarray(rows))
    step, one = np.asarray(step).astype(curves.dtype), curves.dtype.type(1)
    reached = curves >= np.asarray(level)
    after = reached.argmax(axis=0)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(curves, i[None], axis=0)[0] for i in (before, after))
    start, stop = step[before], step[after]
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (high - low) / np.where(stop > start, stop - start, one)
        rises = slope > 0
        since = np.where(rises, (np.asarray(level) - low) / np.where(rises, slope, one), 0 * one)
    return np.where(reached.any(axis=0), start + since, one * np.inf)
