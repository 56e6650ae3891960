"""Elements sorted by kind: the same numbers, in blocks that are mostly of one kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lindae_jax import Problem, theory
from lindae_jax.batches import alike, blocks
from lindae_jax.theory import solution


def kind(x, y):
    return (jnp.floor(5 * x) + jnp.where(y > 0, 5, 0)).astype(jnp.int32)


def function(x, y):
    return [jnp.exp(x) * y, jnp.where(y > 0, x - y, x / (1 + y * y))]


def points(rng, shapes, dtype):
    x, y = rng.uniform(0, 1, shapes[0]), rng.normal(size=shapes[1])
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


@pytest.mark.both
@pytest.mark.parametrize(
    "shapes",
    [
        [(1,), (1,)],
        [(1000,), (1000,)],
        [(1025,), (1025,)],
        [(3, 50_001), (3, 50_001)],
        [(70_000,), ()],
        [(300, 1), (500,)],
        [(0,), (0,)],
    ],
    ids=str,
)
def test_sorted_by_kind_every_element_has_its_own_value(rng, dtype, shapes):
    arrays = points(rng, shapes, dtype)
    found = alike.in_kinds(function, kind, arrays, 2)
    for y, expected in zip(found, blocks.in_blocks(function, arrays, 2, None), strict=True):
        assert y.shape == expected.shape
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps)


def test_few_blocks_hold_more_than_one_kind(rng):
    def ends(*arrays):
        kinds = kind(*arrays).astype(arrays[0].dtype)
        return [jnp.full(arrays[0].shape, end) for end in (kinds.min(), kinds.max())]

    size = 3 * alike._SORTED
    arrays = points(rng, [(size,), (size,)], "float32")
    least, most = alike.in_kinds(ends, kind, arrays, 2)
    mine = kind(*arrays).astype("float32")
    assert ((least <= mine) & (mine <= most)).all()
    # Of ten kinds nine neighbours share a block, in each of the three parts that are sorted.
    assert (least != most).sum() <= 3 * 9 * alike._BLOCK


def test_batches_beyond_int32_are_left_whole():
    arrays = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((2**16, 1), (2**15,))]
    found = jax.eval_shape(lambda *x: alike.in_kinds(function, kind, x, 2), *arrays)
    assert [y.shape for y in found] == [(2**16, 2**15)] * 2


@pytest.mark.parametrize("repeated", ["nothing", "decay", "weights"])
def test_points_of_a_mapped_function_are_computed_as_outside(rng, repeated):
    (t, w1, w2), (eigenvalue, noise, decay, rate) = mixed(rng, 5_000, "float32")
    if repeated == "decay":
        decay = jnp.full(1, 0.1, "float32")
    if repeated == "weights":
        w1, w2 = w1[:1], w2[:1]
    arguments = t, w1, w2, eigenvalue, noise, decay, rate

    def flow(t, w1, w2, *fields):
        return theory.mapping(t, w1, w2, Problem(*fields))

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("members",))
    specs = tuple(PartitionSpec("members" if x.size > 1 else None) for x in arguments)
    shared = jax.shard_map(flow, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("members"))
    few = 64 * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(
        jax.jit(shared)(*arguments), jax.jit(flow)(*arguments), rtol=few, atol=few
    )


def mixed(rng, num, dtype):
    """Points of any decay that pass through all that the flow has."""
    t = 10 ** rng.uniform(-2, 4, num)
    w1, w2 = 10 ** rng.uniform(-4, 0.5, (2, num)) * rng.choice([-1, 1], (2, num))
    eigenvalue, noise, decay = 10 ** rng.uniform(-4, 0.5, (3, num))
    decay[::3] = 0
    fields = (eigenvalue, noise, decay, rng.uniform(0.01, 0.5, num))
    return [jnp.asarray(x, dtype) for x in (t, w1, w2)], [jnp.asarray(x, dtype) for x in fields]


@pytest.mark.both
def test_a_flow_of_any_decay_passes_through_all_stages_in_one_sorted_batch(rng, dtype):
    (t, w1, w2), fields = mixed(rng, 5_000, dtype)
    kinds = np.asarray(solution._kind(t, w1, w2, *fields))
    assert set(kinds) == set(range(7))
    problem = Problem(*fields)
    together = np.asarray(theory.mapping(t, w1, w2, problem))
    # A batch as small as this is neither sorted nor cut; JAX 0.12 compiles it otherwise, to
    # numbers up to 40 eps away where large weights of opposite signs have faded.
    few = 64 * float(np.finfo(dtype).eps)
    for start in range(0, 5_000, 1_000):
        part = slice(start, start + 1_000)
        alone = theory.mapping(t[part], w1[part], w2[part], Problem(*(x[part] for x in fields)))
        np.testing.assert_allclose(alone, together[part], rtol=few, atol=few)
