"""When a simulated curve first reaches a level."""

import jax
import jax.numpy as jnp


@jax.jit
def first_passage(step: jax.Array, rows: jax.Array, level: jax.Array) -> jax.Array:
    """The step at which each curve first reaches its level, linear between saves.

    Parameters
    ----------
    step : array, (saves,)
        Ascending.
    rows : array, (saves, ...)
        A value per save. NaN counts as 0, infinity as the largest finite number.
    level : array, (...)

    Returns
    -------
    jax.Array, (...)
        In the units of `step` and the dtype of `rows`: that of the first save where the
        level is reached there already, infinite where it never is or is NaN.
    """
    # The mapping of a network that is about to diverge may be infinite already.
    rows = jnp.nan_to_num(rows)
    step = step.astype(rows.dtype)
    reached = rows >= level
    after = reached.argmax(axis=0)[None]
    before = jnp.maximum(after - 1, 0)
    low, high = (jnp.take_along_axis(rows, i, axis=0)[0] for i in (before, after))
    start, stop = step[before[0]], step[after[0]]
    # Two divisions, for a product and a sum are one operation in some programs, not in others.
    slope = (high - low) / jnp.where(stop > start, stop - start, 1)
    rises = slope > 0
    since = jnp.where(rises, (level - low) / jnp.where(rises, slope, 1), 0)
    return jnp.where(reached.any(axis=0), start + since, jnp.inf)
