"""Descent beside its flow: distances that a plain loop finds, halved with the rate."""

import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Problem
from lindae_jax.figures import agreement


def descent(w1, w2, eigenvalue, noise, decay, rate, num_steps):
    rows = [(w1, w2)]
    for _ in range(num_steps):
        g = eigenvalue - (eigenvalue + noise) * w1 * w2
        w1, w2 = w1 + rate * (g * w2 - decay * w1), w2 + rate * (g * w1 - decay * w2)
        rows.append((w1, w2))
    return np.moveaxis(np.array(rows), 1, 0)


@pytest.mark.both
def test_the_distances_are_those_of_a_plain_loop(rng, dtype, eps):
    # With equal weights and decay, equation (7) is the flow.
    start, eigenvalue, decay, rate = np.array([0.1, 0.3, 1.2]), 1.3, 0.2, 0.05
    epochs = [0, 3, 10, 60]
    w = jnp.asarray(start, dtype)
    both = agreement.compare(w, w, Problem(eigenvalue, 0.0, decay, rate), epochs)
    t = rate * np.array(epochs)[:, None]
    xi, growth = 1 - decay / eigenvalue, np.exp(2 * (eigenvalue - decay) * t)
    flow = xi * growth / (growth - 1 + xi / start**2)
    distances = []
    for parts in (1, 2):
        args = eigenvalue, 0.0, decay, rate / parts, 60 * parts
        w1, w2 = descent(start, start, *args)[:, np.multiply(epochs, parts)]
        distances.append(np.abs(w1 * w2 - flow).max(axis=0))
        if parts == 1:
            # A few roundings of the weights, which are carried from step to step.
            np.testing.assert_allclose(both.w1, w1, rtol=16 * eps)
            np.testing.assert_allclose(both.simulated, w1 * w2, rtol=16 * eps)
    np.testing.assert_array_equal(both.epoch, epochs)
    np.testing.assert_allclose(both.theory, flow, rtol=16 * eps)
    np.testing.assert_allclose(both.difference, distances[0], atol=32 * eps)
    np.testing.assert_allclose(both.difference_at_half_rate, distances[1], atol=32 * eps)


def test_the_largest_of_several_comparisons_counts():
    def of(difference, at_half_rate):
        return agreement.Agreement(*[None] * 5, np.array(difference), np.array(at_half_rate))

    found = agreement.numbers([of([0.1, 0.4], [0.02, 0.1]), of([0.2], [0.2])])
    assert found["largest_difference"] == 0.4
    assert found["largest_difference_at_half_rate"] == 0.2
    assert found["ratio"] == 0.5


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("last", "num"), [(1, 2), (7, 50), (1000, 11), (99_999, 300)])
def test_epochs_increase_from_0_to_the_last(last, num, power):
    epochs = agreement.epochs(last, num, power=power)
    assert (epochs[0], epochs[-1]) == (0, last)
    assert (np.diff(epochs) > 0).all()
    assert len(epochs) <= num
    # Steps never shrink by more than rounding makes of them: dense at first, if at all.
    assert (np.diff(epochs, 2) >= -1).all()
