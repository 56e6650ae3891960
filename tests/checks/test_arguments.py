import jax
import numpy as np
import pytest

from lindae_jax import checks
from lindae_jax.problem import Problem

INF, NAN = float("inf"), float("nan")


def test_shapes_that_do_not_fit_are_all_named():
    named = {"t": np.ones(3), "w1": (2,), "w2": 1.0}
    with pytest.raises(ValueError, match=r"got t \(3,\), w1 \(2,\)\. "):
        checks.broadcast(named)
    with pytest.raises(ValueError, match=r"t \(3,\), eigenvalue \(2,\)"):
        jax.jit(lambda t: checks.door(Problem(np.ones(2)), t=t)[0])(np.ones(3))


def test_counts_are_static_integers():
    assert checks.count("num_steps", np.int32(3)) == 3
    assert type(checks.count("num_steps", np.int64(3))) is int
    for bad in (-1, 2.0, True, "3", None):
        with pytest.raises(ValueError, match="num_steps must be an integer >= 0"):
            checks.count("num_steps", bad)
    with pytest.raises(ValueError, match="num_steps must be an integer >= 0"):
        jax.jit(lambda n: checks.count("num_steps", n))(3)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), "must be 2-D"),
        ((2, 3, 4), "must be 2-D"),
        ((), "must be 2-D"),
        ((0, 3), "at least one row and one column"),
        ((3, 0), "at least one row and one column"),
    ],
)
def test_data_matrices_have_rows_and_columns(shape, message):
    with pytest.raises(ValueError, match=rf"^x .*{message}"):
        checks.data_matrix("x", np.zeros(shape))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_the_first_value_that_is_not_finite_is_found_in_any_block(bad):
    x = np.zeros((2**21, 1), np.float32)
    checks.finite_rows("x", x)
    x[[2**20 + 5, 2**20 + 7]] = bad
    with pytest.raises(ValueError, match=rf"got {bad} at row {2**20 + 5}, column 0"):
        checks.finite_rows("x", x)
