"""All curvatures of an aligned matrix autoencoder in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.curvature.pair import eigenvalues
from lindae_jax.problem import Problem


def aligned_spectrum(a: ArrayLike, b: ArrayLike, problem: Problem, hidden: int) -> jax.Array:
    """Every Hessian eigenvalue of an aligned autoencoder, without the Hessian.

    The weights are W1 = R diag(a), W2 = diag(b) R^T in the eigenbasis, R
    orthogonal (`initial.aligned`). The Hessian then falls into blocks of at
    most 4 x 4: docs/theory.md section 5.

    Parameters
    ----------
    a, b : array_like, (..., min(H, D))
        The aligned pairs of weights.
    problem : Problem
        `eigenvalue` (..., D), the other fields (...); the learning rate plays
        no part.
    hidden : int
        H, static. Beyond D the surplus units carry nothing.

    Returns
    -------
    jax.Array, (..., 2 H D)
        Ascending, with multiplicity. NaN for members whose problem is found
        invalid under tracing or whose weights are not finite.

    Raises
    ------
    ValueError
        Invalid problem, unsupported dtype, `hidden` below 1, `a` or `b` without
        min(H, D) entries on the last axis, batch shapes that do not broadcast.
    """
    hidden = checks.count("hidden", hidden, 1)
    arrays, cast_problem = checks.cast({"a": a, "b": b}, problem)
    fields = {n: getattr(cast_problem, n) for n in checks.PROBLEM_RULES}
    eigenvalue = fields["eigenvalue"]
    if eigenvalue.ndim == 0:
        raise checks.mistake(
            "problem.eigenvalue must have shape (..., D)",
            "shape ()",
            "Give the D eigenvalues of the data.",
        )
    checks.check_served(arrays, hidden, eigenvalue.shape[-1])
    batched = {n: x.shape[:-1] for n, x in {**arrays, "eigenvalue": eigenvalue}.items()}
    batch = checks.broadcast({**fields, **batched})
    checks.check_values({n: (fields[n], rule) for n, rule in checks.PROBLEM_RULES.items()})
    return _aligned_spectrum(arrays["a"], arrays["b"], cast_problem, batch, hidden)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _aligned_spectrum(
    a: jax.Array, b: jax.Array, problem: Problem, batch: tuple[int, ...], hidden: int
) -> jax.Array:
    per_direction = problem.per_direction()
    good = checks.valid(per_direction).all(-1, keepdims=True)
    good &= (jnp.isfinite(a) & jnp.isfinite(b)).all(-1, keepdims=True)
    lam = jnp.where(good, problem.eigenvalue, jnp.nan)
    total = lam + per_direction.noise
    length, num_directions = a.shape[-1], lam.shape[-1]
    # What couples the decoder with the encoder: a_j b_j L_j - lambda_j.
    coupling = (a * b * total[..., :length]) - lam[..., :length]
    blocks = [_own(a, b, total, coupling), _pairs(a, b, total, coupling)]
    if hidden < num_directions:
        blocks.append(_unserved(a, b, lam, total))
    if hidden > num_directions:
        # A surplus unit has no curvature of its own: only the coupling is left.
        blocks.append(jnp.repeat(jnp.concatenate([-coupling, coupling], -1), hidden - length, -1))
    values = [jnp.broadcast_to(x, batch + x.shape[-1:]) for x in blocks]
    return jnp.sort(jnp.concatenate(values, -1), axis=-1) + per_direction.decay


def _own(a: jax.Array, b: jax.Array, total: jax.Array, coupling: jax.Array) -> jax.Array:
    """The pair of each direction: 2 x 2, the pair Hessian without decay."""
    total = total[..., : a.shape[-1]]
    both = eigenvalues(total * b**2, total * a**2, total * a * b + coupling)
    return jnp.concatenate(both, -1)


def _unserved(a: jax.Array, b: jax.Array, lam: jax.Array, total: jax.Array) -> jax.Array:
    """Direction j without a unit of its own against the unit of direction i: 2 x 2."""
    length = a.shape[-1]
    both = eigenvalues(
        total[..., None, length:] * b[..., :, None] ** 2,
        (total[..., :length] * a**2)[..., :, None],
        -lam[..., None, length:],
    )
    return jnp.concatenate([_flattened(x) for x in both], -1)


def _pairs(a: jax.Array, b: jax.Array, total: jax.Array, coupling: jax.Array) -> jax.Array:
    """Directions i < j, each with a unit: 4 x 4 in (A_ij, B_ij, A_ji, B_ji)."""
    i, j = np.triu_indices(a.shape[-1], 1)
    (ai, aj), (bi, bj), (ti, tj), (mi, mj) = (
        (x[..., i], x[..., j]) for x in (a, b, total, coupling)
    )
    zero = jnp.zeros_like(mi)
    rows = (
        (tj * bi**2, tj * bi * aj, zero, mj),
        (tj * bi * aj, tj * aj**2, mi, zero),
        (zero, mi, ti * bj**2, ti * bj * ai),
        (mj, zero, ti * bj * ai, ti * ai**2),
    )
    entries = jnp.broadcast_arrays(*(x for row in rows for x in row))
    blocks = jnp.stack(entries, -1).reshape(*entries[0].shape, 4, 4)
    values = jnp.linalg.eigvalsh(blocks)
    return _flattened(values)


def _flattened(x: jax.Array) -> jax.Array:
    """The last two axes as one; its length is spelt out, for a batch may be empty."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
