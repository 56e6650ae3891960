import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import checks
from lindae_jax.batches import host
from lindae_jax.problem import Problem

X64 = jax.config.jax_enable_x64
DEFAULT = np.dtype(np.float64 if X64 else np.float32)


def test_a_mistake_says_what_got_and_remedy():
    error = checks.mistake("h must be even", 3, "Add one.")
    assert type(error) is ValueError
    assert str(error) == "h must be even; got 3. Add one."


# --- dtype -------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ((1.0, 2), DEFAULT),  # Python scalars do not count
        (([0.5, 1], (2,)), DEFAULT),  # nor do lists of them
        ((np.arange(3),), DEFAULT),  # integers are the default float
        ((np.float32(1), 2.0), np.float32),
        ((np.ones(2, np.float32), np.arange(2)), np.float32),
        ((np.float64(1), np.float32(1)), DEFAULT),  # float64 without x64 is float32
        ((np.ones(2, np.float64),), DEFAULT),
    ],
)
def test_result_dtype_is_that_of_the_float_arrays(inputs, expected):
    named = {str(i): x for i, x in enumerate(inputs)}
    assert checks.result_dtype(named) == expected


@pytest.mark.both
def test_weakly_typed_arrays_do_not_decide_the_dtype():
    weak = jnp.asarray(2.0)
    assert weak.weak_type
    assert checks.result_dtype({"a": weak, "b": np.float32(1)}) == np.float32
    assert checks.result_dtype({"a": weak}) == DEFAULT


@pytest.mark.both
@pytest.mark.parametrize(
    "bad",
    [
        np.ones(2, np.float16),
        np.ones(2, complex),
        np.ones(2, bool),
        True,
        1j,
        "1.0",
        None,
        ["a"],
        [[1], [2, 3]],
        np.array([None]),
    ],
    ids=repr,
)
def test_what_is_not_real_numbers_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"^width must be real numbers.*; got .*\. "):
        checks.result_dtype({"width": bad})


def test_bfloat16_is_refused():
    with pytest.raises(ValueError, match="bfloat16"):
        checks.result_dtype({"w1": jnp.ones(2, jnp.bfloat16)})


@pytest.mark.both
def test_a_requested_dtype_is_given_or_refused():
    assert checks.requested_dtype(None) == DEFAULT
    assert checks.requested_dtype("float32") == np.float32
    assert checks.requested_dtype(jnp.float32) == np.float32
    for bad in ("float16", int, "no such type", jnp.bfloat16):
        with pytest.raises(ValueError, match="dtype must be float32 or float64"):
            checks.requested_dtype(bad)


@pytest.mark.x64
def test_float64_is_given_in_64_bit_mode():
    assert checks.requested_dtype("float64") == np.float64


def test_float64_on_request_names_the_switch():
    with pytest.raises(ValueError, match="jax_enable_x64"):
        checks.requested_dtype("float64")


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


# --- values ------------------------------------------------------------------

INF, NAN = float("inf"), float("nan")


@pytest.mark.both
@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("non_negative", [0.0, 1.0], [-1.0, INF, NAN]),
        ("positive", [1e-30, 1.0], [0.0, -1.0, INF, NAN]),
        ("time", [0.0, INF], [-1e-30, -INF, NAN]),
        ("not_nan", [0.0, -INF, INF], [NAN]),
    ],
)
def test_rules_part_good_from_bad(rule, good, bad, dtype):
    assert checks.allowed(rule, jnp.array(good, dtype)).all()
    assert not checks.allowed(rule, jnp.array(bad, dtype)).any()
    checks.check_values({"x": (jnp.array(good, dtype), rule)})
    for value in bad:
        with pytest.raises(ValueError, match=r"^x must"):
            checks.check_values({"x": (jnp.array(value, dtype), rule)})


def test_a_bad_value_is_named_with_its_place_and_number():
    noise = jnp.array([[1.0, 2.0], [-3.0, -4.0]])
    with pytest.raises(ValueError, match=r"-3\.0 at index \(1, 0\) \(2 of 4 values\)"):
        checks.check_values({"noise": (noise, "non_negative")})


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


@pytest.mark.both
def test_valid_masks_each_member_by_all_four_fields(dtype):
    rows = np.ones((5, 4)) + np.diag([-2.0] * 4, k=0)[[0, 1, 2, 3, 3]]
    rows[4] = 1
    fields = jnp.array(rows.T, dtype)
    assert np.array_equal(checks.valid(Problem(*fields)), [False] * 4 + [True])


# --- shapes and counts -------------------------------------------------------


def test_door_keeps_shapes_and_order():
    (t, w1), problem = checks.door(Problem(np.ones((4, 1))), t=np.ones(3), w1=0.5)
    assert (t.shape, w1.shape, problem.eigenvalue.shape) == ((3,), (), (4, 1))


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


# --- data matrices -----------------------------------------------------------


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


@pytest.mark.both
@pytest.mark.parametrize("layout", ["one piece", "by columns", "every other"])
@pytest.mark.parametrize("at", [0, checks._BLOCK - 1, checks._BLOCK, 3 * checks._BLOCK + 2])
def test_one_bad_number_in_several_blocks_is_found(at, layout, dtype):
    """At the ends and at the seams, however the array lies in memory."""
    x = np.ones((3, checks._BLOCK + 1), dtype)
    if layout == "by columns":
        x = np.asfortranarray(x)
    elif layout == "every other":
        x = np.ones((3, 2 * checks._BLOCK + 2), dtype)[:, ::2]
    assert checks._all_allowed([x], "non_negative", x.dtype)
    checks.check_values({"noise": (jnp.asarray(x), "non_negative")})
    for bad in (np.nan, -1, np.inf):
        x.flat[at] = bad
        assert not checks._all_allowed([x], "non_negative", x.dtype)
        with pytest.raises(ValueError, match="noise must be finite"):
            checks.check_values({"noise": (jnp.asarray(x), "non_negative")})


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("at", [0, 1000, 2006])
def test_where_the_first_bad_number_is_and_how_many_there_are(at, step, monkeypatch):
    """Counted some rows at a time, of NumPy's and of JAX's."""
    monkeypatch.setattr(checks, "_BLOCK", 1000)
    x = np.ones((401, 7 * step), np.float32)[:, ::step]
    assert len(list(checks._blocks([x]))) == 3
    checks.check_values({"noise": (host.OnHost(x, jnp.float32(1)), "non_negative")})
    x[at // 7, at % 7] = -3
    x[-1, -1] = np.nan
    message = re.escape(f"got -3.0 at index ({at // 7}, {at % 7}) (2 of 2807 values)")
    for value in (host.OnHost(x, jnp.float32(1)), jnp.asarray(x)):
        with pytest.raises(ValueError, match=rf"^noise must be finite and >= 0; {message}"):
            checks.check_values({"noise": (value, "non_negative")})


@pytest.mark.both
def test_processors_and_other_devices_are_looked_at_alike(dtype):
    values = np.array([-np.inf, -1, -0.0, 0, 1e-30, 1, np.finfo(dtype).max, np.inf, np.nan], dtype)
    for rule in checks._RULES:
        for x in [*values, *itertools.product(values, values)]:
            x = jnp.asarray(x, dtype)
            there = bool(checks._all_good((x,), (rule,))[0])
            assert checks._all_allowed(checks._on_processors(x), rule, x.dtype) == there


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_what_was_looked_at_can_still_be_donated(size):
    x = jnp.ones(size)
    here = x.unsafe_buffer_pointer()
    checks.check_values({"noise": (x, "non_negative")})
    assert not size or jax.jit(lambda x: x + 1, donate_argnums=0)(x).unsafe_buffer_pointer() == here


def test_decay_is_found_in_any_block():
    decay = np.zeros(3 * checks._BLOCK + 1, np.float32)
    assert not checks.decays(Problem(1.0, 0.0, jnp.asarray(decay)))
    decay[-1] = 1
    assert checks.decays(Problem(1.0, 0.0, jnp.asarray(decay)))
