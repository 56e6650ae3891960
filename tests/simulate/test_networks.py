"""Nonlinear autoencoders against linear descent, jax.grad, expectations and Figure 6."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from jax.extend import random as hashes

from lindae_jax import data, draws, initial
from lindae_jax.problem import Problem, Weights
from lindae_jax.simulate import (
    DIVERGED,
    INVALID_INPUT,
    OK,
    identity_mapping,
    networks,
    simulate_matrices,
    simulate_networks,
)
from lindae_jax.spectrum import Spectrum

ADAM = optax.inject_hyperparams(optax.adam)(learning_rate=0.001)
activations = pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])


def sample(rng, dtype, members=(), num_samples=40, hidden=5, directions=7):
    """Weights and data of sizes such that every unit is at work."""
    w1 = rng.normal(size=(*members, hidden, directions)) / 3
    w2 = rng.normal(size=(*members, directions, hidden)) / 3
    x = rng.normal(size=(num_samples, directions)) + 0.3
    return tuple(a.astype(dtype) for a in (w1, w2, x))


def trained(*arguments, **settings):
    """The result as arrays of NumPy, whose little sums need no compiler."""
    return jax.device_get(simulate_networks(*arguments, **settings))


def small_blocks(monkeypatch, values):
    """Blocks of so many values of the data, as large data have."""
    monkeypatch.setattr(networks, "_BLOCK", values)
    forget()


def forget():
    """Programs with blocks of another size."""
    networks._simulate.clear_cache()
    networks._mapping.clear_cache()


def same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def close(one, two, atol):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# --- a step ------------------------------------------------------------------------


def literal_loss(weights, clean, noisy, activation):
    """The mean over samples and components, as it is read."""
    phi = {"relu": jax.nn.relu, "tanh": jnp.tanh, "identity": lambda z: z}[activation]
    w1, w2 = weights
    outputs = jax.vmap(lambda row: w2 @ phi(w1 @ row))(noisy)
    return jnp.mean((outputs - clean) ** 2)


gradient_of = jax.jit(jax.grad(literal_loss), static_argnums=3)


def noise_of(seed, epoch, shape, dtype):
    """What the documentation says is drawn, by the key functions of JAX."""
    key = jax.random.key(seed, impl="threefry2x32")
    key = jax.random.fold_in(jax.random.fold_in(key, draws.NETWORK_NOISE), epoch)
    words = np.empty(shape, np.uint32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            pair = hashes.threefry_2x32(jax.random.key_data(key), np.array([i, j], np.uint32))
            words[i, j] = pair[0]
    middle = (words.view(np.int32) >> 8).astype(np.float64) + 0.5
    return (np.sqrt(2) * scipy.special.erfinv(middle * 2.0**-23)).astype(dtype)


@pytest.mark.both
@activations
def test_a_step_goes_down_the_gradient_of_the_loss(rng, dtype, eps, activation, monkeypatch):
    """jax.grad of a literal transcription; whole, and in blocks of which the last overlaps."""
    w1, w2, x = sample(rng, dtype, num_samples=10)
    noisy = x + np.sqrt(dtype(0.5)) * noise_of(3, 8, x.shape, dtype)
    gradient = gradient_of((w1, w2), x, noisy, activation)
    assert min(np.abs(g).max() for g in gradient) > 0.01
    expected = [w - 0.25 * (g + 0.125 * w) for w, g in zip((w1, w2), gradient, strict=True)]
    step = functools.partial(
        trained,
        *(3, w1, w2, x),
        activation=activation,
        noise=0.5,
        decay=0.125,
        learning_rate=0.25,
        num_epochs=1,
        first_epoch=8,
    )
    whole = step()
    # Sums of N D = 70 numbers of order 1; the quantiles of the draws differ by up to 20 eps.
    close((whole.w1[0], whole.w2[0]), expected, 200 * eps)
    small_blocks(monkeypatch, 4 * 7)
    blocks = step()
    close((blocks.w1[0], blocks.w2[0]), (whole.w1[0], whole.w2[0]), 20 * eps)
    forget()


@pytest.mark.both
def test_draws_are_standard_normal(dtype):
    """Moments of 10^6 numbers and the tail, within 5 standard errors; further rows change none."""
    like = jnp.zeros((1000, 1000), dtype)
    draw = functools.partial(networks._normal, (jnp.uint32(7), jnp.uint32(9)))
    z = np.asarray(draw(jnp.arange(1000), like), np.float64)
    assert draw(jnp.arange(1000), like).dtype == dtype
    # The variances of z, z^2, z^3, z^4 are 1, 2, 15, 96.
    for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], 1):
        assert abs((z**power).mean() - mean) < 5 * np.sqrt(variance / z.size)
    tail = 1.349898e-3  # of a normal number beyond 3, one side
    for count in ((z > 3).sum(), (z < -3).sum()):
        assert abs(count - tail * z.size) < 5 * np.sqrt(tail * z.size)
    for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1])):
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
    some = draw(jnp.array([999, 3]), like[:2])
    np.testing.assert_array_equal(some, z[[999, 3]].astype(dtype))


@pytest.mark.both
def test_noise_on_average_does_as_the_marginalised_loss(rng, dtype):
    """Identity activation: the mean gradient over 4,000 seeds, within 5 standard errors."""
    w1, w2, x = sample(rng, dtype, num_samples=20)
    seeds, noise = np.arange(4000), 0.7
    got = trained(
        seeds, w1, w2, x, activation="identity", noise=noise, learning_rate=1.0, num_epochs=1
    )
    w1, w2, x = (a.astype(np.float64) for a in (w1, w2, x))
    # Section 1's gradient, of a loss D/2 times this one.
    slope = (w2 @ w1 - np.eye(7)) @ (x.T @ x / 20) + noise * (w2 @ w1)
    expected = 2 / 7 * (w2.T @ slope), 2 / 7 * (slope @ w1.T)
    for after, before, mean in zip((got.w1[0], got.w2[0]), (w1, w2), expected, strict=True):
        gradients = before - np.asarray(after, np.float64)
        error = gradients.std(0) / np.sqrt(len(seeds))
        assert (error > 0).all()
        assert (np.abs(gradients.mean(0) - mean) < 5 * error).all()
        assert error.max() < 0.05 * np.abs(mean).max()


# --- whole runs ---------------------------------------------------------------------


@pytest.mark.both
def test_linear_networks_are_matrices_in_the_eigenbasis(rng, dtype, eps):
    """alpha_eff = 2 alpha / D, gamma_eff = gamma D / 2, over 300 epochs of learning."""
    w1, w2, x = sample(rng, dtype, (3,), num_samples=50)
    w1, w2 = w1 / 10, w2 / 10
    decay, rate = np.array([0.0, 0.01, 0.02], dtype), np.array([0.5, 0.4, 0.3], dtype)
    run = {"num_epochs": 300, "save_every": 60}
    got = trained(0, w1, w2, x, activation="identity", decay=decay, learning_rate=rate, **run)
    spectrum = Spectrum.from_data(x)
    start = spectrum.rotate(w1, w2)
    problem = Problem(spectrum.eigenvalues, 0.0, decay * 7 / 2, 2 * rate / 7)
    expected = simulate_matrices(*start, problem, num_steps=300, save_every=60)
    end = spectrum.rotate(got.w1, got.w2)
    mapping = jnp.einsum("...hd,...dh->...d", expected.w1, expected.w2)
    assert (np.abs(mapping[0]) < 0.1).all()
    assert (mapping[-1].max(-1) > 0.6).all()
    # Roundings of a step add up over 300, and grow with what is learnt meanwhile.
    close(end, (expected.w1, expected.w2), 1000 * eps)
    # And what each direction maps by is the diagonal of W2 W1.
    estimate = identity_mapping(got.w1, got.w2, x, spectrum, activation="identity")
    np.testing.assert_allclose(estimate, mapping, rtol=0, atol=1000 * eps)


@pytest.mark.both
def test_a_network_does_not_know_its_batch(rng, dtype, monkeypatch):
    """Bitwise: alone, in a batch, in another order; in blocks too."""
    w1, w2, x = sample(rng, dtype, num_samples=30)
    noise, decay = np.array([0, 0, 0.6], dtype), np.array([0, 0.02, 0], dtype)
    rate = np.array([0.9, 0.5, 0.7], dtype)
    seeds = np.array([[4], [9]])
    for values in (2**20, 8 * 7):
        small_blocks(monkeypatch, values)
        train = functools.partial(trained, x=x, num_epochs=7)
        whole = train(seeds, w1, w2, noise=noise, decay=decay, learning_rate=rate)
        assert whole.w1.shape == (1, 2, 3, 5, 7)
        assert whole.w2.shape == (1, 2, 3, 7, 5)
        assert whole.status.shape == (2, 3)
        for i in range(3):
            fields = {"noise": noise[i], "decay": decay[i], "learning_rate": rate[i]}
            alone = train(9, w1, w2, **fields)
            assert alone.w1.shape == (1, 5, 7)
            same((alone.w1, alone.w2), (whole.w1[:, 1, i], whole.w2[:, 1, i]))
        fields = {"noise": noise[::-1], "decay": decay[::-1], "learning_rate": rate[::-1]}
        turned = train(seeds[::-1], w1, w2, **fields)
        same(turned.w1[:, ::-1, ::-1], whole.w1)
    # Without noise the seed is of no consequence, with it it is.
    same(whole.w1[:, 0, :2], whole.w1[:, 1, :2])
    assert np.abs(whole.w1[:, 0, 2] - whole.w1[:, 1, 2]).max() > 0.01
    forget()


@pytest.mark.both
@pytest.mark.parametrize("optimizer", [None, ADAM])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_run_cut_anywhere_is_one_run(rng, dtype, optimizer, batch_size):
    w1, w2, x = sample(rng, dtype, (2,), num_samples=30)
    train = functools.partial(
        trained, 5, x=x, noise=0.4, optimizer=optimizer, batch_size=batch_size
    )
    tuned = {"learning_rate": np.array([0.1, 0.3], dtype)}
    whole = train(w1, w2, num_epochs=11, **tuned)
    for cut in (0, 1, 6):
        first = train(w1, w2, num_epochs=cut, **tuned)
        rest = train(
            first.w1[-1],
            first.w2[-1],
            num_epochs=11 - cut,
            first_epoch=cut,
            carry=first.carry,
            save_steps=(2,),
        )
        same((rest.w1[-1], rest.w2[-1], rest.carry), (whole.w1[0], whole.w2[0], whole.carry))
    assert whole.carry.count.shape == (2,)
    # Other epochs have other draws.
    later = train(w1, w2, num_epochs=11, first_epoch=1, **tuned)
    assert np.abs(later.w1 - whole.w1).max() > 1e-3


@pytest.mark.both
def test_saves_and_observations(rng, dtype):
    w1, w2, x = sample(rng, dtype, (3,))
    train = functools.partial(trained, 0, w1, w2, x, noise=0.2, num_epochs=9)
    rows = train(save_every=4)
    assert rows.step.dtype == jnp.int32
    assert rows.step.tolist() == [0, 4, 8, 9]
    assert rows.w1.shape == (4, 3, 5, 7)
    assert rows.observed is None
    same((rows.w1[0], rows.w2[0]), (jnp.asarray(w1), jnp.asarray(w2)))
    for row, epoch in enumerate(rows.step.tolist()):
        short = train(num_epochs=epoch)
        same((short.w1[0], short.w2[0]), (rows.w1[row], rows.w2[row]))

    def observe(epoch, w1, w2, x):
        return {"epoch": epoch, "w1": w1, "mean": x.mean()}

    seen = train(save_steps=(4, 8), observe=observe)
    assert seen.observed["epoch"].tolist() == [4, 8, 9]
    same(seen.observed["w1"], rows.w1[1:])
    same((seen.w1, seen.w2), (rows.w1[-1:], rows.w2[-1:]))
    assert seen.observed["mean"].shape == (3,)
    empty = trained(0, w1[:0], w2[:0], x, num_epochs=2)
    assert empty.w1.shape == (1, 0, 5, 7)
    assert empty.status.shape == (0,)


# --- minibatches ---------------------------------------------------------------------


@pytest.mark.both
def test_one_batch_of_all_samples_is_the_full_batch(rng, dtype, eps):
    """The samples in another order, with the noise that they have there."""
    w1, w2, x = sample(rng, dtype, (2,), num_samples=33)
    train = functools.partial(trained, 1, w1, w2, x, noise=0.5, learning_rate=0.5, num_epochs=4)
    full, shuffled = train(), train(batch_size=33)
    assert np.abs(full.w1[0] - w1).max() > 0.1
    close((shuffled.w1, shuffled.w2), (full.w1, full.w2), 100 * eps)


@pytest.mark.both
def test_minibatches_are_steps_one_after_the_other(rng, dtype, eps):
    """Of the order drawn for the epoch: two of 4 samples of 11, the rest of 3 left out."""
    w1, w2, x = sample(rng, dtype, num_samples=11)
    got = trained(6, w1, w2, x, num_epochs=3, batch_size=4, learning_rate=0.5)
    orders = []
    for epoch in range(3):
        key = draws.fold(draws.root(jnp.uint32(6)), 6, epoch)
        orders.append(networks._shuffled(key, 11).tolist())
        assert sorted(orders[-1]) == list(range(11))
        for batch in (orders[-1][:4], orders[-1][4:8]):
            step = trained(0, w1, w2, x[batch], num_epochs=1, learning_rate=0.5)
            w1, w2 = step.w1[0], step.w2[0]
    assert orders[0] != orders[1] != orders[2]
    close((got.w1[0], got.w2[0]), (w1, w2), 100 * eps)


def test_orders_are_fair():
    """Each sample at each place equally often, within 5 standard errors."""
    orders = jax.vmap(lambda i: networks._shuffled((jnp.uint32(3), i), 8))
    orders = np.asarray(orders(jnp.arange(8000, dtype=jnp.uint32)))
    counts = [np.bincount(orders[:, place], minlength=8) for place in range(8)]
    assert np.abs(np.array(counts) - 1000).max() < 5 * np.sqrt(1000 * 7 / 8)


# --- optimisers -----------------------------------------------------------------------


@pytest.mark.both
@activations
def test_any_optimiser_is_optax_s_own(rng, dtype, eps, activation):
    """Adam against a plain loop over optax.adam and jax.grad, two rates in one program."""
    w1, w2, x = sample(rng, dtype, num_samples=12)
    rates = np.array([0.01, 0.03], dtype)
    got = trained(
        *(0, w1, w2, x),
        activation=activation,
        optimizer=ADAM,
        learning_rate=rates,
        hyperparameters={"b1": 0.8},
        num_epochs=5,
    )
    for member, rate in enumerate(rates.tolist()):
        weights, adam = Weights(jnp.asarray(w1), jnp.asarray(w2)), optax.adam(rate, b1=0.8)
        with jax.numpy_dtype_promotion("standard"):
            state = adam.init(weights)
            for _ in range(5):
                updates, state = adam.update(gradient_of(weights, x, x, activation), state, weights)
                weights = optax.apply_updates(weights, updates)
        # Adam divides by the gradient's size, hence by some of 0.001.
        close((got.w1[0, member], got.w2[0, member]), weights, 1000 * eps)
    np.testing.assert_array_equal(got.carry.hyperparams["learning_rate"], rates)
    np.testing.assert_array_equal(got.carry.hyperparams["b1"], np.full(2, 0.8, dtype))


def test_other_hyperparameters_do_not_compile_again(rng):
    w1, w2, x = sample(rng, np.float32)
    sizes = []
    for rate, noise, epochs in ((0.1, 0.0, 5), (0.2, 0.3, 6), (0.3, 0.1, 9)):
        trained(*(0, w1, w2, x), optimizer=ADAM, learning_rate=rate, noise=noise, num_epochs=epochs)
        sizes.append(networks._simulate._cache_size())
    assert sizes[0] == sizes[1] == sizes[2]


def test_an_optimiser_s_own_decay_is_not_that_of_the_weights(rng):
    w1, w2, x = sample(rng, np.float32)
    rms = optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.01)
    train = functools.partial(trained, 0, w1, w2, x, optimizer=rms, num_epochs=3)
    plain, same_decay = train(), train(hyperparameters={"decay": 0.9})
    same(same_decay, plain)
    own, of_weights = train(hyperparameters={"decay": 0.5}), train(decay=0.5)
    assert own.carry.hyperparams["decay"] == np.float32(0.5)
    for other in (own, of_weights):
        assert np.abs(other.w1 - plain.w1).max() > 1e-3
    with pytest.raises(ValueError, match="decay of the optimiser must be finite; got inf"):
        train(hyperparameters={"decay": np.inf})


def test_schedules_and_chains_run_as_they_are(rng):
    """A schedule counts the optimiser's steps; a bare transformation has no hyperparameters."""
    w1, w2, x = sample(rng, np.float32)
    schedule = optax.piecewise_constant_schedule(0.5, {2: 0.0})
    train = functools.partial(trained, 0, w1, w2, x, optimizer=optax.sgd(schedule))
    stopped, early = train(num_epochs=6), train(num_epochs=2)
    same(stopped.w1, early.w1)
    plain = trained(0, w1, w2, x, learning_rate=0.5, num_epochs=2)
    close((early.w1, early.w2), (plain.w1, plain.w2), 1e-6)
    chain = optax.chain(optax.clip_by_global_norm(1e-3), optax.adamw(0.1))
    assert trained(0, w1, w2, x, optimizer=chain, num_epochs=3).status == OK


# --- status, tracing -------------------------------------------------------------------


@pytest.mark.both
def test_divergence_is_a_status_of_its_own_member(rng, dtype):
    w1, w2, x = sample(rng, dtype)
    rate = np.array([0.1, 1e4, 0.2], dtype)
    run = {"num_epochs": 60, "save_steps": (1,)}
    got = trained(0, w1, w2, x, activation="identity", learning_rate=rate, **run)
    assert got.status.dtype == jnp.int8
    assert got.status.tolist() == [OK, DIVERGED, OK]
    assert np.isfinite(got.w1[0]).all()
    again = trained(0, got.w1[-1], got.w2[-1], x, num_epochs=1)
    assert again.status.tolist() == [OK, DIVERGED, OK]
    alone = trained(0, w1, w2, x, activation="identity", learning_rate=0.2, **run)
    same(alone.w1, got.w1[:, 2])


def test_bad_values_found_under_tracing(rng):
    w1, w2, x = sample(rng, np.float32)

    @jax.jit
    def train(seed, noise, decay, rate, x):
        return simulate_networks(
            seed, w1, w2, x, noise=noise, decay=decay, learning_rate=rate, num_epochs=2
        )

    good = np.array([0, 0.1, 0.1, 0.1], np.float32)
    table = np.stack([good] * 5)
    table[np.arange(1, 5), np.arange(4)] = [-1, -0.1, np.inf, 0]
    seed, noise, decay, rate = table.T
    got = jax.device_get(train(seed.astype(np.int32), noise, decay, rate, x))
    assert got.status.tolist() == [OK] + [INVALID_INPUT] * 4
    assert np.isnan(got.w1[:, 1:]).all()
    same(got.w1[:, 0], trained(0, w1, w2, x, num_epochs=2, **tail(good)).w1)
    x[3, 2] = np.nan
    assert (
        train(seed.astype(np.int32), noise, decay, rate, x).status.tolist() == [INVALID_INPUT] * 5
    )


def tail(row):
    return dict(zip(("noise", "decay", "learning_rate"), row[1:], strict=True))


def test_vmap_is_a_batch(rng):
    w1, w2, x = sample(rng, np.float32)
    noise = np.array([0.0, 0.3], np.float32)
    whole = trained(np.arange(2), w1, w2, x, noise=noise, num_epochs=3)
    mapped = jax.vmap(
        lambda seed, noise: simulate_networks(seed, w1, w2, x, noise=noise, num_epochs=3)
    )(jnp.arange(2), noise)
    # The order of the sums in a product may differ with the batch.
    close((mapped.w1[:, 0], mapped.w2[:, 0]), (whole.w1[0], whole.w2[0]), 1e-5)


# --- the mapping -----------------------------------------------------------------------


@pytest.mark.both
@activations
def test_identity_mapping_is_the_quotient_of_second_moments(
    rng, dtype, eps, activation, monkeypatch
):
    """v^T (X^^T X / N) v / lambda as it is read, for some directions, in blocks."""
    w1, w2, x = sample(rng, dtype, (2, 3), num_samples=30)
    spectrum = Spectrum.from_data(x)
    phi = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "identity": lambda z: z}
    hidden = phi[activation](np.einsum("nd,...hd->...nh", x, w1))
    outputs = np.einsum("...nh,...dh->...nd", hidden, w2)
    moment = np.einsum("...nd,ne->...de", outputs, x) / 30
    v, values = np.asarray(spectrum.eigenvectors), np.asarray(spectrum.eigenvalues)
    expected = np.einsum("dj,...de,ej->...j", v, moment, v) / values
    chosen = [4, 0, 6]
    for block in (2**20, 9 * 7):
        small_blocks(monkeypatch, block)
        got = identity_mapping(w1, w2, x, spectrum, chosen, activation=activation)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected[..., chosen], rtol=0, atol=100 * eps)
    forget()


def test_directions_that_the_data_do_not_reach_have_no_mapping(rng):
    x = rng.normal(size=(40, 6)).astype(np.float32)
    x[:, 4:] = 0
    spectrum = Spectrum.from_data(x)
    ones = np.eye(6, dtype=np.float32)
    got = identity_mapping(ones, ones, x, spectrum, activation="identity")
    np.testing.assert_allclose(got[:4], 1, atol=1e-5)
    assert np.isnan(got[4:]).all()
    edge = Spectrum(np.array([1, 1e-9, 1e-10], np.float32), np.eye(3, dtype=np.float32))
    got = identity_mapping(ones[:3, :3], ones[:3, :3], x[:, :3], edge, (2, 1, 0))
    assert np.isnan(got).tolist() == [True, False, False]


# --- wrong arguments -------------------------------------------------------------------

W1, W2, X = np.full((2, 3), 0.1), np.full((3, 2), 0.1), np.ones((4, 3))


def test_a_carry_of_another_batch_is_refused():
    one = simulate_networks(0, W1, W2, X, num_epochs=1)
    with pytest.raises(ValueError, match="carry must be that of a run with this optimiser, batch"):
        simulate_networks([0, 1], W1, W2, X, num_epochs=1, carry=one.carry)
    with pytest.raises(ValueError, match="carry must be that of a run with this optimiser, batch"):
        simulate_networks(0, W1, W2, X, num_epochs=1, carry=one.carry, optimizer=ADAM)


def test_without_optax_the_extra_is_named(monkeypatch):
    networks._descent.cache_clear()
    monkeypatch.setitem(sys.modules, "optax", None)
    for optimizer in (None, ADAM):
        with pytest.raises(ImportError, match=r"lindae_jax\[networks\]"):
            simulate_networks(0, W1, W2, X, num_epochs=1, optimizer=optimizer)


@pytest.mark.parametrize(
    ("optimizer", "asks"),
    [
        (optax.lbfgs(), "'value'"),
        (optax.polyak_sgd(), "'value'"),
        (optax.lookahead(optax.sgd(0.1), 5, 0.5), "'fast'"),
    ],
    ids=["lbfgs", "polyak_sgd", "lookahead"],
)
def test_an_optimizer_that_needs_more_than_the_gradient_is_refused(optimizer, asks):
    must = "optimizer must make its steps of the gradient and the weights alone; got one that .*"
    with pytest.raises(ValueError, match=must + asks):
        simulate_networks(0, W1, W2, X, num_epochs=1, optimizer=optimizer)


# --- Figure 6 ---------------------------------------------------------------------------


def half_times(epoch, mapping):
    """First epoch saved at half of the mean over the last 50 epochs, with that mean."""
    final = mapping[epoch > epoch[-1] - 50].mean(0)
    return epoch[np.argmax(mapping >= final / 2, axis=0)], final


def test_noise_learns_as_fast_as_none_where_decay_delays():
    """The paper's Figure 6 at small size: AE, WDAE and DAE on digits, three seeds."""
    x = data.load("digits", num_samples=400)
    spectrum = Spectrum.from_data(x)
    seeds = np.arange(3)[:, None]
    w1, w2 = initial.small(seeds, std=np.float32(0.001), num_directions=64, hidden=32)
    got = simulate_networks(
        *(seeds, w1, w2, x),
        noise=np.array([0, 0, 0.3], np.float32),
        decay=np.array([0, 0.008, 0], np.float32),
        learning_rate=0.9,
        num_epochs=2000,
        save_every=5,
        observe=lambda epoch, w1, w2, x: identity_mapping(w1, w2, x, spectrum, range(1, 12)),
    )
    assert (got.status == OK).all()
    time, final = half_times(np.asarray(got.step), np.asarray(got.observed))
    for seed in range(3):
        learned = (final[seed] >= 0.3).all(0)
        assert learned.sum() >= 2
        plain, decayed, noisy = time[seed][:, learned]
        assert (noisy / plain >= 0.85).all()
        assert (noisy / plain <= 1.05).all()
        assert (decayed / plain > 1.2).all()
        assert (final[seed, 1:][:, learned] < 0.95 * final[seed, 0][learned]).all()
