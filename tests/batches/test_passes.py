"""Elementwise functions as one loop: the same numbers, in one fusion of the compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Problem, theory
from lindae_jax.batches import layout, passes
from lindae_jax.theory import solution


@jax.jit
def twice(x):
    return x * x - 1


def function(x, y, z):
    """Several uses of a quotient, a root and an exponential, through calls too."""
    ratio = x / (1 + jnp.abs(y))
    root = jnp.sqrt(ratio * ratio + z * z)
    grown = jnp.exp(-root)
    return [twice(ratio) + root * grown, jnp.where(root > 1, ratio / root, grown + root)]


def arrays(rng, shapes, dtype):
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.both
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    "shapes",
    [
        [(64,)] * 3,
        [(1000,)] * 3,
        [(65,), (), (1,)],
        [(3, 7, 11)] * 3,
        [(5, 1), (100,), (100,)],
        [(4, 1, 1), (3, 129), (1, 129)],
    ],
)
def test_it_is_what_the_function_gives(rng, dtype, eps, shapes, whole):
    given = arrays(rng, shapes, dtype)
    found = jax.jit(lambda *x: passes.in_passes(function, x, 2, whole=whole))(*given)
    for got, expected in zip(found, function(*given), strict=True):
        assert got.shape == expected.shape
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("shapes", [[()] * 3, [(63,)] * 3, [(100, 3), (100, 1), ()], [(0,)] * 3])
def test_axes_too_short_for_a_loop_are_left_to_others(rng, dtype, shapes):
    assert passes.in_passes(function, arrays(rng, shapes, dtype), 2) is None


@pytest.mark.both
def test_the_operation_that_does_nothing_does_nothing(dtype):
    info = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1 / 3, -7.1, info.max, info.tiny, info.eps]
    x = np.array(special, dtype)
    found = jax.jit(passes._untouched)(x)
    np.testing.assert_array_equal(np.asarray(found).view(np.uint8), x.view(np.uint8))
    below = np.nextafter(info.tiny, 0, dtype=dtype)  # flushed, or left as it is
    assert np.asarray(jax.jit(passes._untouched)(below)) in (below, 0)


def fusions(function, *given):
    text = layout.compiled(function, (), given).lower(*given).compile().as_text()
    return text.count(" fusion(")


@pytest.mark.both
def test_a_function_becomes_one_loop_for_each_output(rng, dtype):
    given = arrays(rng, [(10_048,)] * 3, dtype)

    def plain(*x):
        return function(*x)

    def rewritten(*x):
        return passes.in_passes(function, x, 2)

    assert fusions(rewritten, *given) == 2
    assert fusions(plain, *given) > 2


@pytest.mark.both
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_mapping_at_many_points_is_one_loop(rng, dtype, decay):
    num = 2**14
    w1, t = (jnp.asarray(rng.uniform(0.1, 1, num), dtype) for _ in range(2))
    each = [jnp.asarray(rng.uniform(0.1, 1, num), dtype) for _ in range(4)]
    decays = each[2] if decay else jnp.zeros((), dtype)
    form = solution._balanced_decay if decay else solution._no_decay

    def mapping(t, w1, a, b, rate):
        cut = layout.Layout(None, solution._BLOCK, "cpu")
        return form(("w",), cut, t, w1, w1, a, b, decays, rate)

    assert fusions(mapping, t, w1, each[0], each[1], each[3]) == 1


@pytest.mark.both
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_one_bad_value_among_many_is_still_found(rng, dtype, bad):
    num = 5_000
    fields = [rng.uniform(0.1, 1, num).astype(dtype) for _ in range(4)]
    w1, t = (rng.uniform(0.1, 1, num).astype(dtype) for _ in range(2))
    fields[1][4_321] = bad
    with pytest.raises(ValueError, match=r"^noise must be .*at index \(4321,\) \(1 of 5000 values"):
        theory.mapping(t, w1, w1, Problem(*fields))
    fields[1][4_321] = 0.5
    late = t.copy()
    late[7] = np.nan
    with pytest.raises(ValueError, match=r"^t must .*at index \(7,\)"):
        theory.weights(late, w1, w1, Problem(*fields))
    # Weights that are not finite are no mistake: they give NaN.
    w1[3] = bad if not np.isfinite(bad) else np.nan
    found = theory.mapping(t, w1, w1, Problem(*fields))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3]
