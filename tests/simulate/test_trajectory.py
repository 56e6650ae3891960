"""Saves, status and their messages, for both kernels alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax.problem import Problem
from lindae_jax.simulate import (
    DIVERGED,
    INVALID_INPUT,
    NOT_RUN,
    OK,
    Trajectory,
    raise_on_divergence,
    simulate_matrices,
    simulate_pairs,
    status_message,
)

pytestmark = pytest.mark.both


def pairs(n=3):
    return simulate_pairs, np.linspace(0.1, 0.3, n), np.linspace(0.2, 0.5, n), Problem(1.0, 0.1)


def matrices(n=3):
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(n, 2, 4)) / 5, rng.normal(size=(n, 4, 2)) / 5
    return simulate_matrices, w1, w2, Problem(np.array([1.0, 0.5, 0.2, 0.0]), 0.1)


kernels = pytest.mark.parametrize("kernel", [pairs, matrices])


# --- saves ---------------------------------------------------------------------


@kernels
@pytest.mark.parametrize(
    ("saves", "steps"),
    [
        ({}, [20]),
        ({"save_every": 6}, [0, 6, 12, 18, 20]),
        ({"save_every": 50}, [0, 20]),
        ({"save_steps": (0, 1, 19)}, [0, 1, 19, 20]),
        ({"save_steps": (3, 20)}, [3, 20]),
        ({"save_steps": np.array([2])}, [2, 20]),
        ({"save_steps": ()}, [20]),
    ],
)
def test_schedule(kernel, saves, steps):
    """The rows asked for, and always the last step; each equals a run of its length."""
    simulate, w1, w2, problem = kernel()
    got = simulate(w1, w2, problem, num_steps=20, **saves)
    assert got.step.dtype == jnp.int32
    assert got.step.tolist() == steps
    assert got.w1.shape == (len(steps), *w1.shape)
    assert got.w2.shape == (len(steps), *w2.shape)
    assert got.observed is None
    for i, step in enumerate(steps):
        alone = simulate(w1, w2, problem, num_steps=step)
        np.testing.assert_array_equal(got.w1[i], alone.w1[0])
        np.testing.assert_array_equal(got.w2[i], alone.w2[0])


@kernels
@pytest.mark.parametrize("saves", [{}, {"save_every": 3}, {"save_steps": (0,)}])
def test_no_steps_return_the_start(kernel, saves, dtype):
    simulate, w1, w2, problem = kernel()
    w1, w2 = jnp.asarray(w1, dtype), jnp.asarray(w2, dtype)
    got = simulate(w1, w2, problem, num_steps=0, **saves)
    assert got.step.tolist() == [0]
    np.testing.assert_array_equal(got.w1[0], w1)
    np.testing.assert_array_equal(got.w2[0], w2)
    assert (got.status == OK).all()
    assert got.status.dtype == jnp.int8
    assert not w1.is_deleted()


@kernels
def test_observe_replaces_the_weights(kernel):
    """All rows of what it returns, one row of weights, the caller's problem."""
    simulate, w1, w2, problem = kernel()

    def observe(step, w1, w2, problem):
        return {"w1": w1, "epoch": step, "noise": w2.sum() * problem.noise}

    saved = simulate(w1, w2, problem, num_steps=20, save_every=6)
    got = simulate(w1, w2, problem, num_steps=20, save_every=6, observe=observe)
    assert got.step.tolist() == got.observed["epoch"].tolist() == [0, 6, 12, 18, 20]
    np.testing.assert_array_equal(got.observed["w1"], saved.w1)
    assert got.observed["noise"].shape == (5,)
    np.testing.assert_array_equal(got.w1, saved.w1[-1:])
    np.testing.assert_array_equal(got.w2, saved.w2[-1:])
    np.testing.assert_array_equal(got.status, saved.status)


@kernels
def test_hyperparameters_and_step_counts_do_not_compile_again(kernel):
    """`observe` runs when the core is traced: ten grids of one shape trace once."""
    simulate, w1, w2, problem = kernel()
    calls = []

    def observe(step, w1, w2, problem):
        calls.append(step)
        return w1

    def run(value, **options):
        fields = (np.full(3, value * scale) for scale in (1.0, 0.5, 2.0))
        other = Problem(problem.eigenvalue * np.float64(value), *fields)
        simulate(value * w1, value * w2, other, observe=observe, **options)

    run(0.1, num_steps=20, save_every=10)
    traced = len(calls)
    for value in np.linspace(0.0, 0.5, 11)[1:]:
        run(float(value), num_steps=20, save_every=10)
    run(0.1, num_steps=2000, save_every=1000)
    run(0.1, num_steps=11, save_steps=(1, 2))
    assert len(calls) == traced


# --- status ----------------------------------------------------------------------


@kernels
def test_one_diverging_member_leaves_the_others_alone(kernel, dtype):
    """Earlier saves keep their values, the last decides the status."""
    simulate, w1, w2, problem = kernel()
    rate = jnp.asarray([0.1, 50.0, 0.1], dtype)
    problem = Problem(problem.eigenvalue, 0.1, 0.0, rate)
    got = simulate(w1, w2, problem, num_steps=40, save_every=1)
    assert got.status.tolist() == [OK, DIVERGED, OK]
    assert np.isfinite(got.w1[:3]).all()
    assert np.isfinite(got.w1[:, ::2]).all()
    calm = simulate(w1, w2, Problem(problem.eigenvalue, 0.1, 0.0, 0.1), num_steps=40)
    np.testing.assert_array_equal(got.w1[-1][::2], calm.w1[0][::2])


@kernels
def test_weights_that_are_not_finite_are_no_mistake(kernel):
    """They diverged in an earlier run, which can be continued."""
    simulate, w1, w2, problem = kernel()
    w1[0], w2[1] = np.nan, np.inf
    for num_steps in (0, 5):
        got = simulate(w1, w2, problem, num_steps=num_steps)
        assert got.status.tolist() == [DIVERGED, DIVERGED, OK]


@kernels
@pytest.mark.parametrize("field", ["eigenvalue", "noise", "decay", "learning_rate"])
def test_invalid_input_raises_eagerly_and_is_a_status_under_jit(kernel, field):
    """Each bad member alone, the weights NaN at every save."""
    simulate, w1, w2, problem = kernel(4)
    fields = {"eigenvalue": problem.eigenvalue, "noise": 0.1, "decay": 0.1, "learning_rate": 0.1}
    bad = np.array([0.2, np.nan, np.inf, -1.0])
    if field == "eigenvalue" and kernel is matrices:
        bad = np.where(np.arange(4) == 2, bad[:, None], 0.2)

    def run(values):
        return simulate(w1, w2, Problem(**(fields | {field: values})), num_steps=3, save_every=1)

    for member in (1, 2, 3):
        with pytest.raises(ValueError, match=f"{field} must be finite"):
            run(bad[[0, 0, 0, member]])
    got = jax.jit(run)(bad)
    assert got.status.tolist() == [OK, INVALID_INPUT, INVALID_INPUT, INVALID_INPUT]
    for w in (got.w1, got.w2):
        assert np.isfinite(w[:, 0]).all()
        assert np.isnan(w[:, 1:]).all()


def test_status_in_words():
    words = [status_message(code) for code in (OK, DIVERGED, INVALID_INPUT, NOT_RUN)]
    assert [w.split()[0] for w in words] == ["OK:", "Diverged:", "Invalid", "Not"]
    assert status_message(np.int8(1)) == words[1]
    for bad in (4, -1, 1.5, "OK"):
        with pytest.raises(ValueError, match="code must be"):
            status_message(bad)


def of(status):
    return Trajectory(None, None, None, np.asarray(status, np.int8), None)


def test_raise_on_divergence():
    """How many, the first one's index, what happened; invalid input before divergence."""
    raise_on_divergence(of([[OK, OK]]))
    raise_on_divergence(of(OK))
    with pytest.raises(FloatingPointError, match=r"2 of 4 members, .* index \(0, 1\): Diverged"):
        raise_on_divergence(of([[OK, DIVERGED], [DIVERGED, OK]]))
    with pytest.raises(FloatingPointError, match=r"1 of 1 members, .* index \(\)"):
        raise_on_divergence(of(DIVERGED))
    with pytest.raises(ValueError, match=r"1 of 3 members, .* index \(2,\): Invalid input"):
        raise_on_divergence(of([OK, DIVERGED, INVALID_INPUT]))
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda s: raise_on_divergence(Trajectory(0, 0, 0, s, None)))(np.int8(0))
