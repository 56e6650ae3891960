"""Eigenbasis of a data set's second moment."""

import dataclasses
import os
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Weights

# Float64 values of the data held at a time while their second moment is summed: 8 MiB.
_BLOCK_VALUES = 2**20
_FORMAT = "lindae_jax.Spectrum 1"
_HIGHEST = jax.lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of X^T X / N.

    Linear autoencoders see their data through this matrix alone, and learn
    each of its eigen-directions by itself (the paper, section 3.1).

    Parameters
    ----------
    eigenvalues : jax.Array, (D,)
        lambda_j >= 0, descending, in squared units of the data; exactly 0
        where the data do not reach.
    eigenvectors : jax.Array, (D, D)
        V, one direction per column, orthogonal; the component of largest
        magnitude of each is positive.
    num_samples : int, optional
        N, static; None where unknown.
    """

    eigenvalues: jax.Array
    eigenvectors: jax.Array
    num_samples: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def from_data(cls, x: ArrayLike, *, center: bool = False) -> Self:
        """Spectrum of a data matrix.

        Sums and decomposes in float64 on the host, over blocks of rows, so
        that `x` (which may be memory-mapped) is never copied as a whole.

        Parameters
        ----------
        x : array_like, (N, D)
            One sample per row.
        center : bool
            Subtract the mean of each column first. The paper does not.

        Returns
        -------
        Spectrum
            In the dtype of `x` (integers: JAX's default float). Eigenvalues
            beyond the rank that N allows, and those within rounding of 0
            ((sqrt(D) + sqrt(N)) eps lambda_1, eps of float64), are exactly 0.

        Raises
        ------
        ValueError
            `x` is not 2-D, has no rows or columns, is not real, holds NaN or
            infinity, is traced, or overflows when squared.
        """
        if checks.is_traced(x):
            raise checks.mistake(
                "x must have concrete values", "a traced array", "Call this outside jit and vmap."
            )
        dtype = checks.result_dtype({"x": x})
        rows = np.asarray(x)
        checks.data_matrix("x", rows)
        moment = _second_moment(rows, center)
        if not np.isfinite(moment).all():
            checks.finite_rows("x", rows)
            raise _overflow(dtype)
        eigenvalues, eigenvectors = _decompose(moment)
        # Roundings of the sums and of the decomposition add up like random walks; the
        # zeros of rank-deficient data came out below 4 eps for D from 2 to 800.
        num_samples, num_directions = rows.shape
        level = (num_directions**0.5 + num_samples**0.5) * float(np.finfo(np.float64).eps)
        eigenvalues[num_samples - bool(center) :] = 0
        eigenvalues[eigenvalues <= level * eigenvalues[0]] = 0
        return cls(*_as_dtype(dtype, eigenvalues, eigenvectors), num_samples)

    @classmethod
    def from_second_moment(
        cls, second_moment: ArrayLike, *, num_samples: int | None = None
    ) -> Self:
        """Spectrum of a second-moment (or covariance) matrix.

        Parameters
        ----------
        second_moment : array_like, (D, D)
            Symmetric and positive semi-definite, up to rounding in its dtype.
        num_samples : int, optional
            N >= 1, kept; eigenvalues beyond the N-th are then exactly 0.

        Returns
        -------
        Spectrum
            In the dtype of `second_moment`. Eigenvalues within rounding of 0
            in that dtype (D eps lambda_1) are exactly 0.

        Raises
        ------
        ValueError
            Not square, not symmetric, not positive semi-definite, not finite,
            not real, traced; `num_samples` not an integer >= 1.
        """
        name = "second_moment"
        if checks.is_traced(second_moment):
            raise checks.mistake(
                f"{name} must have concrete values",
                "a traced array",
                "Call this outside jit and vmap.",
            )
        dtype = checks.result_dtype({name: second_moment})
        given = np.asarray(second_moment)
        checks.data_matrix(name, given)
        checks.finite_rows(name, given)
        if num_samples is not None:
            num_samples = checks.count("num_samples", num_samples, 1)
        eps = np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps
        rounding = len(given) * float(eps)
        eigenvalues, eigenvectors = _decompose(_symmetric(given.astype(np.float64), rounding))
        level = rounding * abs(eigenvalues).max()
        if eigenvalues[-1] < -level:
            raise checks.mistake(
                f"{name} must be positive semi-definite",
                f"eigenvalue {eigenvalues[-1]}",
                "Pass X^T X / N.",
            )
        if num_samples is not None:
            eigenvalues[num_samples:] = 0
        eigenvalues[eigenvalues <= level] = 0
        return cls(*_as_dtype(dtype, eigenvalues, eigenvectors), num_samples)

    def rotate(self, w1: ArrayLike, w2: ArrayLike) -> Weights:
        """Weight matrices of data space in the eigenbasis.

        Parameters
        ----------
        w1 : array_like, (..., H, D)
            Encoder.
        w2 : array_like, (..., D, H)
            Decoder.

        Returns
        -------
        Weights
            W1 V and V^T W2; the diagonal of their product is the mapping
            along each direction.

        Raises
        ------
        ValueError
            Shapes that fit neither each other nor D; unsupported dtype.
        """
        return _rotate(*self._fitting(w1, w2))

    def unrotate(self, w1: ArrayLike, w2: ArrayLike) -> Weights:
        """Weight matrices of the eigenbasis in data space, the inverse of `rotate`.

        Parameters
        ----------
        w1 : array_like, (..., H, D)
            Encoder.
        w2 : array_like, (..., D, H)
            Decoder.

        Returns
        -------
        Weights
            W1 V^T and V W2.

        Raises
        ------
        ValueError
            Shapes that fit neither each other nor D; unsupported dtype.
        """
        v, w1, w2 = self._fitting(w1, w2)
        return _rotate(v.T, w1, w2)

    def save(self, path: str | os.PathLike) -> None:
        """Write an .npz file at exactly this path, whole or not at all.

        Parameters
        ----------
        path : str or path
            An existing file there is replaced.

        Raises
        ------
        ValueError
            The folder does not exist, or the path is one.
        OSError
            Writing failed; then what was there is left as it was.
        """
        target = checks.path("path", path)
        if target.is_dir():
            raise checks.mistake("path must be that of a file", f"{target}", "Add a file's name.")
        if not target.parent.is_dir():
            raise checks.mistake(
                "path must lie in an existing folder", f"{target}", "Make the folder first."
            )
        # Written beside the target, so that the last step is a rename in one file system.
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with partial.open("xb") as stream:
                np.savez(
                    stream,
                    allow_pickle=False,
                    format=np.array(_FORMAT),
                    eigenvalues=np.asarray(self.eigenvalues),
                    eigenvectors=np.asarray(self.eigenvectors),
                    num_samples=np.array(self.num_samples or 0, np.int64),
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path
            Nothing in the file is ever unpickled.

        Returns
        -------
        Spectrum
            In the dtype saved; float32 if `jax_enable_x64` is off.

        Raises
        ------
        ValueError
            No such file, or not a whole and consistent spectrum; the message
            names the file and what is wrong with it.
        """
        source = checks.path("path", path)
        content = _read(source)
        wrong = _inconsistency(content)
        if wrong:
            raise _foreign(source, wrong)
        dtype = jax.dtypes.canonicalize_dtype(content["eigenvalues"].dtype)
        return cls(
            jnp.asarray(content["eigenvalues"], dtype),
            jnp.asarray(content["eigenvectors"], dtype),
            int(content["num_samples"]) or None,
        )

    def _fitting(self, w1: ArrayLike, w2: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        arrays, _ = checks.cast({"eigenvectors": self.eigenvectors, "w1": w1, "w2": w2})
        first, second = arrays["w1"].shape, arrays["w2"].shape
        num_directions = len(self.eigenvectors)
        if not (
            min(len(first), len(second)) >= 2
            and first[-1] == second[-2] == num_directions
            and first[-2] == second[-1]
        ):
            raise checks.mistake(
                f"w1 must be (..., H, {num_directions}) and w2 (..., {num_directions}, H)",
                f"{first} and {second}",
                "The spectrum's number of directions is the weights' D.",
            )
        return arrays["eigenvectors"], arrays["w1"], arrays["w2"]


@jax.jit
def _rotate(v: jax.Array, w1: jax.Array, w2: jax.Array) -> Weights:
    return Weights(jnp.matmul(w1, v, precision=_HIGHEST), jnp.matmul(v.T, w2, precision=_HIGHEST))


# --- second moment and its decomposition ------------------------------------


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK_VALUES // x.shape[1])
    for start in range(0, len(x), rows):
        yield x[start : start + rows].astype(np.float64, copy=False)


def _second_moment(x: np.ndarray, center: bool) -> np.ndarray:
    """X^T X / N in float64; not finite where x is not, or overflows."""
    moment = np.zeros((x.shape[1], x.shape[1]))
    # Non-finite data are found by their result, and named by the caller.
    with np.errstate(invalid="ignore", over="ignore"):
        if center:
            # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large. Seen from the
            # first row, constant columns are exact zeros.
            first = x[0].astype(np.float64)
            mean = sum((block - first).sum(axis=0) for block in _blocks(x)) / len(x)
        for block in _blocks(x):
            if center:
                block = block - first
                block -= mean
            moment += block.T @ block
        return moment / len(x)


def _symmetric(moment: np.ndarray, rounding: float) -> np.ndarray:
    """A user's matrix, symmetrised if that changes it by no more than rounding."""
    if moment.shape[0] != moment.shape[1]:
        raise checks.mistake(
            "second_moment must be square", f"shape {moment.shape}", "Pass X^T X / N."
        )
    gap = np.abs(moment - moment.T)
    if gap.max() > rounding * np.abs(moment).max():
        row, column = np.unravel_index(np.argmax(gap), gap.shape)
        raise checks.mistake(
            "second_moment must be symmetric",
            f"{moment[row, column]} and {moment[column, row]} at ({row}, {column}) and mirrored",
            "Pass X^T X / N, or (M + M^T)/2 if that is meant.",
        )
    return moment / 2 + moment.T / 2


def _decompose(moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, descending, and eigenvectors, signs fixed, in float64."""
    eigenvalues, eigenvectors = np.linalg.eigh(moment)
    eigenvectors = eigenvectors[:, ::-1]
    return eigenvalues[::-1].copy(), eigenvectors * _signs(eigenvectors)


def _as_dtype(
    dtype: np.dtype, eigenvalues: np.ndarray, eigenvectors: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    if eigenvalues[0] > np.finfo(dtype).max:
        raise _overflow(dtype)
    return jnp.asarray(eigenvalues.astype(dtype)), jnp.asarray(eigenvectors.astype(dtype))


def _signs(eigenvectors: np.ndarray) -> np.ndarray:
    """Signs that make the component of largest magnitude of each column positive.

    Of components equal up to rounding the first decides, so that rounding
    does not choose the sign.
    """
    magnitude = np.abs(eigenvectors)
    first = np.argmax(magnitude >= (1 - 1e-6) * magnitude.max(axis=0), axis=0)
    return np.where(eigenvectors[first, np.arange(len(first))] < 0, -1.0, 1.0)


def _overflow(dtype: np.dtype) -> ValueError:
    return checks.mistake(
        f"the second moment must be representable in {dtype}", "an overflow", "Rescale the data."
    )


# --- files ------------------------------------------------------------------


def _foreign(path: Path, wrong: str) -> ValueError:
    return checks.mistake(
        f"{path} must be a file written by Spectrum.save", wrong, "Save the spectrum again."
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise _foreign(path, "no such file")
    if not zipfile.is_zipfile(path):
        raise _foreign(path, "a file that is no complete .npz archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _foreign(path, f"a damaged or foreign archive ({error})") from error
    missing = {"format", "eigenvalues", "eigenvectors", "num_samples"} - set(content)
    if missing:
        raise _foreign(path, f"an archive without {', '.join(sorted(missing))}")
    return content


def _inconsistency(content: dict[str, np.ndarray]) -> str | None:
    """What is wrong with the arrays of an archive; None if nothing is."""
    values, vectors, samples = (
        content[name] for name in ("eigenvalues", "eigenvectors", "num_samples")
    )
    if content["format"].shape != () or str(content["format"]) != _FORMAT:
        return f"format {str(content['format'])[:60]!r} where {_FORMAT!r} is read"
    if values.dtype not in (np.float32, np.float64) or values.dtype != vectors.dtype:
        return f"dtypes {values.dtype} and {vectors.dtype}"
    if values.ndim != 1 or values.size == 0 or vectors.shape != 2 * values.shape:
        return f"shapes {values.shape} and {vectors.shape}"
    if samples.shape != () or samples.dtype.kind not in "iu" or samples < 0:
        return f"num_samples {samples}"
    if not (np.isfinite(values).all() and np.isfinite(vectors).all()):
        return "values that are not finite"
    if (np.diff(values) > 0).any() or values[-1] < 0:
        return "eigenvalues that are not descending and >= 0"
    return None
