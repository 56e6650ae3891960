import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.problem import Problem, Weights

FIELDS = ("eigenvalue", "noise", "decay", "learning_rate")


@pytest.mark.both
def test_is_a_pytree_of_its_four_fields_in_order(dtype):
    problem = Problem(*(jnp.full((2,), i, dtype) for i in range(4)))
    leaves, structure = jax.tree.flatten(problem)
    assert [float(leaf[0]) for leaf in leaves] == [0, 1, 2, 3]
    rebuilt = jax.tree.unflatten(structure, leaves)
    assert all(getattr(rebuilt, name) is getattr(problem, name) for name in FIELDS)


def test_defaults_are_a_plain_autoencoder():
    problem = Problem(2.0)
    assert (problem.noise, problem.decay, problem.learning_rate) == (0.0, 0.0, 0.01)


def test_fields_cannot_be_assigned():
    with pytest.raises(AttributeError):
        Problem(1.0).noise = 2.0


def test_nothing_is_validated_on_construction_or_mapping():
    bad = Problem(-1.0, float("nan"), float("inf"), 0.0)
    doubled = jax.tree.map(lambda x: 2 * x, bad)
    assert doubled.eigenvalue == -2.0
    jax.tree.map(lambda _: object(), bad)  # as JAX itself does with its placeholders


@pytest.mark.both
def test_every_field_is_traced_data(dtype):
    def total(problem):
        return sum(jax.tree.leaves(problem))

    problem = Problem(*jnp.arange(1, 5, dtype=dtype))
    slope = jax.jit(jax.grad(total))(problem)
    assert all(float(getattr(slope, name)) == 1.0 for name in FIELDS)
    batch = jax.tree.map(lambda x: x + jnp.arange(3, dtype=dtype), problem)
    assert np.array_equal(jax.vmap(total)(batch), [10, 14, 18])


@pytest.mark.both
def test_per_direction_lets_a_batch_of_matrix_problems_broadcast(dtype):
    problem = Problem(
        jnp.ones((5, 3), dtype), jnp.arange(5, dtype=dtype), 0.5, np.ones((5,), np.float32)
    )
    directions = problem.per_direction()
    assert directions.eigenvalue is problem.eigenvalue
    assert directions.noise.shape == directions.learning_rate.shape == (5, 1)
    assert directions.decay == 0.5
    assert isinstance(directions.decay, float)  # a Python scalar stays out of the dtype
    total = directions.eigenvalue + directions.noise
    assert np.array_equal(total, 1 + np.repeat(np.arange(5), 3).reshape(5, 3))


def test_weights_unpack_as_a_pair():
    w1, w2 = Weights(1, 2)
    assert (w1, w2) == (1, 2)
    assert jax.tree.leaves(Weights(3, 4)) == [3, 4]
