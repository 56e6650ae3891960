"""Kernels of a GPU, interpreted here, for no GPU can be counted on; what decides on them."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import kernels
import numpy as np
import pytest

from lindae_jax import Problem, simulate_pairs
from lindae_jax.batches import layout, registers
from lindae_jax.simulate import pair_kernel, pairs

COUNT = jnp.int32(3)


def powers(n, x, y):
    """Two outputs, by a loop whose length is not known."""

    def body(_, pair):
        return pair[0] * x, pair[1] + y

    first, second = jax.lax.fori_loop(0, n, body, (x, y))
    return first, second


@pytest.mark.both
@pytest.mark.parametrize(
    "shapes",
    [
        ((), ()),
        ((1,), (1, 1)),
        ((5,), ()),
        ((64,), (64,)),
        ((7, 1), (1, 30)),
        ((3, 129), (129,)),
        ((0,), (1,)),
    ],
)
def test_an_elementwise_function_of_whatever_broadcasts(shapes, rng, dtype):
    x, y = (jnp.asarray(rng.uniform(0.5, 1, shape), dtype) for shape in shapes)
    found = registers.in_registers(powers, [COUNT, x, y], 2, interpret=True)
    expected = np.broadcast_arrays(*map(np.asarray, (x, y)))
    for got, wanted in zip(found, (expected[0] ** 4, 4 * expected[1]), strict=True):
        assert (got.shape, got.dtype) == (expected[0].shape, dtype)
        np.testing.assert_allclose(got, wanted, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.both
def test_large_and_small_groups_give_the_same(rng, dtype):
    n = registers._FEW + 3
    x = jnp.asarray(rng.uniform(0.5, 1, n), dtype)
    whole = registers.in_registers(powers, [COUNT, x, x], 2, interpret=True)
    part = registers.in_registers(powers, [COUNT, x[-50:], x[-50:]], 2, interpret=True)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[-50:], other)


def by_interpretation(function, arrays, num_outputs):
    """The kernel of the pairs without PTX, run by JAX's own operations."""
    *wrapped, advance = function.func, *function.args
    assert advance is pair_kernel.advance_in_registers

    def compute(*parts):
        def plain(*state):
            return advance(*state, multiply_add=lambda a, b, c: c + a * b)

        return wrapped[0](*wrapped[1:], plain, *parts)

    return registers.in_registers(compute, arrays, num_outputs, interpret=True)


@pytest.mark.both
@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_pairs_in_registers_take_the_steps_of_the_loop(
    compensated, decay, rng, dtype, eps, monkeypatch
):
    """All that a call does around its kernel: broadcasting, saves, carries, marks of divergence.

    200 steps of a contraction: what each rounds otherwise stays below 64 eps in all.
    """
    w1, w2 = (rng.normal(size=(4, 1)).astype(dtype), rng.normal(size=33).astype(dtype))
    w1[0], w2[0] = 30, 30
    problem = Problem(np.linspace(0, 2, 33, dtype=dtype), 0.5, decay, dtype(0.1))
    options = {"num_steps": 203, "save_every": 50, "compensated": compensated}
    wanted = simulate_pairs(w1, w2, problem, **options)
    monkeypatch.setattr(registers, "available", lambda devices: True)
    monkeypatch.setattr(pairs.registers, "in_registers", _patched(monkeypatch))
    found = simulate_pairs(w1, w2, problem, **options)
    np.testing.assert_array_equal(found.status, wanted.status)
    assert set(np.unique(wanted.status)) == {0, 1}
    fine = np.asarray(wanted.status) == 0
    for got, expected in ((found.w1, wanted.w1), (found.w2, wanted.w2)):
        difference = np.abs(np.asarray(got) - np.asarray(expected))[:, fine]
        assert difference.max() <= 64 * eps * 3
    assert (found.carry is None) == (not compensated)


def _patched(monkeypatch):
    original = registers.in_registers

    def interpreted(function, arrays, num_outputs, **options):
        if options:
            return original(function, arrays, num_outputs, **options)
        return by_interpretation(function, arrays, num_outputs)

    return interpreted


def test_no_kernel_is_made_where_none_can_be(caplog):
    """On a processor, a GPU of others; and on what says that it is one, with a word."""
    device = jax.devices("cpu")[0]
    assert not registers.available([device])
    client = SimpleNamespace(platform_version="rocm 60000")
    assert not registers.available([SimpleNamespace(platform="gpu", client=client)])
    with caplog.at_level("WARNING", "lindae_jax"):
        assert not registers._works(device)
    assert "slower loops" in caplog.text


def test_no_kernel_is_made_within_the_callers_tracing(monkeypatch):
    """There constants are evaluated at once; the call itself goes on by loops."""
    client = SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    gpu = SimpleNamespace(platform="gpu", client=client)
    monkeypatch.setattr(registers, "_works", lambda device: True)
    assert registers.available([gpu])
    seen = []

    @jax.jit
    def traced(x):
        seen.append(registers.available([gpu]))
        return x + simulate_pairs(0.1, 0.2, Problem(1.0), num_steps=3).w1[0]

    assert np.isfinite(traced(jnp.float32(1)))
    assert seen == [False]


def test_a_batch_that_int32_cannot_count_goes_by_loops(monkeypatch):
    monkeypatch.setattr(registers, "available", lambda devices: True)
    x = jnp.zeros((1, 2**16), jnp.float32)
    assert pairs._fits_registers((x, x), layout.WHOLE)
    assert not pairs._fits_registers((x, jnp.zeros((2**15, 1), jnp.float32)), layout.WHOLE)


# --- lowering ----------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("compensated", [False, True])
def test_pairs_lower_to_one_kernel(compensated, dtype):
    """One launch, whatever the steps; no loop of XLA's, no callback."""
    array, number = (jax.ShapeDtypeStruct(shape, dtype) for shape in ((1000,), ()))
    num_arrays = 4 if compensated else 2
    compute = functools.partial(pairs._compute, True, num_arrays, pair_kernel.advance_in_registers)

    def run(*inputs):
        return registers.in_registers(compute, inputs, num_arrays)

    inputs = jax.ShapeDtypeStruct((), jnp.int32), *[array] * (num_arrays + 2), number, number
    text = kernels.lowered(run, *inputs)
    assert text.count(kernels.KERNEL) == 1
    assert "stablehlo.while" not in text
    assert "callback" not in text
