"""What a sweep would take, and how far one has come."""

import dataclasses
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lindae_jax import Spectrum, Sweep
from lindae_jax.sweep import compute, cost, grid, members, plan, progress, store, trial
from lindae_jax.sweep.variables import bytes_text, variables

START = {"init_w1": 0.1, "init_w2": 0.2}
SPECTRUM = Spectrum(np.array([3.0, 2.0, 1.0], np.float32), np.eye(3, dtype=np.float32))

SWEEPS = {
    "pairs": Sweep(
        {"eigenvalue": [1.0, 2.0, 3.0], "noise": np.linspace(0, 1, 7), **START},
        12,
        save_every=4,
        observe=["mapping", "weights", "loss", "first_passage"],
    ),
    "a single pair": Sweep({"eigenvalue": 1.0, **START}, 12),
    "no step": Sweep({"eigenvalue": [1.0, 2.0], **START}, 0, save_log=3),
    "small": Sweep({"eigenvalue": [1.0, 2.0], "seed": range(50)}, 12, init="small", save_log=5),
    "linked": Sweep(
        {"eigenvalue": [1.0, 2.0], "noise": [0.1, 0.2], "learning_rate": [0.1, 0.2], **START},
        12,
        linked={"both": ["noise", "learning_rate"]},
        observe=["distance", "sharpness", "gradient", "norm"],
        keep_weights=False,
    ),
    "theory": Sweep(
        {"eigenvalue": [1.0, 2.0, 3.0], "noise": [0.0, 0.1], **START},
        model="theory",
        times=[0.0, 1.0, 10.0],
        observe=["mapping", "first_passage"],
    ),
    "matrices": Sweep(
        {"noise": [0.0, 0.1], "hidden": [5, 2, 4]},
        12,
        model="matrices",
        spectrum=SPECTRUM,
        save_every=6,
        observe=["mapping", "loss"],
    ),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_plan_says_what_the_store_then_takes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = SWEEPS[name]
    planned = plan.plan(sweep)
    assert not any(tmp_path.iterdir())
    assert (planned.dims, planned.num_members) == (sweep.dims, sweep.num_members)
    assert planned.num_rows == len(sweep.rows)
    assert planned.names == tuple(variables(sweep))
    assert np.isfinite(planned.seconds)
    assert planned.seconds > 0

    result = sweep.run("out", progress=False)
    # Of each chunk there is one file for every array, which ends in a checksum of 4 bytes.
    files = [path for name in planned.names for path in (tmp_path / "out" / name).rglob("c/**/*")]
    files += [tmp_path / "out" / name / "c" for name in planned.names]
    files = [path for path in files if path.is_file()]
    assert planned.num_chunks * len(planned.names) == len(files)
    nbytes = sum(array.nbytes for array in result.data_vars.values())
    assert (
        planned.num_bytes == sum(path.stat().st_size for path in files) == nbytes + 4 * len(files)
    )
    done = plan.plan(sweep, path=Path("out"))
    assert (done.num_bytes, done.num_bytes_missing) == (planned.num_bytes, 0)
    assert done.seconds == 0
    assert "time     none: nothing is left to compute" in plan.plan_text(done)
    assert list(planned.chunk) == store.read_state(tmp_path / "out")["chunk"]


def test_a_plan_of_a_billion_members_takes_no_memory_for_them():
    many = np.linspace(0.1, 1.0, 1000)
    axes = {"eigenvalue": many, "noise": many, "decay": many, **START}
    planned = plan.plan(Sweep(axes, 1, keep_weights=False))
    assert planned.num_members == 10**9
    # The mapping, in float32, and the status, in int8, with a checksum of each file.
    assert planned.num_chunks == 1000
    assert planned.num_bytes == 5 * 10**9 + 2 * 4 * 1000


# --- members that the dtype does not resolve ------------------------------------------

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
LEVEL = 64  # times eps, as the plan's note says
STEPS = {dtype: LEVEL * eps for dtype, eps in EPS.items()}


def rates(dtype):
    """Learning rates around the level for eigenvalues 1 and 2, the level itself included."""
    return [STEPS[dtype] * factor for factor in (0.2, 0.49, 0.5, 0.99, 1.0, 1.5)]


def swallowed(sweep, member, eigenvalues):
    """Whether one member is, by its definition."""
    kind = np.dtype(sweep.dtype).type
    steps = [float(kind(member["learning_rate"])) * float(kind(x)) for x in eigenvalues]
    return any(0 < step < LEVEL * EPS[sweep.dtype] for step in steps)


def all_members(sweep):
    """One dictionary of parameters after another."""
    for place in itertools.product(*map(range, sweep.shape)):
        at = dict(zip(sweep.dims, place, strict=True))
        yield {
            name: values[tuple(at[dim] for dim in sweep.dims_of(name))]
            for name, values in sweep.axes.items()
        }


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize(
    "make",
    [
        lambda rates: {"learning_rate": rates, "eigenvalue": [0.0, 1.0, 2.0]},
        lambda rates: {"eigenvalue": [2.0, 1.0], "noise": [0.0, 0.1], "learning_rate": rates},
        lambda rates: {"learning_rate": rates[1], "eigenvalue": 1.0, "noise": [0.0, 0.1, 0.2]},
        lambda rates: {"learning_rate": 0.1, "eigenvalue": [1.0, 2.0]},
        lambda rates: {"learning_rate": 0.1, "eigenvalue": 0.0},
    ],
)
def test_swallowed_members_are_those_of_a_loop_over_the_grid(make, dtype):
    sweep = Sweep({**make(rates(dtype)), **START}, 5, dtype=dtype)
    want = sum(swallowed(sweep, member, [member["eigenvalue"]]) for member in all_members(sweep))
    assert plan.num_swallowed(sweep) == want


@pytest.mark.parametrize("dtype", EPS)
def test_so_are_those_on_linked_axes(dtype):
    given = rates(dtype)
    sweep = Sweep(
        {"noise": [0.0, 0.1], "learning_rate": given, "eigenvalue": [1.0, 2.0] * 3, **START},
        5,
        linked={"both": ["learning_rate", "eigenvalue"]},
        dtype=dtype,
    )
    want = sum(swallowed(sweep, member, [member["eigenvalue"]]) for member in all_members(sweep))
    assert 0 < want < sweep.num_members
    assert plan.num_swallowed(sweep) == want


@pytest.mark.parametrize("directions", [None, [1], [2, 1], [3], [4], [1, 2, 3, 4]])
def test_a_network_is_swallowed_if_a_direction_that_is_looked_at_is(directions):
    eigenvalues = np.array([4.0, 2.0, 1.0, 0.0], np.float32)
    sweep = Sweep(
        {"noise": [0.0, 0.1], "hidden": [2, 3], "learning_rate": rates("float32")},
        5,
        model="matrices",
        spectrum=Spectrum(eigenvalues, np.eye(4)),
        directions=directions,
    )
    looked_at = eigenvalues[np.array(sweep.directions) - 1]
    want = sum(swallowed(sweep, member, looked_at) for member in all_members(sweep))
    assert plan.num_swallowed(sweep) == want
    assert (want == 0) == (directions == [4])


def test_directions_that_data_do_not_have_are_not_swallowed():
    # Of rank 3 in 6 dimensions: the other eigenvalues are exactly 0.
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    spectrum = Spectrum.from_data(x)
    axes = {"hidden": 6, "learning_rate": [0.1, 1e-9]}
    assert plan.num_swallowed(Sweep(axes, 5, model="matrices", spectrum=spectrum)) == 1


def test_a_flow_takes_no_steps_that_could_be_swallowed():
    axes = {"eigenvalue": 1.0, "learning_rate": 1e-12, **START}
    assert plan.num_swallowed(Sweep(axes, 5)) == 1
    assert plan.num_swallowed(Sweep(axes, 5, model="theory")) == 0


# --- the trial ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("most", [1, 2, 3, 10**6])
def test_the_boxes_tried_stand_for_all_boxes(name, most):
    sweep = SWEEPS[name]
    single = [sweep.model == "matrices" and dim == "hidden" for dim in sweep.dims]
    lengths = grid.chunk_shape(sweep.shape, most, single)
    tried = trial.boxes_to_try(sweep, lengths)
    assert sum(count for _, count in tried) == grid.num_chunks(sweep.shape, lengths)
    for box, _ in tried:
        assert all(n <= length for n, length in zip(box.shape, lengths, strict=True))
        assert all(b <= n for b, n in zip(box.stop, sweep.shape, strict=True))
    if sweep.model == "matrices":
        # Widths 5 and 4 are compiled as one, 2 by itself.
        widths = [members.padded_width(sweep, members.width(sweep, box)) for box, _ in tried]
        assert widths == sorted({members.padded_width(sweep, width) for width in (5, 2, 4)})
        assert tried[1][1] == 2 * tried[0][1]


def network(num_directions, hidden, noise, num_steps, **settings):
    eigenvalues = np.geomspace(1, 0.1, num_directions).astype(np.float32)
    spectrum = Spectrum(eigenvalues, np.eye(num_directions, dtype=np.float32))
    axes = {"hidden": hidden, "noise": noise, "learning_rate": 0.1}
    return Sweep(axes, num_steps, model="matrices", spectrum=spectrum, **settings)


# Seconds of a save of a member on a core of a shared machine (AVX-512, JAX 0.9), which a
# chunk of about a minute has to follow; those of the first by a run of 100 members.
SHARPNESS = {(64, 16): 55 / 100 / 101, (8, 4): 4.2e-4, (200, 32): 0.062, (784, 64): 0.86}


@pytest.mark.parametrize("size", SHARPNESS)
def test_a_chunk_of_networks_takes_about_a_minute_whatever_is_observed(size, monkeypatch):
    monkeypatch.setattr(store.jax, "local_devices", lambda: [SimpleNamespace(platform="cpu")])
    many = np.linspace(0, 1, 10**6)
    settings = {"save_every": 10, "observe": ["sharpness"]}
    sweep = network(*size, many, 1000, **settings)
    (chunk,) = store.chunk_of(sweep, 600)
    assert 20 < chunk * len(sweep.rows) * SHARPNESS[size] < 180 or chunk == 1
    # Each thing that is observed costs something, and each save.
    seconds = [
        cost.seconds_of_network(network(*size, many, 1000, **settings | more), "cpu")
        for more in (
            {"save_every": None, "observe": []},
            {"observe": []},
            {"observe": ["loss"]},
            {"observe": ["loss", "gradient"]},
            {},
            {"save_every": 5},
        )
    ]
    assert seconds == sorted(set(seconds))


class Machine:
    """A clock that tells what a run would take, in place of one that takes it."""

    def __init__(self, of_call, of_member, of_step, of_save):
        self.costs = of_call, of_member, of_step, of_save
        self.now, self.runs = 0.0, []

    def seconds(self, sweep, stretch, lengths):
        of_call, of_member, of_step, of_save = self.costs
        rows = len(stretch.rows) * ("sharpness" in sweep.observe or sweep.model == "theory")
        steps = 0 if sweep.model == "theory" else stretch.rows[-1]
        return of_call + math.prod(lengths) * (of_member + of_step * steps + of_save * rows)

    def run(self, sweep, stretch, box, lengths, place):
        self.runs.append(self.seconds(sweep, stretch, lengths))
        self.now += self.runs[-1]


@pytest.mark.parametrize(
    ("sweep", "costs"),
    [
        # A save of 10^5 members takes minutes, of the trial's few a moment.
        (
            network(64, 16, np.linspace(0, 1, 10**5), 10**4, save_every=5, observe=["sharpness"]),
            (1e-4, 1e-5, 2e-6, 5e-3),
        ),
        (
            Sweep({"eigenvalue": np.linspace(0.1, 1, 2**20), **START}, 10**6, save_every=1000),
            (1e-4, 1e-8, 1e-10, 0.0),
        ),
        (
            Sweep(
                {"eigenvalue": np.linspace(0.1, 1, 2**20), **START},
                model="theory",
                times=np.arange(1, 201),
            ),
            (1e-4, 0.0, 0.0, 1e-8),
        ),
    ],
    ids=["networks", "pairs", "theory"],
)
def test_a_trial_is_short_however_large_the_sweep_and_near_the_truth(sweep, costs, monkeypatch):
    machine = Machine(*costs)
    monkeypatch.setattr(compute, "run", machine.run)
    monkeypatch.setattr(trial.time, "perf_counter", lambda: machine.now)
    planned = plan.plan(sweep)
    assert sum(machine.runs) < 5
    whole = compute.Stretch(sweep.rows, 0)
    truth = planned.num_chunks * machine.seconds(sweep, whole, planned.chunk)
    assert truth > 1
    assert planned.seconds == pytest.approx(truth, rel=0.1)


def test_of_a_save_that_takes_minutes_no_trial_is_made(monkeypatch):
    tried = []
    monkeypatch.setattr(
        trial._Trial, "seconds", lambda self, sweep, **saves: tried.append(saves) or 1.0
    )
    sweep = network(3000, 500, [0.0, 0.1], 4, save_every=2, observe=["sharpness"])
    assert trial.expected_seconds(sweep, (2,), None) > 600
    assert all("save_every" not in saves for saves in tried)


# --- as text --------------------------------------------------------------------------


def test_a_plan_in_lines():
    planned = plan.Plan(
        dims={"noise": 1000, "seed": 20},
        num_members=20_000,
        num_rows=1234,
        chunk=(10, 20),
        num_chunks=100,
        num_bytes=12_340_000,
        seconds=7200.0,
        num_swallowed=0,
        names=("mapping", "status"),
    )
    assert plan.plan_text(planned).splitlines() == [
        "grid     noise 1,000 x seed 20",
        "members  20,000",
        "saves    1,234",
        "kept     mapping, status",
        "chunks   100 of 200 members each",
        "size     12.3 MB",
        "time     about 2.0 hours on the devices here, compilation apart",
    ]
    few = planned._replace(num_swallowed=3000, dims={})
    first, *_, note = plan.plan_text(few).splitlines()
    assert first == "grid     a single member"
    assert note.startswith("Note: for 3,000 members learning rate times eigenvalue is below 64 eps")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (5e9, "5 GB"), (4.56e16, "4.56e+04 TB")],
)
def test_bytes_have_three_digits(number, text):
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 seconds"), (0.123, "0.12 seconds"), (99, "99 seconds"), (600, "10 minutes")],
)
def test_durations_have_two_digits(seconds, text):
    assert plan._duration(seconds) == text


# --- how far --------------------------------------------------------------------------


def test_a_status_counts_members_and_chunks_of_each_run(tmp_path):
    sweep, path = SWEEPS["matrices"], tmp_path / "out"
    sweep.run(path, process=(0, 3), progress=False)
    assert progress.status_text(path, sweep).splitlines() == [
        "step 12: 2 of 6 members (33.3 %), 1 of 3 chunks",
        "at work: nobody",
    ]
    assert progress.summary_text(path) == "6 members: 2 OK, 4 not run yet"
    sweep.run(path, progress=False)
    assert progress.status_text(path, sweep).startswith(
        "step 12: 6 of 6 members (100.0 %), 3 of 3 ch"
    )
    assert progress.summary_text(path) == "6 members: 6 OK"


def test_a_status_speaks_of_what_is_damaged_and_of_what_could_be_added(tmp_path):
    sweep, path = SWEEPS["matrices"], tmp_path / "out"
    sweep.run(path, progress=False)
    file = path / "status" / "c" / "0" / "0" / "1"
    file.write_bytes(file.read_bytes()[:-1])
    larger = dataclasses.replace(sweep, num_steps=18)
    assert progress.status_text(path, larger).splitlines() == [
        "step 12: 4 of 6 members (66.7 %), 2 of 3 chunks, 1 damaged",
        "this sweep goes beyond the store; running it extends it",
        "at work: nobody",
    ]
    assert progress.summary_text(path) == "6 members: 4 OK, 2 in damaged chunks"
    sweep.run(path, progress=False)
    assert progress.summary_text(path) == "6 members: 6 OK"


def test_a_plan_for_a_store_says_what_is_there_and_counts_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "expected_seconds", lambda *_: 600.0)
    sweep, path = SWEEPS["matrices"], tmp_path / "out"
    sweep.run(path, process=(0, 3), progress=False)
    planned = plan.plan(sweep, path=path)
    assert planned.seconds == pytest.approx(400)
    text = plan.plan_text(planned).splitlines()
    assert text[-1] == "there    step 12: 2 of 6 members (33.3 %), 1 of 3 chunks"
    assert text[-2].endswith("compilation apart, for what is left")
    # A third of the members to step 12 of 36, in the chunks that the store has.
    monkeypatch.setattr(store, "_MEMBERS", 1)
    grown = plan.plan(dataclasses.replace(sweep, num_steps=36), path=path)
    assert grown.seconds == pytest.approx(600 * (1 - 1 / 9))
    assert (grown.chunk, grown.num_rows) == ((2, 1), 7)
    for name in ("pairs", "a single pair"):  # of as many axes, and of fewer
        with pytest.raises(store.Refused, match="another: "):
            plan.plan(SWEEPS[name], path=path)
    assert plan.plan(sweep, path=tmp_path / "none").there is None


def test_a_status_changes_no_file(tmp_path):
    sweep, path = SWEEPS["pairs"], tmp_path / "out"
    sweep.run(path, progress=False)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    progress.status_text(path, sweep)
    progress.summary_text(path)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_divergence_is_in_the_summary(tmp_path):
    sweep = Sweep({"eigenvalue": [1.0, 1e3], **START}, 100, save_every=50)
    sweep = Sweep({**sweep.axes, "learning_rate": 0.1}, 100, save_every=50)
    sweep.run(tmp_path / "out", progress=False)
    assert progress.summary_text(tmp_path / "out") == "2 members: 1 OK, 1 diverged"


def test_there_is_no_status_of_nothing_or_of_another_sweep(tmp_path):
    sweep = SWEEPS["pairs"]
    with pytest.raises(ValueError, match=r"^store must exist to have a status; got .*nothing is"):
        progress.status_text(tmp_path / "none", sweep)
    with pytest.raises(ValueError, match=r"^store must be a sweep's; got"):
        progress.status_text(tmp_path, sweep)
    sweep.run(tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match=r"another: .*; dims: .* here, .* in the store"):
        progress.status_text(tmp_path / "out", SWEEPS["small"])
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
