"""Curvatures of a whole matrix autoencoder without forming its Hessian."""

import functools
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.losses import matrix_loss
from lindae_jax.problem import Problem, Weights


def matrix_hvp(
    w1: ArrayLike, w2: ArrayLike, problem: Problem, v1: ArrayLike, v2: ArrayLike
) -> Weights:
    """Hessian of the matrix loss times a vector.

    The derivative of the gradient along the vector (Pearlmutter, 1994), by
    automatic differentiation of the loss as the paper writes it.

    Parameters
    ----------
    w1 : array_like, (..., H, D)
        Encoder in the eigenbasis.
    w2 : array_like, (..., D, H)
        Decoder in the eigenbasis.
    problem : Problem
        `eigenvalue` (..., D), the other fields (...); the learning rate plays
        no part.
    v1, v2 : array_like, (..., H, D), (..., D, H)
        The vector, arranged like the weights.

    Returns
    -------
    Weights
        The product, arranged like the weights. NaN for members whose problem
        is found invalid under tracing.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, matrices that do not fit each other
        or the eigenvalues, batch shapes that do not broadcast.
    """
    (w1, w2, v1, v2), problem, _ = checks.matrix_door(problem, w1=w1, w2=w2, v1=v1, v2=v2)
    return _matrix_hvp(w1, w2, problem, v1, v2)


def leading_eigenvalues(
    w1: ArrayLike,
    w2: ArrayLike,
    problem: Problem,
    *,
    num: int,
    num_iterations: int,
    key: jax.Array,
) -> jax.Array:
    """Largest Hessian eigenvalues of whole matrix autoencoders, by Lanczos.

    Lanczos' method with full reorthogonalisation (matfree) from one normal
    vector, the same for all members of a batch. It needs memory for
    `num_iterations` vectors of 2 H D numbers for each member.

    Parameters
    ----------
    w1 : array_like, (..., H, D)
        Encoder in the eigenbasis.
    w2 : array_like, (..., D, H)
        Decoder in the eigenbasis.
    problem : Problem
        `eigenvalue` (..., D), the other fields (...); the learning rate plays
        no part.
    num : int
        How many eigenvalues, static.
    num_iterations : int
        Hessian-vector products to spend on each member, static; from `num` to
        2 H D. The outermost eigenvalues converge first, the sooner the wider
        the gap to the next; 40 usually give the top one to 1e-5, but only 1e-3
        where dozens crowd within a percent of it.
    key : jax.Array
        A key of `jax.random` for the start vector.

    Returns
    -------
    jax.Array, (..., num)
        The algebraically largest, descending. Copies of a multiple eigenvalue
        may be missing. NaN for members whose problem is found invalid under
        tracing or whose weights are not finite, and for the entries beyond the
        number of distinct eigenvalues where the method ends early.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, matrices that do not fit each other
        or the eigenvalues, batch shapes that do not broadcast, `num` below 1,
        `num_iterations` below `num` or above 2 H D, `key` not a key.
    ImportError
        Without matfree, which `pip install "lindae_jax[lanczos]"` brings.
    """
    num = checks.count("num", num, 1)
    num_iterations = checks.count("num_iterations", num_iterations, 1)
    (w1, w2), problem, batch = checks.matrix_door(problem, w1=w1, w2=w2)
    size = 2 * w1.shape[-2] * w1.shape[-1]
    if not num <= num_iterations <= size:
        raise checks.mistake(
            f"num_iterations must lie between num = {num} and 2 H D = {size}",
            num_iterations,
            "There are 2 H D eigenvalues, and each iteration finds at most one.",
        )
    checks.key(key)
    _matfree()
    # Under the caller's jit a key that is known need not be drawn from in the program.
    with checks.at_top_level():
        start = _start(key, w1.shape[-2:], w1.dtype)
    return _leading(w1, w2, problem, start, batch, num, num_iterations)


def _matfree() -> ModuleType:
    try:
        from matfree import decomp
    except ImportError as error:
        raise ImportError(
            'Lanczos needs matfree, an extra: pip install "lindae_jax[lanczos]".'
        ) from error
    return decomp


@jax.jit
def _matrix_hvp(
    w1: jax.Array, w2: jax.Array, problem: Problem, v1: jax.Array, v2: jax.Array
) -> Weights:
    def gradient(w: Weights) -> Weights:
        # Members do not interact: the gradient of the sum is each one's own.
        return jax.grad(lambda w: matrix_loss(w.w1, w.w2, problem).sum())(w)

    return jax.jvp(gradient, (Weights(w1, w2),), (Weights(v1, v2),))[1]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _start(key: jax.Array, shape: tuple[int, int], dtype: np.dtype) -> Weights:
    """A normal vector for networks whose encoders have that shape."""
    noise = jax.random.normal(key, (2, shape[0] * shape[1]), dtype)
    return Weights(noise[0].reshape(shape), noise[1].reshape(shape[::-1]))


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _leading(
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    start: Weights,
    batch: tuple[int, ...],
    num: int,
    num_iterations: int,
) -> jax.Array:
    # Lanczos' method as Arnoldi's: matfree's `tridiag_sym` does the same, but
    # hands on only a mean of what tells where the Krylov space ends.
    decompose = _matfree().hessenberg(num_iterations, reortho="full", custom_vjp=False)

    def one(w1: jax.Array, w2: jax.Array, *fields: jax.Array) -> jax.Array:
        def product(v: Weights) -> Weights:
            return _matrix_hvp(w1, w2, Problem(*fields), v.w1, v.w2)

        with jax.default_matmul_precision("highest"):
            basis, projected, *_ = decompose(product, start)
        found, vectors = _ritz(jnp.diagonal(projected), jnp.diagonal(projected, -1))
        keep = found[:, None, None]
        basis = jax.tree.map(lambda q: jnp.where(keep, q, 0), basis)
        values = jax.lax.map(lambda s: _rayleigh(product, _combine(basis, s)), vectors[:num])
        return -jnp.sort(-jnp.where(jnp.arange(num) < found.sum(), values, jnp.nan))

    def flat(x: jax.Array, trailing: int) -> jax.Array:
        tail = x.shape[x.ndim - trailing :]
        return jnp.broadcast_to(x, batch + tail).reshape(-1, *tail)

    fields = (problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate)
    members = (flat(w1, 2), flat(w2, 2), flat(fields[0], 1), *(flat(x, 0) for x in fields[1:]))
    return jax.vmap(one)(*members).reshape(*batch, num)


def _ritz(diagonal: jax.Array, off_diagonal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which Lanczos vectors count, and all eigenvectors as rows, the largest first."""
    # Where the Krylov space is exhausted the next vector is rounding noise, or
    # 0/0. What came before is complete: cut the rest off, below everything.
    finite = jnp.where(jnp.isfinite(off_diagonal), off_diagonal, 0)
    size = jnp.abs(jnp.where(jnp.isfinite(diagonal), diagonal, 0)).max() + 2 * finite.max(initial=0)
    going_on = off_diagonal > 100 * jnp.finfo(diagonal.dtype).eps * size
    found = jnp.concatenate([jnp.isfinite(diagonal[:1]), going_on])
    found = jnp.cumprod(found.astype(jnp.int32)) == 1
    diagonal = jnp.where(found, diagonal, -2 * size - 1)
    off_diagonal = jnp.where(found[1:], off_diagonal, 0)
    # The lower triangle is enough. Its masks are constants, for compilers take seconds over
    # the small loops that would make them.
    beside = jnp.append(off_diagonal, diagonal.dtype.type(0))
    matrix = jnp.where(np.eye(len(diagonal), dtype=bool), diagonal, 0)
    matrix = jnp.where(np.eye(len(diagonal), k=-1, dtype=bool), beside, matrix)
    return found, jnp.linalg.eigh(matrix, symmetrize_input=False)[1].T[::-1]


def _combine(basis: Weights, coefficients: jax.Array) -> Weights:
    return jax.tree.map(lambda q: (coefficients[:, None, None] * q).sum(0), basis)


def _rayleigh(product: Callable[[Weights], Weights], vector: Weights) -> jax.Array:
    """The eigenvalue that fits a vector best.

    The tridiagonal matrix itself inherits the rounding of its long dot
    products, 1e-4 in float32 on a CPU. The error here is of second order in
    the vector, and `sum` adds pairwise where `dot` may not.
    """
    image = product(vector)
    inner = sum((v * h).sum() for v, h in zip(vector, image, strict=True))
    return inner / sum((v * v).sum() for v in vector)
