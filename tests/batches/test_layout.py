"""Calls with concrete values from within whatever the caller is tracing."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lindae_jax
from lindae_jax import (
    Problem,
    curvature,
    simulate_matrices,
    simulate_networks,
    simulate_pairs,
    simulate_sampled,
    theory,
)


def calls(dtype, n=10):
    """Name -> a call whose values are all known."""
    x = np.linspace(0.1, 0.5, n).astype(dtype)
    w1, w2 = np.full((2, 3, 4), dtype(0.1)), np.full((2, 4, 3), dtype(0.1))
    problem, networks = Problem(x), Problem(np.ones(4, dtype))
    inputs = np.eye(5, 4, dtype=dtype)
    sampled = {"num_samples": 10, "num_steps": 2}
    return {
        "pairs": lambda: simulate_pairs(x, x, problem, num_steps=3).w1,
        "compensated": lambda: simulate_pairs(x, x, problem, num_steps=3, compensated=True).w1,
        "matrices": lambda: simulate_matrices(w1, w2, networks, num_steps=2).w1,
        "sampled": lambda: simulate_sampled(0, w1, w2, networks, **sampled).w1,
        "networks": lambda: simulate_networks(0, w1, w2, inputs, num_epochs=2).w1,
        "mapping": lambda: theory.mapping(3, x, x, problem),
        "mapping, decay": lambda: theory.mapping(3, x, 2 * x, Problem(x, decay=0.1)),
        "time": lambda: theory.time_to_mapping(0.3, x, x, problem),
        "sharpness": lambda: curvature.sharpness(x, x, problem),
    }


@pytest.mark.both
@pytest.mark.parametrize("name", calls(np.float32))
def test_what_is_known_is_computed_within_jit_vmap_and_grad_too(name, dtype):
    """Up to how the sum is taken, whose terms are of one sign: 16 eps."""
    call = calls(dtype)[name]
    expected = call().sum()
    one = jnp.ones((), dtype)
    found = (
        jax.jit(lambda y: y * call().sum())(one),
        jax.vmap(lambda y: y * call().sum())(one[None])[0],
        jax.grad(lambda y: y * call().sum())(one),
    )
    np.testing.assert_allclose(found, expected, rtol=16 * np.finfo(dtype).eps)


SPREAD = """
import sys
sys.path.insert(0, "tests")
import jax

jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
import numpy as np
from batches.test_layout import calls

for name in ("pairs", "compensated", "mapping", "time"):
    call = calls(np.float32, n=100_000)[name]
    expected = np.asarray(call())
    found = jax.jit(lambda y, call=call: y + call())(jnp.float32(0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
"""


def test_a_large_batch_stays_on_one_device_there():
    """It would be spread over both otherwise, which takes arrays that are there."""
    root = Path(lindae_jax.__file__).parent.parent
    command = [sys.executable, "-W", "error", "-c", SPREAD]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
