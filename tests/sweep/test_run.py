"""What a sweep computes, and that how it is cut changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from lindae_jax import Problem, Spectrum, Sweep, curvature, initial, losses, theory
from lindae_jax.simulate import DIVERGED, NOT_RUN, OK, simulate_matrices, simulate_pairs
from lindae_jax.sweep import compute, members, store

ALL = ("mapping", "weights", "norm", "loss", "distance", "first_passage", "sharpness", "gradient")


def name_of(dtype):
    return np.dtype(dtype).name


def pairs(dtype, **changes):
    settings = {
        "axes": {
            "eigenvalue": np.geomspace(0.1, 3, 5),
            "noise": [0.0, 0.1, 0.5],
            "decay": [0.0, 0.0, 0.2],
            "seed": range(4),
            "init_std": 0.1,
            "learning_rate": [0.01, 0.1],
        },
        "num_steps": 120,
        "linked": {"strength": ["noise", "decay"]},
        "init": "small",
        "save_every": 30,
        "observe": ALL,
        "dtype": name_of(dtype),
    }
    return Sweep(**{**settings, **changes})


def problem_of(sweep):
    """The whole grid of `pairs`, written out."""
    lam, strength, _, rate = np.ix_(
        sweep.axes["eigenvalue"], range(3), range(4), sweep.axes["learning_rate"]
    )
    fields = lam, sweep.axes["noise"][strength], sweep.axes["decay"][strength], rate
    return Problem(*(jnp.asarray(x, sweep.dtype) for x in fields))


def digits_like(rng, num=200, size=12):
    x = rng.normal(size=(num, size)) * np.geomspace(1, 0.1, size) + 0.2
    return Spectrum.from_data(x.astype(np.float32))


NETWORKS = {
    "hidden": [3, 8, 2],  # of two groups
    "noise": [0.0, 0.1],
    "decay": [0.0, 0.05],
    "seed": [0, 1],
    "learning_rate": 0.1,
}


def matrices(spectrum, dtype, **changes):
    settings = {
        "axes": NETWORKS,
        "num_steps": 60,
        "model": "matrices",
        "spectrum": spectrum,
        "save_every": 20,
        "observe": ALL,
        "directions": [1, 2, 4],
        "dtype": name_of(dtype),
    }
    return Sweep(**{**settings, **changes})


# --- what is computed -----------------------------------------------------------


@pytest.mark.both
def test_pairs_are_those_of_simulate_pairs(dtype):
    sweep = pairs(dtype, observe=["weights", "mapping"])
    got = sweep.run(progress=False)
    problem = problem_of(sweep)
    start = initial.small(np.arange(4)[:, None], std=jnp.asarray(0.1, dtype))
    run = simulate_pairs(*start, problem, num_steps=120, save_every=30)
    np.testing.assert_array_equal(got.step, run.step)
    np.testing.assert_array_equal(got.w1, run.w1)
    np.testing.assert_array_equal(got.w2, run.w2)
    np.testing.assert_array_equal(got.status, np.where(np.isfinite(run.w1), OK, DIVERGED))
    assert got.mapping.dims == ("step", "eigenvalue", "strength", "seed", "learning_rate")
    np.testing.assert_array_equal(got.noise, [0.0, 0.1, 0.5])
    assert got.noise.dims == ("strength",)
    assert float(got.init_std) == 0.1


@pytest.mark.both
def test_what_is_observed_of_pairs_is_what_its_function_gives(dtype, eps):
    sweep = pairs(dtype)
    got = sweep.run(progress=False)
    problem, w1, w2 = problem_of(sweep), jnp.asarray(got.w1.values), jnp.asarray(got.w2.values)

    def close(name, expected, scale=1.0):
        np.testing.assert_allclose(got[name], expected, rtol=8 * eps, atol=8 * eps * scale)

    close("mapping", w1 * w2)
    close("norm", w1**2 + w2**2)
    close("loss", losses.pair_loss(w1, w2, problem))
    close("sharpness", curvature.sharpness(w1, w2, problem), 10)
    # The gradient is what a step takes off, over its size.
    after = simulate_pairs(w1, w2, problem, num_steps=1)
    step = np.hypot(after.w1[-1] - w1, after.w2[-1] - w2) / problem.learning_rate
    np.testing.assert_allclose(got.gradient, step, atol=400 * eps)
    start = initial.small(np.arange(4)[:, None], std=jnp.asarray(0.1, dtype))
    t = jnp.asarray(got.step.values, dtype).reshape(-1, 1, 1, 1, 1)
    flow = theory.mapping(t, *start, problem)
    np.testing.assert_allclose(got.distance, np.abs(w1 * w2 - flow), atol=40 * eps)


def test_first_passages_come_near_those_of_the_theory(dtype):
    axes = {"eigenvalue": [0.5, 1.0, 2.0], "learning_rate": 0.002, "init_w1": 0.1, "init_w2": 0.1}
    sweep = Sweep(axes, 6_000, save_every=5, observe=["first_passage"], dtype=name_of(dtype))
    flow = dataclasses.replace(sweep, model="theory", save_every=None)
    simulated, predicted = (s.run(progress=False).first_passage for s in (sweep, flow))
    # A step grows by 1 + alpha lambda instead of exp(alpha lambda).
    np.testing.assert_allclose(simulated, predicted, rtol=0.002 * 2)
    assert simulated.dims == predicted.dims == ("eigenvalue",)


def test_first_passage_is_nan_where_nothing_is_learned():
    axes = {"eigenvalue": [0.5, 0.0], "decay": [0.1, 0.6], "init_w1": 0.9, "init_w2": 0.9}
    for model in ("pairs", "theory"):
        sweep = Sweep(axes, 50, model=model, save_every=10, observe=["first_passage"])
        passage = sweep.run(progress=False).first_passage
        np.testing.assert_array_equal(passage, [[0, np.nan], [np.nan, np.nan]])


@pytest.mark.both
def test_the_theory_is_that_of_theory(dtype, eps):
    axes = {
        "eigenvalue": [0.1, 1.0, 3.0],
        "decay": [0.0, 0.01],
        "init_w1": [0.1, -0.2],
        "init_w2": 0.3,
    }
    times, wanted = [0.0, 1.0, 10.0, 1_000.0], ("weights", "mapping")
    sweep = Sweep(axes, model="theory", times=times, observe=wanted, dtype=name_of(dtype))
    got = sweep.run(progress=False)
    lam, decay, w1 = np.ix_(*(sweep.axes[name] for name in ("eigenvalue", "decay", "init_w1")))
    problem = Problem(*(jnp.asarray(x, dtype) for x in (lam, 0.0, decay, 0.01)))
    t, w1, w2 = (jnp.asarray(x, dtype) for x in (np.reshape(times, (4, 1, 1, 1)), w1, 0.3))
    expected = theory.weights(t, w1, w2, problem)
    scale = np.asarray(expected.w1**2 + expected.w2**2)
    assert (np.abs(got.w1 - expected.w1) <= 64 * eps * np.sqrt(scale)).all()
    assert (np.abs(got.mapping - theory.mapping(t, w1, w2, problem)) <= 64 * eps * scale).all()
    assert got.t.attrs["units"] == "epochs"
    assert (got.status == OK).all()


def test_networks_are_those_of_simulate_matrices(dtype, eps, rng):
    spectrum = digits_like(rng)
    widths = [3, 2]  # one beside units that are not there
    sweep = matrices(spectrum, dtype, axes=NETWORKS | {"hidden": widths})
    got = sweep.run(progress=False)
    noise, decay, _ = np.meshgrid([0.0, 0.1], [0.0, 0.05], [0, 1], indexing="ij")
    problem = Problem(
        jnp.asarray(np.asarray(spectrum.eigenvalues), dtype),
        *(jnp.asarray(x, dtype) for x in (noise, decay, np.full(noise.shape, 0.1))),
    )
    for i, hidden in enumerate(widths):
        start = initial.small(
            np.arange(2), std=jnp.asarray(0.001, dtype), num_directions=12, hidden=hidden
        )
        full = (jnp.broadcast_to(w, (2, 2, *w.shape)) for w in start)
        run = simulate_matrices(*full, problem, num_steps=60, save_every=20)
        # Zero units add zeros to the sums, in another order.
        atol = 100 * eps * np.sqrt(12)
        w1, w2 = got.w1[:, i], got.w2[:, i]
        np.testing.assert_allclose(w1[..., :hidden, :], run.w1, atol=atol)
        np.testing.assert_allclose(w2[..., :hidden], run.w2, atol=atol)
        assert not w1[..., hidden:, :].any()
        assert not w2[..., hidden:].any()
        diagonal = np.einsum("...hd,...dh->...d", run.w1, run.w2)[..., [0, 1, 3]]
        np.testing.assert_allclose(got.mapping[:, i], diagonal, atol=atol)
        loss = losses.matrix_loss(run.w1, run.w2, problem)
        np.testing.assert_allclose(got.loss[:, i], loss, rtol=100 * eps)
        norm = np.sum(run.w1**2, (-1, -2)) + np.sum(run.w2**2, (-1, -2))
        np.testing.assert_allclose(got.norm[:, i], norm, rtol=1000 * eps)
    np.testing.assert_allclose(got.eigenvalue, spectrum.eigenvalues[np.array([0, 1, 3])])


@pytest.mark.parametrize(
    ("widths", "groups"),
    [([5, 4, 2], [5, 5, 2]), (range(1, 9), [1, 3, 3, 8, 8, 8, 8, 8]), (7, [7])],
)
def test_widths_within_a_factor_of_two_are_compiled_once(rng, widths, groups):
    sweep = matrices(digits_like(rng), "float32", axes={"hidden": widths})
    got = [members.padded_width(sweep, w) for w in np.atleast_1d(sweep.axes["hidden"]).tolist()]
    assert got == groups


def test_aligned_networks_stay_as_near_the_theory_as_their_pairs(rng):
    spectrum = digits_like(rng)
    sweep = matrices(spectrum, "float32", init="aligned", observe=["mapping", "distance"])
    got = sweep.run(progress=False)
    axes = {
        "eigenvalue": np.asarray(spectrum.eigenvalues)[[0, 1, 3]],
        "noise": [0.0, 0.1],
        "decay": [0.0, 0.05],
        "learning_rate": 0.1,
    }
    alone = Sweep(axes, 60, init="aligned", save_every=20, observe=["distance", "mapping"])
    one = alone.run(progress=False).transpose("step", "noise", "decay", "eigenvalue", ...)
    for name in ("mapping", "distance"):
        for seed in range(2):
            # The widest network learns all three, the narrowest, of 2 units, not the fourth.
            np.testing.assert_allclose(got[name][:, 1, :, :, seed], one[name], atol=1e-5)
            narrow = got[name][:, 2, :, :, seed]
            np.testing.assert_allclose(narrow[..., :2], one[name][..., :2], atol=1e-5)
    np.testing.assert_array_equal(got.mapping[:, 2, ..., 2], 0)


def test_networks_from_given_weights(rng):
    spectrum = digits_like(rng)
    w1, w2 = (0.1 * rng.normal(size=s).astype(np.float32) for s in ((3, 12), (12, 3)))
    sweep = Sweep(
        {"noise": [0.0, 0.2], "learning_rate": 0.1},
        25,
        model="matrices",
        init="given",
        weights=(w1, w2),
        spectrum=spectrum,
    )
    got = sweep.run(progress=False)
    problem = Problem(
        spectrum.eigenvalues, noise=np.array([0.0, 0.2], np.float32), learning_rate=0.1
    )
    run = simulate_matrices(w1, w2, problem, num_steps=25)
    np.testing.assert_allclose(got.final_w1[0], run.w1[-1], atol=1e-6)
    assert got.sizes["direction"] == 3


# --- how it is cut ----------------------------------------------------------------


def test_no_chunk_size_changes_a_bit(dtype, monkeypatch):
    sweep = pairs(dtype)
    whole = sweep.run(progress=False)
    xarray.testing.assert_identical(sweep.run(chunk_size=7, progress=False), whole)
    monkeypatch.setattr(store, "_MEMBERS", 9)
    xarray.testing.assert_identical(sweep.run(chunk_size=4, progress=False), whole)


def test_no_chunk_size_changes_a_bit_of_the_theory():
    # Each shape compiles anew, with decay for seconds.
    sweep = pairs("float32", model="theory", observe=["mapping", "first_passage", "loss"])
    whole = sweep.run(progress=False)
    xarray.testing.assert_identical(sweep.run(chunk_size=7, progress=False), whole)


ROUNDED = ["norm", "loss", "sharpness", "gradient"]


@pytest.mark.parametrize(
    ("axes", "sizes"),
    [
        ({"eigenvalue": np.linspace(0.1, 2, 40), "seed": range(500), "noise": 0.2}, [500]),
        ({"decay": np.linspace(0.05, 0.6, 35), "seed": range(2), "noise": [0.3]}, [1]),
    ],
)
def test_no_chunk_size_changes_how_numbers_are_rounded(axes, sizes):
    settings = {"eigenvalue": 0.7, "decay": 0.123, "init_std": 0.3} | axes
    sweep = Sweep(settings, 48, init="small", save_every=12, observe=[*ROUNDED, "first_passage"])
    whole = sweep.run(progress=False)
    for size in sizes:
        xarray.testing.assert_identical(sweep.run(chunk_size=size, progress=False), whole)


@pytest.mark.parametrize(
    ("start", "number", "size"),
    [
        # Few enough for one block of the flow's program, and enough for several.
        ({"init_w1": 0.1, "init_w2": [-0.3, 0.1]}, 60, 7),
        ({"seed": range(4), "init_std": 0.1}, 700, 600),
    ],
)
def test_no_chunk_size_changes_a_bit_of_the_theory_without_decay(start, number, size):
    axes = {"eigenvalue": np.geomspace(0.1, 3, number), "noise": [0.0, 0.2], **start}
    init = "small" if "seed" in start else "given"
    observe = ["mapping", "first_passage"]
    sweep = Sweep(axes, 60, init=init, model="theory", save_every=30, observe=observe)
    whole = sweep.run(progress=False)
    xarray.testing.assert_identical(sweep.run(chunk_size=size, progress=False), whole)


def test_networks_hardly_depend_on_the_chunk_size(dtype, eps, rng):
    axes, observed = NETWORKS | {"hidden": [3, 4]}, ["weights", "mapping"]
    sweep = matrices(digits_like(rng), dtype, axes=axes, observe=observed, num_steps=2_000)
    whole, apart = sweep.run(progress=False), sweep.run(chunk_size=1, progress=False)
    largest = np.abs(whole.w1).max(("unit", "input"))
    assert (np.abs(whole.w1 - apart.w1) <= 5e4 * eps * largest).all()
    first = dataclasses.replace(sweep, num_steps=1, save_every=None)
    whole, apart = first.run(progress=False), first.run(chunk_size=1, progress=False)
    largest = np.abs(whole.w1).max(("unit", "input"))
    assert (np.abs(whole.w1 - apart.w1) <= 8 * eps * np.sqrt(12) * largest).all()


def test_a_box_too_large_for_the_memory_is_halved_until_it_fits(monkeypatch, caplog):
    sweep = pairs("float32", observe=["mapping"])
    whole = sweep.run(progress=False)
    real, sizes = compute.run, []

    def limited(sweep, stretch, box, lengths, place, reached):
        sizes.append(np.prod(lengths))
        if sizes[-1] > 20:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(sweep, stretch, box, lengths, place, reached)

    monkeypatch.setattr(compute, "run", limited)
    xarray.testing.assert_identical(sweep.run(progress=False), whole)
    # No box is tried at a size that has failed before.
    failed = [size for size in sizes if size > 20]
    assert failed == sorted(set(failed), reverse=True)
    assert "halving" in caplog.text


def test_other_failures_of_the_device_are_raised(monkeypatch):
    def broken(*arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: no")

    monkeypatch.setattr(compute, "run", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        pairs("float32").run(progress=False)


@pytest.mark.parametrize("axes", [{}, {"noise": [0.5]}])
def test_a_grid_of_one_member(axes, tmp_path):
    sweep = Sweep({"eigenvalue": 1.0, "init_w1": 0.1, "init_w2": 0.1, **axes}, 10)
    memory = sweep.run(progress=False)
    assert memory.mapping.shape == (1, *(1 for _ in axes))
    stored = sweep.run(tmp_path / "one.zarr", progress=False).load()
    np.testing.assert_array_equal(stored.mapping, memory.mapping)


def test_ten_grids_of_one_shape_compile_once():
    def sizes():
        return {name: f._cache_size() for name, f in cached.items()}

    from lindae_jax.batches import layout
    from lindae_jax.simulate import pairs as module

    sweeps = [
        Sweep(
            {"eigenvalue": np.linspace(0.1, 1, 6), "noise": x, "init_w1": 0.1, "init_w2": 0.1}, 20
        )
        for x in np.linspace(0, 1, 10)
    ]
    sweeps[0].run(progress=False)
    here = [jnp.zeros(())]
    cached = {"pairs": layout.compiled(module._core, module._STATIC, here)}
    before = sizes()
    for sweep in sweeps[1:]:
        sweep.run(progress=False)
    assert sizes() == before


# --- the store --------------------------------------------------------------------


def test_a_store_holds_what_memory_does(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 16)
    sweep = pairs(dtype)
    memory = sweep.run(progress=False)
    stored = sweep.run(tmp_path / "a.zarr", progress=False)
    # Lazy: nothing is read before it is looked at.
    assert all(not v._in_memory for n, v in stored.variables.items() if n in memory.data_vars)
    for name in memory.variables:
        xarray.testing.assert_identical(stored[name].load(), memory[name])
    assert stored.attrs["configuration_hash"] == memory.attrs["configuration_hash"]
    assert stored.mapping.attrs["units"] == "1"
    assert stored.status.attrs["flag_meanings"].split()[DIVERGED] == "DIVERGED"
    assert " 1: Diverged" in stored.status.attrs["comment"]
    # What netCDF cannot hold is not there.
    stored.to_netcdf(tmp_path / "a.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "a.nc", engine="scipy") as other:
        np.testing.assert_array_equal(other.mapping, memory.mapping)
    # Everything is done: going on computes nothing.
    monkeypatch.setattr(compute, "run", None)
    xarray.testing.assert_identical(sweep.run(tmp_path / "a.zarr", progress=False), stored)


def test_a_half_filled_store_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MEMBERS", 16)
    sweep = pairs("float32")
    half = sweep.run(tmp_path / "a.zarr", process=(1, 2), progress=False)
    missing = (half.status == NOT_RUN).values
    assert 0.3 < missing.mean() < 0.7
    assert np.isnan(half.mapping.values[missing]).all()
    assert np.isfinite(half.mapping.values[~missing]).all()
    full = sweep.run(tmp_path / "a.zarr", process=(0, 2), progress=False)
    memory = sweep.run(progress=False)
    np.testing.assert_array_equal(full.mapping, memory.mapping)
    np.testing.assert_array_equal(full.status, memory.status)


def test_a_chunk_holds_about_a_million_members_or_256_mb():
    axes = {"eigenvalue": np.linspace(0.1, 1, 1000), "noise": np.linspace(0, 1, 2000)}
    start = {"init_w1": 0.1, "init_w2": 0.1}
    final = Sweep(axes | start, 10)
    assert 2**19 <= np.prod(store.chunk_of(final, 13)) <= 2**20
    assert np.prod(store.chunk_of(final, 4_000)) * 4_000 <= 2**28


def test_the_bar_is_silent_where_there_is_no_terminal(capfd):
    pairs("float32", observe=["mapping"]).run(progress=True)
    assert capfd.readouterr() == ("", "")


# --- divergence -------------------------------------------------------------------


def weights_by_numpy(grid, num_steps, kind):
    """The last weights of a plain loop in that kind of float, from w2 = 1."""
    lam, noise, decay, rate, w1 = (x.astype(kind) for x in grid)
    w1, w2 = np.broadcast_arrays(w1 + 0 * lam * noise * decay * rate, kind(1))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(num_steps):
            gain = lam * (1 - w1 * w2) - noise * w1 * w2
            w1, w2 = w1 + rate * (gain * w2 - decay * w1), w2 + rate * (gain * w1 - decay * w2)
    return np.stack([w1, w2])


def finite_by_numpy(sweep, rng):
    """Which members stay finite in that loop, and for which the loop can tell.

    Above the edge many are chaotic, and by rounding alone escape or not. They are those on
    which three kinds of float disagree, or that escape from some but not from all of 60
    starts within half an eps of float32; the latter where float32 and float64 end apart.
    """
    names = ("eigenvalue", "noise", "decay", "learning_rate", "init_w1")
    grid = np.ix_(*(sweep.axes[name] for name in names))
    kinds = np.float32, np.float64, np.longdouble
    last = [weights_by_numpy(grid, sweep.num_steps, kind) for kind in kinds]
    finite = np.array([np.isfinite(w).all(axis=0) for w in last])
    agree = (finite == finite[0]).all(axis=0)
    with np.errstate(invalid="ignore"):
        apart = ~(np.abs(last[0] - last[1]) < 1e-3).all(axis=0)
    members = [np.broadcast_to(x, apart.shape)[apart][:, None] for x in grid]
    members[-1] = members[-1] * (1 + 2.0**-24 * rng.uniform(-1, 1, (apart.sum(), 60)))
    near = np.isfinite(weights_by_numpy(members, sweep.num_steps, np.float64)).all(axis=0)
    agree[apart] &= (near == finite[0][apart][:, None]).all(axis=1)
    return finite[0], agree


def test_divergence_is_flagged_where_a_plain_loop_sees_it_and_spoils_no_neighbour(rng):
    axes = {
        "eigenvalue": np.linspace(0.5, 2, 6).astype(np.float32),
        "noise": np.float32([0, 0.1, 0.5]),
        "decay": np.float32([0, 0.05, 0.3]),
        "learning_rate": np.linspace(0.1, 2.5, 29).astype(np.float32),
        "init_w1": np.linspace(0.2, 1.5, 6).astype(np.float32),
        "init_w2": 1.0,
    }
    sweep = Sweep(axes, 100)
    got = sweep.run(progress=False)
    finite, agree = finite_by_numpy(sweep, rng)
    assert (~agree).mean() <= 0.02
    flagged = (got.status[0] == DIVERGED).values
    np.testing.assert_array_equal(flagged[agree], ~finite[agree])
    # The edge runs through the grid at every noise and decay.
    assert (abs(flagged.mean((0, 3, 4)) - 0.5) < 0.4).all()
    # Those that stay finite are as if they had been run without the others.
    column = 12
    alone = dict(axes, learning_rate=axes["learning_rate"][column : column + 1])
    one = Sweep(alone, 100).run(progress=False)
    np.testing.assert_array_equal(one.final_w1[0, ..., 0, :], got.final_w1[0, ..., column, :])
