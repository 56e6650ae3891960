"""Blocks change nothing: any shape, any size of block, any broadcasting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.batches.blocks import in_blocks

SHAPES = {
    "one axis": [(1000,), (1000,), (1,)],
    "fewer than a block": [(7,), (7,)],
    "numbers alone": [(), ()],
    "nothing at all": [(0,), (0,)],
    "an axis of nothing": [(3, 0), (3, 1)],
    "rows": [(300, 3), (300, 3), (3,)],
    "many in a row": [(3, 300), (300,), (3, 1)],
    "a grid": [(5, 1, 70), (4, 1), (5, 1, 1)],
    "a grid, transposed": [(70, 1, 5), (4, 1), (1, 1, 5), ()],
    "one of each": [(7, 1, 1, 1), (6, 1, 1), (5, 1), (4,)],
}


def twice(*arrays):
    total = sum(arrays)
    return total, arrays[0] * total


@pytest.mark.both
@pytest.mark.parametrize("largest", [1, 64, 100, 200, None])
@pytest.mark.parametrize("name", SHAPES)
def test_blocks_equal_the_whole(rng, dtype, name, largest):
    arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in SHAPES[name]]
    expected = twice(*arrays)
    found = jax.jit(lambda *arrays: in_blocks(twice, arrays, 2, largest))(*arrays)
    for x, y in zip(found, expected, strict=True):
        assert (x.shape, x.dtype) == (jnp.broadcast_shapes(*SHAPES[name]), dtype)
        np.testing.assert_array_equal(x, np.broadcast_to(y, x.shape))


@pytest.mark.both
def test_outputs_are_of_the_first_array_s_dtype(rng, dtype):
    x, mask = jnp.asarray(rng.normal(size=(300, 3)), dtype), jnp.array([True, False, True])
    found = in_blocks(lambda x, mask: [jnp.where(mask, x, 0)], (x, mask), 1, 64)
    assert found[0].dtype == dtype
    np.testing.assert_array_equal(found[0], np.where(mask, x, 0))


@pytest.mark.both
@pytest.mark.parametrize("largest", [64, None])
def test_outputs_may_be_of_several_dtypes(rng, largest, dtype):
    x = jnp.asarray(rng.normal(size=(300, 3)), dtype)
    dtypes = [dtype, jnp.int8]
    found = in_blocks(lambda x: [2 * x, (x > 0).astype(jnp.int8)], [x], 2, largest, dtypes)
    for y, expected, kind in zip(found, (2 * x, x > 0), dtypes, strict=True):
        assert y.dtype == kind
        np.testing.assert_array_equal(y, expected)


def test_every_element_is_computed_in_blocks_of_whole_vectors(rng):
    seen = []

    def compute(*arrays):
        shape = jnp.broadcast_shapes(*(x.shape for x in arrays))
        seen.append(shape)
        return [jnp.broadcast_to(sum(arrays), shape)]

    for shapes in SHAPES.values():
        jax.make_jaxpr(lambda *arrays: in_blocks(compute, arrays, 1, 128))(
            *(jnp.zeros(shape) for shape in shapes)
        )
    blocks = [shape for shape in seen if shape != (1,)]
    assert len(blocks) >= len(SHAPES) - 1
    assert all(len(shape) == 1 and shape[0] % 64 == 0 for shape in blocks)


def test_memory_beyond_the_outputs_is_that_of_a_block():
    n = 2**20
    arrays = [jax.ShapeDtypeStruct((n,), jnp.float32)] * 2 + [jax.ShapeDtypeStruct((), jnp.float32)]
    program = jax.jit(lambda *arrays: in_blocks(twice, arrays, 2, 2**13)).lower(*arrays).compile()
    sizes = program.memory_analysis()
    assert sizes.output_size_in_bytes < 2 * 4 * n + 1024
    assert sizes.temp_size_in_bytes < 2**20
