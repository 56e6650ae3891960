"""Named data sets as (N, D) arrays."""

import gzip
import http.client
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lindae_jax import checks

# The number of training rows of a data set, with a reader of a range of them.
_Rows = tuple[int, Callable[[int, int], np.ndarray]]

_MNIST_FOLDERS = ("", "mnist", "MNIST/raw")
_MNIST_FILE = "train-images-idx3-ubyte"
_IDX_HEADER = struct.Struct(">IIII")
_IDX_IMAGES = 0x00000803  # unsigned bytes, three axes
_CIFAR10_FOLDERS = ("", "cifar-10-batches-bin")
_CIFAR10_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_CIFAR10_RECORD = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes


def load(
    name: str | os.PathLike,
    root: str | os.PathLike | None = None,
    *,
    num_samples: int | None = None,
    split: str = "train",
) -> np.ndarray:
    """Rows of a data set.

    Parameters
    ----------
    name : str or path
        ``"digits"``: 1,797 images of 8 x 8, embedded in scikit-learn, /16.
        ``"mnist"``: the IDX file of training images, gzipped or not, /255.
        ``"cifar10"``: the binary version, those of data_batch_1.bin to
        data_batch_5.bin that are there, in this order, /255; a row holds the
        red, the green and the blue plane. Or a path to an .npy or .npz file
        with an array (N, D), its values taken as they are; of an .npz the
        only array, else ``x``.
    root : str or path, optional
        Folder of the files of ``"mnist"`` or ``"cifar10"``, or the one above
        it; of a relative path in `name`. Without it MNIST and CIFAR-10 come
        from OpenML, cached by scikit-learn.
    num_samples : int, optional
        The first so many rows of the split; default: all of it.
    split : {"train", "held_out", "all"}
        Of the n training rows: the first floor(5n/6), the rest, or every row.
        Files of test images are never read.

    Returns
    -------
    numpy.ndarray, (N, D)
        float32, in [0, 1] for the named data sets; a user's own floats keep
        their dtype.

    Raises
    ------
    ValueError
        Unknown name or split, `root` beside ``"digits"``, `num_samples` not an
        integer >= 1 or more than there are; a file missing, truncated, foreign
        or, of the user's own, not 2-D, without rows, not real, not finite; a
        failed download. The message names the file and what was
        wrong.
    ImportError
        The data set needs scikit-learn, which is not installed.
    """
    if num_samples is not None:
        num_samples = checks.count("num_samples", num_samples, 1)
    if not isinstance(split, str) or split not in ("train", "held_out", "all"):
        raise checks.mistake(
            "split must be 'train', 'held_out' or 'all'", repr(split), "Name one of them."
        )
    num_rows, read = _open(name, None if root is None else checks.path("root", root))
    start, stop = _bounds(num_rows, split)
    if start == stop:
        raise checks.mistake(
            f"split {split!r} of {name} must have rows",
            f"0 rows of {num_rows}",
            "Load another split.",
        )
    if stop - start < (num_samples or 1):
        raise checks.mistake(
            f"num_samples must be at most the rows of split {split!r} of {name}",
            f"{num_samples} of {stop - start} rows",
            "Ask for fewer.",
        )
    return read(start, stop if num_samples is None else start + num_samples)


def _open(name: str | os.PathLike, root: Path | None) -> _Rows:
    text = str(name) if isinstance(name, str | os.PathLike) else ""
    if text == "digits" and root is not None:
        raise checks.mistake(
            "root goes with other data than digits", f"{root}", "Name the data set, as in mnist."
        )
    if text == "digits":
        return _digits()
    if text == "mnist":
        return _openml("mnist_784", 784, 60_000, _MNIST_HELP) if root is None else _mnist(root)
    if text == "cifar10":
        return _openml("CIFAR_10", 3072, 50_000, _CIFAR10_HELP) if root is None else _cifar10(root)
    if Path(text).suffix in (".npy", ".npz"):
        path = Path(text) if root is None else root / text
        if not path.is_file():
            raise checks.mistake("data must be a file", f"{path}, which is none", "Check the path.")
        return _npy(path) if path.suffix == ".npy" else _npz(path)
    raise checks.mistake(
        "data must be 'digits', 'mnist', 'cifar10' or the path of an .npy or .npz file",
        repr(name)[:80],
        "Save other data with numpy.save first.",
    )


def _bounds(num_rows: int, split: str) -> tuple[int, int]:
    cut = 5 * num_rows // 6
    return {"train": (0, cut), "held_out": (cut, num_rows), "all": (0, num_rows)}[split]


def _unit(rows: np.ndarray, largest: int, out: np.ndarray | None = None) -> np.ndarray:
    """Integers in [0, largest] as float32 in [0, 1]."""
    return np.divide(rows, np.float32(largest), out=out, dtype=np.float32, casting="unsafe")


# --- scikit-learn ------------------------------------------------------------


def _datasets() -> Any:
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError(
            "digits, and MNIST or CIFAR-10 without a root, need scikit-learn: "
            'pip install "lindae_jax[data]"'
        ) from error
    return sklearn.datasets


def _digits() -> _Rows:
    images, _ = _datasets().load_digits(return_X_y=True)
    return len(images), lambda start, stop: _unit(images[start:stop], 16)


def _openml(name: str, num_features: int, num_training: int, where: str) -> _Rows:
    datasets = _datasets()
    try:
        # This parser needs no pandas.
        bunch = datasets.fetch_openml(name, version=1, as_frame=False, parser="liac-arff")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise checks.mistake(
            f"without root, {name} must come from OpenML",
            f"{type(error).__name__}: {error}",
            f"Offline, {where}",
        ) from error
    images = bunch.data
    if np.ndim(images) != 2 or images.shape[1] != num_features:
        raise checks.mistake(
            f"OpenML's {name} must have {num_features} columns",
            f"shape {np.shape(images)}",
            f"Instead, {where}",
        )
    return min(num_training, len(images)), lambda start, stop: _unit(images[start:stop], 255)


# --- MNIST -------------------------------------------------------------------

_MNIST_HELP = (
    f"put {_MNIST_FILE} or {_MNIST_FILE}.gz into a folder DIR (or DIR/mnist) and pass root=DIR."
)


def _find(root: Path, folders: tuple[str, ...], files: tuple[str, ...]) -> list[Path]:
    """Those of the files that the first folder to have any has, in order."""
    for folder in folders:
        found = [root / folder / file for file in files if (root / folder / file).is_file()]
        if found:
            return found
    return []


def _mnist(root: Path) -> _Rows:
    found = _find(root, _MNIST_FOLDERS, (_MNIST_FILE, f"{_MNIST_FILE}.gz"))
    if not found:
        raise checks.mistake(
            "root must hold MNIST's training images", f"{root} without them", f"So {_MNIST_HELP}"
        )
    path = found[0]
    num_rows = _idx(path, lambda stream: _idx_header(path, stream))
    return num_rows, lambda start, stop: _unit(
        _idx(path, lambda stream: _idx_images(path, stream, start, stop)), 255
    )


def _damaged(path: Path, wrong: str, remedy: str = "Get the file again.") -> ValueError:
    return checks.mistake(f"{path} must be whole and of the format expected", wrong, remedy)


def _idx(path: Path, use: Callable[[io.BufferedIOBase], Any]) -> Any:
    """What `use` makes of the file's bytes, unzipped where the name says so."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return use(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"a damaged gzip file ({error})") from error


def _idx_header(path: Path, stream: io.BufferedIOBase) -> int:
    header = stream.read(_IDX_HEADER.size)
    if len(header) < _IDX_HEADER.size:
        raise _damaged(path, f"a file of {len(header)} bytes")
    magic, num_rows, height, width = _IDX_HEADER.unpack(header)
    if magic != _IDX_IMAGES or (height, width) != (28, 28) or num_rows == 0:
        raise _damaged(
            path,
            f"the header {header.hex(' ', 4)}, which is not that of IDX images of 28 x 28",
            f"The file wanted is MNIST's {_MNIST_FILE}.",
        )
    return num_rows


def _idx_images(path: Path, stream: io.BufferedIOBase, start: int, stop: int) -> np.ndarray:
    """Rows start to stop as bytes; reads to the end, to see that nothing is missing."""
    num_rows = _idx_header(path, stream)
    read = _skip(stream, 784 * start)
    # Grows with what is there: a damaged header may name more rows than memory holds.
    images = bytearray()
    while read == 784 * start + len(images) and len(images) < 784 * (stop - start):
        part = stream.read(min(2**20, 784 * (stop - start) - len(images)))
        if not part:
            break
        images += part
        read += len(part)
    read += _skip(stream)
    if read != 784 * num_rows:
        raise _damaged(path, f"{read} bytes of pixels where its header says {784 * num_rows}")
    return np.frombuffer(images, np.uint8).reshape(stop - start, 784)


def _skip(stream: io.BufferedIOBase, num_bytes: int | None = None) -> int:
    """Read past so many bytes, or all that is left; returns how many there were."""
    passed = 0
    while num_bytes is None or passed < num_bytes:
        size = len(stream.read(2**20 if num_bytes is None else min(2**20, num_bytes - passed)))
        if size == 0:
            break
        passed += size
    return passed


# --- CIFAR-10 ----------------------------------------------------------------

_CIFAR10_HELP = (
    "put data_batch_1.bin to data_batch_5.bin of the binary version (cifar-10-binary.tar.gz) into "
    "a folder DIR (or DIR/cifar-10-batches-bin) and pass root=DIR."
)


def _cifar10(root: Path) -> _Rows:
    found = _find(root, _CIFAR10_FOLDERS, _CIFAR10_FILES)
    if not found:
        raise checks.mistake(
            "root must hold CIFAR-10's binary version",
            f"{root} without data_batch_1.bin or its like",
            f"So {_CIFAR10_HELP}",
        )
    batches = [_cifar10_batch(path) for path in found]
    return sum(map(len, batches)), lambda start, stop: _cifar10_rows(batches, start, stop)


def _cifar10_batch(path: Path) -> np.ndarray:
    """Records of one file, memory-mapped."""
    size = path.stat().st_size
    if size == 0 or size % _CIFAR10_RECORD:
        raise _damaged(path, f"{size} bytes, not a multiple of {_CIFAR10_RECORD}")
    records = np.memmap(path, np.uint8, mode="r").reshape(-1, _CIFAR10_RECORD)
    if records[:, 0].max() > 9:
        raise _damaged(path, f"a label {records[:, 0].max()}, where 9 is the largest")
    return records


def _cifar10_rows(batches: list[np.ndarray], start: int, stop: int) -> np.ndarray:
    images = np.empty((stop - start, _CIFAR10_RECORD - 1), np.float32)
    filled = first = 0
    for batch in batches:
        part = batch[max(start - first, 0) : max(stop - first, 0), 1:]
        _unit(part, 255, out=images[filled : filled + len(part)])
        filled += len(part)
        first += len(batch)
    return images


# --- the user's own arrays ---------------------------------------------------


def _npy(path: Path) -> _Rows:
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic != b"\x93NUMPY":
        raise _damaged(path, f"a file that begins with {magic!r}", "Write it with numpy.save.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, f"{error}", "Write it again with numpy.save.") from error
    return _own(path, array)


def _npz(path: Path) -> _Rows:
    if not zipfile.is_zipfile(path):
        raise _damaged(
            path, "a file that is no complete .npz archive", "Write it with numpy.savez."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = archive.files
            key = keys[0] if len(keys) == 1 else "x"
            array = archive[key] if key in keys else None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, f"{error}", "Write it again with numpy.savez.") from error
    if array is None:
        raise checks.mistake(
            f"{path} must hold one array, or one named x",
            f"arrays {', '.join(keys) or 'none'}",
            "Save the one wanted by itself.",
        )
    return _own(path, array)


def _own(path: Path, array: Any) -> _Rows:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise checks.mistake(
            f"{path} must hold real numbers", f"{getattr(array, 'dtype', 'bytes')}", "Convert it."
        )
    checks.data_matrix(f"the array in {path}", array)
    is_float = array.dtype.kind == "f"
    dtype = array.dtype.newbyteorder("=") if is_float else np.dtype(np.float32)

    def read(start: int, stop: int) -> np.ndarray:
        # A copy of these rows alone: the whole array may be a map of the file.
        rows = np.array(array[start:stop], dtype, order="C", subok=False)
        checks.finite_rows(f"the array in {path}", rows, first=start)
        return rows

    return len(array), read
