"""What is computed once is not computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.batches.apart import apart


def _tables(x):
    """Ten multiplications each, cheap enough for a compiler to repeat them."""
    for factor in range(2, 12):
        x = x * factor
    return {"products": x, "others": x + 1}


@pytest.mark.parametrize("first", [3.0, np.nan])
def test_the_same_is_computed(first):
    x = jnp.array([first, 2.0, 4.0])
    found, expected = jax.jit(lambda x: apart(_tables, x))(x), _tables(x)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_uses_do_not_compute_it_again():
    def grid(t, x):
        table = apart(_tables, x)
        return table["products"] * t + table["others"]

    program = jax.jit(grid).lower(jnp.ones((64, 1)), jnp.ones(128)).compile().as_text()
    at_points = [line for line in program.splitlines() if "f32[64,128]" in line and "= " in line]
    assert at_points
    assert sum("multiply(" in line for line in at_points) == 1
