"""Every argument times every way of being wrong: what is said, and that nothing is written."""

import dataclasses
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lindae_jax import (
    DIVERGED,
    INVALID_INPUT,
    OK,
    Problem,
    Spectrum,
    Trajectory,
    bench,
    cli,
    curvature,
    data,
    initial,
    losses,
    noise,
    raise_on_divergence,
    simulate_matrices,
    simulate_networks,
    simulate_pairs,
    simulate_sampled,
    status_message,
    theory,
)
from lindae_jax import files as files_module
from lindae_jax import problem as problem_module
from lindae_jax import reproduce as job
from lindae_jax import simulate as simulate_module
from lindae_jax import spectrum as spectrum_module

INF, NAN = float("inf"), float("nan")


class Traced(NamedTuple):
    """Stands for a tracer with this shape and type."""

    like: Any


class Row(NamedTuple):
    """A mistake: the function, what is passed instead of good arguments, the message's parts."""

    function: str
    bad: dict[str, Any]
    what: str
    got: str
    remedy: str
    files: dict[str, bytes] = {}  # noqa: RUF012 - there before the call
    error: type[Exception] = ValueError


# --- good arguments -----------------------------------------------------------

PAIR = Problem(1.0, 0.1, 0.1, 0.1)
NETWORK = Problem(np.ones(3), 0.1, 0.1, 0.1)  # D = 3, with H = 2 below
W1, W2 = np.full((2, 3), 0.1), np.full((3, 2), 0.1)
SPECTRUM = Spectrum(np.ones(3), np.eye(3))
RAW_KEY = np.zeros(2, np.uint32)
WEIGHTS = {"w1": 0.1, "w2": 0.2, "problem": PAIR}
MATRICES = {"w1": W1, "w2": W2, "problem": NETWORK}
TRAINED = {"w1": W1, "w2": W2, "x": np.ones((4, 3))}
DRAW = {"key": RAW_KEY, "shape": (2,)}
RUN = {"out": "out", "progress": False}


def sample(noise):
    return lambda value, **arguments: noise(value).sample(**arguments)


def variance(noise):
    return lambda value: noise(value).variance


def save(out):
    """The results are not looked at before the folder."""
    job.Reproduction(*len(dataclasses.fields(job.Reproduction)) * (None,)).save(out)


def save_times(json_file):
    bench.save({"cases": []}, json_file)


NOISES = {
    "Gaussian": (noise.Gaussian, "std"),
    "Laplace": (noise.Laplace, "scale"),
    "Uniform": (noise.Uniform, "half_width"),
}
CALLS = {
    "theory.weights": (theory.weights, {"t": 1.0, **WEIGHTS}),
    "theory.mapping": (theory.mapping, {"t": 1.0, **WEIGHTS}),
    "theory.time_to_mapping": (theory.time_to_mapping, {"target": 0.5, **WEIGHTS}),
    "theory.fixed_point": (theory.fixed_point, {"problem": PAIR}),
    "theory.optimal_learning_rate": (theory.optimal_learning_rate, {"problem": PAIR}),
    "theory.equivalent_decay": (theory.equivalent_decay, {"eigenvalue": 1.0, "noise": 0.1}),
    "theory.learning_rate_ratio": (
        theory.learning_rate_ratio,
        {"eigenvalue": 1.0, "noise": 0.1, "decay": 0.1},
    ),
    "losses.pair_loss": (losses.pair_loss, WEIGHTS),
    "losses.matrix_loss": (losses.matrix_loss, MATRICES),
    "simulate_pairs": (simulate_pairs, {**WEIGHTS, "num_steps": 5}),
    "simulate_matrices": (simulate_matrices, {**MATRICES, "num_steps": 5}),
    "simulate_sampled": (
        simulate_sampled,
        {"seed": 0, **MATRICES, "num_samples": 9, "num_steps": 5},
    ),
    "sampled_moments": (
        simulate_module.sampled_moments,
        {"seed": 0, "step": 0, "eigenvalue": np.ones(3), "noise": 0.1, "num_samples": 9},
    ),
    "simulate_networks": (simulate_networks, {"seed": 0, **TRAINED, "num_epochs": 5}),
    "identity_mapping": (
        simulate_module.identity_mapping,
        {**TRAINED, "spectrum": SPECTRUM, "directions": (0,)},
    ),
    "status_message": (status_message, {}),
    "raise_on_divergence": (raise_on_divergence, {}),
    "curvature.pair_hessian": (curvature.pair_hessian, WEIGHTS),
    "curvature.sharpness": (curvature.sharpness, WEIGHTS),
    "curvature.optimal_learning_rate": (curvature.optimal_learning_rate, WEIGHTS),
    "curvature.aligned_spectrum": (
        curvature.aligned_spectrum,
        {"a": np.ones(2), "b": np.ones(2), "problem": NETWORK, "hidden": 2},
    ),
    "curvature.matrix_hvp": (curvature.matrix_hvp, {**MATRICES, "v1": W1, "v2": W2}),
    "curvature.leading_eigenvalues": (
        curvature.leading_eigenvalues,
        {**MATRICES, "num": 2, "num_iterations": 3, "key": RAW_KEY},
    ),
    "initial.small": (initial.small, {"seed": 0, "std": 0.1, "num_directions": 3}),
    "initial.aligned": (
        initial.aligned,
        {"seed": 0, "a": np.ones(2), "b": np.ones(2), "hidden": 2, "num_directions": 3},
    ),
    **{f"noise.{n}.sample": (sample(c), {"value": 1.0, **DRAW}) for n, (c, _) in NOISES.items()},
    **{f"noise.{n}.variance": (variance(c), {}) for n, (c, _) in NOISES.items()},
    "Spectrum.from_data": (Spectrum.from_data, {}),
    "Spectrum.from_second_moment": (Spectrum.from_second_moment, {"second_moment": np.eye(3)}),
    "Spectrum.rotate": (SPECTRUM.rotate, {"w1": W1, "w2": W2}),
    "Spectrum.unrotate": (SPECTRUM.unrotate, {"w1": W1, "w2": W2}),
    "Spectrum.save": (SPECTRUM.save, {}),
    "Spectrum.load": (Spectrum.load, {}),
    "data.load": (data.load, {"name": "digits"}),
    "reproduce.prepare": (job.prepare, {}),
    "reproduce.reproduce": (job.reproduce, RUN),
    "reproduce.check_out": (job.check_out, {}),
    "files.check_folder": (files_module.check_folder, {}),
    "reproduce.Reproduction.save": (save, {}),
    "bench.run": (bench.run, {}),
    "bench.check_json": (bench.check_json, {}),
    "bench.save": (save_times, {}),
}
OF_PAIRS = [name for name, (_, good) in CALLS.items() if good.get("problem") is PAIR]
OF_NETWORKS = [name for name, (_, good) in CALLS.items() if good.get("problem") is NETWORK]

# --- ways of being wrong that many arguments share ------------------------------

NON_NEGATIVE = ("must be finite and >= 0", "Check for NaN or a sign error.", (-1.0, -INF, INF, NAN))
POSITIVE = (
    "must be finite and > 0",
    "Pass a positive number; theory.optimal_learning_rate gives a safe one.",
    (0.0, -1.0, -INF, INF, NAN),
)
TIME = (
    "must be >= 0 (infinity is allowed)",
    "The flow is defined forward in time only.",
    (-1.0, -INF, NAN),
)
NOT_NAN = ("must not be NaN", "Check the computation that produced it.", (NAN,))
FIELDS = {
    "eigenvalue": NON_NEGATIVE,
    "noise": NON_NEGATIVE,
    "decay": NON_NEGATIVE,
    "learning_rate": POSITIVE,
}
NO_NUMBERS = [
    (np.ones(2, np.float16), "dtype float16"),
    (np.ones(2, jnp.bfloat16), "dtype bfloat16"),
    (np.ones(2, np.complex64), "dtype complex64"),
    (np.ones(2, bool), "dtype bool"),
    (np.array(["a"]), "dtype <U1"),
    (Traced(np.ones(2, np.float16)), "dtype float16"),
    (True, "bool"),
    (1j, "complex"),
    ("1.0", "str"),
    (None, "NoneType"),
]
STATIC = "Pass an integer >= {}."
FITTING = "Add axes of length 1 where they differ."
NAME_ONE = "Name one of them."
BUILD = "Build one with Problem(eigenvalue, noise, decay, learning_rate)."
TURNED = "Give both in the eigenbasis; Spectrum.rotate brings them there."
PER_COLUMN = "One eigenvalue for each of the D columns of w1."
SERVED = "Give one weight for each direction that a hidden unit serves."


def values(function, argument, rule, name=None, wrap=lambda x: x):
    """What a rule forbids."""
    must, remedy, forbidden = rule
    for x in forbidden:
        yield Row(function, {argument: wrap(x)}, f"{name or argument} {must}", f"{x}", remedy)


def numbers(function, argument, name=None, tracing=True):
    """What is no array of real numbers."""
    name = name or argument
    must = f"{name} must be real numbers, float32 or float64 (or integers)"
    remedy = f"Convert it first, for instance with jnp.asarray({name}, jnp.float32)."
    for x, got in NO_NUMBERS if tracing else [y for y in NO_NUMBERS if type(y[0]) is not Traced]:
        yield Row(function, {argument: x}, must, got, remedy)
    for x in (["a"], [[1.0], [2.0, 3.0]], [1.0, None]):
        remedy = "Pass an array of numbers."
        yield Row(function, {argument: x}, f"{name} must be real numbers", repr(x), remedy)


def counts(function, argument, least, optional=False):
    """What is no static integer >= least."""
    wrong = [(x, repr(x)) for x in (least - 1, -5, 1.5, 2.0, NAN, True, "3", [3])]
    wrong += [(Traced(3), "Trac")] + ([] if optional else [(None, "None")])
    for x, got in wrong:
        must = f"{argument} must be an integer >= {least}"
        yield Row(function, {argument: x}, must, got, STATIC.format(least))


def problems(function):
    """What is no problem, and what is none of its fields."""
    for x, got in ((None, "NoneType"), (1.0, "float"), ({"noise": 1.0}, "dict")):
        yield Row(function, {"problem": x}, "problem must be a lindae_jax.Problem", got, BUILD)
    for field, rule in FIELDS.items():
        per_direction = field == "eigenvalue" and CALLS[function][1]["problem"] is NETWORK
        wrap = (lambda x: [1.0, x, 1.0]) if per_direction else (lambda x: x)
        yield from values(function, f"problem.{field}", rule, field, wrap)
        yield from numbers(function, f"problem.{field}", field)


def requested(function):
    """What is no dtype one can ask for."""
    for x, got in ((np.float16, "float16"), ("bfloat16", "bfloat16"), (int, "int64")):
        yield Row(function, {"dtype": x}, "dtype must be float32 or float64", got, NAME_ONE)
    yield Row(function, {"dtype": "wide"}, "dtype must be float32 or float64", "'wide'", NAME_ONE)


def unfit(function, got, remedy=FITTING, what="shapes must broadcast together", **shapes):
    """Arrays of shapes that do not fit; `problem_noise` is a field of the problem."""
    bad = {n.replace("problem_", "problem."): np.ones(shape) for n, shape in shapes.items()}
    return Row(function, bad, what, got, remedy)


def seeds(function):
    whole, within, remedy = (
        "seed must be an integer",
        "seed must lie in [0, 2^32)",
        "Pass integers from 0 to 2^32 - 1.",
    )
    for x in (1.5, True, "0", None, [[1], [2, 3]], NAN):
        yield Row(function, {"seed": x}, whole, repr(x), remedy)
    yield Row(function, {"seed": jax.random.key(0)}, whole, "key<fry>", remedy)
    yield Row(function, {"seed": Traced(1.5)}, whole, "dtype float32", remedy)
    for x in (-1, 2**32, 2**70):
        yield Row(function, {"seed": x}, within, repr(x), remedy)
        yield Row(function, {"seed": np.array([3, x])}, within, repr(x), remedy)


def integers(function, argument, least):
    """What are no integers from `least` on that int32 holds, traced or not."""
    whole, within = f"{argument} must be integers", f"{argument} must lie in [{least}, 2^31)"
    remedy = f"Pass integers from {least} to 2^31 - 1."
    for x in (1.5, 9.0, True, "3", None, [[1], [2, 3]], NAN):
        yield Row(function, {argument: x}, whole, repr(x), remedy)
    yield Row(function, {argument: jax.random.key(0)}, whole, "key<fry>", remedy)
    yield Row(function, {argument: Traced(1.5)}, whole, "dtype float32", remedy)
    for x in (least - 1, -5, 2**31, 2**70):
        yield Row(function, {argument: x}, within, repr(x), remedy)
        yield Row(function, {argument: np.array([3, x])}, within, repr(x), remedy)


def keys(function):
    must, remedy = "key must be one jax.random key", "Make one with jax.random.key(0)."
    for x, got in (
        (0, "int"),
        (None, "NoneType"),
        (np.zeros(2), "float64 of shape (2,)"),
        (np.zeros(3, np.uint32), "uint32 of shape (3,)"),
        (np.zeros((2, 2), np.uint32), "uint32 of shape (2, 2)"),
        (np.uint32(0), "uint32 of shape ()"),
        (jax.random.split(jax.random.key(0)), "key<fry> of shape (2,)"),
    ):
        yield Row(function, {"key": x}, must, got, remedy)


def paths(function, argument):
    for x in (3, b"here", ["here"], 1.5):
        must = f"{argument} must be text or a pathlib.Path"
        yield Row(function, {argument: x}, must, repr(x), "Name a file or folder.")


# --- the table ------------------------------------------------------------------


def elementwise():
    """Functions of numbers that broadcast against each other."""
    for function in OF_PAIRS:
        yield from problems(function)
        arguments = [name for name in CALLS[function][1] if name in ("t", "target", "w1", "w2")]
        for argument in arguments:
            yield from numbers(function, argument)
        if "w1" in arguments:
            yield unfit(function, "w1 (2,), w2 (3,)", w1=2, w2=3)
            yield unfit(function, "w2 (2,), decay (3,)", w2=2, problem_decay=3)
    for function in ("theory.weights", "theory.mapping"):
        yield from values(function, "t", TIME)
        yield unfit(function, "t (2, 1), noise (3, 5)", t=(2, 1), problem_noise=(3, 5))
    yield from values("theory.time_to_mapping", "target", NOT_NAN)
    yield unfit("theory.time_to_mapping", "target (2,), w1 (3,)", target=2, w1=3)
    for function in ("theory.fixed_point", "theory.optimal_learning_rate"):
        yield unfit(function, "noise (2,), decay (3,)", problem_noise=2, problem_decay=3)
    for function in ("theory.equivalent_decay", "theory.learning_rate_ratio"):
        for argument in CALLS[function][1]:
            yield from values(function, argument, NON_NEGATIVE)
            yield from numbers(function, argument)
        yield unfit(function, "eigenvalue (2,), noise (3,)", eigenvalue=2, noise=3)
    # What Python's numbers hold and floats do not is infinite.
    yield Row("theory.mapping", {"problem.noise": 10**400}, "noise must be", "inf", NON_NEGATIVE[1])
    yield Row("theory.mapping", {"t": -(10**400)}, "t must be >= 0", "-inf", TIME[1])
    bad = {"problem.noise": [[0.5, 1.0], [-3.0, -4.0]]}
    got = "-3.0 at index (1, 0) (2 of 4 values)"
    yield Row("losses.pair_loss", bad, "noise must be finite", got, NON_NEGATIVE[1])


def networks():
    """Functions of whole matrices."""
    aligned = "curvature.aligned_spectrum"
    for function in OF_NETWORKS:
        yield from problems(function)
        for argument in ("w1", "w2", "v1", "v2", "a", "b"):
            if argument not in CALLS[function][1]:
                continue
            yield from numbers(function, argument)
        if function == aligned:
            continue
        turned = "must be matrices (..., H, D) and (..., D, H) in turn"
        fit = {"remedy": TURNED, "what": turned}
        yield unfit(function, "w1 (2, 3), w2 (2, 3)", w2=(2, 3), **fit)
        yield unfit(function, "w1 (2, 3), w2 (3, 4)", w2=(3, 4), **fit)
        yield unfit(function, "w1 (3,), w2 (3, 2)", w1=3, **fit)
        yield unfit(function, "w1 (2, 3), w2 ()", w2=(), **fit)
        fit = {"remedy": PER_COLUMN, "what": "problem.eigenvalue must have shape (..., 3)"}
        yield unfit(function, "(2,)", problem_eigenvalue=2, **fit)
        yield unfit(function, "()", problem_eigenvalue=(), **fit)
        yield unfit(function, "w1 (4,), w2 (5,)", w1=(4, 2, 3), w2=(5, 3, 2))
        yield unfit(function, "w1 (4,), noise (5,)", w1=(4, 2, 3), problem_noise=5)
        yield unfit(function, "w2 (4,), eigenvalue (5,)", w2=(4, 3, 2), problem_eigenvalue=(5, 3))
    turned = "w1 and w2 and v1 and v2 must be matrices"
    got = "v1 (3, 2), v2 (3, 2)"
    yield unfit("curvature.matrix_hvp", got, TURNED, turned, v1=(3, 2))
    yield unfit("curvature.matrix_hvp", "v1 (2, 3), v2 (2, 2)", TURNED, turned, v2=(2, 2))
    yield from counts(aligned, "hidden", 1)
    served = "must have min(H, D) = 2 entries on its last axis"
    yield unfit(aligned, "shape (3,)", SERVED, f"a {served}", a=3)
    yield unfit(aligned, "shape ()", SERVED, f"b {served}", b=())
    what = "problem.eigenvalue must have shape (..., D)"
    yield unfit(
        aligned, "shape ()", "Give the D eigenvalues of the data.", what, problem_eigenvalue=()
    )
    yield unfit(aligned, "a (4,), b (5,)", a=(4, 2), b=(5, 2))
    yield unfit(aligned, "noise (4,), b (5,)", problem_noise=4, b=(5, 2))


def lanczos():
    function = "curvature.leading_eigenvalues"
    yield from counts(function, "num", 1)
    yield from counts(function, "num_iterations", 1)
    yield from keys(function)
    remedy = "There are 2 H D eigenvalues, and each iteration finds at most one."
    must = "num_iterations must lie between num = {} and 2 H D = 12"
    yield Row(function, {"num": 4}, must.format(4), "3", remedy)
    yield Row(function, {"num_iterations": 13}, must.format(2), "13", remedy)


def simulators():
    increasing = (
        "Pass a strictly increasing tuple of Python ints; num_steps itself may be left out."
    )
    for function in ("simulate_pairs", "simulate_matrices", "simulate_sampled"):
        yield from counts(function, "num_steps", 0)
        yield from counts(function, "save_every", 1, optional=True)
        remedy = "Steps are counted in int32; continue a longer run from its last weights."
        bad = {"num_steps": 2**31}
        yield Row(function, bad, "num_steps must be below 2^31", "2147483648", remedy)
        for saves in ((1, 2), 3, ()):
            bad = {"save_every": 2, "save_steps": saves}
            got = f"save_every = 2 and save_steps = {saves}"
            must = "save_every and save_steps exclude each other"
            yield Row(function, bad, must, got, "Pass one of them.")
        for saves in ((3, 3), (4, 2), (1, 6), (0, 1, 1, 2)):
            must = "save_steps must increase strictly within [0, num_steps = 5]"
            yield Row(function, {"save_steps": saves}, must, repr(saves), increasing)
        for saves in (3, 2.5, np.array(3)):
            must = "save_steps must be a tuple of integers"
            yield Row(function, {"save_steps": saves}, must, repr(saves), increasing)
        bad = {"save_steps": Traced(np.arange(2))}
        yield Row(function, bad, "save_steps must be a tuple of integers", "Trac", increasing)
        for entry in (-1, 0.5, True, "3", None):
            must = "an entry of save_steps must be an integer >= 0"
            yield Row(function, {"save_steps": (entry,)}, must, repr(entry), STATIC.format(0))
        for x, got in ((3, "int"), ("w1", "str"), ([], "list")):
            must = "observe must be a function (step, w1, w2, problem) -> arrays"
            remedy = "Define one at the top of a module: each new function object compiles anew."
            yield Row(function, {"observe": x}, must, got, remedy)


def sampled():
    """Runs and moments with noise drawn for N samples."""
    run, moments = both = "simulate_sampled", "sampled_moments"
    for function in both:
        yield from seeds(function)
        yield from integers(function, "num_samples", 1)
        bad = {"seed": np.arange(3), "num_samples": [9, 9]}
        got = "seed (3,), num_samples (2,)"
        yield Row(function, bad, "shapes must broadcast together", got, FITTING)
        must = "at most num_samples eigenvalues may differ from 0 by more than rounding"
        remedy = "Spectrum.from_data sets the others to 0."
        for x in (2, [5, 2]):
            got = "3 of them with num_samples = 2"
            yield Row(function, {"num_samples": x}, must, got, remedy)
    yield from integers(run, "first_step", 0)
    must, remedy = "first_step must be one integer", "All networks of a call are at the same step."
    yield Row(run, {"first_step": [1, 2]}, must, "shape (2,)", remedy)
    must = "first_step + num_steps must be below 2^31"
    remedy = "Steps are counted in int32; begin again at 0 with another seed."
    yield Row(run, {"first_step": 2**31 - 3}, must, "2147483645 + 5", remedy)
    bad, got = {"w1": np.ones((4, 2, 3)), "seed": np.arange(5)}, "problem (4,), seed (5,)"
    yield Row(run, bad, "shapes must broadcast together", got, FITTING)
    yield from integers(moments, "step", 0)
    for argument in ("eigenvalue", "noise"):
        yield from numbers(moments, argument)
    yield from values(moments, "eigenvalue", NON_NEGATIVE, wrap=lambda x: [1.0, x])
    yield from values(moments, "noise", NON_NEGATIVE)
    must, remedy = "eigenvalue must have shape (..., D)", "Pass a list of one where D = 1."
    yield Row(moments, {"eigenvalue": 1.0}, must, "()", remedy)
    yield unfit(moments, "noise (2,), eigenvalue (4,)", noise=2, eigenvalue=(4, 3))
    bad = {"seed": np.arange(2), "step": np.arange(3)}
    yield Row(moments, bad, "shapes must broadcast together", "seed (2,), step (3,)", FITTING)


def compensation():
    function = "simulate_pairs"
    for x in (1, "yes", None):
        must = "compensated must be True or False"
        yield Row(function, {"compensated": x}, must, repr(x), "It is static.")
    bad, pair = {"carry": (0.0, 0.0)}, {"compensated": True}
    must = "carry goes with compensated=True"
    yield Row(function, bad, must, "compensated=False", "Pass both or neither.")
    for x in (3, (0.0,), (0.0, 0.0, 0.0), "ab"):
        remedy = "Pass the last row of each carry."
        yield Row(function, {"carry": x, **pair}, "carry must be a pair of arrays", repr(x), remedy)
    must = "carry of w1 must be real numbers, float32 or float64 (or integers)"
    yield Row(function, {"carry": ("x", 0.0), **pair}, must, "str", "jnp.float32).")


def trained():
    """Networks on the samples themselves."""
    function, both = "simulate_networks", ("simulate_networks", "identity_mapping")
    for name in both:
        for argument in ("w1", "w2", "x"):
            yield from numbers(name, argument)
        must = "w1 and w2 must be matrices (..., H, D) and (..., D, H), D = {} as in x"
        columns = "One column of w1 and one row of w2 for each component of the data."
        three, two = ({"remedy": columns, "what": must.format(n)} for n in (3, 2))
        yield unfit(name, "w1 (3, 2), w2 (3, 2)", w1=(3, 2), **three)
        yield unfit(name, "w1 (2, 3), w2 (2, 2)", w2=(2, 2), **three)
        yield unfit(name, "w1 (3,), w2 (3, 2)", w1=3, **three)
        yield unfit(name, "w1 (2, 3), w2 (3, 2)", x=(4, 2), **two)
        yield unfit(name, "w1 (4,), w2 (5,)", w1=(4, 2, 3), w2=(5, 3, 2))
        must = "x must be 2-D, one sample per row"
        remedy = "Reshape it to (num_samples, num_features)."
        yield unfit(name, "shape (3,)", remedy, must, x=3)
        must, remedy = "x must have at least one row and one column", "Check how it was selected."
        yield unfit(name, "shape (0, 3)", remedy, must, x=(0, 3))
        must = "activation must be one of relu, tanh, identity"
        for x in ("gelu", None, ["relu"]):
            yield Row(name, {"activation": x}, must, repr(x), NAME_ONE)
    yield from seeds(function)
    for argument, rule in (("noise", NON_NEGATIVE), ("decay", NON_NEGATIVE)):
        yield from values(function, argument, rule)
        yield from numbers(function, argument)
    yield from values(function, "learning_rate", POSITIVE)
    finite, check = "must be finite", "Check for NaN, or for a value beyond the range of the dtype."
    yield Row(function, {"x": np.full((4, 3), NAN)}, f"x {finite}", "nan at index (0, 0)", check)
    yield unfit(function, "noise (2,), decay (3,)", noise=2, decay=3)
    yield unfit(function, "w1 (3,), noise (2,)", w1=(3, 2, 3), noise=2)
    bad = {"seed": np.arange(2), "learning_rate": np.ones(3)}
    got = "seed (2,), learning_rate (3,)"
    yield Row(function, bad, "shapes must broadcast together", got, FITTING)
    bad, got = {"seed": np.arange(2), "w1": [W1] * 3}, "w1 (3,), seed (2,)"
    yield Row(function, bad, "shapes must broadcast together", got, FITTING)
    yield unfit(function, "noise (3,), learning_rate (2,)", noise=3, learning_rate=2)
    yield from optimisers(function)
    yield from counts(function, "num_epochs", 0)
    yield from counts(function, "first_epoch", 0)
    yield from counts(function, "save_every", 1, optional=True)
    yield from counts(function, "batch_size", 1, optional=True)
    must, remedy = "first_epoch + num_epochs must be below 2^31", "Epochs are counted in int32."
    yield Row(function, {"first_epoch": 2**31 - 5}, must, f"{2**31}", remedy)
    must = "batch_size must be at most the N = 4 samples"
    remedy = "Leave it out for one step on all samples."
    yield Row(function, {"batch_size": 5}, must, "5", remedy)
    must = "save_steps must increase strictly within [0, num_epochs = 5]"
    remedy = "a strictly increasing tuple of Python ints; num_epochs itself may be left out."
    yield Row(function, {"save_steps": (3, 2)}, must, "(3, 2)", remedy)
    must = "save_every and save_steps exclude each other"
    bad, got = {"save_every": 1, "save_steps": (1,)}, "save_every = 1 and save_steps = (1,)"
    yield Row(function, bad, must, got, "Pass one of them.")
    must = "observe must be a function (epoch, w1, w2, x) -> arrays"
    remedy = "Define one at the top of a module: each new function object compiles anew."
    yield Row(function, {"observe": 3}, must, "int", remedy)
    function = "identity_mapping"
    remedy = "Make it by Spectrum.from_data."
    yield Row(function, {"spectrum": np.eye(3)}, "spectrum must be a Spectrum", "ndarray", remedy)
    bad, must = {"spectrum": Spectrum(np.ones(2), np.eye(2))}, "spectrum must have D = 3 directions"
    yield Row(function, bad, must, "2", "Make it of the same data.")
    must, remedy = "directions must be below D = 3", "They are counted from 0."
    yield Row(function, {"directions": (0, 3)}, must, "(0, 3)", remedy)
    for entry in (-1, 0.5, True):
        must = "an entry of directions must be an integer >= 0"
        yield Row(function, {"directions": (entry,)}, must, repr(entry), STATIC.format(0))


def optimisers(function):
    """What cannot train, and hyperparameters that are not where they should be."""
    must, remedy = (
        "optimizer must be an optax.GradientTransformation",
        "Pass for instance optax.adam(0.001).",
    )
    for x, got in ((0.1, "float"), (optax.adam, "function"), ("adam", "str")):
        yield Row(function, {"optimizer": x}, must, got, remedy)
    must, remedy = "hyperparameters must be a dict", "Write for instance {'b1': 0.9}."
    yield Row(function, {"hyperparameters": [1.0]}, must, "list", remedy)
    must, remedy = "learning_rate must be given once", "Leave out one of them."
    bad = {"learning_rate": 0.1, "hyperparameters": {"learning_rate": 0.1}}
    yield Row(function, bad, must, "it, and an entry of hyperparameters", remedy)
    must = "hyperparameters (and learning_rate) must be injected into the optimiser"
    remedy = "Make it as in optax.inject_hyperparams(optax.adam)(learning_rate=0.001)."
    bad = {"hyperparameters": {"b1": 0.9}}
    yield Row(function, bad, must, "b1 where it has learning_rate", remedy)
    scheduled = optax.inject_hyperparams(optax.sgd)(lambda step: 0.1)
    for optimizer in (optax.adam(0.1), scheduled):
        bad = {"optimizer": optimizer, "learning_rate": 0.1}
        yield Row(function, bad, must, "learning_rate where it has none", remedy)
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
    bad = {"optimizer": adam, "hyperparameters": {"b1": INF}}
    remedy = "Check for NaN, or for a value beyond the range of the dtype."
    yield Row(function, bad, "b1 must be finite", "inf", remedy)
    must = "carry must be that of a run with this optimiser, batch and dtype"
    remedy = "Pass Trajectory.carry of the call that this one continues, or nothing."
    for x, got in ((3, "int"), ({}, "dict")):
        yield Row(function, {"carry": x}, must, got, remedy)


def results():
    def of(*status):
        return {"trajectory": Trajectory(None, None, None, np.array(status, np.int8), None)}

    yield from counts("status_message", "code", 0)
    existing = "Those that exist: [0, 1, 2, 3]."
    yield Row("status_message", {"code": 4}, "code must be a status", "4", existing)
    function = "raise_on_divergence"
    remedy = "Pass what simulate_pairs or simulate_matrices returned."
    for x, got in ((None, "NoneType"), (0, "int"), ("OK", "str"), ((1, 2, 3, 4, 5), "tuple")):
        yield Row(function, {"trajectory": x}, "trajectory must be a Trajectory", got, remedy)
    bad = {"trajectory": Trajectory(0, 0, 0, Traced(np.int8(0)), None)}
    must = "trajectory must have concrete values"
    remedy = "Return the trajectory and look at it there, or carry its status along."
    yield Row(function, bad, must, "a traced status", remedy)
    invalid = status_message(INVALID_INPUT)
    yield Row(function, of(OK, DIVERGED, INVALID_INPUT), "1 of 3 members", "index (2,)", invalid)
    lost = status_message(DIVERGED)
    bad = of([OK, DIVERGED], [DIVERGED, OK])
    got = "index (0, 1)"
    yield Row(function, bad, "2 of 4 members", got, lost, error=FloatingPointError)


def draws():
    for function in ("initial.small", "initial.aligned"):
        yield from seeds(function)
        yield from requested(function)
        yield from counts(function, "num_directions", 1, optional=function == "initial.small")
        yield from counts(function, "hidden", 1, optional=function == "initial.small")
    function = "initial.small"
    yield from values(function, "std", NON_NEGATIVE)
    yield from numbers(function, "std")
    bad = {"seed": [0, 1], "std": np.ones(3)}
    yield Row(function, bad, "shapes must broadcast together", "seed (2,), std (3,)", FITTING)
    bad = {"hidden": 2, "num_directions": None}
    got = "hidden = 2, num_directions = None"
    remedy = "Pass num_directions = D for matrices (H, D) and (D, H)."
    yield Row(function, bad, "hidden needs num_directions", got, remedy)
    function = "initial.aligned"
    served = "must have min(H, D) = 2 entries on its last axis"
    for argument in ("a", "b"):
        yield from numbers(function, argument)
        yield unfit(function, "shape (3,)", SERVED, f"{argument} {served}", **{argument: 3})
        yield unfit(function, "shape ()", SERVED, f"{argument} {served}", **{argument: ()})
    yield unfit(function, "a (4,), b (5,)", a=(4, 2), b=(5, 2))
    bad = {"seed": [0, 1, 2], "a": np.ones((4, 2))}
    yield Row(function, bad, "shapes must broadcast together", "seed (3,), a (4,)", FITTING)
    for kind, (_, name) in NOISES.items():
        for function in (f"noise.{kind}.sample", f"noise.{kind}.variance"):
            yield from values(function, "value", NON_NEGATIVE, name)
            yield from numbers(function, "value", name)
        function = f"noise.{kind}.sample"
        yield from keys(function)
        yield from requested(function)
        for x in (3, None, "ab"):
            bad, remedy = {"shape": x}, "Write (n,) for n values."
            yield Row(function, bad, "shape must be a tuple", repr(x), remedy)
        for x, got in ((-1, "-1"), (1.5, "1.5"), (True, "True"), (Traced(3), "Trac")):
            must = "each length in shape must be an integer >= 0"
            yield Row(function, {"shape": (2, x)}, must, got, STATIC.format(0))
        within = f"{name} must broadcast to the shape of the draw"
        remedy = "Ask for a shape that includes its axes."
        yield Row(function, {"value": np.ones(3), "shape": (3, 1)}, within, f"{name} (3,)", remedy)
        yield Row(function, {"value": np.ones(3), "shape": ()}, within, f"{name} (3,)", remedy)
        bad = {"value": np.ones(3)}
        must = "shapes must broadcast together"
        yield Row(function, bad, must, f"{name} (3,), shape (2,)", FITTING)


def spectra():
    for function, name in (("from_data", "x"), ("from_second_moment", "second_moment")):
        function = f"Spectrum.{function}"
        yield from numbers(function, name, tracing=False)
        traced = Traced(np.ones((3, 3), np.float32))
        must, remedy = f"{name} must have concrete values", "Call this outside jit and vmap."
        # A tracer is refused whatever it holds.
        yield Row(function, {name: traced}, must, "a traced array", remedy)
        for shape in ((), (3,), (2, 2, 2)):
            remedy = "Reshape it to (num_samples, num_features)."
            bad = {name: np.ones(shape)}
            yield Row(function, bad, f"{name} must be 2-D", f"shape {shape}", remedy)
        for shape in ((0, 3), (3, 0)):
            must = f"{name} must have at least one row and one column"
            bad = {name: np.ones(shape)}
            yield Row(function, bad, must, f"shape {shape}", "Check how it was selected.")
        for x in (NAN, INF, -INF):
            bad = {name: np.array([[1.0, 0.0], [0.0, x]])}
            remedy = "Remove or fill in missing values first."
            got = f"{x} at row 1, column 1"
            yield Row(function, bad, f"{name} must be finite", got, remedy)
    bad = {"x": np.array([[NAN, 2.0]]), "center": True}
    remedy = "Remove or fill in missing values first."
    yield Row("Spectrum.from_data", bad, "x must be finite", "nan at row 0, column 0", remedy)
    bad = {"x": np.full((2, 2), 1e200)}
    must = "the second moment must be representable in float"
    yield Row("Spectrum.from_data", bad, must, "an overflow", "Rescale the data.")
    function, name = "Spectrum.from_second_moment", "second_moment"
    must, remedy = "second_moment must be square", "Pass X^T X / N."
    yield Row(function, {name: np.ones((2, 3))}, must, "shape (2, 3)", remedy)
    must, remedy = (
        "second_moment must be symmetric",
        "Pass X^T X / N, or (M + M^T)/2 if that is meant.",
    )
    got = "1.0 and 0.5 at (0, 1) and mirrored"
    yield Row(function, {name: np.array([[1, 1], [0.5, 1]])}, must, got, remedy)
    must, remedy = "second_moment must be positive semi-definite", "Pass X^T X / N."
    yield Row(function, {name: np.diag([1, -0.1])}, must, "eigenvalue -0.1", remedy)
    yield from counts(function, "num_samples", 1, optional=True)
    for function in ("Spectrum.rotate", "Spectrum.unrotate"):
        must = "w1 must be (..., H, 3) and w2 (..., 3, H)"
        remedy = "The spectrum's number of directions is the weights' D."
        for first, second in (((3,), (3,)), ((2, 4), (4, 2)), ((2, 3), (3, 4)), ((3, 2), (2, 3))):
            yield unfit(function, f"{first} and {second}", remedy, must, w1=first, w2=second)
        yield from numbers(function, "w1")
        yield from numbers(function, "w2")


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def files():
    """Functions that read or write; what was there is there afterwards."""
    function = "Spectrum.save"
    yield from [*paths(function, "path"), *paths("Spectrum.load", "path")]
    yield Row(function, {"path": None}, "path must be text", "None", "Name a file or folder.")
    must = "path must lie in an existing folder"
    yield Row(function, {"path": "nowhere/s.npz"}, must, "nowhere/s.npz", "Make the folder first.")
    must = "path must be that of a file"
    yield Row(function, {"path": "."}, must, ".", "Add a file's name.")
    function, remedy = "Spectrum.load", "Save the spectrum again."
    for path, got, content in (
        ("s.npz", "no such file", None),
        (".", "no such file", None),
        ("s.npz", "a file that is no complete .npz archive", b"text"),
        ("s.npz", "a file that is no complete .npz archive", npz(x=np.ones(9))[:-1]),
        ("s.npz", "an archive without eigenvalues, eigenvectors", npz(format="", num_samples=1)),
    ):
        must = f"{path} must be a file written by Spectrum.save"
        yield Row(function, {"path": path}, must, got, remedy, {path: content} if content else {})
    yield from loading()


def loading():
    function = "data.load"
    yield from paths_of_root(function)
    must = "data must be 'digits', 'mnist', 'cifar10' or the path of an .npy or .npz file"
    for x in (None, 3, "", "Digits", "x.csv", b"digits", np.ones((2, 2))):
        remedy = "Save other data with numpy.save first."
        yield Row(function, {"name": x}, must, repr(x)[:80], remedy)
    yield Row(function, {"name": "x.npy"}, "data must be a file", "x.npy", "Check the path.")
    bad = {"name": "x.npz", "root": "there"}
    yield Row(function, bad, "data must be a file", "there/x.npz", "Check the path.")
    bad, must = {"root": "."}, "root goes with other data than digits"
    yield Row(function, bad, must, ".", "Name the data set, as in mnist.")
    for x in ("test", None, "", ["train"], np.array(["train", "all"])):
        must = "split must be 'train', 'held_out' or 'all'"
        yield Row(function, {"split": x}, must, repr(x), NAME_ONE)
    yield from counts(function, "num_samples", 1, optional=True)
    must = "num_samples must be at most the rows of split 'train' of digits"
    remedy = "Ask for fewer."
    for n in (1498, 10**30):
        yield Row(function, {"num_samples": n}, must, f"{n} of 1497 rows", remedy)
    mnist = "train-images-idx3-ubyte"
    for root in (".", "nowhere"):
        bad = {"name": "mnist", "root": root}
        must, remedy = "root must hold MNIST's training images", "and pass root=DIR."
        yield Row(function, bad, must, f"{root} without them", remedy)
        bad = {"name": "cifar10", "root": root}
        must = "root must hold CIFAR-10's binary version"
        yield Row(function, bad, must, f"{root} without data_batch_1.bin", remedy)
    again, foreign = "Get the file again.", f"The file wanted is MNIST's {mnist}."
    batch, write = "data_batch_2.bin", "Write it again with numpy.save."
    whole = "must be whole and of the format expected"
    for name, path, content, must, got, remedy in (
        ("mnist", mnist, bytes(3), whole, "a file of 3 bytes", again),
        ("mnist", mnist, bytes(16), whole, "the header 00000000", foreign),
        ("mnist", f"{mnist}.gz", b"<html>", whole, "a damaged gzip file", again),
        ("cifar10", batch, bytes(5), whole, "5 bytes, not a multiple of 3073", again),
        ("cifar10", batch, b"\n" + bytes(3072), whole, "a label 10", again),
        ("x.npy", "x.npy", b"1,2,3", whole, "a file that begins with b'1,2,3'", "with numpy.save."),
        ("x.npy", "x.npy", npy(np.ones((9, 2)))[:-1], whole, "", write),
        ("x.npz", "x.npz", b"1,2,3", whole, "a file that is no complete", "with numpy.savez."),
        ("x.npz", "x.npz", npz(a=1, b=2), "must hold one array", "arrays a, b", "by itself."),
        ("x.npy", "x.npy", npy(np.ones(9)), "must be 2-D", "shape (9,)", "num_features)."),
        ("x.npy", "x.npy", npy(np.ones((0, 9))), "at least one row", "shape (0, 9)", "selected."),
        ("x.npy", "x.npy", npy(np.ones((9, 2)) * 1j), "real numbers", "complex128", "Convert it."),
        ("x.npy", "x.npy", npy(np.full((6, 2), NAN)), "finite", "nan at row 0", "values first."),
        (
            "x.npy",
            "x.npy",
            npy(np.ones((1, 2))),
            "must have rows",
            "0 rows of 1",
            "Load another split.",
        ),
    ):
        bad = {"name": name, "root": "."}
        yield Row(function, bad, must, got, remedy, {path: content})


def paths_of_root(function):
    for name in ("mnist", "x.npy"):
        for row in paths(function, "root"):
            yield row._replace(bad={**row.bad, "name": name})


def main_job():
    """The arguments of the main job, which the two share; `out` is checked first."""
    default = "Leave it out for the default."
    for function in ("reproduce.prepare", "reproduce.reproduce"):
        for argument in ("num_samples", "hidden", "num_steps"):
            must = f"{argument} must be a whole number >= 1"
            for x in (0, -1, 1.5, True, "3", NAN, [3]):
                yield Row(function, {argument: x}, must, repr(x), default)
            bad, must = {argument: 2**31}, f"{argument} must be below 2^31"
            yield Row(function, bad, must, "2147483648", default)
        for argument, least, bad in (
            ("noise", ">= 0", ()),
            ("decay", ">= 0", ()),
            ("learning_rate", "> 0", (0, 0.0, 1e-60)),
            ("init_std", "> 0", (0, 0.0, 1e-60)),
        ):
            must = f"{argument} must be a finite number {least}"
            for x in (-1, -1e-9, NAN, INF, -INF, 1e60, 10**400, True, "0.1", 1j, [0.1], *bad):
                yield Row(function, {argument: x}, must, repr(x), default)
        for x in ("large", "", None, 3, np.array(["small", "aligned"])):
            must = "init must be small or aligned"
            yield Row(function, {"init": x}, must, repr(x), NAME_ONE)
        for x in (-1, 2**32, 1.5, True, "0", None, [0]):
            must = "seed must be a whole number in [0, 2^32)"
            yield Row(function, {"seed": x}, must, repr(x), "Pass for instance 0.")
        for x in (0, (), "", "1,b", "1,2,", (0, 1), (2, 2), (1.5,), (True,), 3, [None]):
            must = "directions must be different whole numbers >= 1"
            yield Row(function, {"directions": x}, must, repr(x), "Pass them as 1,2,4.")
        must = "directions must be at most min(hidden, inputs) = 32"
        remedy = "Ask for fewer, or for more hidden units."
        for x, got in (((1, 33), "33"), ("99999999999999999999", "99999999999999999999")):
            yield Row(function, {"directions": x}, must, got, remedy)
        bad, must = {"hidden": 99, "directions": (65,)}, "directions must be at most min(hidden,"
        yield Row(function, bad, must, "65", remedy)
        for x in (1, 0, "yes", None, np.ones(2)):
            must = "float64 must be True or False"
            yield Row(function, {"float64": x}, must, repr(x), "Pass a bool.")
        for x in (None, 3, "", "Digits", np.ones((2, 2))):
            remedy = "Save other data with numpy.save first."
            yield Row(function, {"data": x}, "data must be 'digits'", repr(x)[:80], remedy)
        bad, remedy = {"root": "."}, "Name the data set, as in mnist."
        yield Row(function, bad, "root goes with other data than digits", ".", remedy)
        yield Row(function, {"data": "mnist", "root": "."}, "root must hold", ". without", "DIR.")
        for row in paths(function, "root"):
            yield row._replace(bad={**row.bad, "data": "mnist"})
        flat = {"x.npy": npy(np.zeros((6, 2)))}
        must = "data must have a second moment that is neither 0 nor beyond float32"
        got = "largest eigenvalue 0"
        yield Row(function, {"data": "x.npy"}, must, got, "Rescale the data.", flat)
        high, must = {"x.npy": npy(np.full((6, 2), 1e200))}, "data must lie within float32"
        got = "a value of size 1e+200"
        yield Row(function, {"data": "x.npy"}, must, got, "Rescale the data.", high)
    there = {"file": b"text"}
    writers = ("reproduce.reproduce", "reproduce.check_out", "reproduce.Reproduction.save")
    for function in (*writers, "files.check_folder"):
        yield from paths(function, "out")
        for x, got in (("file", "file (File exists)"), ("n" * 300, "n" * 300)):
            must = "out must be a folder one can write"
            yield Row(function, {"out": x}, must, got, "Name another folder.", there)
        got = "file/below (Not a directory)"
        yield Row(function, {"out": "file/below"}, must, got, "Name another folder.", there)


def benchmarks():
    """The suite; where its results go is looked at first."""
    function, remedy = "bench.run", "Name some of pairs, matrices, theory, curvature, start."
    for x in ("pairs", (), None, 3, {"pairs"}):
        yield Row(function, {"names": x}, "names must be a sequence of cases", repr(x), remedy)
    for x in ("all", "", 3, None, ["pairs"]):
        bad = {"names": ["pairs", x]}
        yield Row(function, bad, "each of names must be a case", repr(x), remedy)
    for x in (1, "yes", None):
        yield Row(function, {"quick": x}, "quick must be True or False", repr(x), "Pass a bool.")
    for x in (3, "print"):
        remedy = "Leave it out if unsure."
        yield Row(function, {"show": x}, "show must be a function", repr(x), remedy)
    there = {"file": b"text"}
    for function, argument in (("bench.check_json", "json"), ("bench.save", "json_file")):
        for row in paths(function, argument):
            yield row._replace(what="json must be text or a pathlib.Path")
        must, remedy = "json must be the path of a file", "Name another, as in results.json."
        for x, got in ((".", "."), ("..", ".."), ("/dev/null", "/dev/null"), ("n" * 201, "n" * 60)):
            yield Row(function, {argument: x}, must, got, remedy)
        must = "json must leave .png and .svg to the plot"
        yield Row(function, {argument: "a.png"}, must, "a.png", remedy)
        must, remedy = "json must lie in a folder one can write", "Name another folder."
        got = "file (File exists)"
        yield Row(function, {argument: "file/a.json"}, must, got, remedy, there)


ROWS = [
    *elementwise(),
    *networks(),
    *lanczos(),
    *simulators(),
    *sampled(),
    *compensation(),
    *trained(),
    *results(),
    *draws(),
    *spectra(),
    *files(),
    *main_job(),
    *benchmarks(),
]


def named(row):
    bad = ",".join(f"{n}={x!r}" for n, x in row.bad.items())
    # Without addresses, for the processes that share the tests must name them alike.
    return re.sub(r" at 0x\w+|\s+", "", f"{row.function}-{bad}")[:90]


def arguments_of(row):
    """The good arguments with the bad ones in their places."""
    arguments = dict(CALLS[row.function][1])
    for name, x in row.bad.items():
        name, _, field = name.partition(".")
        arguments[name] = dataclasses.replace(arguments[name], **{field: x}) if field else x
    return arguments


def call(function, arguments):
    """With a tracer wherever one is asked for."""
    leaves, tree = jax.tree.flatten(arguments, is_leaf=lambda x: isinstance(x, Traced))
    places = [i for i, x in enumerate(leaves) if isinstance(x, Traced)]
    if not places:
        return function(**arguments)

    def under_tracing(tracers):
        for i, x in zip(places, tracers, strict=True):
            leaves[i] = x
        function(**jax.tree.unflatten(tree, leaves))

    return jax.make_jaxpr(under_tracing)([leaves[i].like for i in places])


def contents(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_mistake_says_what_got_and_remedy_and_leaves_no_trace(row, tmp_path):
    for name, content in row.files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(row.error) as caught:
        call(CALLS[row.function][0], arguments_of(row))
    assert type(caught.value) is row.error
    message = str(caught.value)
    what, _, rest = message.partition("; got " if "; got " in message else ", ")
    assert row.what in what
    assert row.got in rest
    assert message.endswith(row.remedy)
    assert contents(tmp_path) == row.files
    assert Path.cwd() == tmp_path


# --- what the table leaves out --------------------------------------------------

# Taken as true or false, whatever it is.
ANY = {("reproduce.reproduce", "progress")}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_is_in_the_table(name):
    function, _ = CALLS[name]
    parameters = inspect.signature(function).parameters.values()
    wanted = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} | set(CALLS[name][1])
    wrong = {bad.split(".")[0] for row in ROWS if row.function == name for bad in row.bad}
    assert wanted - wrong == {argument for function, argument in ANY if function == name}


@pytest.mark.both
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_data_whose_squares_overflow_are_refused_in_their_own_dtype(dtype, scale):
    wide = dtype == np.float64 and jax.config.jax_enable_x64
    with pytest.raises(ValueError, match=f"representable in float{64 if wide else 32}; got"):
        Spectrum.from_data(np.full((2, 2), scale, dtype))


ASKING = [
    (lambda dtype: initial.small(0, std=1.0, dtype=dtype).w1),
    (lambda dtype: initial.aligned(0, [1.0], [1.0], 1, 2, dtype=dtype).w1),
    (lambda dtype: noise.Gaussian(1.0).sample(RAW_KEY, (2,), dtype)),
]


@pytest.mark.both
@pytest.mark.parametrize("ask", ASKING)
def test_float64_is_given_or_the_switch_named(ask):
    if jax.config.jax_enable_x64:
        assert ask("float64").dtype == np.float64
        return
    with pytest.raises(ValueError, match=r"needs 64-bit mode; got .*Call jax\.config\.update"):
        ask("float64")


@pytest.mark.parametrize("number", [1e300, 2**1000, np.float64(1e300), [1e300]], ids=repr)
def test_what_float32_cannot_hold_is_infinite(number):
    with pytest.raises(ValueError, match=r"noise must be finite and >= 0; got inf"):
        theory.fixed_point(Problem(1.0, number))


def test_whole_numbers_need_not_fit_an_integer_type():
    assert float(theory.mapping(3_000_000_000, 0.1, 0.1, Problem(1.0, 1.0))) == 0.5
    assert float(theory.fixed_point(Problem(2**70, 2**70))) == 0.5


# --- docstrings -----------------------------------------------------------------

MODULES = {
    "": (simulate_module, spectrum_module, problem_module),
    "theory.": (theory,),
    "losses.": (losses,),
    "curvature.": (curvature,),
    "initial.": (initial,),
    "noise.": (noise,),
    "data.": (data,),
    "files.": (files_module,),
    "reproduce.": (job,),
    "bench.": (bench,),
}
# Nothing can be wrong there.
SAFE = {
    *("Problem.per_direction", "reproduce.as_json"),
    *(f"bench.{name}_text" for name in ("heading", "readme", "result", "summary")),
}
# What these raise comes of a missing library, a full disk or divergence, not of an argument.
UNCHECKED = {
    *("reproduce.compare", "reproduce.draw", "files.write"),
    *("bench.draw", "bench.pictures"),
}


def public():
    """Public functions and classes with their names, methods included."""
    for prefix, modules in MODULES.items():
        for module in modules:
            here = (n for n, x in vars(module).items() if owner(x) == module.__name__)
            for name in getattr(module, "__all__", [n for n in here if not n.startswith("_")]):
                found = getattr(module, name)
                if inspect.isfunction(found) or dataclasses.is_dataclass(found):
                    yield f"{prefix}{name}", found
                if dataclasses.is_dataclass(found):
                    methods = inspect.getmembers(found, inspect.isroutine)
                    own = [(n, m) for n, m in methods if n in vars(found) and n[0] != "_"]
                    yield from ((f"{prefix}{name}.{n}", method) for n, method in own)


def owner(x):
    return getattr(x, "__module__", None)


PUBLIC = dict(public())


def sections(name):
    """The titled parts of a docstring, or of the one that it refers to as a whole."""
    text = inspect.getdoc(PUBLIC[name])
    whole = re.search(r"arguments and errors as `(.*)`", text)
    if whole:
        return sections(f"{name.split('.')[0]}.{whole[1]}")
    parts = re.split(r"^(\w+)\n-+\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_documented_and_no_other(name):
    described = [
        argument.strip()
        for line in sections(name).get("Parameters", "").splitlines()
        if line and not line.startswith(" ")
        for argument in line.split(" : ")[0].split(",")
    ]
    parameters = list(inspect.signature(PUBLIC[name]).parameters)
    assert described == [argument for argument in parameters if argument != "self"]


def test_every_function_says_what_it_raises_and_is_in_the_table():
    functions = {name for name, x in PUBLIC.items() if not inspect.isclass(x)}
    assert len(functions) > 30
    assert {name for name in functions if "Raises" not in sections(name)} == SAFE
    of_properties = {name for name in CALLS if name.endswith(".variance")}
    assert functions - SAFE - UNCHECKED == set(CALLS) - of_properties


# --- the command line -----------------------------------------------------------

WHOLE, NUMBER = "it must be a whole number, not", "it must be a number, not"
FOLDER, OTHER = "must be a folder one can write; got", "Name another folder."
DEFAULT = "Leave it out for the default."
MISSING = "Missing value for argument"
LINES = {
    "": "Missing subcommand: Expected one of {reproduce, figure, sweep, bench}. Try --help.",
    "bogus": "Unrecognized options: bogus Available subcommands: reproduce, figure, sweep, bench. "
    "Try --help.",
    "reproduce bogus": "Unrecognized options: bogus. Try --help.",
    "reproduce --bogus 3": "Unrecognized options: --bogus, 3. Try --help.",
    "reproduce --hiden 3": "Perhaps you meant: --hidden H",
    "reproduce --data": f"{MISSING} '--data'",
    "reproduce --data nothing": "--data must be 'digits', 'mnist', 'cifar10' or the path of an "
    ".npy or .npz file; got 'nothing'. Save other data with numpy.save first.",
    "reproduce --data none.npy": "--data must be a file; got none.npy, which is none. Check",
    "reproduce --data mnist --root .": "--root must hold MNIST's training images; got . without",
    "reproduce --data cifar10 --root no": "(or DIR/cifar-10-batches-bin) and pass --root DIR.",
    "reproduce --root .": "--root goes with other data than digits; got .. Name the data set",
    "reproduce --root": f"{MISSING} '--root'",
    "reproduce --samples 0": f"--samples must be a whole number >= 1; got 0. {DEFAULT}",
    "reproduce --samples 1.5": f"--samples: {WHOLE} '1.5'. Try --help.",
    "reproduce --samples 9999": "--samples must be at most the rows of split 'train' of digits; "
    "got 9999 of 1497 rows. Ask for fewer.",
    "reproduce --hidden": f"{MISSING} '--hidden'",
    "reproduce --hidden x": f"--hidden: {WHOLE} 'x'. Try --help.",
    "reproduce --hidden 0": f"--hidden must be a whole number >= 1; got 0. {DEFAULT}",
    "reproduce --hidden 2147483648": f"--hidden must be below 2^31; got 2147483648. {DEFAULT}",
    "reproduce --noise x": f"--noise: {NUMBER} 'x'. Try --help.",
    "reproduce --noise -1": f"--noise must be a finite number >= 0; got -1.0. {DEFAULT}",
    "reproduce --noise inf": f"--noise must be a finite number >= 0; got inf. {DEFAULT}",
    "reproduce --noise 1e99": f"--noise must be a finite number >= 0; got 1e+99. {DEFAULT}",
    "reproduce --decay none": f"--decay: {NUMBER} 'none'. Try --help.",
    "reproduce --decay nan": f"--decay must be a finite number >= 0; got nan. {DEFAULT}",
    "reproduce --decay -0.1": f"--decay must be a finite number >= 0; got -0.1. {DEFAULT}",
    "reproduce --learning-rate 0,1": f"--learning-rate: {NUMBER} '0,1'. Try --help.",
    "reproduce --learning-rate 0": "--learning-rate must be a finite number > 0; got 0.0. Leave",
    "reproduce --learning-rate -inf": "--learning-rate must be a finite number > 0; got -inf.",
    "reproduce --steps 5e3": f"--steps: {WHOLE} '5e3'. Try --help.",
    "reproduce --steps -1": f"--steps must be a whole number >= 1; got -1. {DEFAULT}",
    f"reproduce --steps {10**20}": f"--steps must be below 2^31; got {10**20}. {DEFAULT}",
    "reproduce --init": f"{MISSING} '--init'",
    "reproduce --init large": "invalid choice 'large' for argument '--init'. Expected one of "
    "('small', 'aligned'). Try --help.",
    "reproduce --init-std x": f"--init-std: {NUMBER} 'x'. Try --help.",
    "reproduce --init-std 0": f"--init-std must be a finite number > 0; got 0.0. {DEFAULT}",
    "reproduce --seed x": f"--seed: {WHOLE} 'x'. Try --help.",
    "reproduce --seed -1": "--seed must be a whole number in [0, 2^32); got -1. Pass for instance",
    "reproduce --seed 4294967296": "--seed must be a whole number in [0, 2^32); got 4294967296.",
    "reproduce --directions": f"{MISSING} '--directions'",
    "reproduce --directions 0": "--directions must be different whole numbers >= 1; got '0'. Pass",
    "reproduce --directions 1,a": "--directions must be different whole numbers >= 1; got '1,a'.",
    "reproduce --directions 1 2": "Unrecognized options: 2. Try --help.",
    "reproduce --directions 1,40": "--directions must be at most min(hidden, inputs) = 32; got 40."
    " Ask for fewer, or for more hidden units.",
    "reproduce --float64 3": "Unrecognized options: 3. Try --help.",
    "reproduce --out": f"{MISSING} '--out'",
    "reproduce --out file": f"--out {FOLDER} file (File exists). {OTHER}",
    "reproduce --out file/below": f"--out {FOLDER} file/below (Not a directory). {OTHER}",
    "bench bogus": "Unrecognized options: bogus. Try --help.",
    "bench --quick 3": "Unrecognized options: 3. Try --help.",
    "bench --case": f"{MISSING} '--case'",
    "bench --case pairs,start": "invalid choice 'pairs,start' for argument '--case'. Expected one "
    "of ('all', 'pairs', 'matrices', 'theory', 'curvature', 'start'). Try --help.",
    "bench --json": f"{MISSING} '--json'",
    "bench --json .": "--json must be the path of a file; got .. Name another, as in results.json.",
    "bench --json file/a.json": "--json must lie in a folder one can write; got file (File exists)."
    f" {OTHER}",
}


@pytest.mark.parametrize(("line", "message"), LINES.items(), ids=list(LINES))
def test_on_the_command_line_a_mistake_is_one_line_and_code_2(line, message, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lindae: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert contents(tmp_path) == {"file": b""}


def test_every_option_is_in_the_table():
    commands = (cli.reproduce, cli.bench)
    names = {name for command in commands for name in inspect.signature(command).parameters}
    options = {name.replace("_", "-") for name in names}
    assert options <= set(re.findall(r"--([\w-]+)", " ".join(LINES)))


def test_as_a_process_there_is_no_traceback_either(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "lindae_jax.cli", "reproduce", "--hidden", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lindae: error: {LINES['reproduce --hidden 0']}\n"
    assert contents(tmp_path) == {}
