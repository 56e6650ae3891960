"""Every contender gives the answer, and would be found out if not."""

import functools
import shutil

import jax
import kernels
import numpy as np
import pytest

from lindae_jax.bench import answers, ceilings, rivals, timing
from lindae_jax.bench.answers import Pairs
from lindae_jax.bench.cases import curvature, matrices, pairs, plan, theory
from lindae_jax.bench.timing import Variant

NUM_PAIRS = 1003  # no multiple of a block or a vector


@functools.cache
def some_pairs(dtype, decay=True):
    return pairs.random_pairs(NUM_PAIRS, dtype, decay=decay)


def lane():
    return "float64" if jax.config.jax_enable_x64 else "float32"


def require(variants):
    """Each is right, within what it allows itself."""
    assert variants
    for variant in variants:
        assert isinstance(variant, Variant)
        assert variant.error() <= variant.tolerance, variant.label


# --- pairs ----------------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("name", pairs._STEPPING)
def test_every_way_of_stepping_gives_the_answer(name):
    if name == "PyTorch":
        pytest.importorskip("torch")
    way = functools.partial(pairs._STEPPING[name], quick=True)
    require(pairs._stepping(way, some_pairs(lane())))


@pytest.mark.both
@pytest.mark.parametrize("name", pairs._FLOWING)
def test_every_solver_of_the_flow_gives_the_answer(name):
    way = functools.partial(pairs._FLOWING[name], quick=True)
    require(pairs._flowing(way, some_pairs(lane())))


@pytest.mark.both
@pytest.mark.parametrize("decay", [True, False])
def test_the_library_gives_the_answer_for_pairs(decay):
    require([pairs._library_pairs(some_pairs(lane(), decay))])


@pytest.mark.both
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
@pytest.mark.parametrize("decay", [True, False])
def test_the_kernel_in_c_gives_the_answer(decay):
    for bits in (128, *ceilings.vector_bits()):
        way = functools.partial(ceilings.c_pairs, bits=bits, quick=True)
        require(pairs._stepping(way, some_pairs(lane(), decay)))


def test_without_a_compiler_the_kernel_is_absent(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    found, absent = plan.contenders(pairs._kernels(some_pairs("float32"), quick=True))
    assert found == []
    assert set(absent.values()) == {"no C compiler (cc) here"}


def test_a_compiler_that_fails_is_told(monkeypatch):
    monkeypatch.setenv("CC", "false")
    _, absent = plan.contenders(pairs._kernels(some_pairs("float32"), quick=True))
    assert all("false failed" in reason for reason in absent.values())


def test_a_missing_library_is_told():
    def missing():
        raise ImportError("No module named 'numba'")

    def unloadable():
        raise OSError("libomp.so: cannot open shared object file")

    _, absent = plan.contenders({"numba": missing, "PyTorch": unloadable})
    assert absent == {
        "numba": "not installed (No module named 'numba')",
        "PyTorch": "failed: libomp.so: cannot open shared object file",
    }


def test_one_wrong_pair_among_the_sampled_is_found_out():
    def off(given: Pairs):
        right = next(iter(rivals.numpy_blocks(given, quick=True)))[2]

        def run(num_steps):
            w1, w2 = (w.copy() for w in right(num_steps))
            w1[-1] *= 1.01
            return w1, w2

        yield "off", len(given.w1), run

    (variant,) = pairs._stepping(off, some_pairs("float32"))
    assert variant.error() > variant.tolerance


def test_the_two_references_agree_for_small_steps():
    # The flow and the steps part by half a step's second order, alpha (lambda + ...) / 2.
    given = some_pairs("float64").take(slice(20))
    rate = 1e-4
    slow = given._replace(learning_rate=np.full(20, rate))
    found, expected = answers.steps(slow, 20_000), answers.flow(20_000, slow)
    assert answers.relative_error(found, expected) < 5 * rate


def test_saved_rows_are_right():
    case = pairs._saves_case("title", 500, quick=True, with_bare=True)
    assert [c.role for c in case.contenders] == ["library", "ceiling", "ceiling"]
    for contender in case.contenders:
        require(contender.variants)
    fewer = pairs._saves_case("title", 500, quick=True, with_bare=False)
    names = [c.name for c in case.contenders]
    assert [c.name for c in fewer.contenders] == [names[0], names[2]]


def test_a_case_too_large_for_the_memory_is_left_out(monkeypatch):
    monkeypatch.setattr(pairs, "free_memory", lambda: 10**6)
    with pytest.raises(timing.Absent, match=r"needs 2\.\d GiB of memory, and 0\.0 are free"):
        pairs._final_case("title", 3 * 10**7, "float32", False)


# --- matrices, theory, curvature --------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (9,)])
def test_every_way_of_training_matrices_gives_the_answer(batch):
    case = matrices._case("title", batch, 12, 5, 0 if batch else 120, quick=not batch)
    names = {contender.name for contender in case.contenders}
    assert {"lindae_jax", "NumPy, eigenbasis"} < names
    assert ("one network at a time" if batch else "NumPy, data matrix") in names
    work = {}
    for contender in case.contenders:
        require(contender.variants)
        work[contender.name] = contender.variants[0].work
    if batch:  # eight of the nine
        assert work["one network at a time"] == work["lindae_jax"] * 8 / 9


def test_the_samples_have_the_second_moment_wanted():
    start = matrices.random_matrices((), 12, 5)
    x = rivals.data_of(start, 125)
    assert x.shape == (120, 12)
    moment = x.T.astype(np.float64) @ x / len(x)
    np.testing.assert_allclose(moment, np.diag(start.eigenvalue), rtol=1e-6, atol=1e-12)


@pytest.mark.both
@pytest.mark.parametrize(
    ("decay", "grid"), [("none", True), ("none", False), ("all", False), ("half", False)]
)
def test_every_way_to_the_flow_gives_the_answer(decay, grid):
    case = theory._case("title", decay, grid, 8, lane(), quick=False)
    names = {contender.name for contender in case.contenders}
    assert {"lindae_jax", "sum(exp(x))"} <= names
    assert ("lindae_jax, summed under jit" in names) == (decay == "none")
    # The solvers once for each kind of flow.
    solved = lane() == "float32" and not grid and decay != "half"
    assert ("diffrax Tsit5, adaptive" in names) == solved
    for contender in case.contenders:
        require(contender.variants)


def test_every_way_to_the_largest_eigenvalue_gives_it():
    case = curvature._case("title", 12, 5)
    assert len(case.contenders) == 3
    for contender in case.contenders:
        require(contender.variants)


# --- ceilings ---------------------------------------------------------------------------


@pytest.mark.both
def test_the_kernels_in_jax_compute_what_they_say():
    dtype = lane()
    require(ceilings.multiply_adds(dtype, quick=True))
    require(ceilings.copies(dtype, 1.0, quick=True))
    require(ceilings.products(dtype, "JAX", quick=True))
    require(ceilings.products(dtype, "NumPy", quick=True))
    require(ceilings.exponentials((16, 32), dtype))


@pytest.mark.both
def test_multiply_adds_in_registers_give_the_same(monkeypatch):
    """As a GPU has them, here run by JAX's own operations; and lowered for one."""
    chains = ceilings._chains_in_registers
    x, steps = jax.ShapeDtypeStruct((1000,), lane()), jax.ShapeDtypeStruct((), "int32")
    assert kernels.lowered(chains, x, steps).count(kernels.KERNEL) == 1
    here = functools.partial(chains, multiply_add=ceilings._multiply_add, interpret=True)
    monkeypatch.setattr(ceilings, "_chains_in_registers", here)
    monkeypatch.setattr(ceilings.registers, "available", lambda devices: True)
    require(ceilings.multiply_adds(lane(), quick=True))
