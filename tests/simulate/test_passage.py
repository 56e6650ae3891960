"""First passages of simulated curves."""

import numpy as np
import pytest

from lindae_jax.simulate.passage import first_passage


@pytest.mark.both
def test_it_is_where_the_broken_line_crosses(rng, dtype):
    step = np.cumsum(rng.integers(1, 9, 40))
    rows = np.cumsum(rng.uniform(-0.5, 1, (40, 2, 3)), axis=0).astype(dtype)
    level = rng.uniform(0, 8, (2, 3)).astype(dtype)
    got = first_passage(step, rows, level)
    fine = np.linspace(step[0], step[-1], 200_001)
    for at in np.ndindex(2, 3):
        line = np.interp(fine, step, rows[(slice(None), *at)])
        above = line >= level[at]
        expected = fine[above.argmax()] if above.any() else np.inf
        np.testing.assert_allclose(got[at], expected, atol=2e-3)


@pytest.mark.both
def test_a_level_of_the_start_is_reached_at_once_and_none_never(dtype):
    rows = np.array([[2.0, 2.0, 0.0], [2.0, 3.0, 0.0]], dtype)
    got = first_passage(np.array([7, 9]), rows, np.array([2.0, np.nan, 1.0], dtype))
    np.testing.assert_array_equal(got, [7, np.inf, np.inf])


@pytest.mark.both
def test_what_is_not_finite_reaches_nothing_but_infinity_does(dtype):
    rows = np.array([[0.0, 0.0], [np.nan, np.inf], [np.nan, np.nan]], dtype)
    got = first_passage(np.array([0, 10, 20]), rows, np.array([1.0, 1.0], dtype))
    assert got[0] == np.inf
    assert 0 <= got[1] <= 10
