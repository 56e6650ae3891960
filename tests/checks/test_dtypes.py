import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import checks

X64 = jax.config.jax_enable_x64
DEFAULT = np.dtype(np.float64 if X64 else np.float32)


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
