"""One step of gradient descent in exact arithmetic, with the bounds of every kernel."""

import numpy as np
from mpmath import mp, mpf

from lindae_jax.problem import Problem

FIELDS = ("eigenvalue", "noise", "decay", "learning_rate")


def wide_sample(rng, n, dtype):
    """Log-uniform over many decades, any signs, a tenth of each field at 0."""

    def log_uniform(low, high, zeros=0.1):
        x = 10.0 ** rng.uniform(low, high, n)
        return np.where(rng.uniform(size=n) < zeros, 0.0, x).astype(dtype)

    signs = rng.choice([-1, 1], (2, n)).astype(dtype)
    w1, w2 = (log_uniform(-8, 1) * s for s in signs)
    problem = Problem(
        log_uniform(-6, 4), log_uniform(-6, 4), log_uniform(-6, 1), log_uniform(-6, 0, 0)
    )
    return w1, w2, problem


def exact_step(w1, w2, lam, noise, decay, rate):
    """One step, the scales its rounding is measured by, and the factor of w2^2 - w1^2."""
    w1, w2, lam, noise, decay, rate = (mpf(float(x)) for x in (w1, w2, lam, noise, decay, rate))
    a = lam + noise
    g = lam - a * w1 * w2
    steps = w1 + rate * (g * w2 - decay * w1), w2 + rate * (g * w1 - decay * w2)
    slope = rate * (lam + a * abs(w1 * w2))
    scales = tuple(abs(x) + slope * abs(y) + rate * decay * abs(x) for x, y in ((w1, w2), (w2, w1)))
    invariant = ((1 - rate * decay) ** 2 - (rate * g) ** 2) * (w2**2 - w1**2)
    return steps, scales, invariant


def assert_one_step(got1, got2, w1, w2, problem, eps):
    """Within 4 eps of each weight's scale, the invariant within 12 eps of their squares."""
    fields = [np.broadcast_to(getattr(problem, n), w1.shape) for n in FIELDS]
    with mp.workdps(50):
        for values in zip(got1, got2, w1, w2, *fields, strict=True):
            new1, new2 = (mpf(float(x)) for x in values[:2])
            steps, scales, invariant = exact_step(*values[2:])
            assert abs(new1 - steps[0]) <= 4 * eps * scales[0], values
            assert abs(new2 - steps[1]) <= 4 * eps * scales[1], values
            error = abs(new2**2 - new1**2 - invariant)
            assert error <= 12 * eps * (scales[0] ** 2 + scales[1] ** 2), values
