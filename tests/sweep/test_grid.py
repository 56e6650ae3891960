"""Boxes that cut a grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lindae_jax.sweep import grid
from lindae_jax.sweep.grid import Box

shapes = st.lists(st.integers(1, 7), max_size=4).map(tuple)


@given(shapes, st.integers(1, 300))
def test_chunks_cover_every_member_once_within_the_size(shape, most):
    chunk = grid.chunk_shape(shape, most)
    assert math.prod(chunk) <= most
    seen = np.zeros(shape, int)
    for index in range(grid.num_chunks(shape, chunk)):
        seen[grid.chunk_box(shape, chunk, index).slices] += 1
    assert (seen == 1).all()


@given(shapes, st.integers(1, 300))
def test_a_chunk_is_a_run_of_neighbours_in_memory(shape, most):
    chunk = grid.chunk_shape(shape, most)
    split = [n != size for n, size in zip(chunk, shape, strict=True)]
    # One axis at most is cut into longer pieces than one; those behind it are whole.
    if True in split:
        last = len(split) - 1 - split[::-1].index(True)
        assert all(n == 1 for n in chunk[:last])


@given(st.data(), shapes)
def test_boxes_of_a_mask_hold_its_members_once(data, shape):
    flags = data.draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape)))
    mask = np.array(flags, bool).reshape(shape)
    seen = np.zeros(shape, int)
    boxes = list(grid.boxes_of(mask))
    for box in boxes:
        assert box.size > 0
        seen[box.slices] += 1
    np.testing.assert_array_equal(seen, mask)
    if boxes:
        whole = grid.around(boxes)
        there = np.argwhere(mask)
        assert whole.start == tuple(there.min(0))
        assert whole.stop == tuple(there.max(0) + 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=4))
def test_what_lies_beyond_a_smaller_grid_takes_a_box_an_axis_at_most(lengths):
    mask = np.ones([old + new for old, new in lengths], bool)
    mask[tuple(slice(0, old) for old, _ in lengths)] = False
    assert len(list(grid.boxes_of(mask))) <= len(lengths)


@given(shapes, st.integers(1, 40))
def test_parts_of_a_box_cover_it_once(shape, most):
    lengths = grid.chunk_shape(shape, most)
    box = Box(tuple(2 for _ in shape), tuple(2 + n for n in shape))
    seen = np.zeros(shape, int)
    for part in grid.parts(box, lengths):
        assert all(n <= length for n, length in zip(part.shape, lengths, strict=True))
        seen[part.within(box).slices] += 1
    assert (seen == 1).all()


def test_axes_may_be_taken_one_by_one():
    assert grid.chunk_shape((4, 6, 5), 30, [False, True, False]) == (4, 1, 5)


def test_halving_ends_with_one_member():
    lengths, count = (5, 8, 3), 0
    while lengths is not None:
        previous, lengths = lengths, grid.halved(lengths)
        count += 1
    assert previous == (1, 1, 1)
    assert count == 9


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_member_is_one_chunk(shape):
    assert grid.num_chunks(shape, grid.chunk_shape(shape, 10)) == 1
    assert grid.chunk_box(shape, grid.chunk_shape(shape, 10), 0).size == 1
