"""Test lanes, strict promotion, the dtype of a lane.

Two lanes run the same files. The first has JAX as it comes (32 bits) and runs
everything but the tests marked `x64`. The second, started with LINDAE_X64=1,
switches 64 bits on and runs the tests marked `both` or `x64`.
"""

import gc
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# It is a program, which replaces functions of the standard library when it begins.
collect_ignore = ["sweep/faults_child.py"]

X64 = os.environ.get("LINDAE_X64") == "1"

# Tracing makes so many objects that to look for those no longer needed, at the usual pace,
# takes more than a tenth of the time.
gc.set_threshold(50_000, 20, 10)

jax.config.update("jax_enable_x64", X64)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")


def pytest_collection_modifyitems(config, items):
    """Keep the tests of this lane; the other lane runs the rest."""
    wanted, unwanted = [], []
    for item in items:
        marked = {"both", "x64"} & {m.name for m in item.iter_markers()}
        runs = bool(marked) if X64 else "x64" not in marked
        (wanted if runs else unwanted).append(item)
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = wanted


@pytest.fixture
def dtype():
    """The floating dtype of this lane."""
    return jnp.float64 if X64 else jnp.float32


@pytest.fixture
def eps(dtype):
    """Machine epsilon of this lane's dtype."""
    return float(np.finfo(dtype).eps)


@pytest.fixture
def rng():
    """A seeded NumPy generator."""
    return np.random.default_rng(20180710)


@pytest.fixture
def paper_data():
    """Folder with the real MNIST and CIFAR-10 files, named by LINDAE_DATA."""
    folder = os.environ.get("LINDAE_DATA")
    if not folder:
        pytest.skip("set LINDAE_DATA to a folder with mnist/ and cifar-10-batches-bin/")
    return Path(folder)
