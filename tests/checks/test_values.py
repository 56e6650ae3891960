import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import checks
from lindae_jax.batches import host
from lindae_jax.checks import values
from lindae_jax.problem import Problem

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


@pytest.mark.both
def test_valid_masks_each_member_by_all_four_fields(dtype):
    rows = np.ones((5, 4)) + np.diag([-2.0] * 4, k=0)[[0, 1, 2, 3, 3]]
    rows[4] = 1
    fields = jnp.array(rows.T, dtype)
    assert np.array_equal(checks.valid(Problem(*fields)), [False] * 4 + [True])


@pytest.mark.both
@pytest.mark.parametrize("layout", ["one piece", "by columns", "every other"])
@pytest.mark.parametrize("at", [0, values._BLOCK - 1, values._BLOCK, 3 * values._BLOCK + 2])
def test_one_bad_number_in_several_blocks_is_found(at, layout, dtype):
    """At the ends and at the seams, however the array lies in memory."""
    x = np.ones((3, values._BLOCK + 1), dtype)
    if layout == "by columns":
        x = np.asfortranarray(x)
    elif layout == "every other":
        x = np.ones((3, 2 * values._BLOCK + 2), dtype)[:, ::2]
    assert values._all_allowed([x], "non_negative", x.dtype)
    checks.check_values({"noise": (jnp.asarray(x), "non_negative")})
    for bad in (np.nan, -1, np.inf):
        x.flat[at] = bad
        assert not values._all_allowed([x], "non_negative", x.dtype)
        with pytest.raises(ValueError, match="noise must be finite"):
            checks.check_values({"noise": (jnp.asarray(x), "non_negative")})


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("at", [0, 1000, 2006])
def test_where_the_first_bad_number_is_and_how_many_there_are(at, step, monkeypatch):
    """Counted some rows at a time, of NumPy's and of JAX's."""
    monkeypatch.setattr(values, "_BLOCK", 1000)
    x = np.ones((401, 7 * step), np.float32)[:, ::step]
    assert len(list(values._blocks([x]))) == 3
    checks.check_values({"noise": (host.OnHost(x, jnp.float32(1)), "non_negative")})
    x[at // 7, at % 7] = -3
    x[-1, -1] = np.nan
    message = re.escape(f"got -3.0 at index ({at // 7}, {at % 7}) (2 of 2807 values)")
    for value in (host.OnHost(x, jnp.float32(1)), jnp.asarray(x)):
        with pytest.raises(ValueError, match=rf"^noise must be finite and >= 0; {message}"):
            checks.check_values({"noise": (value, "non_negative")})


@pytest.mark.both
def test_processors_and_other_devices_are_looked_at_alike(dtype):
    numbers = np.array([-np.inf, -1, -0.0, 0, 1e-30, 1, np.finfo(dtype).max, np.inf, np.nan], dtype)
    for rule in values._RULES:
        for x in [*numbers, *itertools.product(numbers, numbers)]:
            x = jnp.asarray(x, dtype)
            there = bool(values._all_good((x,), (rule,))[0])
            assert values._all_allowed(values._on_processors(x), rule, x.dtype) == there


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_what_was_looked_at_can_still_be_donated(size):
    x = jnp.ones(size)
    here = x.unsafe_buffer_pointer()
    checks.check_values({"noise": (x, "non_negative")})
    assert not size or jax.jit(lambda x: x + 1, donate_argnums=0)(x).unsafe_buffer_pointer() == here


def test_decay_is_found_in_any_block():
    decay = np.zeros(3 * values._BLOCK + 1, np.float32)
    assert not checks.decays(Problem(1.0, 0.0, jnp.asarray(decay)))
    decay[-1] = 1
    assert checks.decays(Problem(1.0, 0.0, jnp.asarray(decay)))
