import jax
import numpy as np
import pytest

from lindae_jax import checks
from lindae_jax.problem import Problem


@pytest.mark.both
def test_cast_brings_everything_to_one_strong_dtype(dtype):
    problem = Problem(np.ones(3, np.float32).astype(dtype), 1, 0.5, [0.1, 0.2, 0.3])
    arrays, cast = checks.cast({"t": 7, "w1": np.arange(3)}, problem)
    leaves = [*arrays.values(), *jax.tree.leaves(cast)]
    assert {leaf.dtype for leaf in leaves} == {np.dtype(dtype)}
    assert not any(leaf.weak_type for leaf in leaves)
    assert float(arrays["t"]) == 7


def test_cast_wants_a_problem():
    with pytest.raises(ValueError, match=r"problem must be a lindae_jax\.Problem; got float"):
        checks.cast({}, 3.0)


@pytest.mark.parametrize("field", checks.PROBLEM_RULES)
def test_each_field_of_a_problem_is_checked_by_name(field):
    numbers = dict.fromkeys(checks.PROBLEM_RULES, 1.0)
    checks.door(Problem(**numbers))
    with pytest.raises(ValueError, match=rf"^{field} must be finite"):
        checks.door(Problem(**{**numbers, field: -1.0}))


def test_values_are_checked_where_concrete_only():
    def door(t, noise):
        arrays, problem = checks.door(Problem(1.0, noise), {"t": "time"}, t=t)
        return arrays[0] + problem.noise

    assert float(jax.jit(door)(-1.0, -2.0)) == -3.0  # nothing can raise under tracing
    with pytest.raises(ValueError, match=r"^t must be >= 0"):
        jax.jit(lambda noise: door(-1.0, noise))(1.0)
    with pytest.raises(ValueError, match=r"^noise must be finite"):
        jax.jit(lambda t: door(t, -1.0))(1.0)


def test_door_keeps_shapes_and_order():
    (t, w1), problem = checks.door(Problem(np.ones((4, 1))), t=np.ones(3), w1=0.5)
    assert (t.shape, w1.shape, problem.eigenvalue.shape) == ((3,), (), (4, 1))


@pytest.mark.both
def test_matrix_door_broadcasts_whole_networks(dtype):
    w1, w2 = np.ones((4, 1, 2, 3)), np.ones((5, 3, 2))
    problem = Problem(np.ones((5, 3), dtype), noise=np.ones((4, 1)))
    (a, b), cast, batch = checks.matrix_door(problem, w1=w1, w2=w2)
    assert batch == (4, 5)
    assert (a.shape, b.shape) == ((4, 5, 2, 3), (4, 5, 3, 2))
    assert (cast.eigenvalue.shape, cast.noise.shape) == ((5, 3), (4, 1))
    assert {a.dtype, b.dtype, cast.noise.dtype, cast.decay.dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("w1", "w2", "eigenvalue", "message"),
    [
        ((3,), (3,), (3,), r"w1 and w2 must be matrices .* got w1 \(3,\), w2 \(3,\)"),
        ((2, 3), (2, 3), (3,), "w1 and w2 must be matrices"),
        ((2, 3), (3, 4), (3,), "w1 and w2 must be matrices"),
        ((2, 3), (3, 2), (2,), r"eigenvalue must have shape \(\.\.\., 3\); got \(2,\)"),
        ((2, 3), (3, 2), (), r"eigenvalue must have shape \(\.\.\., 3\); got \(\)"),
        ((4, 2, 3), (5, 3, 2), (3,), r"broadcast together; got w1 \(4,\), w2 \(5,\)"),
        ((4, 2, 3), (3, 2), (5, 3), r"broadcast together; got w1 \(4,\), eigenvalue \(5,\)"),
    ],
)
def test_matrix_door_names_the_shapes_that_do_not_fit(w1, w2, eigenvalue, message):
    with pytest.raises(ValueError, match=message):
        checks.matrix_door(Problem(np.ones(eigenvalue)), w1=np.ones(w1), w2=np.ones(w2))


@pytest.mark.parametrize("field", checks.PROBLEM_RULES)
def test_matrix_door_checks_each_field(field):
    numbers = {**dict.fromkeys(checks.PROBLEM_RULES, 1.0), "eigenvalue": np.ones(3)}
    bad = Problem(**{**numbers, field: -1.0 * np.ones(3 if field == "eigenvalue" else 7)})
    with pytest.raises(ValueError, match=rf"^{field} must be finite .* got -1\.0 at index"):
        checks.matrix_door(bad, w1=np.ones((2, 3)), w2=np.ones((3, 2)))
