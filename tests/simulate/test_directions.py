"""What whole autoencoders do along directions, against NumPy's decompositions."""

import numpy as np
import pytest

from lindae_jax import initial
from lindae_jax.simulate.directions import balanced_pair, mapping, singular_values

pytestmark = pytest.mark.both


@pytest.fixture(params=[(3, 7), (7, 7), (9, 7), (1, 7), (3, 1)])
def matrices(request, rng, dtype):
    hidden, inputs = request.param
    shapes = (4, hidden, inputs), (4, inputs, hidden)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def test_the_mapping_is_the_diagonal_of_the_product(matrices, eps):
    w1, w2 = matrices
    whole = np.einsum("nij,njk->nik", w2.astype(float), w1.astype(float))
    want = np.diagonal(whole, axis1=-2, axis2=-1)
    # A sum of H products of numbers of size 3 at most.
    np.testing.assert_allclose(mapping(w1, w2), want, rtol=0, atol=10 * w1.shape[-2] * eps)


def test_singular_values_are_those_of_the_product(matrices, eps):
    w1, w2 = matrices
    rank = min(w1.shape[-2:])
    want = np.linalg.svd(w2.astype(float) @ w1.astype(float), compute_uv=False)
    got = np.asarray(singular_values(w1, w2))
    assert got.dtype == w1.dtype
    # To a few eps of the largest, as of any singular value.
    far = np.abs(got - want[:, :rank]) / want[:, :1]
    assert far.max() <= 30 * eps


def test_those_of_an_aligned_network_are_its_mappings(dtype, eps):
    a, b = np.array([2.0, 1.5, 0.5], dtype), np.array([1.0, 0.9, 0.1], dtype)
    w1, w2 = initial.aligned(0, a, b, 3, 5)
    np.testing.assert_allclose(singular_values(w1, w2), a * b, rtol=0, atol=20 * eps)
    np.testing.assert_allclose(mapping(w1, w2)[:3], a * b, rtol=0, atol=20 * eps)


def test_a_balanced_pair_has_half_the_sum_of_a_direction(matrices, eps):
    w1, w2 = matrices
    pair = balanced_pair(w1, w2)
    want = np.linalg.norm(w1.astype(float) + np.swapaxes(w2, -1, -2), axis=-2) / 2
    for got in pair:
        np.testing.assert_allclose(got, want, rtol=10 * eps)
