"""The matrix kernel against pairs, against the data matrix itself, against exact arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hessians import aligned_weights
from one_step import assert_one_step, wide_sample

from lindae_jax.problem import Problem
from lindae_jax.simulate import lanes, simulate_matrices, simulate_pairs

SHAPES = [(1, 1), (1, 2), (3, 4), (4, 4), (5, 3)]  # H, D: narrow where 4 H <= 3 D


def diagonal(values, *shape):
    """Pairs (n, m) on the diagonals of (n, *shape) matrices."""
    matrices = np.zeros((values.shape[0], *shape), values.dtype)
    index = np.arange(values.shape[1])
    matrices[:, index, index] = values
    return matrices


@pytest.mark.both
@pytest.mark.parametrize(("hidden", "directions"), SHAPES)
def test_one_step(rng, dtype, eps, hidden, directions):
    """Diagonal matrices, one pair in each direction, within the bounds of the pair kernel."""
    n, m = 150, min(hidden, directions)
    w1, w2, fields = wide_sample(rng, n * directions, dtype)
    w1, w2, lam = (x.reshape(n, directions)[:, :m] for x in (w1, w2, fields.eigenvalue))
    noise, decay, rate = (x[:n] for x in (fields.noise, fields.decay, fields.learning_rate))
    eigenvalue = np.pad(lam, [(0, 0), (0, directions - m)])
    got = simulate_matrices(
        diagonal(w1, hidden, directions),
        diagonal(w2, directions, hidden),
        Problem(eigenvalue, noise, decay, rate),
        num_steps=1,
    )
    assert got.w1.dtype == dtype
    index = np.arange(m)
    after = (np.asarray(w)[0, :, index, index].T for w in (got.w1, got.w2))
    each = Problem(lam, *(np.repeat(x[:, None], m, 1) for x in (noise, decay, rate)))
    flat = Problem(*(x.ravel() for x in vars(each).values()))
    assert_one_step(*(x.ravel() for x in (*after, w1, w2)), flat, eps)
    for w, start in ((got.w1[0], w1), (got.w2[0], w2)):
        assert np.count_nonzero(w) <= start.size


@pytest.mark.x64
@pytest.mark.parametrize("hidden", [3, 6, 9])
def test_aligned_matrices_equal_pairs(rng, hidden):
    """2,000 steps of descent against descent, from escape to plateau, within 1e-11 of max |w|."""
    directions, m = 6, min(hidden, 6)
    eigenvalue = np.array([2.0, 1.4, 1.0, 0.6, 0.3, 0.0])
    noise, decay, rate = (
        np.array(x) for x in ([0.0, 0.5, 0.2], [0.0, 0.0, 0.1], [0.05, 0.1, 0.07])
    )
    problem = Problem(np.broadcast_to(eigenvalue, (3, 6)), noise, decay, rate)
    a, b = 10.0 ** rng.uniform(-3, -1, (2, 3, m)) * rng.choice([-1, 1], (2, 3, m))
    w1, w2, rotation = aligned_weights(rng, a, b, hidden, directions)
    got = simulate_matrices(w1, w2, problem, num_steps=2000, save_every=100)
    served = Problem(eigenvalue[:m], noise, decay, rate).per_direction()
    pairs = simulate_pairs(a, b, served, num_steps=2000, save_every=100)
    # From small weights to a plateau: the run crosses the whole dynamics.
    assert np.abs(pairs.w1[0] * pairs.w2[0]).max() < 0.02
    assert np.abs(pairs.w1[-1, :, 0] * pairs.w2[-1, :, 0]).min() > 0.5
    scale = max(np.abs(pairs.w1).max(), np.abs(pairs.w2).max())
    back = np.swapaxes(rotation, 1, 2) @ got.w1, got.w2 @ rotation
    for matrix, pair in zip(back, (pairs.w1, pairs.w2), strict=True):
        expected = diagonal(np.asarray(pair).reshape(-1, m), *matrix.shape[-2:])
        error = np.abs(matrix - expected.reshape(matrix.shape)).max()
        assert error < 1e-11 * scale


def data_matrix_descent(x, w1, w2, noise, decay, rate, num_steps):
    """The paper's training loop: every gradient from the N samples themselves."""
    n = len(x)
    for _ in range(num_steps):
        w = w2 @ w1
        residual = x @ w.T - x
        slope = residual.T @ x / n + noise * w
        w1, w2 = (
            w1 - rate * (w2.T @ slope + decay * w1),
            w2 - rate * (slope @ w1.T + decay * w2),
        )
    return w1, w2


@pytest.mark.x64
@pytest.mark.parametrize("rank", [12, 4])
@pytest.mark.parametrize("hidden", [5, 11])
def test_matrices_equal_training_on_the_data_matrix(rng, rank, hidden):
    """500 steps, N = 200, D = 12, non-zero mean, three members: 1e-10."""
    x = rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 12)) / 4 + rng.normal(size=12) / 8
    eigenvalues, v = np.linalg.eigh(x.T @ x / 200)
    # A rank-deficient matrix has eigenvalues that round to just below 0.
    eigenvalues = np.maximum(eigenvalues, 0)
    noise, decay, rate = np.array([0.0, 0.3, 0.1]), np.array([0.0, 0.0, 0.2]), [0.05, 0.03, 0.04]
    w1, w2 = rng.normal(size=(3, hidden, 12)) / 10, rng.normal(size=(3, 12, hidden)) / 10
    got = simulate_matrices(
        w1 @ v, v.T @ w2, Problem(eigenvalues, noise, decay, np.array(rate)), num_steps=500
    )
    for i in range(3):
        expected = data_matrix_descent(x, w1[i], w2[i], noise[i], decay[i], rate[i], 500)
        assert np.abs(expected[1] @ expected[0]).max() > 0.3
        np.testing.assert_allclose(got.w1[0, i] @ v.T, expected[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(v @ got.w2[0, i], expected[1], rtol=0, atol=1e-10)


def sample(rng, dtype, hidden, directions, members=4):
    w1 = rng.normal(size=(members, hidden, directions)).astype(dtype) / 5
    w2 = rng.normal(size=(members, directions, hidden)).astype(dtype) / 5
    eigenvalue = rng.uniform(size=(members, directions)).astype(dtype)
    fields = rng.uniform(0.01, 0.1, size=(3, members)).astype(dtype)
    return w1, w2, Problem(eigenvalue, *fields)


# Few networks, by products; many small ones, each a lane: narrow, wide, of long sums.
PRODUCTS = [(4, 3, 7), (4, 7, 7), (4, 30, 50)]
LANES = [(21, 3, 7), (70, 2, 1), (21, 7, 7), (9, 6, 40), (19, 40, 6)]
shapes = pytest.mark.parametrize(("members", "hidden", "directions"), PRODUCTS + LANES)


def test_few_networks_and_small_ones_take_the_two_forms():
    """So that what is tested with both is both."""
    taken = [lanes.number(np.zeros(shape, np.float32)) for shape in PRODUCTS + LANES]
    assert taken == [None] * 3 + [32, 256, 16, 16, 16]


@pytest.mark.both
@shapes
def test_segments_and_saves(rng, dtype, members, hidden, directions):
    """A run cut anywhere, saved anyhow, is bitwise the same run."""
    w1, w2, problem = sample(rng, dtype, hidden, directions, members)
    whole = simulate_matrices(w1, w2, problem, num_steps=41)
    for cut in (0, 1, 17, 40):
        first = simulate_matrices(w1, w2, problem, num_steps=cut)
        rest = simulate_matrices(first.w1[-1], first.w2[-1], problem, num_steps=41 - cut)
        np.testing.assert_array_equal(rest.w1, whole.w1)
        np.testing.assert_array_equal(rest.w2, whole.w2)
    saved = simulate_matrices(w1, w2, problem, num_steps=41, save_every=7)
    np.testing.assert_array_equal(saved.w1[-1], whole.w1[0])
    np.testing.assert_array_equal(saved.w2[-1], whole.w2[0])


@pytest.mark.both
@shapes
def test_batch_equals_loop(rng, dtype, eps, members, hidden, directions):
    """One by one, under vmap, with weights shared by the batch."""
    w1, w2, problem = sample(rng, dtype, hidden, directions, members)
    fields = tuple(vars(problem).values())
    whole = simulate_matrices(w1, w2, problem, num_steps=20)

    def one(w1, w2, *fields):
        return simulate_matrices(w1, w2, Problem(*fields), num_steps=20)

    # The order of the sums in a product may differ with the batch.
    tolerance = {"rtol": 0, "atol": 20 * directions * eps}
    mapped = jax.vmap(one)(w1, w2, *fields)
    np.testing.assert_allclose(mapped.w1[:, 0], whole.w1[0], **tolerance)
    alone = one(w1[2], w2[2], *(x[2] for x in fields))
    assert alone.w1.shape == (1, hidden, directions)
    assert alone.status.shape == ()
    np.testing.assert_allclose(alone.w2[0], whole.w2[0, 2], **tolerance)
    shared = one(w1[0], w2[0], *fields)
    apart = one(np.stack([w1[0]] * members), np.stack([w2[0]] * members), *fields)
    np.testing.assert_array_equal(shared.w1, apart.w1)


@pytest.mark.both
@pytest.mark.parametrize("more", [1, 5])
@pytest.mark.parametrize("members", [4, 20])
def test_zero_units_pad_a_narrower_network(rng, dtype, eps, members, more):
    """They stay exactly zero, and the others do not notice (both forms of the step)."""
    w1, w2, problem = sample(rng, dtype, 4, 6, members)
    plain = simulate_matrices(w1, w2, problem, num_steps=30)
    pad = [(0, 0), (0, more), (0, 0)]
    padded = simulate_matrices(
        np.pad(w1, pad), np.pad(w2.swapaxes(1, 2), pad).swapaxes(1, 2), problem, num_steps=30
    )
    np.testing.assert_array_equal(padded.w1[0, :, 4:], 0)
    np.testing.assert_array_equal(padded.w2[0, :, :, 4:], 0)
    np.testing.assert_allclose(padded.w1[0, :, :4], plain.w1[0], rtol=0, atol=200 * eps)
    np.testing.assert_allclose(padded.w2[0, :, :, :4], plain.w2[0], rtol=0, atol=200 * eps)


def test_nothing_to_train_is_given_back():
    """No hidden units, no networks."""
    for shape in ((9, 0, 4), (0, 4, 4), (2, 0, 3, 5)):
        w1 = np.zeros(shape, np.float32)
        got = simulate_matrices(
            w1, w1.swapaxes(-1, -2), Problem(np.ones_like(w1, shape=shape[-1])), num_steps=3
        )
        assert got.w1.shape == (1, *shape)
        assert not np.any(got.status)


@pytest.mark.x64
@pytest.mark.parametrize("hidden", [2, 5])
@pytest.mark.parametrize("members", [4, 20])
def test_sensitivities_are_difference_quotients(rng, members, hidden):
    """`jvp` in every input at once, under `jit`, against central differences."""
    w1, w2, problem = sample(rng, np.float64, hidden, 4, members)
    primals = (w1, w2, *vars(problem).values())
    tangents = tuple(rng.normal(size=x.shape) * np.abs(x) for x in primals)

    def final(*v):
        got = simulate_matrices(v[0], v[1], Problem(*v[2:]), num_steps=60)
        return jnp.concatenate([got.w1.ravel(), got.w2.ravel()])

    _, slope = jax.jit(lambda p, t: jax.jvp(final, p, t))(primals, tangents)
    h = 1e-5
    up, down = (
        final(*(p + sign * h * t for p, t in zip(primals, tangents, strict=True)))
        for sign in (1, -1)
    )
    # Truncation h^2 and rounding eps / h, both near 1e-10.
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=0, atol=1e-8)
