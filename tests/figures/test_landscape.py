"""Loss surfaces: least where they are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Problem, losses
from lindae_jax.figures import landscape

EIGENVALUE, NOISE, DECAY = 1.5, np.array([0.0, 2.0, 0.4]), np.array([0.0, 0.0, 0.3])


@pytest.mark.both
def test_losses_are_those_of_the_pair_row_by_row(dtype, eps):
    surface = landscape.numbers(EIGENVALUE, NOISE, DECAY, 9)
    w = surface["weight"]
    assert surface["loss"].dtype == dtype
    for k in range(3):
        for i, j in ((0, 3), (8, 2), (5, 5)):
            # A row per w2.
            mapping, squares = w[i] * w[j], w[i] ** 2 + w[j] ** 2
            want = EIGENVALUE * (1 - mapping) ** 2 + NOISE[k] * mapping**2 + DECAY[k] * squares
            np.testing.assert_allclose(surface["loss"][k, j, i], want / 2, rtol=16 * eps)


@pytest.mark.both
def test_no_loss_is_below_the_least_and_the_minima_have_it(eps):
    surface = landscape.numbers(EIGENVALUE, NOISE, DECAY, 41)
    for k in range(3):
        least = surface["least"][k]
        assert (surface["loss"][k] >= least * (1 - 8 * eps)).all()
        w1, w2 = (surface[name][k] for name in ("minimum_w1", "minimum_w2"))
        there = np.isfinite(w1)
        # Two points with decay; without, both branches up to the edge of the window.
        assert there.sum() == (2 if DECAY[k] else len(w1) - 1)
        if not DECAY[k]:
            np.testing.assert_allclose([np.nanmax(w1), np.nanmin(w2)], [2.3, -2.3], rtol=4 * eps)
        problem = Problem(EIGENVALUE, NOISE[k], DECAY[k])
        at = jnp.asarray(np.stack([w1[there], w2[there]]))
        loss, slope = jax.vmap(
            jax.value_and_grad(lambda w, p=problem: losses.pair_loss(w[0], w[1], p)), 1
        )(at)
        np.testing.assert_allclose(loss, least, rtol=16 * eps, atol=16 * eps)
        np.testing.assert_allclose(slope, 0, atol=64 * eps)
