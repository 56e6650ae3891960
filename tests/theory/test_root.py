"""The rate z against 60 digits."""

import jax
import numpy as np
import pytest
from mpmath import mp, mpf

from lindae_jax.theory import root
from lindae_jax.theory.ordered import ordered

pytestmark = pytest.mark.both


@pytest.mark.parametrize("compiled", [False, True])
def test_z_is_known_to_half_a_width_more_than_a_float(compiled, rng, dtype, eps):
    """So that z t' is right to a fraction of eps while exp(-z t'/2) is in the range."""
    w1, w2 = 10 ** rng.uniform(-4, 0.5, (2, 2000)) * rng.choice([-1, 1], (2, 2000))
    eigenvalue, noise = 10 ** rng.uniform(-6, 0, (2, 2000))
    w1, w2, eigenvalue, noise = (x.astype(dtype) for x in (w1, w2, eigenvalue, noise))
    with mp.workdps(60):
        columns = (list(map(mpf, x.tolist())) for x in (w1, w2, eigenvalue, noise))
        k = [(e + n) * abs(x * x - y * y) for x, y, e, n in zip(*columns, strict=True)]
        z = [mp.sqrt(4 * mpf(e) ** 2 + x**2) for e, x in zip(eigenvalue.tolist(), k, strict=True)]
    fastest = 2 * eigenvalue + np.array([float(x) for x in k])
    unit = np.exp2(np.floor(np.log2(fastest))).astype(dtype)

    def find(w1, w2, eigenvalue, noise):
        start, _, _ = ordered(w1, w2)
        near = (eigenvalue + noise) * (start.big + start.size) * (start.big - start.size)
        return root.find_root(np.zeros(2000, bool), near, start, eigenvalue, noise)

    found = (jax.jit(find) if compiled else find)(w1, w2, eigenvalue / unit, noise / unit)
    with mp.workdps(60):
        parts = zip(found.z.tolist(), found.low.tolist(), unit.tolist(), z, strict=True)
        errors = [float(abs((mpf(a) + mpf(b)) * u / exact - 1)) for a, b, u, exact in parts]
        parts = zip(found.k.tolist(), unit.tolist(), k, strict=True)
        of_k = [float(abs(mpf(a) * u / exact - 1)) for a, u, exact in parts]
    assert max(errors) <= 8 * eps**1.5
    assert max(of_k) <= eps
