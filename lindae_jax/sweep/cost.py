"""What the members of a sweep of networks cost to compute."""

from lindae_jax.sweep.observe import ITERATIONS
from lindae_jax.sweep.spec import Sweep

# Operations a second of a device, in the matrix products of which steps consist.
_RATE = {"cpu": 50e9, "other": 10e12}

# What is observed comes to a tenth of that rate: it waits for memory, or is computed member
# by member. With the counts below this tells the times on a core (AVX-512, float32) within
# a factor of two: sharpness 15 us for D = 3, H = 2; 0.4 ms for 8, 4; 4 to 11 ms for 64, 16;
# 62 ms for 200, 32; 0.9 s for 784, 64.
_OBSERVING = 10


def seconds_of_network(sweep: Sweep, platform: str) -> float:
    """About what a device takes for one member of a sweep of matrices, the widest.

    Parameters
    ----------
    sweep : Sweep
    platform : str
        Of the device, as JAX names it.
    """
    h, d = sweep.widest, sweep.num_directions
    assert sweep.num_steps is not None
    step = min(8 * h * h * d, 6 * h * d * d)
    saves = len(sweep.rows) * _operations_of_save(sweep, step)
    rate = _RATE.get(platform, _RATE["other"])
    return (step * max(1, sweep.num_steps) + _OBSERVING * saves) / rate


def _operations_of_save(sweep: Sweep, step: int) -> int:
    """Operations of all that is observed at one save, where a step takes so many."""
    h, d = sweep.widest, sweep.num_directions
    operations = 4 * h * d  # the status, the mapping, the norm
    # The loss as the paper writes it, and its gradient.
    operations += step * len({"loss", "gradient"} & set(sweep.observe))
    if "sharpness" in sweep.observe:
        size = 2 * h * d
        iterations = min(ITERATIONS, size)
        # A Hessian-vector product, and two passes over all vectors so far, to be orthogonal
        # to them; then the eigenvectors of the tridiagonal matrix, which are what the
        # smallest networks wait for.
        operations += iterations * (3 * step + 4 * iterations * size) + 25 * iterations**3
    return operations
