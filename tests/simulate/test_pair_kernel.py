"""The loop around a step: its shape in the program, its static forms, compensation."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import DIVERGED, Problem, simulate_pairs
from lindae_jax.simulate import pair_kernel

X64 = jax.config.jax_enable_x64


def states(rng, n, dtype, carry=False):
    values = [jnp.asarray(rng.normal(size=n) / 2, dtype) for _ in range(2)]
    zero = jnp.zeros(n, dtype)
    return pair_kernel.State(tuple(values), (zero, zero) if carry else None)


def numbers(rng, n, dtype, decays):
    pull, noise, shrinkage = (jnp.asarray(rng.uniform(0, 0.1, n), dtype) for _ in range(3))
    return pair_kernel.Coefficients(pull, pull + noise, shrinkage if decays else None)


@pytest.mark.both
@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize(
    # Without decay a step has less to compute, in the same order; 64 of them compile for long.
    ("unroll", "decays"),
    [(1, False), (1, True), (8, False), (8, True), (64, True)],
)
def test_every_form_takes_the_same_steps_bitwise(rng, dtype, unroll, decays, carry):
    """Unrolled, in the remainder, packed or not, against steps compiled one by one."""
    n = 130
    problem, state = numbers(rng, n, dtype, decays), states(rng, n, dtype, carry)
    one = jax.jit(pair_kernel.step)
    expected, taken = state, 0
    for num_steps in (0, 1, 7, 8, 9, 63, 64, 65, 130):
        while taken < num_steps:
            expected, taken = one(expected, problem), taken + 1
        for packed in (True, False):
            loop = jax.jit(pair_kernel._loop, static_argnames=("unroll", "packed"))
            found = loop(state, problem, jnp.int32(num_steps), unroll=unroll, packed=packed)
            jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.both
def test_leaving_out_a_decay_of_zero_changes_no_bit(rng, dtype):
    n = 1000
    w1, w2 = (rng.normal(size=n).astype(dtype) for _ in range(2))
    lam, noise = (rng.uniform(0, 2, n).astype(dtype) for _ in range(2))
    without = simulate_pairs(w1, w2, Problem(lam, noise, 0.0, dtype(0.1)), num_steps=99)
    decay = np.zeros(n, dtype)
    decay[-1] = 1
    mixed = simulate_pairs(w1, w2, Problem(lam, noise, decay, dtype(0.1)), num_steps=99)
    for x, y in ((without.w1, mixed.w1), (without.w2, mixed.w2)):
        np.testing.assert_array_equal(x[:, :-1], y[:, :-1])
        assert x[0, -1] != y[0, -1]


@pytest.mark.parametrize(
    ("decay", "compensated", "products"), [(True, False, 6), (False, False, 4), (True, True, 6)]
)
@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_accelerators_take_64_steps_a_trip(platform, decay, compensated, products):
    """Two loops, of whole trips and of the one that is cut short; no other, no callback."""
    shapes = 6 * (jax.ShapeDtypeStruct((5,), jnp.float32),)

    def run(w1, w2, eigenvalue, noise, gamma, rate):
        problem = Problem(eigenvalue, noise, gamma if decay else 0.0, rate)
        return simulate_pairs(w1, w2, problem, num_steps=1000, compensated=compensated).w1

    text = jax.export.export(jax.jit(run), platforms=[platform])(*shapes).mlir_module()
    assert len(re.findall(r"stablehlo\.while", text)) == 2
    # The mapping, its gain and two shares of it, and of each weight what decays; a trip
    # holds them 64 times, and both trips are written out.
    assert len(re.findall(r"= stablehlo\.multiply ", text)) >= 2 * 64 * products
    assert len(re.findall(r"dense<64>", text)) >= 1
    assert "callback" not in text
    assert re.search(r"\bf64\b", text) is None
    assert ("complex" in text) == (platform != "tpu")


def test_ten_grids_of_one_shape_are_traced_once(rng):
    traced = []

    def observe(step, w1, w2, problem):
        traced.append(step)
        return w1 * w2

    for seed in range(10):
        values = np.random.default_rng(seed).uniform(0.1, 1, (5, 40)).astype(np.float32)
        problem = Problem(values[0], values[1], values[2], values[3])
        simulate_pairs(values[4], values[4], problem, num_steps=5 + seed, observe=observe)
    assert len(traced) == 1


# --- compensated ----------------------------------------------------------------


def growth(rate, num_steps, **options):
    """Measured over exact rate of growth of small float32 weights, lambda = 1."""
    n = 64
    start = np.random.default_rng(0).uniform(1e-4, 2e-4, n).astype(np.float32)
    problem = Problem(np.float32(1.0), 0.0, 0.0, np.float32(rate))
    got = simulate_pairs(start, start, problem, num_steps=num_steps, **options)
    exact = num_steps * np.log1p(np.float64(np.float32(rate)))
    return np.log(np.asarray(got.w1[0], np.float64) / start) / exact


@pytest.mark.parametrize(("rate", "otherwise"), [(1e-5, 0), (1e-6, 0), (3e-7, 0.005), (1e-8, 0.9)])
def test_compensated_weights_grow_at_the_right_rate(rate, otherwise):
    """Within 1e-4, where the sum alone loses up to all of it; w is rounded once at the end."""
    num_steps = min(int(2 / rate), 10_000_000)
    allowed = 1e-4 + np.finfo(np.float32).eps / (rate * num_steps)
    assert np.abs(growth(rate, num_steps, compensated=True) - 1).max() < allowed
    assert np.abs(growth(rate, num_steps) - 1).max() > otherwise


REASSOCIATED = """
import numpy as np
from lindae_jax import Problem, simulate_pairs

w, rate, steps = np.geomspace(1e-3, 2e-3, 64, dtype=np.float32), np.float32(1e-7), 200_000
problem = Problem(np.float32(1), learning_rate=rate)

def off(run):
    growth = np.log(np.float64(run.w1[0]) / w) / (steps * np.log1p(np.float64(rate)))
    return np.abs(growth - 1).max()

def run(w):
    return simulate_pairs(w, w, problem, num_steps=steps, compensated=True)

assert off(run(w)) < 1e-4, off(run(w))
print("kept")
"""


def test_a_flag_to_reassociate_sums_does_not_undo_it():
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_fast_math=true"
    path = os.pathsep.join(filter(None, sys.path))
    environment |= {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    command = [sys.executable, "-W", "error", "-c", REASSOCIATED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "kept\n")


@pytest.mark.both
def test_compensated_runs_can_be_cut(rng, dtype):
    """The carry handed on, a run in two parts is bitwise the run in one."""
    w1, w2 = (rng.normal(size=300).astype(dtype) for _ in range(2))
    problem = Problem(dtype(1.0), dtype(0.5), dtype(0.1), dtype(0.01))
    whole = simulate_pairs(w1, w2, problem, num_steps=77, compensated=True)
    first = simulate_pairs(w1, w2, problem, num_steps=30, compensated=True, save_every=10)
    assert [x.shape for x in first.carry] == [(4, 300), (4, 300)]
    assert any(np.any(x) for x in first.carry)
    carry = tuple(x[-1] for x in first.carry)
    rest = simulate_pairs(
        first.w1[-1], first.w2[-1], problem, num_steps=47, compensated=True, carry=carry
    )
    for x, y in zip(jax.tree.leaves(rest[1:]), jax.tree.leaves(whole[1:]), strict=True):
        np.testing.assert_array_equal(x, y)
    assert simulate_pairs(w1, w2, problem, num_steps=1).carry is None


@pytest.mark.both
def test_compensated_descent_agrees_and_diverges_alike(rng, dtype, eps):
    w1, w2 = (rng.normal(size=300).astype(dtype) for _ in range(2))
    problem = Problem(dtype(1.0), dtype(0.5), dtype(0.1), dtype(0.01))
    for wanted in ({}, {"save_steps": (3, 50)}, {"observe": lambda step, w1, w2, p: w1 * w2}):
        plain = simulate_pairs(w1, w2, problem, num_steps=100, **wanted)
        found = simulate_pairs(w1, w2, problem, num_steps=100, compensated=True, **wanted)
        np.testing.assert_allclose(found.w1, plain.w1, atol=100 * eps)
    wild = simulate_pairs(dtype(9), dtype(9), Problem(dtype(9.0)), num_steps=99, compensated=True)
    assert wild.status == DIVERGED
