"""Curvatures of a whole matrix autoencoder without forming its Hessian."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.losses import matrix_loss
from lindae_jax.problem import Problem, Weights

_Product = Callable[[Weights], Weights]
_product = functools.partial(jnp.tensordot, precision=jax.lax.Precision.HIGHEST)

# Lanczos vectors that are gone over together: enough to share what is read besides, few enough
# to be in a cache still when they are read again (docs/speed.md).
_TOGETHER = 4


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

    Lanczos' method with full reorthogonalisation (Golub and Van Loan, Matrix
    Computations, section 10.3) from one normal vector, the same for all members
    of a batch. It needs memory for `num_iterations` vectors of 2 H D numbers for
    each member. First derivatives, forward and backward, are those of the Hessian
    along the eigenvector found: of a simple eigenvalue that has converged, its own.
    Second ones are not, for the eigenvector's change is left out.

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
    # Under the caller's jit a key that is known need not be drawn from in the program.
    with checks.at_top_level():
        start = _start(key, w1.shape[-2:], w1.dtype)
    return _leading(w1, w2, problem, start, batch, num, num_iterations)


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
    def one(*member: jax.Array) -> jax.Array:
        def product_of(w1: jax.Array, w2: jax.Array, *fields: jax.Array) -> _Product:
            return lambda v: _matrix_hvp(w1, w2, Problem(*fields), v.w1, v.w2)

        # No derivative of the vectors: that of a Rayleigh quotient in them is 0 at the end.
        fixed = product_of(*map(jax.lax.stop_gradient, member))
        basis, *tridiagonal = _tridiagonal(fixed, start, num_iterations)
        found, vectors = _ritz(*tridiagonal)
        basis = jax.tree.map(lambda q: jnp.where(found[:, None, None], q, 0), basis)
        product = product_of(*member)
        values = jax.lax.map(lambda s: _rayleigh(product, _combine(s, basis)), vectors[:num])
        return -jnp.sort(-jnp.where(jnp.arange(num) < found.sum(), values, jnp.nan))

    def flat(x: jax.Array, trailing: int) -> jax.Array:
        tail = x.shape[x.ndim - trailing :]
        return jnp.broadcast_to(x, batch + tail).reshape(-1, *tail)

    fields = (problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate)
    members = (flat(w1, 2), flat(w2, 2), flat(fields[0], 1), *(flat(x, 0) for x in fields[1:]))
    return jax.vmap(one)(*members).reshape(*batch, num)


def _tridiagonal(
    product: _Product, start: Weights, num_iterations: int
) -> tuple[Weights, jax.Array, jax.Array]:
    """Lanczos vectors, one after the other, and the matrix among them, its two diagonals.

    Where the Krylov space is exhausted the vectors beyond are rounding noise or NaN.
    """
    rows = -(-num_iterations // _TOGETHER) * _TOGETHER
    basis = jax.tree.map(lambda v: jnp.zeros((rows, *v.shape), v.dtype), start)
    zeros = jnp.zeros(num_iterations, start.w1.dtype)

    def iterate(i: jax.Array, state: tuple) -> tuple:
        basis, residual, norm, diagonal, beside = state
        v = jax.tree.map(lambda r: r / norm, residual)
        basis = jax.tree.map(lambda q, x: q.at[i].set(x), basis, v)
        image = product(v)
        diagonal = diagonal.at[i].set(_inner(v, image))
        # Twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
        for _ in range(2):
            image = _orthogonalised(image, basis, i + 1)
        norm = _norm(image)
        return basis, image, norm, diagonal, beside.at[i].set(norm)

    state = basis, start, _norm(start), zeros, zeros
    basis, _, _, diagonal, beside = jax.lax.fori_loop(0, num_iterations, iterate, state)
    return jax.tree.map(lambda q: q[:num_iterations], basis), diagonal, beside[:-1]


def _orthogonalised(v: Weights, basis: Weights, num: jax.Array) -> Weights:
    """A vector less its share in the first `num` of the basis; all beyond are 0."""

    def part(i: jax.Array, v: Weights) -> Weights:
        some = jax.tree.map(
            lambda q: jax.lax.dynamic_slice_in_dim(q, i * _TOGETHER, _TOGETHER), basis
        )
        share = _product(some.w1, v.w1, 2) + _product(some.w2, v.w2, 2)
        return jax.tree.map(jnp.subtract, v, _combine(share, some))

    return jax.lax.fori_loop(0, -(-num // _TOGETHER), part, v)


def _combine(coefficients: jax.Array, basis: Weights) -> Weights:
    return jax.tree.map(lambda q: _product(coefficients, q, 1), basis)


def _inner(v: Weights, u: Weights) -> jax.Array:
    # `sum` adds pairwise where `dot` may not.
    return (v.w1 * u.w1).sum() + (v.w2 * u.w2).sum()


def _norm(v: Weights) -> jax.Array:
    # The squares of what a Hessian gives may be beyond the range of float32.
    largest = jnp.maximum(jnp.abs(v.w1).max(), jnp.abs(v.w2).max())
    scaled = jax.tree.map(lambda x: x / jnp.where(largest == 0, 1, largest), v)
    return largest * jnp.sqrt(_inner(scaled, scaled))


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


def _rayleigh(product: _Product, vector: Weights) -> jax.Array:
    """The eigenvalue that fits a vector best.

    The tridiagonal matrix itself inherits the rounding of its vectors' long
    sums. The error here is of second order in the vector.
    """
    square = _inner(vector, vector)
    # Zeros stand for vectors that are not there; of those too derivatives shall be finite.
    return _inner(vector, product(vector)) / jnp.where(square == 0, 1, square)
