"""Small networks in the lanes of vectors: what they compute, and that it is computed once."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.problem import Problem
from lindae_jax.simulate import DIVERGED, lanes, simulate_matrices

# Of the two forms of a step.
SUMS = [
    "...hd,...kd->...hk",
    "...hk,...kd->...hd",
    "...hd,...he->...de",
    "...hd,...de->...he",
    "...he,...de->...hd",
]


@pytest.mark.both
@pytest.mark.parametrize("axes", SUMS)
@pytest.mark.parametrize("blocks", [(), (3,)])
def test_products_are_those_of_every_lane(rng, dtype, eps, axes, blocks):
    """Against `einsum` in float64; sums of one term, of a loop's and of several loops'."""
    sizes = {"h": 5, "k": 5, "d": 7, "e": 7}
    inputs, result = axes.replace("...", "").split("->")
    summed = (set(inputs) - set(result) - {","}).pop()
    for terms in (1, 32, 33, 70):
        sizes[summed] = terms
        x, y = (
            rng.normal(size=(*blocks, *(sizes[c] for c in matrix), 4)).astype(dtype)
            for matrix in inputs.split(",")
        )
        got = jax.jit(lanes.product, static_argnums=0)(axes, x, y)
        first, second = (np.moveaxis(np.asarray(z, np.float64), -1, 0) for z in (x, y))
        exact = np.moveaxis(np.einsum(axes, first, second), 0, -1)
        bound = np.moveaxis(np.einsum(axes, abs(first), abs(second)), 0, -1)
        assert got.shape == exact.shape
        assert got.dtype == dtype
        assert np.all(abs(got - exact) <= terms * eps * bound)


@pytest.mark.parametrize("batch", [(11,), (3, 7), (2, 8)])
def test_matrices_go_to_lanes_and_come_back(rng, batch):
    """Those shared by a batch and those of each network, whatever is left of a block."""
    num = int(np.prod(batch))
    each, row = rng.normal(size=(*batch, 3, 5)), rng.normal(size=(batch[-1], 1, 5))
    shared = rng.normal(size=(1, 1))

    def compute(*arrays):
        assert [x.shape for x in arrays] == [
            (-(-num // 8), *matrix, 8) for matrix in ((3, 5), (1, 5), (1, 1))
        ]
        return [arrays[0] * arrays[1] + arrays[2], arrays[0].sum(-2, keepdims=True)]

    total, sums = lanes.in_lanes(compute, list(map(jnp.asarray, (each, row, shared))), 8)
    np.testing.assert_allclose(total, each * row + shared, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sums, each.sum(-1, keepdims=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((8, 4, 4), 64),
        ((2, 4, 1, 1), 256),  # a batch of two axes
        ((500, 1, 3), 256),
        ((500, 40, 12), 16),
        ((500, 128, 16), 16),
        ((500, 16, 32), 16),
        ((7, 4, 4), None),  # idle lanes
        ((4, 4), None),
        ((500, 0, 4), None),
        ((0, 4, 4), None),
        ((500, 129, 4), None),  # long code
        ((500, 100, 24), None),  # more than the cache
        ((256, 16, 64), None),  # products are faster
    ],
)
def test_small_networks_have_lanes(shape, wanted):
    assert lanes.number(np.zeros(shape, np.float32)) == wanted


def test_lanes_are_whole_vectors_in_float64_too():
    found = [lanes.number(np.zeros((9, *s), np.float64)) for s in ((1, 1), (40, 12), (40, 8))]
    # The last has so few directions that a vector's eight would be unrolled.
    assert found == [128, 8, 16]


@pytest.mark.both
@pytest.mark.parametrize(("hidden", "directions"), [(2, 6), (6, 2)])
def test_a_network_that_diverges_keeps_to_its_lane(rng, dtype, hidden, directions):
    """And so does one whose weights or fields are not finite."""
    w1 = rng.normal(size=(20, hidden, directions)).astype(dtype) / 5
    w2 = rng.normal(size=(20, directions, hidden)).astype(dtype) / 5
    rate = np.full(20, 0.05, dtype)
    quiet = simulate_matrices(w1, w2, Problem(np.ones(directions, dtype), 0, 0, rate), num_steps=90)
    assert not np.any(quiet.status)
    w1[3, 0, 0], w2[17, 1, 0], rate[[5, 6]] = np.nan, -np.inf, 900
    noisy = simulate_matrices(w1, w2, Problem(np.ones(directions, dtype), 0, 0, rate), num_steps=90)
    bad = [3, 5, 6, 17]
    np.testing.assert_array_equal(np.flatnonzero(noisy.status == DIVERGED), bad)
    for x, y in ((noisy.w1, quiet.w1), (noisy.w2, quiet.w2)):
        assert np.array_equal(np.delete(x[0], bad, 0), np.delete(y[0], bad, 0))


def _traced(num_members):
    def run(w1, w2):
        problem = Problem(jnp.ones(5), 0.1, 0.01, 0.1)
        return simulate_matrices(w1, w2, problem, num_steps=5).w1

    return jax.jit(run), [np.ones((num_members, *s), np.float32) for s in ((4, 5), (5, 4))]


def test_no_sum_is_computed_at_each_use():
    """XLA leaves the branches where they are; without them it computes sums term by term.

    Of a trip's two steps and the one that may be left over, each has one sum that others use.
    """
    run, arrays = _traced(16)
    program = run.lower(*arrays).compile().as_text()
    assert program.count(" conditional(") == 3
    assert "dot(" not in program


@pytest.mark.parametrize("directions", [4, 40])
def test_under_the_callers_shard_map(directions):
    """Types tell there along which axes a value varies, and branches have to agree."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("mine",))
    w1 = np.full((8, 2, directions), 0.1, np.float32)
    problem = Problem(jnp.ones(directions), 0.1, 0.01, 0.1)

    def run(w1, w2):
        return simulate_matrices(w1, w2, problem, num_steps=3).w1

    split, rows = jax.sharding.PartitionSpec("mine"), jax.sharding.PartitionSpec(None, "mine")
    mapped = jax.shard_map(run, mesh=mesh, in_specs=(split, split), out_specs=rows)
    arrays = w1, w1.swapaxes(1, 2)
    np.testing.assert_allclose(jax.jit(mapped)(*arrays), run(*arrays), rtol=1e-5)


def test_accelerators_have_products():
    """Networks of a batch are many there already."""
    run, arrays = _traced(16)
    on_cpu, on_gpu = (
        jax.export.export(run, platforms=[platform])(*arrays).mlir_module()
        for platform in ("cpu", "cuda")
    )
    assert "dot_general" in on_gpu
    assert "dot_general" not in on_cpu
