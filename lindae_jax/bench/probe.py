"""A known miscompilation, looked for before anything is timed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.bench.machine import dtypes

# One more than 128 KiB of numbers: there XLA:CPU of jaxlib 0.10.2 leaves the last one wrong
# (jax issue 39103).
_LENGTHS = {"float32": 32_769, "float64": 16_385}


def require_sound_backend(compiled: Callable[[Callable], Callable] = jax.jit) -> None:
    """Compare a compiled `vmap(matvec)` followed by a sum with the same run eagerly.

    In float32, and in float64 where 64-bit mode is on.

    Parameters
    ----------
    compiled : function, optional
        What compiles.

    Raises
    ------
    FloatingPointError
        They differ. All numbers are small integers, so that both are exact.
    """
    for dtype in dtypes():
        length = _LENGTHS[dtype]
        matrix = jnp.asarray(np.arange(3 * length).reshape(length, 3) % 7, dtype)
        vectors = jnp.asarray(np.arange(9).reshape(3, 3), dtype)
        eager, jitted = (f(matrix, vectors) for f in (_summed, compiled(_summed)))
        wrong = int((np.asarray(eager) != np.asarray(jitted)).sum())
        if wrong:
            raise FloatingPointError(
                f"this JAX ({jax.__version__}, {jax.default_backend()}) miscompiles: {wrong} of "
                f"{length} sums of matrix-vector products are wrong in {dtype} under jit "
                "(jax issue 39103), so there is no report; install another version"
            )


def _summed(matrix: jax.Array, vectors: jax.Array) -> jax.Array:
    products = jax.vmap(lambda v: jnp.matmul(matrix, v, precision=jax.lax.Precision.HIGHEST))
    return products(vectors).sum(0)
