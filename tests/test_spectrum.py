import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lindae_jax import data, spectrum
from lindae_jax.spectrum import Spectrum

X64 = jax.config.jax_enable_x64
EPS64 = float(np.finfo(np.float64).eps)


def sample_data(rng, num_samples, num_directions, dtype):
    """Rows with a mean and a spectrum that falls by powers of ten."""
    scale = 10.0 ** -np.linspace(0, 2, num_directions)
    x = rng.standard_normal((num_samples, num_directions)) * scale
    mix = np.linalg.qr(rng.standard_normal((num_directions, num_directions)))[0]
    return (x @ mix + 0.3).astype(dtype)


def reassembled(s):
    v = np.asarray(s.eigenvectors, np.float64)
    return v @ np.diag(np.asarray(s.eigenvalues, np.float64)) @ v.T


# --- theorems ----------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("num_samples", [1, 2, 6, 7, 8, 40])  # below, at and above D = 7
def test_it_diagonalises_the_second_moment(num_samples, center, rng, dtype, eps):
    x = sample_data(rng, num_samples, 7, dtype)
    s = Spectrum.from_data(x, center=center)
    assert s.eigenvalues.dtype == s.eigenvectors.dtype == dtype
    assert s.num_samples == num_samples
    v = np.asarray(s.eigenvectors, np.float64)
    # Each entry sums 7 products of components rounded to dtype; LAPACK's share is of that order.
    np.testing.assert_allclose(v.T @ v, np.eye(7), atol=7 * eps)
    exact = x.astype(np.float64) - (x.astype(np.float64).mean(axis=0) if center else 0)
    moment = exact.T @ exact / num_samples
    largest = float(s.eigenvalues[0])
    np.testing.assert_allclose(reassembled(s), moment, atol=7 * eps * (largest or 1))


@pytest.mark.both
@pytest.mark.parametrize("num_samples", [3, 7, 40])
def test_eigenvalues_are_squared_singular_values_over_n(num_samples, rng, dtype, eps):
    x = sample_data(rng, num_samples, 7, dtype)
    s = Spectrum.from_data(x)
    singular = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    exact = np.zeros(7)
    exact[: len(singular)] = singular**2 / num_samples
    # Rounded once to dtype, and to the rounding of X^T X in float64 before.
    np.testing.assert_allclose(
        np.asarray(s.eigenvalues, np.float64), exact, rtol=eps, atol=10 * 7 * EPS64 * exact[0]
    )


@pytest.mark.both
@pytest.mark.parametrize("num_samples", [2, 3, 4, 5, 100])
@pytest.mark.parametrize("center", [False, True])
def test_directions_the_data_do_not_reach_are_exactly_zero(num_samples, center, rng, dtype):
    # Six columns of rank three: a constant one, a zero one, copies and a multiple.
    a, b = rng.standard_normal((2, num_samples))
    columns = [a, b, a, 3 * b, np.full(num_samples, 0.7), np.zeros(num_samples)]
    values = np.asarray(Spectrum.from_data(np.stack(columns, axis=1), center=center).eigenvalues)
    rank = min(2, num_samples - 1) if center else min(3, num_samples)
    assert (values[:rank] > 0).all()
    assert (values[rank:] == 0).all()
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_large_samples_of_low_rank_keep_their_zeros(shift, rng):
    # Rounding of the sums grows with N, not with D: here N is large and D small.
    x = (rng.standard_normal((300_000, 1)) + shift) * np.array([1.0, -0.7, 1 / 3])
    assert (np.asarray(Spectrum.from_data(x).eigenvalues)[1:] == 0).all()


@pytest.mark.both
def test_centring_removes_any_mean(rng):
    # Integers: moving them changes no difference, not by a rounding.
    x = rng.integers(-50, 50, (200, 5)).astype(np.float64)
    plain, moved = (Spectrum.from_data(y, center=True) for y in (x, x + 2.0**40))
    assert np.array_equal(moved.eigenvalues, plain.eigenvalues)
    assert np.array_equal(moved.eigenvectors, plain.eigenvectors)
    covariance = np.cov(x, rowvar=False, bias=True)
    again = Spectrum.from_second_moment(covariance, num_samples=200)
    np.testing.assert_allclose(plain.eigenvalues, again.eigenvalues, rtol=1e-6)
    assert float(Spectrum.from_data(x + 2.0**40).eigenvalues[0]) > 2.0**80


def test_a_constant_column_has_no_variation_however_large(rng):
    x = rng.standard_normal((1000, 3))
    x[:, 1] = 0.1e12
    s = Spectrum.from_data(x, center=True)
    assert float(s.eigenvalues[2]) == 0
    assert np.array_equal(np.abs(s.eigenvectors[:, 2]), [0, 1, 0])


@pytest.mark.parametrize("num_samples", [99, 100, 101])
def test_blocks_sum_to_the_whole(num_samples, rng, monkeypatch):
    # Integers: every sum is exact, so the order of summation cannot show.
    x = rng.integers(0, 256, (num_samples, 6)).astype(np.uint8)
    whole = Spectrum.from_data(x)
    for block_values in (1, 6, 60, 600):
        monkeypatch.setattr(spectrum, "_BLOCK_VALUES", block_values)
        parts = Spectrum.from_data(x)
        assert np.array_equal(parts.eigenvalues, whole.eigenvalues)
        assert np.array_equal(parts.eigenvectors, whole.eigenvectors)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("center", [False, True])
def test_the_data_are_never_copied_whole(dtype, center):
    x = np.ones((400_000, 50), dtype)
    tracemalloc.start()
    try:
        Spectrum.from_data(x, center=center)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # At most three float64 blocks at a time: as they come, shifted, and the next one.
    assert peak < 3 * 8 * spectrum._BLOCK_VALUES + 2**20


@pytest.mark.both
def test_a_memory_map_or_a_transposed_view_is_as_good_as_an_array(rng, tmp_path, dtype):
    x = sample_data(rng, 30, 4, dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = Spectrum.from_data(x)
    for same in (mapped, jnp.asarray(x)):
        assert np.array_equal(Spectrum.from_data(same).eigenvectors, expected.eigenvectors)
    view = Spectrum.from_data(np.asfortranarray(x))
    np.testing.assert_allclose(
        view.eigenvalues, expected.eigenvalues, rtol=1e-13 if dtype == jnp.float64 else 1e-6
    )


@pytest.mark.both
def test_the_largest_component_of_each_direction_is_positive(rng, dtype):
    for num_directions in (1, 2, 9):
        v = np.asarray(Spectrum.from_data(sample_data(rng, 30, num_directions, dtype)).eigenvectors)
        assert (v[np.abs(v).argmax(axis=0), np.arange(num_directions)] > 0).all()
    # (1, -1) and (-1, 1) are equally long: the first component decides.
    v = np.asarray(Spectrum.from_second_moment(np.array([[2.0, -1.0], [-1.0, 2.0]])).eigenvectors)
    np.testing.assert_allclose(v, np.array([[1, 1], [-1, 1]]) / np.sqrt(2), rtol=1e-6)


@pytest.mark.both
def test_from_second_moment_agrees_with_from_data(rng, dtype, eps):
    x = sample_data(rng, 50, 6, np.float64)
    direct = Spectrum.from_data(x.astype(dtype))
    moment = (x.T @ x / 50).astype(dtype)
    given = Spectrum.from_second_moment(moment, num_samples=50)
    assert given.eigenvalues.dtype == dtype
    assert given.num_samples == 50
    assert Spectrum.from_second_moment(moment).num_samples is None
    # Two roundings of every entry to dtype move eigenvalues by that much of the largest.
    np.testing.assert_allclose(
        given.eigenvalues, direct.eigenvalues, atol=6 * 2 * eps * float(direct.eigenvalues[0])
    )


@pytest.mark.both
def test_from_second_moment_knows_rank_and_rounding(rng, dtype, eps):
    v = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    moment = (v @ np.diag([3.0, 2.0, 1.0, 0.0, 0.0]) @ v.T).astype(dtype)
    values = np.asarray(Spectrum.from_second_moment(moment).eigenvalues)
    np.testing.assert_allclose(values[:3], [3, 2, 1], rtol=15 * eps)
    assert (values[3:] == 0).all()
    assert (
        np.asarray(Spectrum.from_second_moment(moment, num_samples=2).eigenvalues)[2:] == 0
    ).all()
    nudged = moment.copy()
    nudged[0, 1] *= 1 + 2 * eps  # asymmetric by rounding
    assert (np.asarray(Spectrum.from_second_moment(nudged).eigenvalues)[3:] == 0).all()


def test_data_without_variation_have_a_zero_spectrum():
    for s in (
        Spectrum.from_data(np.zeros((4, 3))),
        Spectrum.from_data(np.full((4, 3), 0.1), center=True),
        Spectrum.from_data(np.ones((1, 3)), center=True),
        Spectrum.from_second_moment(np.zeros((3, 3))),
    ):
        assert np.array_equal(s.eigenvalues, np.zeros(3))
        np.testing.assert_allclose(s.eigenvectors @ s.eigenvectors.T, np.eye(3), atol=1e-6)


@pytest.mark.both
def test_integers_become_the_default_float(rng):
    x = rng.integers(0, 5, (10, 3))
    default = np.float64 if X64 else np.float32
    for same in (x, x.astype(np.uint8), x.tolist()):
        s = Spectrum.from_data(same)
        assert s.eigenvalues.dtype == s.eigenvectors.dtype == default


# --- rotation ----------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("hidden", [1, 5, 8])
def test_rotation_keeps_the_map_and_is_undone(hidden, rng, dtype, eps):
    s = Spectrum.from_data(sample_data(rng, 40, 5, dtype))
    w1 = rng.standard_normal((2, 3, hidden, 5)).astype(dtype)
    w2 = rng.standard_normal((2, 3, 5, hidden)).astype(dtype)
    a, b = s.rotate(w1, w2)
    assert a.dtype == b.dtype == dtype
    v = np.asarray(s.eigenvectors, np.float64)
    # Sums of 5, then of hidden, products of numbers of size 1 to 4.
    tolerance = 16 * (5 + hidden) * eps
    similar = v.T @ (w2.astype(np.float64) @ w1.astype(np.float64)) @ v
    np.testing.assert_allclose(
        np.asarray(b, np.float64) @ np.asarray(a, np.float64), similar, atol=tolerance
    )
    back = s.unrotate(a, b)
    np.testing.assert_allclose(back.w1, w1, atol=tolerance)
    np.testing.assert_allclose(back.w2, w2, atol=tolerance)
    again = s.rotate(*back)
    np.testing.assert_allclose(again.w1, a, atol=tolerance)
    np.testing.assert_allclose(again.w2, b, atol=tolerance)


@pytest.mark.both
def test_a_projection_on_the_leading_directions_becomes_diagonal(rng, dtype, eps):
    s = Spectrum.from_data(sample_data(rng, 40, 5, dtype))
    leading = s.eigenvectors[:, :2]
    a, b = s.rotate(leading.T, leading)
    np.testing.assert_allclose(b @ a, np.diag([1.0, 1, 0, 0, 0]), atol=10 * eps)


def test_rotation_is_differentiable_and_batches(rng):
    s = Spectrum.from_data(sample_data(rng, 40, 5, np.float32))
    w1, w2 = jnp.ones((4, 2, 5)), jnp.ones((4, 5, 2))
    batched = jax.jit(jax.vmap(s.rotate))(w1, w2)
    assert np.array_equal(batched.w1, s.rotate(w1, w2).w1)
    # The squared norm is kept, so its gradient is that without rotation.
    slope = jax.grad(lambda w: (s.rotate(w, w2).w1 ** 2).sum())(w1)
    np.testing.assert_allclose(slope, 2 * w1, atol=1e-5)


def test_it_is_a_pytree_with_a_static_number_of_samples(rng):
    s = Spectrum.from_data(sample_data(rng, 40, 5, np.float32))
    assert len(jax.tree.leaves(s)) == 2
    same = jax.jit(lambda s: s)(s)
    assert same.num_samples == 40
    assert np.array_equal(same.eigenvectors, s.eigenvectors)


# --- files -------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("num_samples", [None, 12])
def test_saved_is_loaded_bitwise(num_samples, rng, tmp_path, dtype):
    moment = np.cov(rng.standard_normal((4, 9))).astype(dtype)
    s = Spectrum.from_second_moment(moment, num_samples=num_samples)
    path = tmp_path / "digits.spectrum"
    path.write_text("an older file")
    s.save(path)
    loaded = Spectrum.load(str(path))
    assert loaded.eigenvalues.dtype == dtype
    assert np.array_equal(loaded.eigenvalues, s.eigenvalues)
    assert np.array_equal(loaded.eigenvectors, s.eigenvectors)
    assert loaded.num_samples == num_samples
    assert [p.name for p in tmp_path.iterdir()] == ["digits.spectrum"]


def test_a_failed_save_leaves_what_was_there(rng, tmp_path, monkeypatch):
    s = Spectrum.from_data(sample_data(rng, 9, 3, np.float32))
    path = tmp_path / "s.npz"
    s.save(path)
    before = path.read_bytes()

    def fails(stream, **arrays):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        s.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder_is_a_mistake(rng, tmp_path):
    s = Spectrum.from_data(sample_data(rng, 9, 3, np.float32))
    with pytest.raises(ValueError, match=r"path must lie in an existing folder; got .*nowhere"):
        s.save(tmp_path / "nowhere" / "s.npz")
    assert not list(tmp_path.iterdir())


def saved_arrays(**changes):
    whole = {
        "format": np.array("lindae_jax.Spectrum 1"),
        "eigenvalues": np.array([2.0, 1.0]),
        "eigenvectors": np.eye(2),
        "num_samples": np.array(5),
    }
    return {name: x for name, x in {**whole, **changes}.items() if x is not None}


FOREIGN = [
    ({"format": None}, "without format"),
    ({"eigenvalues": None, "num_samples": None}, "without eigenvalues, num_samples"),
    ({"format": np.array("lindae_jax.Spectrum 2")}, "format 'lindae_jax.Spectrum 2'"),
    ({"eigenvalues": np.array([[2.0], [1.0]])}, r"shapes \(2, 1\)"),
    ({"eigenvalues": np.array([3.0, 2.0, 1.0])}, r"shapes \(3,\) and \(2, 2\)"),
    ({"eigenvectors": np.eye(2, dtype=np.float32)}, "dtypes float64 and float32"),
    ({"eigenvalues": np.array([2, 1])}, "dtypes int64"),
    ({"eigenvalues": np.array([1.0, 2.0])}, "not descending"),
    ({"eigenvalues": np.array([2.0, -1.0])}, "not descending and >= 0"),
    ({"eigenvalues": np.array([np.inf, 1.0])}, "not finite"),
    ({"eigenvectors": np.full((2, 2), np.nan)}, "not finite"),
    ({"num_samples": np.array(-1)}, "num_samples -1"),
    ({"num_samples": np.array(1.5)}, "num_samples 1.5"),
    ({"eigenvalues": np.array([None, None])}, "damaged or foreign"),  # would need unpickling
]


@pytest.mark.parametrize(("changes", "wrong"), FOREIGN)
def test_foreign_archives_are_refused(changes, wrong, tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, **saved_arrays())
    assert Spectrum.load(path).num_samples == 5  # the table's own starting point is whole
    np.savez(path, **saved_arrays(**changes))
    with pytest.raises(ValueError, match=rf"s\.npz must be .* Spectrum\.save; got .*{wrong}"):
        Spectrum.load(path)


@pytest.mark.parametrize("cut", [0, 10, 300, -30, -1])
def test_truncated_files_are_refused(cut, rng, tmp_path):
    path = tmp_path / "s.npz"
    Spectrum.from_data(sample_data(rng, 9, 3, np.float32)).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"s\.npz must be .*; got a file that is no complete"):
        Spectrum.load(path)


def test_other_files_are_refused(rng, tmp_path):
    path = tmp_path / "s.npz"
    with pytest.raises(ValueError, match=r"s\.npz must be .*; got no such file"):
        Spectrum.load(path)
    np.save(tmp_path / "x.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"x\.npy must be .*; got a file that is no complete"):
        Spectrum.load(tmp_path / "x.npy")
    Spectrum.from_data(sample_data(rng, 9, 3, np.float32)).save(path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("eigenvectors.npy").header_offset
    content[offset + 200] ^= 0xFF  # a flipped bit is found by its checksum
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.npz must be .*; got a damaged or foreign archive"):
        Spectrum.load(path)


# --- real data ---------------------------------------------------------------


def exact_rank(matrix, prime=2**31 - 1):
    """Rank of an integer matrix, by elimination modulo a large prime."""
    rows = matrix.astype(np.int64) % prime
    rank = 0
    for column in range(rows.shape[1]):
        pivots = np.flatnonzero(rows[rank:, column])
        if pivots.size:
            rows[[rank, rank + pivots[0]]] = rows[[rank + pivots[0], rank]]
            rows[rank] = rows[rank] * pow(int(rows[rank, column]), -1, prime) % prime
            below = rows[rank + 1 :]
            below -= below[:, column, None].copy() * rows[rank] % prime
            below %= prime
            rank += 1
    return rank


@pytest.mark.slow
def test_mnist_has_as_many_directions_as_its_integers_say(paper_data):
    x = data.load("mnist", paper_data)
    s = Spectrum.from_data(x)
    pixels = np.rint(x * 255).astype(np.float64)
    # The sums of products of bytes stay below 2^53, so this matrix is exact; the least of its
    # positive eigenvalues is 1.5e-13 of the largest.
    assert (np.asarray(s.eigenvalues) > 0).sum() == exact_rank(pixels.T @ pixels)
    # The trace is the mean squared norm.
    norm = np.einsum("nd,nd->", x, x, dtype=np.float64) / len(x)
    np.testing.assert_allclose(np.asarray(s.eigenvalues, np.float64).sum(), norm, rtol=1e-6)
