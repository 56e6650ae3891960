"""Theory against simulation: two wings that share no code."""

import numpy as np
import pytest

from lindae_jax import Problem, initial, simulate_matrices, simulate_pairs, theory

# w1, w2, eigenvalue, noise, decay and the flow's time t': mid-escape, or on the way to w*
STARTS = {
    "balanced": (0.01, 0.01, 1.0, 0.0, 0.0, 4.6),
    "noise": (0.01, 0.02, 1.0, 1.0, 0.0, 3.8),
    "opposite signs": (0.5, -0.4, 1.0, 0.5, 0.0, 2.0),
    "decay": (0.01, 0.02, 1.0, 0.2, 0.25, 5.0),
    "decay, unbalanced": (1.5, 0.02, 1.0, 0.2, 0.05, 0.5),
    "decay above eigenvalue": (1.0, 0.5, 0.5, 0.2, 1.0, 1.0),
    "eigenvalue 0": (1.0, 0.5, 0.0, 1.0, 0.0, 1.0),
}


@pytest.mark.x64
@pytest.mark.parametrize("name", STARTS)
def test_gradient_descent_converges_to_the_flow(name):
    """At fixed t' = alpha t the distance is proportional to the learning rate.

    Euler's method: slope 1 in the learning rate from 1e-2 to 1e-4. Its second-order
    term, about alpha lambda t', bends it by less than 0.02 over two decades.
    """
    w1, w2, lam, noise, decay, time = STARTS[name]
    num_steps = np.round(time * np.geomspace(1e2, 1e4, 5)).astype(int)
    rates = time / num_steps
    distances = []
    for steps, rate in zip(num_steps, rates, strict=True):
        problem = Problem(lam, noise, decay, np.float64(rate))
        run = simulate_pairs(w1, w2, problem, num_steps=int(steps))
        flow = theory.weights(np.float64(steps), w1, w2, problem)
        distances.append(np.hypot(run.w1[-1] - flow.w1, run.w2[-1] - flow.w2))
    slope = np.polyfit(np.log(rates), np.log(distances), 1)[0]
    assert abs(slope - 1) <= 0.02
    # At the smallest rate the distance is a rate times a time of order 1, not 0.
    assert 1e-7 < distances[-1] < 1e-3


@pytest.mark.both
def test_decay_and_noise_of_equal_fixed_points_end_alike(dtype):
    """Training with the equivalent decay ends where training with noise ends."""
    lam, noise = np.array([0.5, 1, 2], dtype), np.array([0.25, 1, 0.5], dtype)
    decay = theory.equivalent_decay(lam, noise)
    rate = dtype(0.0625)
    denoising = simulate_pairs(
        dtype(0.1), dtype(0.2), Problem(lam, noise, dtype(0), rate), num_steps=4000
    )
    decayed = simulate_pairs(
        dtype(0.1), dtype(0.2), Problem(lam, dtype(0), decay, rate), num_steps=4000
    )
    end = theory.fixed_point(Problem(lam, noise))
    # Rounding halts descent where a step is half an eps: within eps/(alpha lambda) of the end.
    tolerance = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(denoising.w1[-1] * denoising.w2[-1], end, rtol=tolerance)
    np.testing.assert_allclose(decayed.w1[-1] * decayed.w2[-1], end, rtol=tolerance)


@pytest.mark.x64
def test_aligned_matrices_follow_the_flow_of_every_direction():
    """Directions of an aligned network decouple; each is within 2 alpha lambda of its curve."""
    lam = np.array([2.0, 1.0, 0.5, 0.25, 0.125])
    problem = Problem(lam, np.float64(0.3), np.float64(0.05), np.float64(0.01))
    a, b = np.array([0.02, 0.01, 0.03]), np.array([0.01, 0.02, 0.05])
    w1, w2 = initial.aligned(3, a, b, 3, 5)
    run = simulate_matrices(w1, w2, problem, num_steps=3000, save_every=50)
    found = np.einsum("sdh,shd->sd", run.w2, run.w1)
    t = np.asarray(run.step, np.float64)[:, None]
    padded = [np.concatenate([x, np.zeros(2)]) for x in (a, b)]
    curve = theory.mapping(t, *padded, problem.per_direction())
    assert np.all(np.abs(found - curve) <= 2 * 0.01 * lam)
    np.testing.assert_array_equal(np.asarray(curve)[:, 3:], 0)
