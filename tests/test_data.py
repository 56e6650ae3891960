import gzip
import struct
import sys
import tracemalloc
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets

from lindae_jax import data

MNIST = "train-images-idx3-ubyte"


def write_mnist(path, images, *, magic=0x803, shape=None, tail=b""):
    header = struct.pack(">IIII", magic, *(shape or images.shape))
    content = header + images.tobytes() + tail
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.write_bytes(content)


def write_cifar10(folder, images, numbers):
    """Images (len(numbers), n, 3072), one file for each number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in zip(numbers, images, strict=True):
        labels = (np.arange(len(batch)) % 10).astype(np.uint8)
        (folder / f"data_batch_{number}.bin").write_bytes(np.c_[labels, batch].tobytes())


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (13, 28, 28)).astype(np.uint8)


def as_unit(images):
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


# --- digits ------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    x = data.load("digits", split="all")
    assert x.dtype == np.float32
    assert np.array_equal(16 * x, sklearn.datasets.load_digits().data)  # sixteenths are exact
    assert np.array_equal(data.load("digits"), x[:1497])
    assert np.array_equal(data.load("digits", split="held_out"), x[1497:])
    assert np.array_equal(data.load("digits", num_samples=10, split="held_out"), x[1497:1507])


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    for name in ("digits", "mnist", "cifar10"):
        with pytest.raises(ImportError, match=r'pip install "lindae_jax\[data\]"'):
            data.load(name)


# --- splits ------------------------------------------------------------------


@pytest.mark.parametrize("num_rows", [1, 2, 5, 6, 7, 11, 12, 13])
def test_train_and_held_out_make_all(num_rows, tmp_path):
    x = np.arange(2 * num_rows, dtype=np.float64).reshape(num_rows, 2)
    np.save(tmp_path / "x.npy", x)
    cut = int(np.floor(5 * num_rows / 6))
    parts = {"train": x[:cut], "held_out": x[cut:], "all": x}
    for split, part in parts.items():
        if len(part) == 0:
            with pytest.raises(ValueError, match="0 rows"):
                data.load(tmp_path / "x.npy", split=split)
            continue
        assert np.array_equal(data.load(tmp_path / "x.npy", split=split), part)
        for n in {1, len(part)}:
            first = data.load(tmp_path / "x.npy", split=split, num_samples=n)
            assert np.array_equal(first, part[:n])
        with pytest.raises(ValueError, match=f"{len(part) + 1} of {len(part)} rows"):
            data.load(tmp_path / "x.npy", split=split, num_samples=len(part) + 1)


# --- MNIST -------------------------------------------------------------------


@pytest.mark.parametrize("file", [MNIST, MNIST + ".gz"])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
def test_mnist_is_read_zipped_or_not_from_the_folder_or_above(file, folder, images, tmp_path):
    write_mnist(tmp_path / folder / file, images)
    for split, rows in (("train", slice(10)), ("held_out", slice(10, 13)), ("all", slice(13))):
        x = data.load("mnist", tmp_path, split=split)
        assert x.dtype == np.float32
        assert np.array_equal(x, as_unit(images[rows]))
    assert np.array_equal(
        data.load("mnist", str(tmp_path), num_samples=2, split="held_out"), as_unit(images[10:12])
    )


def test_missing_mnist_says_what_to_put_where(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path} without them.* put {MNIST} or .*\.gz"):
        data.load("mnist", tmp_path)
    with pytest.raises(ValueError, match="without them"):
        data.load("mnist", tmp_path / "nowhere")


ZERO = np.zeros((6, 28, 28), np.uint8)
MNIST_DAMAGE = [
    ({"magic": 0x801}, "00000801 .* not that of IDX images"),  # a file of labels
    ({"magic": 0x50}, "not that of IDX images"),
    ({"shape": (6, 32, 32)}, "not that of IDX images"),
    ({"shape": (0, 28, 28)}, "not that of IDX images"),
    ({"shape": (7, 28, 28)}, f"{6 * 784} bytes of pixels where its header says {7 * 784}"),
    ({"shape": (5, 28, 28)}, f"{6 * 784} bytes of pixels where its header says {5 * 784}"),
    ({"shape": (6000, 28, 28)}, f"{6 * 784} bytes of pixels"),
    ({"shape": (2**31, 28, 28)}, f"{6 * 784} bytes of pixels"),
    ({"tail": b"x"}, f"{6 * 784 + 1} bytes of pixels"),
]


@pytest.mark.parametrize(("how", "wrong"), MNIST_DAMAGE)
@pytest.mark.parametrize("file", [MNIST, MNIST + ".gz"])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_foreign_mnist_files_are_named(how, wrong, file, split, tmp_path):
    path = tmp_path / file
    write_mnist(path, ZERO, **how)
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got .*{wrong}"):
        data.load("mnist", tmp_path, split=split)


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 1000, -1])
def test_truncated_mnist_files_are_named(cut, images, tmp_path):
    path = tmp_path / MNIST
    write_mnist(path, images)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got .* bytes"):
        data.load("mnist", tmp_path, num_samples=1)


@pytest.mark.parametrize("cut", [3, 15, 1000, -9, -1])
def test_truncated_gzip_files_are_named(cut, images, tmp_path):
    path = tmp_path / f"{MNIST}.gz"
    write_mnist(path, images)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got a damaged gzip file"):
        data.load("mnist", tmp_path, num_samples=1)


def test_gzip_files_that_are_not_are_named(images, tmp_path):
    path = tmp_path / f"{MNIST}.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got a damaged gzip file"):
        data.load("mnist", tmp_path)
    write_mnist(path, images)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got a damaged gzip file"):
        data.load("mnist", tmp_path, num_samples=1)


# --- CIFAR-10 ----------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
@pytest.mark.parametrize("numbers", [(1, 2, 3, 4, 5), (2, 5), (3,)])
def test_cifar10_is_whichever_batches_are_there_in_order(folder, numbers, rng, tmp_path):
    images = rng.integers(0, 256, (len(numbers), 5, 3072)).astype(np.uint8)
    write_cifar10(tmp_path / folder, images, numbers)
    write_cifar10(tmp_path / "elsewhere", images, numbers)
    (tmp_path / folder / "test_batch.bin").write_bytes(b"never read")
    whole = as_unit(images.reshape(-1, 3072))
    cut = 5 * len(whole) // 6
    x = data.load("cifar10", tmp_path)
    assert x.dtype == np.float32
    assert np.array_equal(x, whole[:cut])
    assert np.array_equal(data.load("cifar10", tmp_path, split="held_out"), whole[cut:])
    for n in (1, 4, len(whole)):
        first = data.load("cifar10", tmp_path, split="all", num_samples=n)
        assert np.array_equal(first, whole[:n])


def test_missing_cifar10_says_what_to_put_where(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"the pickled version is never read")
    with pytest.raises(ValueError, match=rf"{tmp_path} without .*cifar-10-binary\.tar\.gz"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "0 bytes"),
        (bytes(3072), "3072 bytes, not a multiple of 3073"),
        (bytes(2 * 3073 - 1), "6145 bytes, not a multiple"),
        (bytes(3073) + b"\x0a" + bytes(3072), "a label 10, where 9 is the largest"),
    ],
)
def test_truncated_or_foreign_cifar10_files_are_named(content, wrong, rng, tmp_path):
    write_cifar10(tmp_path, rng.integers(0, 256, (1, 20, 3072)).astype(np.uint8), [1])
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got {wrong}"):
        data.load("cifar10", tmp_path, num_samples=1)


# --- OpenML ------------------------------------------------------------------


@pytest.fixture
def openml(monkeypatch):
    """A stand-in of the real shapes in which row i holds i % 251 throughout."""
    calls = []

    def fetch(name, *, version, as_frame, parser):
        calls.append((name, version, as_frame, parser))
        shape = {"mnist_784": (70_000, 784), "CIFAR_10": (60_000, 3072)}[name]
        rows = np.arange(shape[0], dtype=np.int64) % 251
        return SimpleNamespace(data=np.broadcast_to(rows[:, None], shape))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    return calls


@pytest.mark.parametrize(
    ("name", "source", "num_features", "num_training", "cut"),
    [
        ("mnist", "mnist_784", 784, 60_000, 50_000),
        ("cifar10", "CIFAR_10", 3072, 50_000, 41_666),
    ],
)
def test_without_a_root_the_training_rows_of_openml_are_read(
    name, source, num_features, num_training, cut, openml
):
    def expected(start, stop):
        rows = (np.arange(start, stop) % 251).astype(np.float32) / np.float32(255)
        return np.repeat(rows[:, None], num_features, axis=1)

    x = data.load(name, num_samples=300)
    assert x.dtype == np.float32
    assert np.array_equal(x, expected(0, 300))
    held_out = data.load(name, split="held_out", num_samples=300)
    assert np.array_equal(held_out, expected(cut, cut + 300))
    for split, most in (("train", cut), ("held_out", num_training - cut), ("all", num_training)):
        with pytest.raises(ValueError, match=f"{most + 1} of {most} rows"):
            data.load(name, split=split, num_samples=most + 1)
    assert set(openml) == {(source, 1, False, "liac-arff")}


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("name resolution"),
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        ValueError("md5 checksum does not match"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("name", "help"), [("mnist", MNIST), ("cifar10", r"data_batch_1\.bin to data_batch_5\.bin")]
)
def test_offline_it_says_where_to_put_which_files(name, help, failure, monkeypatch):
    def fetch(*args, **kwargs):
        raise failure

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    kind = type(failure).__name__
    with pytest.raises(ValueError, match=rf"OpenML; got {kind}: .*put {help}.*pass root=DIR"):
        data.load(name)


def test_a_foreign_openml_table_is_refused(monkeypatch):
    def fetch(*args, **kwargs):
        return SimpleNamespace(data=np.zeros((10, 3)))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(ValueError, match=r"mnist_784 must have 784 columns; got shape \(10, 3\)"):
        data.load("mnist")


# --- the user's own arrays ---------------------------------------------------


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize(
    ("kind", "loaded"),
    [
        ("f4", "f4"),
        ("f8", "f8"),
        (">f8", "f8"),
        ("f2", "f2"),
        ("u1", "f4"),
        ("i8", "f4"),
        (">i2", "f4"),
    ],
)
def test_own_values_are_taken_as_they_are(suffix, kind, loaded, tmp_path):
    x = (np.arange(21).reshape(7, 3) * 37 % 101).astype(kind)
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, x)
    else:
        np.savez_compressed(path, images=x)  # the only array, whatever its name
    for name, root in ((path, None), (str(path), None), (path.name, tmp_path)):
        y = data.load(name, root, split="all")
        assert type(y) is np.ndarray
        assert y.dtype == np.dtype(loaded)
        assert np.array_equal(y, x)


def test_fortran_order_is_read_by_rows(tmp_path):
    x = np.asfortranarray(np.arange(21.0).reshape(7, 3))
    np.save(tmp_path / "x.npy", x)
    y = data.load(tmp_path / "x.npy")
    assert y.flags.c_contiguous
    assert np.array_equal(y, x[:5])


def test_of_several_arrays_x_is_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.ones((6, 2)), y=np.zeros(6))
    assert np.array_equal(data.load(path), np.ones((5, 2)))
    np.savez(path, images=np.ones((6, 2)), labels=np.zeros(6))
    with pytest.raises(ValueError, match=r"x\.npz must hold .*; got arrays images, labels"):
        data.load(path)
    np.savez(path)
    with pytest.raises(ValueError, match=r"x\.npz must hold .*; got arrays none"):
        data.load(path)


def test_only_the_rows_asked_for_are_read(tmp_path):
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", np.float64, (200_000, 100)).flush()  # 160 MB, sparse
    tracemalloc.start()
    try:
        x = data.load(path, num_samples=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert x.shape == (1000, 100)
    assert peak < 2 * x.nbytes
    assert x.flags.owndata  # no map of the file is left open


def test_rows_that_are_not_asked_for_may_hold_nan(tmp_path):
    x = np.ones((6, 2))
    x[5, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    assert np.isfinite(data.load(tmp_path / "x.npy")).all()
    with pytest.raises(ValueError, match=r"x\.npy must be finite; got nan at row 5, column 1"):
        data.load(tmp_path / "x.npy", split="held_out")


NOT_DATA = [
    (np.ones(6), "must be 2-D"),
    (np.ones((6, 2, 2)), "must be 2-D"),
    (np.ones(()), "must be 2-D"),
    (np.ones((0, 2)), "must have at least one row"),
    (np.ones((2, 0)), "must have at least one row"),
    (np.full((6, 2), np.inf), "must be finite; got inf at row 0"),
    (np.full((6, 2), np.nan, np.float32), "must be finite; got nan at row 0"),
    (np.ones((6, 2), complex), "must hold real numbers; got complex128"),
    (np.ones((6, 2), bool), "must hold real numbers; got bool"),
    (np.array([["a"]]), "must hold real numbers; got <U1"),
    (np.array([[None, 1]]), "must be whole .*; got .*[Oo]bject"),  # never unpickled
]


@pytest.mark.parametrize(("array", "wrong"), NOT_DATA)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_that_are_no_data_are_named(array, wrong, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, array)
    with pytest.raises(ValueError, match=rf"{path} {wrong}"):
        data.load(path)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("cut", [0, 4, 20, 200, -40, -1])
def test_truncated_arrays_are_named(suffix, cut, tmp_path):
    path = tmp_path / f"x.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, np.ones((60, 3)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=rf"{path} must be whole .*; got "):
        data.load(path)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_foreign_files_are_named_and_never_unpickled(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    for content in (b"\x80\x04K\x01.", b"1,2,3\n", b"\x93NUMPY\x01\x00\x05\x00{...}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path} must be whole .*; got ") as caught:
            data.load(path)
        assert "allow_pickle" not in str(caught.value)


def test_an_archive_of_something_else_is_named(tmp_path):
    import zipfile

    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=rf"{path} must hold real numbers; got bytes"):
        data.load(path)


# --- the real files ----------------------------------------------------------


@pytest.mark.slow
def test_the_real_files_are_read(paper_data):
    x = data.load("mnist", paper_data, split="all")
    assert x.shape == (60_000, 784)
    assert (x.min(), x.max()) == (0, 1)
    # The mean pixel of the training images, known to four places: 33.318 / 255.
    assert abs(x.mean(dtype=np.float64) * 255 - 33.318) < 1e-3
    assert np.array_equal(data.load("mnist", paper_data / "mnist"), x[:50_000])
    y = data.load("cifar10", paper_data)
    assert y.shape[1] == 3072
    assert len(y) % 25_000 == 0 or len(y) == 41_666
    # CIFAR-10's mean red, green and blue: 0.4914, 0.4822, 0.4465; subsets differ a little.
    planes = y.reshape(len(y), 3, 1024).mean(axis=(0, 2), dtype=np.float64)
    np.testing.assert_allclose(planes, [0.4914, 0.4822, 0.4465], atol=0.01)
