"""Programs for accelerators, proven by lowering; members shared out over devices."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lindae_jax
from lindae_jax import (
    Problem,
    Spectrum,
    curvature,
    initial,
    losses,
    simulate,
    simulate_matrices,
    simulate_networks,
    simulate_pairs,
    simulate_sampled,
    theory,
)
from lindae_jax.simulate import identity_mapping, sampled_moments

X64 = jax.config.jax_enable_x64
DTYPE = jnp.float64 if X64 else jnp.float32
# Where 64 bits are on, float32 inputs are to stay so.
TARGETS = (
    [("cuda", jnp.float64), ("cuda", jnp.float32)]
    if X64
    else [(platform, jnp.float32) for platform in ("cuda", "rocm", "tpu")]
)
KEY = jax.ShapeDtypeStruct((2,), jnp.uint32)
SEED = jax.ShapeDtypeStruct((4,), jnp.uint32)
TWO_SEEDS = jax.ShapeDtypeStruct((2,), jnp.uint32)
SIZES = jax.ShapeDtypeStruct((2,), jnp.int32)


def real(*shape):
    return jax.ShapeDtypeStruct(shape, DTYPE)


# --- the programs ------------------------------------------------------------

# Five pairs; two networks with H < D and with H > D, which have kernels of their own.
PAIRS = 2 * (real(5),)
FIELDS = 4 * (real(5),)
NARROW = real(2, 3, 6), real(2, 6, 3)
WIDE = real(2, 6, 3), real(2, 3, 6)
SHARED = 3 * (real(2),)  # noise, decay and rate of a network


def with_decay(function):
    """Of a time or a target, the weights at the start and all four fields, traced."""
    return lambda x, w1, w2, *fields: function(x, w1, w2, Problem(*fields))


def without_decay(function):
    """The same where the decay is known to be 0, which takes a cheaper program."""
    return lambda x, w1, w2, lam, noise, rate: function(x, w1, w2, Problem(lam, noise, 0.0, rate))


def of_problem(function):
    return lambda *fields: function(Problem(*fields))


def at_weights(function, **options):
    return lambda w1, w2, *fields: function(w1, w2, Problem(*fields), **options)


def balanced(t, *fields):
    return theory.weights(t, 0.1, -0.1, Problem(*fields))


def observed(step, w1, w2, problem):
    return (w1 * jnp.swapaxes(w2, -1, -2)).sum(-2)


def with_sampled_noise(seed, num_samples, w1, w2, *fields):
    return simulate_sampled(seed, w1, w2, Problem(*fields), num_samples=num_samples, **SAVES)


def train(seed, w1, w2, x, noise, rate):
    settings = {"noise": noise, "decay": noise, "learning_rate": rate, "batch_size": 3}
    saves = {"num_epochs": 20, "save_every": 5, "observe": mapped}
    return simulate_networks(seed, w1, w2, x, **settings, **saves)


def mapped(epoch, w1, w2, x):
    spectrum = Spectrum(jnp.ones(6, x.dtype), jnp.eye(6, dtype=x.dtype))
    return identity_mapping(w1, w2, x, spectrum, (0, 2))


SAVES = {"num_steps": 50, "save_every": 20}
ENDS = {"num": 2, "num_iterations": 5}

# name -> function, shapes, matrix products in it
PROGRAMS = {
    "mapping": (without_decay(theory.mapping), (real(5), *PAIRS, *FIELDS[:3]), 0),
    "mapping, decay": (with_decay(theory.mapping), (real(5), *PAIRS, *FIELDS), 0),
    "weights": (without_decay(theory.weights), (real(5), *PAIRS, *FIELDS[:3]), 0),
    "weights, decay": (with_decay(theory.weights), (real(5), *PAIRS, *FIELDS), 0),
    "weights, balanced": (balanced, (real(5), *FIELDS), 0),
    "time_to_mapping": (without_decay(theory.time_to_mapping), (real(5), *PAIRS, *FIELDS[:3]), 0),
    "time_to_mapping, decay": (with_decay(theory.time_to_mapping), (real(5), *PAIRS, *FIELDS), 0),
    "fixed_point": (of_problem(theory.fixed_point), FIELDS, 0),
    "equivalent_decay": (theory.equivalent_decay, FIELDS[:2], 0),
    "learning_rate_ratio": (theory.learning_rate_ratio, FIELDS[:3], 0),
    "theory.optimal_learning_rate": (of_problem(theory.optimal_learning_rate), FIELDS, 0),
    "simulate_pairs": (at_weights(simulate_pairs, **SAVES), (*PAIRS, *FIELDS), 0),
    "simulate_pairs, compensated": (
        at_weights(simulate_pairs, compensated=True, **SAVES),
        (*PAIRS, *FIELDS),
        0,
    ),
    "pair_loss": (at_weights(losses.pair_loss), (*PAIRS, *FIELDS), 0),
    "matrix_loss": (at_weights(losses.matrix_loss), (*NARROW, real(2, 6), *SHARED), 1),
    "simulate_matrices, H < D": (
        at_weights(simulate_matrices, **SAVES),
        (*NARROW, real(2, 6), *SHARED),
        4,
    ),
    "simulate_matrices, H > D": (
        at_weights(simulate_matrices, observe=observed, **SAVES),
        (*WIDE, real(2, 3), *SHARED),
        3,
    ),
    "simulate_sampled, H < D": (
        with_sampled_noise,
        (TWO_SEEDS, SIZES, *NARROW, real(2, 6), *SHARED),
        6,
    ),
    "simulate_sampled, H > D": (
        with_sampled_noise,
        (TWO_SEEDS, SIZES, *WIDE, real(2, 3), *SHARED),
        5,
    ),
    "sampled_moments": (
        lambda seed, step, n, *x: sampled_moments(seed, step, *x, num_samples=n),
        (TWO_SEEDS, SIZES, SIZES, real(2, 6), real(2)),
        1,
    ),
    "simulate_networks, identity_mapping": (
        train,
        (TWO_SEEDS, *NARROW, real(8, 6), real(2), real(2)),
        8,
    ),
    "pair_hessian": (at_weights(curvature.pair_hessian), (*PAIRS, *FIELDS), 0),
    "sharpness": (at_weights(curvature.sharpness), (*PAIRS, *FIELDS), 0),
    "curvature.optimal_learning_rate": (
        at_weights(curvature.optimal_learning_rate),
        (*PAIRS, *FIELDS),
        0,
    ),
    "aligned_spectrum": (
        at_weights(curvature.aligned_spectrum, hidden=3),
        (real(2, 3), real(2, 3), real(2, 6), *SHARED),
        0,
    ),
    "matrix_hvp": (
        lambda w1, w2, v1, v2, *fields: curvature.matrix_hvp(w1, w2, Problem(*fields), v1, v2),
        (*NARROW, *NARROW, real(2, 6), *SHARED),
        1,
    ),
    "leading_eigenvalues": (
        lambda key, *x: at_weights(curvature.leading_eigenvalues, key=key, **ENDS)(*x),
        (KEY, *NARROW, real(2, 6), *SHARED),
        1,
    ),
    "initial.small": (
        lambda seed, std: initial.small(seed, std=std, num_directions=6, hidden=3),
        (SEED, real(4)),
        0,
    ),
    "initial.aligned": (
        lambda seed, a, b: initial.aligned(seed, a, b, 3, 6),
        (SEED, real(3), real(3)),
        0,
    ),
}


# --- lowering ----------------------------------------------------------------


def stablehlo(function, shapes, platform, dtype=DTYPE):
    shapes = [s.update(dtype=dtype) if s.dtype == DTYPE else s for s in shapes]
    exported = jax.export.export(jax.jit(function), platforms=[platform])(*shapes)
    assert exported.platforms == (platform,)
    return exported.mlir_module()


def products(text):
    """The lines of matrix products; the table of source locations names them too."""
    return [line for line in text.splitlines() if re.search(r"= stablehlo\.dot(_general)? ", line)]


def test_a_product_of_less_than_the_highest_precision_would_be_seen():
    (line,) = products(stablehlo(lambda a, b: a @ b, (real(2, 3), real(3, 2)), "tpu"))
    assert line.count("HIGHEST") == 0


def test_every_public_function_is_among_the_programs():
    """But for those that say in words how a run ended."""
    words = {"raise_on_divergence", "status_message"}
    names = re.findall(r"\w+", " ".join(PROGRAMS))
    for module in (theory, simulate, curvature):
        functions = {name for name in module.__all__ if name.islower()}
        assert functions - words <= {*names}


@pytest.mark.both
@pytest.mark.parametrize(("platform", "dtype"), TARGETS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_lowers_in_its_own_precision(name, platform, dtype):
    function, shapes, num_products = PROGRAMS[name]
    text = stablehlo(function, shapes, platform, dtype)
    # Each stands once in the text, or twice.
    found = products(text)
    assert len(found) >= num_products
    assert bool(found) == bool(num_products)
    for line in found:
        assert line.count("HIGHEST") == 2, line
    # A float64 constant or accumulator does not exist on a TPU, and is slow on most GPUs.
    # Where 64 bits are on, numbers of Python's are float64 until compilers fold them: no arrays.
    other = r"\bf32\b|xf32\b" if dtype == jnp.float64 else r"xf64\b" if X64 else r"\bf64\b|xf64\b"
    assert [line for line in text.splitlines() if re.search(other, line)] == []
    # Nothing is asked of the host while it runs.
    assert [line for line in text.splitlines() if re.search(r"@\w*callback", line)] == []


# --- two devices -------------------------------------------------------------

# Half of the members decay: in the flow the two devices then take different branches.
SHARED_OUT = """
import re
import jax, numpy as np
from jax.sharding import Mesh, PartitionSpec
from lindae_jax import Problem, Trajectory, simulate_pairs, theory

jax.config.update("jax_numpy_dtype_promotion", "strict")
assert jax.device_count() == 2
mesh = Mesh(np.array(jax.devices()), ("members",))
members, saves, same = PartitionSpec("members"), PartitionSpec(None, "members"), PartitionSpec()

rng = np.random.default_rng(7)
n = 64
w1, w2 = rng.normal(0, 0.5, (2, n)).astype(np.float32)
t, rate = rng.uniform(0, 300, n).astype(np.float32), np.full(n, 0.05, np.float32)
eigenvalue, noise, decay = rng.uniform(0.1, 2, (3, n)).astype(np.float32)
decay[: n // 2] = 0


def pairs(t, w1, w2, *fields):
    return simulate_pairs(w1, w2, Problem(*fields), num_steps=203, save_every=20)


def flow(t, w1, w2, *fields):
    return theory.weights(t, w1, w2, Problem(*fields))


arguments = t, w1, w2, eigenvalue, noise, decay, rate
for function, outputs in (pairs, Trajectory(same, saves, saves, members, same)), (flow, members):
    whole = jax.jit(function)(*arguments)
    shared = jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=(members,) * 7, out_specs=outputs)
    ).lower(*arguments).compile()
    parts = shared(*arguments)
    assert len(parts.w1.sharding.device_set) == 2
    assert parts.w1.addressable_shards[0].data.shape[-1] == n // 2
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert np.isfinite(one).all()
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()
    text = shared.as_text()
    assert "fusion" in text
    collective = "all-reduce|all-gather|all-to-all|reduce-scatter|collective|send|recv"
    assert re.findall(collective, text) == []
    print(function.__name__, "same")
"""


def test_two_devices_do_as_one_does_bitwise_and_need_not_talk():
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    environment |= {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED_OUT],
        cwd=Path(lindae_jax.__file__).parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["pairs", "same", "flow", "same"]
