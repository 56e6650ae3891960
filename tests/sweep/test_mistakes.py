"""Every key of a sweep times every way of being wrong: what is said; nothing is written."""

import copy
import dataclasses
import datetime
import inspect
import re
import tomllib
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import Spectrum, Sweep, Weights
from lindae_jax.sweep import OBSERVABLES, toml
from lindae_jax.sweep.parameters import KINDS

INF, NAN = float("inf"), float("nan")
DAY = datetime.date(2018, 7, 10)


class Row(NamedTuple):
    """A mistake: what is changed in a good sweep, the message's parts.

    The message begins with the key. It is the same for a sweep written in Python and one
    written in TOML, wherever TOML can say it.
    """

    sweep: str
    bad: dict[str, Any]
    key: str
    what: str
    got: str
    remedy: str
    ways: tuple[str, ...] = ("python", "toml")


# --- good sweeps ----------------------------------------------------------------

SPECTRUM = Spectrum(np.array([3.0, 2.0, 1.0], np.float32), np.eye(3, dtype=np.float32))
WEIGHTS = Weights(np.full((2, 3), 0.1), np.full((3, 2), 0.1))
START = {"init_w1": 0.1, "init_w2": 0.1}
GOOD = {
    "pairs": {"axes": {"eigenvalue": [1.0, 2.0], "noise": [0.0, 0.1], **START}, "num_steps": 5},
    "small": {"axes": {"eigenvalue": 1.0, "seed": [0, 1]}, "num_steps": 5, "init": "small"},
    "aligned": {"axes": {"eigenvalue": 1.0}, "num_steps": 5, "init": "aligned"},
    "matrices": {
        "axes": {"hidden": [2, 3]},
        "num_steps": 5,
        "model": "matrices",
        "spectrum": SPECTRUM,
    },
    "network": {
        "axes": {"noise": [0.0, 0.1]},
        "num_steps": 5,
        "model": "matrices",
        "init": "given",
        "spectrum": SPECTRUM,
        "weights": WEIGHTS,
    },
    "theory": {
        "axes": {"eigenvalue": [1.0, 2.0], **START},
        "times": [0.0, 1.0],
        "model": "theory",
    },
}
# What these are in a file.
AS_WRITTEN = {id(SPECTRUM): {"file": "spectrum.npz"}, id(WEIGHTS): "weights.npz"}


class Missing:
    """Stands for a key that is left out."""

    def __repr__(self):
        return "missing"


# --- ways of being wrong that many keys share --------------------------------------

NON_NEGATIVE = (
    "must be finite and >= 0",
    "Check for NaN or a sign error.",
    (-1, -1e-9, -INF, INF, NAN),
)
POSITIVE = (
    "must be finite and > 0",
    "Pass a positive number; theory.optimal_learning_rate gives a safe one.",
    (0, 0.0, -1, -INF, INF, NAN),
)
SIZE = (
    "must be finite and > 0",
    "Check for NaN, zero or a sign error.",
    (0, 0.0, -1, -INF, INF, NAN),
)
FINITE = (
    "must be finite",
    "Check for NaN, or for a value beyond the range of the dtype.",
    (-INF, INF, NAN),
)
RULES = {
    "eigenvalue": NON_NEGATIVE,
    "noise": NON_NEGATIVE,
    "decay": NON_NEGATIVE,
    "learning_rate": POSITIVE,
    "init_w1": FINITE,
    "init_w2": FINITE,
    "init_std": SIZE,
}
RANGE = "must be 0 or between {} in size, the range of {}"
SINGLE = RANGE.format("1.2e-38 and 3.4e+38", "float32")
DOUBLE = RANGE.format("2.2e-308 and 1.8e+308", "float64")
WIDER = 'Rescale it, or pass dtype = "float64".'
AN_AXIS = "A list makes it an axis of the grid."
NAME_ONE = "Name one of them."
# Neither numbers nor lists of them; the first can be written in TOML.
NO_NUMBERS = (
    *("1", ["1"], True, [True], [1, True], [1.0, False], [1, "a"], DAY, [DAY]),
    *([[1.0], [1.0, 2.0]], [1.0, [2.0]]),
    *(None, [None], 1j, b"1", {1, 2}, np.array(["a"]), np.array(["2018-07-10"], "M8[D]")),
    *(jnp.ones(2, jnp.bfloat16), np.ones(2, bool), [1.0, np.True_]),
)


def shown(x):
    """As a message shows a value."""
    text = " ".join(repr(x).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def axis(sweep, name):
    """What no parameter of real numbers can be."""
    key = f"axes.{name}"
    yield from no_list(sweep, key)
    must, remedy, forbidden = RULES[name]
    for x in forbidden:
        yield Row(sweep, {key: x}, key, must, f"{float(x)}", remedy)
        got = f"{float(x)} at index (1,) (1 of 2 values)"
        yield Row(sweep, {key: [1.5, x]}, key, must, got, remedy)
    yield Row(sweep, {key: 10**400}, key, must, "inf", remedy)
    yield Row(sweep, {key: np.array([1.5, INF], np.float32)}, key, must, "inf at", remedy)
    for x in (1e39, 1e-50, 1e-39, 10**39):
        yield Row(sweep, {key: x}, key, SINGLE, f"{x:g}", WIDER)
        yield Row(sweep, {key: [0.5, x]}, key, SINGLE, f"{x:g}", WIDER)
    bad = {key: 1e-310, "dtype": "float64"}
    yield Row(sweep, bad, key, DOUBLE, "1e-310", "Rescale it.")
    if must == FINITE[0]:
        yield Row(sweep, {key: -1e39}, key, SINGLE, "1e+39", WIDER)


def no_list(sweep, key):
    must = "must be a number or a list of numbers"
    for x in NO_NUMBERS:
        yield Row(sweep, {key: x}, key, must, shown(x), AN_AXIS)
    for shape in ((1, 2), (2, 1), (0, 3), (1, 1, 1)):
        yield Row(sweep, {key: np.ones(shape)}, key, must, f"shape {shape}", AN_AXIS)
    yield Row(sweep, {key: [[1.0, 2.0]]}, key, must, "shape (1, 2)", AN_AXIS)
    for x in ({}, {"a": 1}):
        yield Row(sweep, {key: x}, key, must, repr(x), AN_AXIS, ways=("python",))
    one = "Pass at least one."
    for x in ([], np.ones(0)):
        yield Row(sweep, {key: x}, key, "must have a value", "an empty list", one)


def whole_axis(sweep, name, least, most):
    """What no parameter of integers can be."""
    key = f"axes.{name}"
    yield from no_list(sweep, key)
    must, remedy = f"must be integers from {least} to {most}", "Write whole numbers, without"
    for x in (least - 1, -5, most + 1, 2.5, 2.0, NAN, INF, 1e39, 2**70, 10**400, np.float32(2)):
        got = f"{np.float64(INF if x == 10**400 else x)}" if isinstance(x, float) else f"{x}"
        got = {2**70: f"{2.0**70}", 10**400: "inf"}.get(x, got)
        yield Row(sweep, {key: x}, key, must, got, remedy)
        yield Row(sweep, {key: [3, x]}, key, must, "", remedy)


def counts(sweep, key, least):
    must, remedy = f"must be an integer >= {least}", f"Pass an integer >= {least}."
    wrong = (least - 1, -5, 1.5, 2.0, NAN, INF, True, "3", "", [3], [], {}, {"a": 1}, DAY, 1j)
    for x in (*wrong, np.ones(2), np.array([3, 4]), 1e300, -(10**400)):
        yield Row(sweep, {key: x}, key, must, shown(x), remedy)


def choices(sweep, key, words):
    wrong = ("Pairs", "", 3, 1.5, NAN, True, False, [], ["pairs"], {}, {"a": 1}, DAY, b"pairs")
    for x in (*wrong, np.array(["pairs", "theory"]), np.ones((2, 2)), 10**400):
        yield Row(sweep, {key: x}, key, f"must be {words}", shown(x), NAME_ONE)


# --- the table ------------------------------------------------------------------


def axes():
    for name in ("eigenvalue", "noise", "decay", "learning_rate", "init_w1", "init_w2"):
        yield from axis("pairs", name)
    for sweep in ("small", "aligned"):
        yield from axis(sweep, "init_std")
    yield from whole_axis("small", "seed", 0, 2**32 - 1)
    yield from whole_axis("matrices", "seed", 0, 2**32 - 1)
    yield from whole_axis("matrices", "hidden", 1, 2**31 - 1)
    yield from names()
    must, got = "must be that of weights", "3 for w1 (2, 3)"
    yield Row("network", {"axes.hidden": 3}, "axes.hidden", must, got, "Leave it out.")
    got = "[2 3] for w1 (2, 3)"
    yield Row("network", {"axes.hidden": [2, 3]}, "axes.hidden", must, got, "Leave it out.")
    must, remedy = "must map parameters to values", 'Write axes={"noise": [0, 0.1]}.'
    for x in (None, 3, NAN, "noise", [], ["noise"], [1.0], True, DAY, np.ones(2)):
        kind = type(x).__name__
        yield Row("pairs", {"axes": x}, "axes", must, kind, remedy, ways=("python",))


def names():
    """Parameters that are unknown, missing, or not of this model with this start."""
    common = "noise, decay, learning_rate"
    of = {
        "pairs": ("'pairs' with init = 'given'", f"eigenvalue, {common}, init_w1, init_w2"),
        "small": ("'pairs' with init = 'small'", f"eigenvalue, {common}, seed, init_std"),
        "aligned": ("'pairs' with init = 'aligned'", f"eigenvalue, {common}, init_std"),
        "theory": ("'theory' with init = 'given'", f"eigenvalue, {common}, init_w1, init_w2"),
        "matrices": ("'matrices' with init = 'small'", f"{common}, hidden, seed, init_std"),
        "network": ("'matrices' with init = 'given'", f"{common}, hidden"),
    }
    for sweep, (model, known) in of.items():
        unknown = ["nosie", "", "Noise", "w1", "lambda", *KINDS]
        for name in [name for name in unknown if name not in known.split(", ")]:
            must = f"must be a parameter of model = {model}"
            bad, key = {f"axes.{name}": 1.0}, f"axes.{name}"
            yield Row(sweep, bad, key, must, repr(name), f"Those are {known}.")
    bad = {"axes": {1: 2.0}}
    yield Row("pairs", bad, "axes.1", "must be a parameter", "1", "init_w2.", ways=("python",))
    needed = {
        "pairs": ("eigenvalue", "init_w1", "init_w2"),
        "small": ("eigenvalue",),
        "aligned": ("eigenvalue",),
        "theory": ("eigenvalue", "init_w1", "init_w2"),
        "matrices": ("hidden",),
    }
    remedy = "Pass a number or a list of numbers."
    for sweep, missing in needed.items():
        for name in missing:
            must = f"must be given for model = {of[sweep][0]}"
            bad, key = {f"axes.{name}": Missing()}, f"axes.{name}"
            yield Row(sweep, bad, key, must, "nothing", remedy)
        yield Row(sweep, {"axes": {}}, f"axes.{missing[0]}", must, "nothing", remedy)
    bad, key = {"init": "aligned"}, "axes.init_w1"
    yield Row("pairs", bad, key, "must be a parameter of", "'init_w1'", "init_std.")
    bad, key = {"model": "theory", "init": "small"}, "axes.init_w1"
    yield Row("pairs", bad, key, "must be a parameter of", "'init_w1'", "seed, init_std.")


def links():
    key, write = "linked.both", 'Write linked={"strength": ["noise", "decay"]}.'
    two = {"axes.decay": [0.0, 0.1]}
    wrong = ("noise", [], ["noise"], ["noise", "noise"], [1, 2], [["noise"]], 3, NAN, True, DAY)
    for x in (*wrong, {"noise": "decay"}, None, {"noise"}, np.array(["noise", "decay"])):
        must = "must list two parameters or more"
        yield Row("pairs", {**two, key: x}, key, must, shown(x), write)
    must = "must name parameters with a list of values"
    for name in ("init_w1", "learning_rate", "nosie", "hidden", "both"):
        remedy = f"Give axes.{name} such a list, or take it out."
        yield Row("pairs", {**two, key: ["noise", name]}, key, must, repr(name), remedy)
    bad = {"axes.decay": [0.0, 0.1, 0.2], key: ["noise", "decay", "eigenvalue"]}
    must, got = "must name parameters with equally many", "noise 2, decay 3, eigenvalue 2"
    yield Row("pairs", bad, key, must, got, "They move together, value by value.")
    bad = {**two, "linked": {"one": ["noise", "decay"], "two": ["eigenvalue", "noise"]}}
    must = "must name parameters that move along one axis only"
    got, remedy = "'noise', which is in linked.one too", "Take it out of one of them."
    yield Row("pairs", bad, "linked.two", must, got, remedy)
    taken = [*KINDS, *OBSERVABLES, "step", "t", "end", "direction", "unit", "input", "status"]
    taken += ["w1", "w2", "final_w1", "final_w2", "direction_eigenvalue"]
    for name in (*taken, "", "a b", "1", "a.b", "a/b", "../b", "a-b"):
        bad, key = {**two, "linked": {name: ["noise", "decay"]}}, f"linked.{name}"
        remedy = "Take another, which no parameter and no result has."
        yield Row("pairs", bad, key, "must be a name of its own", repr(name), remedy)
    bad, must = {**two, "linked": {1: ["noise", "decay"]}}, "must be a name of its own"
    yield Row("pairs", bad, "linked.1", must, "1", remedy, ways=("python",))
    for x in (None, 3, NAN, "noise", [], ["noise", "decay"], True, DAY):
        must, got = "must map an axis to parameters", type(x).__name__
        yield Row("pairs", {"linked": x}, "linked", must, got, write, ways=("python",))


def kinds():
    """The model, the start, the dtype."""
    yield from choices("pairs", "model", "'pairs', 'matrices' or 'theory'")
    yield from choices("pairs", "init", "'given', 'small' or 'aligned'")
    yield from choices("matrices", "init", "'given', 'small' or 'aligned'")
    yield from choices("pairs", "dtype", "'float32' or 'float64'")
    for x in (np.float32, "float16", "bfloat16", "single", None):
        must = "must be 'float32' or 'float64'"
        yield Row("pairs", {"dtype": x}, "dtype", must, shown(x), NAME_ONE)
    for x in (1, 0, "yes", "true", None, NAN, [True], {}, DAY, np.True_):
        bad, key = {"keep_weights": x}, "keep_weights"
        yield Row("pairs", bad, key, "must be true or false", shown(x), "Pass one of them.")
    both = "Pass both or neither; pairs have axes.eigenvalue."
    for sweep, bad in (
        ("matrices", {"spectrum": Missing()}),
        ("pairs", {"spectrum": SPECTRUM}),
        ("theory", {"spectrum": SPECTRUM}),
        ("pairs", {"model": "matrices"}),
        ("matrices", {"model": "pairs"}),
        ("matrices", {"model": "theory"}),
    ):
        without = isinstance(bad.get("spectrum"), Missing) or bad == {"model": "matrices"}
        got = f"{'no' if without else 'a'} spectrum"
        yield Row(sweep, bad, "spectrum", "goes with model = 'matrices'", got, both)
    three = "Pass all three, or leave weights out."
    for sweep, bad, got in (
        ("matrices", {"init": "given"}, "init = 'given', weights missing"),
        ("matrices", {"weights": WEIGHTS}, "init = 'small', weights given"),
        ("pairs", {"weights": WEIGHTS}, "model = 'pairs', init = 'given', weights given"),
        ("network", {"init": Missing()}, "init = 'small', weights given"),
        ("network", {"init": "aligned"}, "init = 'aligned', weights given"),
    ):
        must = "goes with model = 'matrices' and init = 'given'"
        yield Row(sweep, bad, "weights", must, got, three)


def saves():
    yield from counts("pairs", "num_steps", 0)
    yield from counts("matrices", "num_steps", 0)
    yield from counts("pairs", "save_every", 1)
    yield from counts("pairs", "save_log", 1)
    beyond = "Steps are counted in int32; continue a longer run from its last weights."
    for x in (2**31, 10**400):
        must = "must be below 2^31"
        yield Row("pairs", {"num_steps": x}, "num_steps", must, shown(x), beyond)
    bad, must = {"num_steps": Missing()}, "must be given"
    yield Row("pairs", bad, "num_steps", must, "nothing", "Pass an integer >= 0.")
    bad = {"times": Missing()}
    remedy = "Pass an integer >= 0, or times."
    yield Row("theory", bad, "num_steps", must, "nothing", remedy)
    for key in ("save_every", "save_log"):
        bad = {key: 1 if key == "save_every" else 2**21, "num_steps": 2**21}
        must, got = "must leave at most 1,048,576 saves", f"{2**21} with num_steps = {2**21}"
        yield Row("pairs", bad, key, must, got, "Save more rarely.")
    for first, second in (
        ("save_every", "save_steps"),
        ("save_every", "save_log"),
        ("save_steps", "save_log"),
    ):
        value = {"save_every": 2, "save_steps": [1], "save_log": 2}
        bad = {first: value[first], second: value[second]}
        must = f"and {second} exclude each other"
        yield Row("pairs", bad, first, must, "both", "Pass one of them.")
    for x in (3, 1.5, NAN, "12", True, DAY, [1.5], [2.0], ["1"], [True], [-1], [[1]], [DAY], [NAN]):
        must, remedy = "must be a list of integers >= 0", "Write [1, 2, 4]."
        yield Row("pairs", {"save_steps": x}, "save_steps", must, shown(x), remedy)
    for x in ({1: 2}, np.array(3), np.ones(2), [None], b"12", np.ones((1, 2), int)):
        yield Row("pairs", {"save_steps": x}, "save_steps", must, shown(x), remedy)
    for x in ([3, 3], [4, 2], [1, 6], [10**30]):
        must = "must increase strictly within [0, num_steps = 5]"
        got, remedy = repr(tuple(x)), "num_steps itself may be left out."
        yield Row("pairs", {"save_steps": x}, "save_steps", must, got, remedy)
    yield from times()


def times():
    key = "times"
    must, remedy = "goes with model = 'theory', in place of", "Leave out one or the other."
    yield Row("pairs", {key: [1.0]}, key, must, "model = 'pairs' and num_steps", remedy)
    yield Row("matrices", {key: [1.0]}, key, must, "model = 'matrices' and num_steps", remedy)
    for other, x in (
        ("num_steps", 3),
        ("save_every", 1),
        ("save_steps", [1]),
        ("save_log", 2),
        ("num_steps", "a"),
    ):
        yield Row("theory", {other: x}, key, must, f"model = 'theory' and {other}", remedy)
    wrong = (1.0, "1", True, DAY, [], ["1"], [True], [0, True], [[0, 1]], [[0], [0, 1]], [DAY])
    for x in (*wrong, np.ones((1, 2)), [None], [1j], np.ones(0)):
        must, remedy = "must be a list of numbers", "Write epochs, as in [0, 10, 100]."
        yield Row("theory", {key: x}, key, must, shown(x), remedy)
    must, remedy, forbidden = NON_NEGATIVE
    for x in forbidden:
        yield Row("theory", {key: [0.0, x]}, key, must, f"{float(x)} at index (1,)", remedy)
    for x in (1e39, 1e-50):
        yield Row("theory", {key: [0.0, x]}, key, SINGLE, f"{x:g}", WIDER)
    for x in ([1, 1], [2, 1], [0.0, 1.0, 1.0 + 1e-9]):
        must, remedy = "must increase strictly in float32", "leave out those that are too close."
        yield Row("theory", {key: x}, key, must, shown(x), remedy)


def observed():
    write = 'Write observe=["mapping"].'
    for x in ("mapping", 3, NAN, True, DAY, None, np.array("mapping")):
        yield Row("pairs", {"observe": x}, "observe", "must be a list of names", shown(x), write)
    known = f"That is {', '.join(OBSERVABLES)}."
    for x in ("bogus", "", "Mapping", "status", 3, True, ["mapping"], DAY, NAN, None):
        bad, must = {"observe": ["loss", x]}, "must list what can be observed"
        yield Row("pairs", bad, "observe", must, shown(x), known)
    bad, must = {"observe": ["distance"]}, "must not hold 'distance' for model = 'theory'"
    remedy = "It compares a simulation with the theory."
    yield Row("theory", bad, "observe", must, "'distance'", remedy)
    must, remedy = "can hold 'first_passage' only with several saves", "interpolates between saves."
    for sweep in ("pairs", "small", "matrices", "network"):
        bad = {"observe": ["first_passage"]}
        yield Row(sweep, bad, "observe", must, "the last step alone", remedy)
    for saves in ({"save_steps": []}, {"save_steps": [10]}):
        bad = {"observe": ["first_passage"], "num_steps": 10} | saves
        yield Row("pairs", bad, "observe", must, "the last step alone", "interpolates between ")
    wrong = (0, 1, 0.0, 1.0, -0.5, 1.5, NAN, INF, "0.5", True, [0.5], {}, DAY, 1e-60, 1 - 1e-12)
    for x in (*wrong, None, 1j, 10**400, np.ones(2)):
        bad, must = {"fraction": x}, "must lie between 0 and 1"
        yield Row("pairs", bad, "fraction", must, shown(x), "Say 0.5.")
    key, must, remedy = "directions", "must be a list of integers >= 1", "Write [1, 2, 4]."
    wrong = (1, 1.5, NAN, "1", True, DAY, [0], [-1], [1.5], [1.0], [True], ["1"], [[1]], [NAN])
    for x in (*wrong, np.array(1), {1: 2}, [None], np.ones(2)):
        yield Row("matrices", {key: x}, key, must, shown(x), remedy)
    must = "must be a list of integers from 1 to 3"
    remedy = "1 is the direction of the largest eigenvalue."
    for x in ([], [4], [1, 10**30]):
        yield Row("matrices", {key: x}, key, must, shown(x), remedy)
    bad = {key: [2, 1, 2]}
    yield Row("matrices", bad, key, "must differ", "(2, 1, 2)", "Name each of them once.")
    for sweep in ("pairs", "theory"):
        must, remedy = "goes with model = 'matrices'", "Leave it out: a pair has one direction."
        yield Row(sweep, {key: [1]}, key, must, f"model = {sweep!r}", remedy)


def arrays():
    """The spectrum and the weights, as objects of Python."""
    here, key, remedy = {"ways": ("python",)}, "spectrum", "Make one with Spectrum.from_data."
    for x in (3, "digits", {"data": "digits"}, np.ones(3), NAN, True, DAY):
        bad, must = {key: x}, "must be a Spectrum"
        yield Row("matrices", bad, key, must, type(x).__name__, remedy, **here)
    for x in (3.0, "abc", [], [[1.0]], [True], [1.0, 2.0], None):
        bad, must = {key: Spectrum(x, np.eye(3))}, "must have a list of eigenvalues, descending"
        yield Row("matrices", bad, key, must, shown(x), remedy, **here)
    for x in (-1.0, NAN, INF):
        bad, (must, remedy, _) = {key: Spectrum([2.0, x], np.eye(2))}, NON_NEGATIVE
        if x != INF:  # which does not descend
            yield Row("matrices", bad, key, must, f"{x} at index (1,)", remedy, **here)
    for x in ([1e39, 1.0], [1.0, 1e-50]):
        bad, got = {key: Spectrum(x, np.eye(2))}, "1e"
        yield Row("matrices", bad, key, SINGLE, got, WIDER, **here)
    key = "weights"
    must = "must be a pair of matrices (H, 3) and (3, H)"
    remedy = "Give both in the eigenbasis; Spectrum.rotate brings them there."
    w1, w2 = WEIGHTS
    for x in (
        3,
        "ab",
        (w1,),
        (w1, w2, w2),
        {"w1": w1},
        True,
        DAY,
        NAN,
        (w1 > 0, w2),
        (w1 * 1j, w2),
    ):
        yield Row("network", {key: x}, key, must, shown(x), remedy, **here)
    for first, second in (
        (w1, w1),
        (w2, w1),
        (w1[0], w2[:, 0]),
        (w1[:0], w2[:, :0]),
        (np.ones((2, 4)), np.ones((4, 2))),
        (w1, np.ones((3, 4))),
    ):
        bad, got = {key: (first, second)}, f"{first.shape} and {second.shape}"
        yield Row("network", bad, key, must, got, remedy, **here)
    must, remedy, _ = FINITE
    for x, got in ((NAN, "nan"), (-INF, "-inf"), (1e39, "inf")):
        wrong = np.where(np.eye(3, 2) > 0, x, 0.1)
        got = f"{got} at index (0, 0) (2 of 6 values)"
        yield Row("network", {key: (w1, wrong)}, key, must, got, remedy, **here)


def written():
    """What only a file can have wrong."""
    here = {"ways": ("toml",)}
    known = sorted(set(inspect.signature(Sweep).parameters))
    for key in ("bogus", "num_step", "Axes", "store", "devices", "_"):
        remedy = f"Those are {', '.join(known)}."
        yield Row(
            "pairs", {key: 1}, key, "must be a key that a sweep has", "another", remedy, **here
        )
    for key in ("num_steps", "save_every", "observe"):
        bad, must, got = {f"axes.{key}": 1}, "must be a parameter", "a setting of the sweep"
        yield Row("pairs", bad, f"axes.{key}", must, got, "Write it above [axes].", **here)
    for key in ("axes", "linked", "spectrum"):
        for x in (3, NAN, "noise", [], [1], True, DAY):
            sweep = "matrices" if key == "spectrum" else "pairs"
            yield Row(sweep, {key: x}, key, "must be a table", shown(x), f"Write [{key}].", **here)
    for key, sweep in (("axes.noise", "pairs"), ("times", "theory"), ("save_steps", "pairs")):
        for x in ({}, {"a": 1}, {"arange": [3]}, {"linspace": [0, 1, 2], "range": [3]}):
            must, got = (
                "must have one of linspace, geomspace, range",
                ", ".join(x) or "an empty table",
            )
            remedy = "Write { linspace = [0, 1, 11] }, or a list."
            yield Row(sweep, {key: x}, key, must, got, remedy, **here)
    for name in ("linspace", "geomspace"):
        key = f"axes.noise.{name}"
        wrong = (3, "a", [], [0, 1], [0, 1, 2, 3], ["a", 1, 2], [True, 1, 2], [0, 1, [2]], DAY, {})
        for x in wrong:
            must, remedy = "must be first, last and number", f"Write {{ {name} = [0.1, 1, 10] }}."
            yield Row("pairs", {key: x}, key, must, shown(x), remedy, **here)
        for x in ([1, 2, 2.5], [1, 2, -1], [1, 2, 10**15], [1, 2, 10**30], [1, 10**400, 3]):
            must, remedy = "must give values", f"See numpy.{name}."
            yield Row("pairs", {key: x}, key, must, shown(x), remedy, **here)
    key = "axes.noise.range"
    for x in (3, "a", [], [0, 1, 2, 3], [0.5], [0, 1e3], [True], ["a"], [NAN], DAY):
        must, remedy = "must be one to three integers", "Write { range = [0, 10] }."
        yield Row("pairs", {key: x}, key, must, shown(x), remedy, **here)
    for x in ([0, 10, 0], [10**18], [10**30]):
        yield Row("pairs", {key: x}, key, "must give values", shown(x), "See numpy.arange.", **here)
    bad = {"axes.noise.geomspace": [0, 1, 3]}
    yield Row("pairs", bad, *("axes.noise.geomspace", "must give values"), "zero", "ace.", **here)
    for x, many in (({"range": [0, 10**12]}, "12"), ({"linspace": [0, 1, 10**9]}, "9")):
        (name, _), short = *x.items(), f"1{',000' * (int(many) // 3)} of them, at most"
        bad = {"axes.noise": x}
        yield Row("pairs", bad, f"axes.noise.{name}", "must give values", short, "numpy", **here)
    # Well written, but their values are not allowed.
    key, none, (must, remedy, _) = "axes.noise", "Pass at least one.", NON_NEGATIVE
    for x in ({"linspace": [0, 1, 0]}, {"range": [0]}, {"range": [3, 1]}):
        yield Row("pairs", {key: x}, key, "must have a value", "an empty list", none, **here)
    for x in ({"linspace": [0, -1, 3]}, {"linspace": [0, INF, 3]}, {"range": [-1, 1]}):
        yield Row("pairs", {key: x}, key, must, "at index", remedy, **here)
    bad, must = {"axes.seed": {"linspace": [0, 9, 10]}}, "must be integers from 0 to 4294967295"
    yield Row("small", bad, "axes.seed", must, "0.0", "without a point.", **here)
    yield from data_files(here)


def data_files(here):
    key, must = "spectrum", "must have data, with what goes with it, or file"
    for x in (
        {},
        {"num_samples": 3},
        {"data": "digits", "file": "s.npz"},
        {"file": "s", "root": "."},
    ):
        got, remedy = ", ".join(x) or "an empty table", 'Write data = "digits".'
        yield Row("matrices", {key: x}, key, must, got, remedy, **here)
    named = (
        ("bogus", 1, "must be a key that spectrum has", "another", "split, center, file."),
        ("data", 3, "must be 'digits', 'mnist', 'cifar10'", "3", "numpy.save first."),
        ("data", "bogus", "must be 'digits', 'mnist', 'cifar10'", "'bogus'", "numpy.save first."),
        ("data", ["digits"], "must be 'digits',", "['digits']", "numpy.save first."),
        ("data", "none.npy", "must be a file", "none.npy, which is none", "Check the path."),
        ("root", "there", "goes with other data than digits", "there", "as in mnist."),
        ("root", 3, "must be a path", "3", "Write it in quotes."),
        ("center", 1, "must be true or false", "1", "Pass one of them."),
        ("center", "yes", "must be true or false", "'yes'", "Pass one of them."),
        ("split", "bogus", "must be 'train', 'held_out' or 'all'", "'bogus'", NAME_ONE),
        ("split", DAY, "must be 'train', 'held_out' or 'all'", repr(DAY), NAME_ONE),
        ("num_samples", 0, "must be an integer >= 1", "0", "Pass an integer >= 1."),
        ("num_samples", 1.5, "must be an integer >= 1", "1.5", "Pass an integer >= 1."),
        ("num_samples", True, "must be an integer >= 1", "True", "Pass an integer >= 1."),
        ("num_samples", 9999, "must be at most the rows", "9999 of 1497 rows", "Ask for fewer."),
    )
    for name, x, what, got, remedy in named:
        bad = {key: {"data": "digits", name: x}}
        yield Row("matrices", bad, f"{key}.{name}", what, got, remedy, **here)
    key, remedy = "spectrum.file", "Save the spectrum again."
    for path, got in (
        ("none.npz", "no such file"),
        ("weights.npz", "an archive without"),
        ("text.npz", "a file that is no complete .npz archive"),
    ):
        bad, must = {"spectrum": {"file": path}}, "must be a file written by Spectrum.save"
        yield Row("matrices", bad, key, must, got, remedy, **here)
    for x in (3, True, ["a"], DAY):
        bad = {"spectrum": {"file": x}}
        yield Row("matrices", bad, key, "must be a path", shown(x), "Write it in quotes.", **here)
        bad = {"weights": x}
        yield Row("network", bad, "weights", "must be a path", shown(x), "in quotes.", **here)
    bad, remedy = {"spectrum": {"data": "flat.npy"}}, "Reshape it to (num_samples, num_features)."
    yield Row("matrices", bad, "spectrum", "must be 2-D", "shape (3,)", remedy, **here)
    for path, got in (
        ("none.npz", "none.npz, which is no file"),
        (".", "which is no file"),
        ("spectrum.npz", "spectrum.npz"),
        ("flat.npy", "flat.npy"),
        ("text.npz", "text.npz"),
        ("empty.npz", "empty.npz"),
        ("cut.npz", "cut.npz"),
        ("pickled.npz", "pickled.npz"),
    ):
        must = "must be an .npz file with w1 and w2"
        remedy = "Write it with numpy.savez(path, w1=w1, w2=w2)."
        yield Row("network", {"weights": path}, "weights", must, got, remedy, **here)


ROWS = [
    *axes(),
    *links(),
    *kinds(),
    *saves(),
    *observed(),
    *arrays(),
    *written(),
]


# --- a good sweep with something wrong in it ---------------------------------------


def with_mistake(row, good):
    """The good sweep's keys, those that are wrong in their places."""
    tables = copy.deepcopy({k: v for k, v in good.items() if id(v) not in AS_WRITTEN})
    tables |= {k: v for k, v in good.items() if id(v) in AS_WRITTEN}
    for key, x in row.bad.items():
        table, *path = tables, *(key.split(".") if key.startswith(("axes.", "linked.")) else [key])
        while len(path) > 1:
            if not isinstance(table.get(path[0]), dict):
                table[path[0]] = {}
            table = table[path.pop(0)]
        table.pop(path[0], None)
        if not isinstance(x, Missing):
            table[path[0]] = x
    return tables


def literal(x):
    """A value as TOML; None if TOML has no way to write it."""
    if id(x) in AS_WRITTEN:
        return literal(AS_WRITTEN[id(x)])
    if isinstance(x, bool):
        return "true" if x else "false"
    if type(x) in (int, float, datetime.date):
        return str(x)
    if type(x) is str:
        return '"' + x.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if type(x) is list:
        inner = [literal(y) for y in x]
        return None if None in inner else f"[{', '.join(inner)}]"
    if type(x) is dict and all(type(key) is str for key in x):
        inner = [(key, literal(y)) for key, y in x.items()]
        pairs = (f'"{key}" = {y}' for key, y in inner)
        return None if None in [y for _, y in inner] else f"{{{', '.join(pairs)}}}"
    return None


def text(tables):
    lines = [f'"{key}" = {literal(x)}\n' for key, x in tables.items()]
    return None if any(line.endswith("= None\n") for line in lines) else "".join(lines)


def cases():
    for row in ROWS:
        tables = with_mistake(row, GOOD[row.sweep])
        for way in row.ways:
            document = text(tables) if way == "toml" else None
            if way == "python" or document is not None:
                bad = ",".join(f"{key}={x!r}" for key, x in row.bad.items())
                name = re.sub(r"\s+", "", f"{way}-{row.sweep}-{bad}")[:90]
                yield pytest.param(row, tables, document, id=name.replace("\0", ""))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of what sweeps in files refer to."""
    folder = tmp_path_factory.mktemp("files")
    SPECTRUM.save(folder / "spectrum.npz")
    np.savez(folder / "weights.npz", w1=WEIGHTS.w1, w2=WEIGHTS.w2)
    np.savez(folder / "pickled.npz", w1=np.array([None]), w2=WEIGHTS.w2)
    np.save(folder / "flat.npy", np.ones(3))
    (folder / "text.npz").write_text("text")
    (folder / "empty.npz").touch()
    (folder / "cut.npz").write_bytes((folder / "weights.npz").read_bytes()[:-30])
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """One for all: a folder for each of so many tests would take longer than they do."""
    return tmp_path_factory.mktemp("empty")


def check(row, function, *positional, **named):
    with pytest.raises(ValueError, match=f"^{re.escape(row.key)}") as caught:
        function(*positional, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    what, _, rest = message.removeprefix(row.key).partition("; got ")
    assert row.what in what
    assert row.got in rest
    assert row.remedy in rest
    assert message.endswith(".")


@pytest.mark.parametrize(("row", "tables", "document"), [*cases()])
def test_a_mistake_begins_with_the_dotted_key_and_leaves_no_trace(
    row, tables, document, empty, files, monkeypatch
):
    monkeypatch.chdir(empty)
    before = sorted(files.iterdir())
    if document is None:
        check(row, Sweep, **tables)
    else:
        check(row, toml.sweep_of, tomllib.loads(document), files)
    assert not any(empty.iterdir())
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("name", GOOD)
def test_without_the_mistake_it_is_a_sweep(name, files):
    sweep = Sweep(**GOOD[name])
    assert toml.sweep_of(tomllib.loads(text(GOOD[name])), files).shape == sweep.shape


def test_every_key_is_in_the_table():
    wrong = {key for row in ROWS for key in (row.key, *row.bad)}
    settings = {field.name for field in dataclasses.fields(Sweep)} - {"_"}
    assert settings | {f"axes.{name}" for name in KINDS} <= wrong
    assert {f"spectrum.{name}" for name in toml._SPECTRUM} <= wrong
    assert {f"axes.noise.{name}" for name in toml._LISTS} <= wrong


def test_every_key_has_been_given_nan_a_bool_a_text_and_a_date():
    settings = {field.name for field in dataclasses.fields(Sweep)} - {"_"}
    for key in settings | {f"axes.{name}" for name in KINDS}:
        given = [row.bad[key] for row in ROWS if key in row.bad]
        given += [y for x in given if isinstance(x, list) for y in x]
        assert {bool, str, datetime.date} <= {type(x) for x in given}, key
        assert any(isinstance(x, float) and np.isnan(x) for x in given), key


def test_a_tracer_is_no_value():
    good = GOOD["pairs"]
    for key in ("axes.noise", "num_steps", "fraction"):
        row = Row("pairs", {}, key, "", "Tracer", "")

        def under_tracing(x, row=row, key=key):
            check(row, Sweep, **with_mistake(row._replace(bad={key: x}), good))
            return x

        jax.make_jaxpr(under_tracing)(1.0)


# --- the file as a whole ------------------------------------------------------------

UNREADABLE = {
    "nothing there": (None, "must be a file one can read", "No such file"),
    "not TOML": (b"a = =", "must be written in TOML", "line 1, column 5"),
    "twice": (b"a = 1\na = 1", "must be written in TOML", "Cannot overwrite a value"),
    "Latin-1": (b"a = '\xe9'", "must be written in TOML", "can't decode byte 0xe9"),
    "a long number": (b"a = " + b"1" * 5000, "must be written in TOML", "Exceeds the limit"),
    "deep": (b"a = " + b"[" * 100_000, "must be written in TOML", ""),
    "a zip": (b"PK\x03\x04\x00", "must be written in TOML", "line 1"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_a_mistake(name, tmp_path):
    content, what, got = UNREADABLE[name]
    path = tmp_path / "sweep.toml"
    if content is not None:
        path.write_bytes(content)
    check(Row("", {}, "the sweep", what, got, ""), toml.read, path)


def test_a_folder_is_no_sweep(tmp_path):
    row = Row("", {}, "the sweep", "must be a file", "Is a directory", "Name one.")
    check(row, toml.read, tmp_path)


# --- arguments of run -----------------------------------------------------------------

DEVICES = "Ask for fewer; a CPU has as many as jax_num_cpu_devices said at the start."
OTHER = "Name another path, or remove what is there."
SHARE = "Pass (0, 4), or --process 0/4."


def running():
    def row(key, x, what, got, remedy, **more):
        return Row("", {key: x, **more}, key, what, got, remedy)

    for x in (0, -1, 1.5, True, "3", [3], NAN):
        must, remedy = "must be an integer >= 1", "Pass an integer >= 1."
        yield row("chunk_size", x, must, repr(x), remedy, store="new")
        yield row("devices", x, must, repr(x), remedy, store="new")
        yield row("chunk_size", x, must, repr(x), remedy)
    yield row("devices", 10**6, "must be at most", "1000000", DEVICES, store="new")
    wrong = ((2, 2), (-1, 2), (0, 0), (0,), (0, 1, 2), 3, "0/2", (0.0, 2), (True, 2), ("0", "2"))
    for x in wrong:
        must = "must be I of N with 0 <= I < N"
        yield row("process", x, must, shown(x), SHARE, store="new")
    for key, x in (("process", (0, 2)), ("client", "client")):
        yield row(key, x, "needs a store, in which processes meet", "store = None", "Name one.")
    for key in ("progress", "resume", "takeover", "allow_large"):
        for x in (1, 0, "yes", "false", "", None, NAN, [True], np.True_):
            for more in ({}, {"store": "new"}):
                yield row(key, x, "must be true or false", shown(x), "Pass one of them.", **more)
    both = {"client": SimpleNamespace(submit=None), "store": "new"}
    remedy = "Leave devices out: each of dask's workers uses all that it has."
    yield row("devices", 1, "and client exclude each other", "both", remedy, **both)
    for x in (3, "localhost:8786"):
        remedy = "Pass distributed.Client(address)."
        yield row("client", x, "must be a client of dask's", shown(x), remedy, store="new")
    for x in (3, b"new", ["new"], 1.5):
        remedy = "Name a file or folder."
        yield row("store", x, "must be text or a pathlib.Path", repr(x), remedy)
    for x in ("s3://bucket/x.zarr", "file:///x", "GS://x"):
        must = "must be a path of this machine's file system"
        yield row("store", x, must, repr(x), "Copy it afterwards.")
    for x in ("file", "folder", ".", "link"):
        yield row("store", x, "must be a sweep's", x, OTHER)
    yield row("store", "folder", "must not exist with resume=False", "folder", "", resume=False)
    for x, got in (("file/new", "file/new (Not a directory)"), ("n" * 300, "File name too long")):
        remedy = "Name another."
        yield row("store", x, "must be a path one can write", got, remedy)


def arguments(row):
    return re.sub(r"\s+", "", ",".join(f"{key}={x!r}" for key, x in row.bad.items()))[:60]


@pytest.mark.parametrize("row", [*running()], ids=arguments)
def test_a_mistake_in_running_begins_with_the_argument_and_leaves_no_trace(
    row, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "other").write_text("text")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    check(row, Sweep(**GOOD["pairs"]).run, **{"progress": False, **row.bad})
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "text"


def test_every_argument_of_run_is_in_the_table():
    wrong = {key for row in running() for key in row.bad}
    assert set(inspect.signature(Sweep.run).parameters) - {"self"} == wrong


def test_resume_false_refuses_a_store_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = Sweep(**GOOD["pairs"])
    sweep.run("out", progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"^store must not exist with resume=False; got out\. Na"):
        sweep.run("out", progress=False, resume=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_results_that_fit_nowhere_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many = np.linspace(0.1, 1.0, 10**6)
    axes = {"eigenvalue": many, "noise": many, "decay": many, **START}
    for store, where in ((None, "memory"), ("new", "free space in")):
        with pytest.raises(
            ValueError, match=rf"must fit into {where}.*; got .*(B|bytes)\. Save less"
        ):
            Sweep(axes, 5).run(store, progress=False)
    assert not any(tmp_path.iterdir())


@pytest.mark.both
def test_float64_is_given_or_the_switch_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = Sweep({"eigenvalue": 1.0, **START}, 3, dtype="float64")
    if jax.config.jax_enable_x64:
        assert sweep.run(progress=False)["mapping"].dtype == np.float64
        return
    for store in (None, "new"):
        with pytest.raises(ValueError, match=r"^dtype float64 needs 64-bit mode; got jax_enable"):
            sweep.run(store, progress=False)
    assert not any(tmp_path.iterdir())
