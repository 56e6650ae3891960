"""More values and more steps in a store that is there."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest
import xarray

from lindae_jax import Spectrum, Sweep
from lindae_jax.simulate import NOT_RUN
from lindae_jax.sweep import compute, durable, extend, limits, lock, store
from lindae_jax.sweep.results import Run

OBSERVE = ["mapping", "loss", "distance", "first_passage"]


def sweep_of(num_eigenvalues=6, seeds=2, num_steps=80, **changes):
    axes = {
        "eigenvalue": np.linspace(0.2, 2, 12)[:num_eigenvalues],
        "noise": [0.0, 0.1, 0.5],
        "seed": range(seeds),
        "init_std": 0.1,
        "learning_rate": 0.05,
    }
    settings = {"init": "small", "save_every": 20, "observe": OBSERVE} | changes
    return Sweep(axes, num_steps, **settings)


def assert_same_results(got, expected):
    for name in expected.data_vars:
        if "end" not in expected[name].dims:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    np.testing.assert_array_equal(got.final_w1[-1], expected.final_w1[-1])


@pytest.fixture
def counted(monkeypatch):
    """Members and rows computed, by call."""
    calls, real = [], compute.run

    def run(sweep, stretch, box, lengths, place, reached):
        calls.append((box.size, len(stretch.rows)))
        return real(sweep, stretch, box, lengths, place, reached)

    monkeypatch.setattr(compute, "run", run)
    return calls


def test_more_values_and_more_steps_give_what_one_run_gives(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(store, "_MEMBERS", 8)
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    for sizes, computed in (
        ((11, 2, 80), 5 * 3 * 2 * 5),
        ((11, 3, 80), 11 * 3 * 5),
        ((11, 3, 200), 11 * 3 * 3 * 6),
    ):
        larger = sweep_of(*sizes)
        counted.clear()
        got = larger.run(path, progress=False)
        # Only what is new, in members times rows.
        assert sum(size * rows for size, rows in counted) == computed
    # All that was computed on the way is among it.
    assert_same_results(got, larger.run(progress=False))
    np.testing.assert_array_equal(got.end, [80, 200])
    np.testing.assert_array_equal(got.seed, range(3))


def test_a_store_grows_again_where_coordinates_are_zero(tmp_path):
    # Zero is what zarr takes integers for whose file is not there.
    path = tmp_path / "a.zarr"
    for seeds, num_steps in [(1, 0), (1, 10), (2, 10), (3, 20)]:
        axes = {"eigenvalue": [1.0, 2.0], "seed": range(seeds), "init_std": 0.1}
        sweep = Sweep(axes, num_steps, init="small", save_every=5)
        got = sweep.run(path, progress=False)
        np.testing.assert_array_equal(got.seed, range(seeds))
        assert all((path / name / "c" / "0").exists() for name in ("seed", "step", "end"))
    shutil.rmtree(path / "seed" / "c")
    got = sweep.run(path, progress=False)
    assert (path / "seed" / "c" / "0").exists()
    np.testing.assert_array_equal(got.mapping, sweep.run(progress=False).mapping)


def test_more_of_everything_at_once_computes_only_what_is_new(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(store, "_MEMBERS", 8)
    path = tmp_path / "a.zarr"
    observe = ["mapping", "first_passage"]
    sweep_of(observe=observe).run(path, progress=False)
    larger = sweep_of(12, 5, 140, observe=observe)
    counted.clear()
    got = larger.run(path, progress=False)
    # The new members, which are no box, to step 80; then all of them beyond.
    assert sum(size * rows for size, rows in counted) == (12 * 3 * 5 - 6 * 3 * 2) * 5 + 180 * 3
    assert_same_results(got, larger.run(progress=False))


def test_a_store_grows_only_where_the_disk_has_room(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=4000))
    sweep_of().run(path, progress=False)  # all is there already
    with pytest.raises(ValueError, match=r"^the results must fit into free space in .* 4 kB; got"):
        sweep_of(12, 5, 140).run(path, progress=False)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == files
    assert (sweep_of(12, 5, 140).run(path, progress=False, allow_large=True).status == 0).all()


def bytes_there(path):
    """Of the files of results."""
    names = (*OBSERVE, "final_w1", "final_w2", "status")
    files = [file for name in names for file in (path / name).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file() and "c" in file.parts)


@pytest.mark.parametrize("larger", [{"num_steps": 100}, {"num_steps": 400}, {"seeds": 3}, {}])
@pytest.mark.parametrize("members", [8, 10_000])
def test_the_room_that_an_extension_takes_is_what_it_then_writes(
    larger, members, tmp_path, monkeypatch
):
    monkeypatch.setattr(store, "_MEMBERS", members)
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    before, sweep = bytes_there(path), sweep_of(**larger)
    room = limits.room(sweep, path)
    assert room.total - room.missing == before
    assert (room.missing == 0) == (larger == {})
    sweep.run(path, progress=False)
    assert bytes_there(path) == room.total
    assert limits.room(sweep, path) == limits.Room(room.total, 0)


def test_more_steps_need_the_room_of_their_rows_and_of_the_last_weights(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    longer = sweep_of(num_steps=100)
    missing = limits.room(longer, path).missing
    # 36 members: another 5 rows of three numbers and a status, though but one is new, and
    # weights of another end; with the checksums of six files.
    assert missing == 36 * (5 * (3 * 4 + 1) + 2 * 4) + 6 * 4
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=missing - 1))
    with pytest.raises(ValueError, match=r"^the results must fit into free space in .*; got 2\.6"):
        longer.run(path, progress=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=missing))
    longer.run(path, progress=False)


def flow_of(decay, times=(0, 10, 100)):
    axes = {"eigenvalue": [0.5, 1.0, 2.0], "decay": decay, "seed": range(4), "init_std": 0.1}
    return Sweep(axes, model="theory", init="small", times=times)


def test_a_flow_that_grows_is_bitwise_that_of_one_run_once_it_has_decay(tmp_path):
    path = tmp_path / "a.zarr"
    flow_of([0.0, 0.1]).run(path, progress=False)
    larger = flow_of([0.0, 0.1, 0.0, 0.2], times=(0, 10, 100, 300))
    got, whole = larger.run(path, progress=False), larger.run(progress=False)
    for name in whole.data_vars:
        np.testing.assert_array_equal(got[name], whole[name], err_msg=name)


def test_decay_that_comes_later_changes_the_last_bits_of_nothing_that_is_there(tmp_path):
    path = tmp_path / "a.zarr"
    before = flow_of([0.0]).run(path, progress=False).load()
    larger = flow_of([0.0, 0.1])
    got, whole = larger.run(path, progress=False), larger.run(progress=False)
    # Those without decay stay what their cheaper form gave, within its accuracy.
    np.testing.assert_array_equal(got.mapping[:, :, :1], before.mapping)
    np.testing.assert_allclose(got.mapping, whole.mapping, rtol=64 * 2.0**-23)
    np.testing.assert_array_equal(got.mapping[:, :, 1], whole.mapping[:, :, 1])


def test_logarithmic_saves_go_on_beyond_those_that_are_there(tmp_path):
    path = tmp_path / "a.zarr"
    settings = {"save_every": None, "save_log": 6, "observe": ["mapping"]}
    before = sweep_of(**settings).run(path, progress=False).step.values
    larger = sweep_of(num_steps=400, **settings)
    got = larger.run(path, progress=False)
    more = larger.rows[larger.rows > 80]
    np.testing.assert_array_equal(got.step, [*before, *more])
    steps = sweep_of(num_steps=400, **settings | {"save_log": None, "save_steps": got.step.values})
    np.testing.assert_array_equal(got.mapping, steps.run(progress=False).mapping)
    again = larger.run(path, progress=False)
    assert again.sizes == got.sizes
    # The hash is that of the rows which are there.
    assert again.attrs["configuration_hash"] == steps.run(progress=False).configuration_hash
    further = sweep_of(7, num_steps=400, **settings).run(path, progress=False)
    np.testing.assert_array_equal(further.step, got.step)
    for other in ({"save_log": 5}, {"save_log": 12}, {"save_log": None, "save_every": 400}):
        with pytest.raises(ValueError, match="later steps"):
            sweep_of(7, num_steps=400, **settings | other).run(path, progress=False)


def test_a_final_only_sweep_keeps_both_ends(tmp_path):
    path = tmp_path / "a.zarr"
    first = sweep_of(save_every=None, observe=["mapping"])
    first.run(path, progress=False)
    got = dataclasses.replace(first, num_steps=200).run(path, progress=False)
    np.testing.assert_array_equal(got.step, [80, 200])
    whole = sweep_of(num_steps=200, save_every=None, save_steps=[80], observe=["mapping"])
    np.testing.assert_array_equal(got.mapping, whole.run(progress=False).mapping)


def test_saved_weights_serve_to_go_on_from(tmp_path):
    path = tmp_path / "a.zarr"
    sweep_of(observe=["weights"]).run(path, progress=False)
    larger = sweep_of(num_steps=160, observe=["weights"])
    np.testing.assert_array_equal(
        larger.run(path, progress=False).w1, larger.run(progress=False).w1
    )


def test_networks_go_on_from_their_last_weights(tmp_path, rng):
    spectrum = Spectrum.from_data(rng.normal(size=(50, 6)).astype(np.float32))
    axes = {"hidden": [2, 5, 3], "noise": [0.0, 0.1], "learning_rate": 0.1, "init_std": 0.1}
    settings = {"model": "matrices", "spectrum": spectrum, "save_every": 10}
    path = tmp_path / "a.zarr"
    Sweep(axes, 30, **settings).run(path, progress=False)
    larger = Sweep(axes, 60, **settings)
    got, whole = larger.run(path, progress=False), larger.run(progress=False)
    np.testing.assert_array_equal(got.mapping, whole.mapping)


def test_more_times_of_the_theory(tmp_path):
    axes = {"eigenvalue": [0.5, 1.0], "init_w1": 0.1, "init_w2": 0.1}
    path = tmp_path / "a.zarr"
    Sweep(axes, model="theory", times=[0, 10]).run(path, progress=False)
    larger = Sweep(axes, model="theory", times=[0, 10, 100, 1000])
    got = larger.run(path, progress=False)
    np.testing.assert_array_equal(got.mapping, larger.run(progress=False).mapping)


def test_what_was_left_undone_is_done_with_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 8)
    path = tmp_path / "a.zarr"
    sweep_of().run(path, process=(0, 2), progress=False)
    larger = sweep_of(9, num_steps=120)
    got = larger.run(path, process=(1, 2), progress=False)
    assert (got.status == NOT_RUN).any()
    got = larger.run(path, progress=False)
    assert_same_results(got, larger.run(progress=False))


class Stopped(Exception):
    """What a kill is to a process, here to a write."""


def stop_after(writes, monkeypatch):
    """Fail at the write after so many; the files that were written."""
    real, written, one_by_one = durable.write, [], threading.Lock()

    def write(path, content):
        with one_by_one:  # zarr writes from several threads
            if len(written) == writes:
                raise Stopped
            real(path, content)
            written.append(path)

    monkeypatch.setattr(durable, "write", write)
    return written


def test_an_extension_cut_short_at_any_write_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    small, larger, other = (
        sweep_of(*sizes, observe=["mapping"]) for sizes in ((6, 2, 80), (9, 3, 120), (8, 2, 100))
    )
    before = small.run(tmp_path / "made.zarr", progress=False).load()
    with monkeypatch.context() as patch:
        whole = stop_after(None, patch)
        shutil.copytree(tmp_path / "made.zarr", tmp_path / "whole.zarr")
        assert extend.extend(tmp_path / "whole.zarr", larger)
    # Arrays' lengths, new values of coordinates; the group's file once, and last.
    assert [path.parent.name for path in whole if path.name == "zarr.json"][-1] == "whole.zarr"
    assert sum(path.parent.name == "whole.zarr" for path in whole) == 1
    assert whole[-1] == tmp_path / "whole.zarr" / "zarr.json"
    path = tmp_path / "a.zarr"
    shutil.copytree(tmp_path / "made.zarr", path)
    for writes in range(len(whole)):
        with monkeypatch.context() as patch:
            stop_after(writes, patch)
            with pytest.raises(Stopped):
                larger.run(path, progress=False)
        with xarray.open_zarr(path) as half:
            assert half.load().identical(before)
        assert extend.rows_of(path, small) is None
        assert store.open_for(path, small).num_done(Run(0, 5, 0, 0), 0) == small.num_members
    # What is there of it does no harm to another one.
    assert_same_results(other.run(path, progress=False), other.run(progress=False))
    assert_same_results(larger.run(path, progress=False), larger.run(progress=False))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_eigenvalues": 5}, "adds values at the end"),
        ({"num_steps": 60}, "later steps"),
        ({"save_every": 30, "num_steps": 120}, "later steps"),
        ({"save_every": 10, "num_steps": 120}, "later steps"),
        ({"save_every": 40, "num_steps": 120}, "later steps"),
        ({"save_every": None, "save_steps": [40]}, "later steps"),
        ({"save_every": None, "save_steps": [40], "num_steps": 120}, "later steps"),
        ({"save_every": None, "save_log": 4}, "later steps"),
        ({"save_every": None, "save_log": 4, "num_steps": 120}, "later steps"),
        ({"observe": ["mapping"]}, "observe"),
        ({"dtype": "float64"}, "dtype"),
        ({"fraction": 0.25}, "fraction"),
    ],
)
def test_what_is_no_extension_is_refused_and_the_store_left_alone(tmp_path, changes, words):
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    files = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    other = sweep_of(**changes)
    with pytest.raises(ValueError, match=words):
        extend.extend(path, other)
    assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file()} == files


def test_more_steps_need_weights_to_go_on_from(tmp_path):
    path = tmp_path / "a.zarr"
    sweep_of(keep_weights=False).run(path, progress=False)
    with pytest.raises(ValueError, match="keep_weights"):
        sweep_of(num_steps=200, keep_weights=False).run(path, progress=False)


def test_wider_networks_are_refused(tmp_path, rng):
    spectrum = Spectrum.from_data(rng.normal(size=(50, 6)).astype(np.float32))
    settings = {"model": "matrices", "spectrum": spectrum, "directions": [1]}
    path = tmp_path / "a.zarr"
    Sweep({"hidden": [2, 3]}, 5, **settings).run(path, progress=False)
    Sweep({"hidden": [2, 3, 1]}, 5, **settings).run(path, progress=False)
    with pytest.raises(ValueError, match="wider"):
        Sweep({"hidden": [2, 3, 1, 4]}, 5, **settings).run(path, progress=False)


def test_a_store_grows_only_while_nobody_else_is_at_work(tmp_path):
    path = tmp_path / "a.zarr"
    sweep_of().run(path, progress=False)
    before = (path / "zarr.json").read_bytes()
    with (
        lock.held(path / "status" / ".locks", (1, 2)),
        pytest.raises(lock.Busy, match="share 1/2 of this store is at work"),
    ):
        sweep_of(9).run(path, process=(0, 2), progress=False)
    assert (path / "zarr.json").read_bytes() == before
    assert sweep_of(9).run(path, progress=False).sizes["eigenvalue"] == 9
