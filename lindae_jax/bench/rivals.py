"""The same work as others would do it, each way as fast as it can be written."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lindae_jax.batches.devices import num_cores
from lindae_jax.bench.answers import Matrices, Pairs

# label, size, run(num_steps) -> answer. Where a library is missing, ImportError.
Ways = Iterator[tuple[str, int, Callable[[int], Any]]]


# --- pairs, gradient descent -------------------------------------------------------


def python_loop(pairs: Pairs, *, quick: bool) -> Ways:
    """The original way: one network at a time, a Python loop over epochs."""
    # Numbers of Python's, for with NumPy's each operation costs several times as much.
    few = list(zip(*(x[: 2 if quick else 8].tolist() for x in pairs), strict=True))

    def run(num_steps: int) -> np.ndarray:
        return np.array([_one_network(num_steps, *pair) for pair in few]).T

    yield "", len(few), run


def _one_network(num_steps, w1, w2, eigenvalue, noise, decay, learning_rate):
    for _ in range(num_steps):
        g = eigenvalue - (eigenvalue + noise) * w1 * w2
        w1, w2 = (
            w1 + learning_rate * (g * w2 - decay * w1),
            w2 + learning_rate * (g * w1 - decay * w2),
        )
    return w1, w2


def numpy_blocks(pairs: Pairs, *, quick: bool, threads: int = 1) -> Ways:
    """NumPy on blocks that stay in the cache, buffers made once, a block to a thread."""
    pool = ThreadPoolExecutor(threads)
    out = np.empty_like(pairs.w1), np.empty_like(pairs.w2)
    for size in (2**13,) if quick else (2**12, 2**14, 2**16, 2**17, 2**18):
        blocks = [slice(i, i + size) for i in range(0, len(pairs.w1), size)]

        def run(num_steps: int, blocks=blocks):
            list(pool.map(lambda block: _numpy_block(num_steps, pairs, block, out), blocks))
            return out

        yield f"blocks of {size:,}", len(pairs.w1), run


def numpy_threads(pairs: Pairs, *, quick: bool) -> Ways:
    """The same on all cores."""
    return numpy_blocks(pairs, quick=quick, threads=num_cores())


def _numpy_block(num_steps: int, pairs: Pairs, block: slice, out: tuple) -> None:
    w1, w2, eigenvalue, noise, decay, rate = pairs.take(block)
    gain, slope, kept = rate * eigenvalue, rate * (eigenvalue + noise), 1 - rate * decay
    w1, w2, g, step = w1.copy(), w2.copy(), np.empty_like(w1), np.empty_like(w1)
    for _ in range(num_steps):
        np.multiply(w1, w2, out=g)
        np.multiply(g, slope, out=g)
        np.subtract(gain, g, out=g)
        np.multiply(g, w2, out=step)
        np.multiply(g, w1, out=g)
        np.multiply(w1, kept, out=w1)
        np.multiply(w2, kept, out=w2)
        np.add(w1, step, out=w1)
        np.add(w2, g, out=w2)
    out[0][block], out[1][block] = w1, w2


def numba_pairs(pairs: Pairs, *, quick: bool) -> Ways:
    """A numba loop over pairs, spread over the cores, with the steps inside."""
    import numba

    out = np.empty_like(pairs.w1), np.empty_like(pairs.w2)

    @numba.njit(parallel=True, fastmath=True)
    def advance(num_steps, w1, w2, eigenvalue, noise, decay, rate, out1, out2):
        for i in numba.prange(len(w1)):
            x, y = w1[i], w2[i]
            gain, slope = rate[i] * eigenvalue[i], rate[i] * (eigenvalue[i] + noise[i])
            shrinkage = rate[i] * decay[i]
            for _ in range(num_steps):
                g = gain - slope * (x * y)
                x, y = (x - shrinkage * x) + g * y, (y - shrinkage * y) + g * x
            out1[i], out2[i] = x, y

    yield "", len(pairs.w1), _writing(advance, pairs, out)


def numba_blocks(pairs: Pairs, *, quick: bool) -> Ways:
    """A numba loop over blocks of pairs, each step a loop that the compiler vectorises."""
    import numba

    out = np.empty_like(pairs.w1), np.empty_like(pairs.w2)

    @numba.njit(parallel=True, fastmath=True)
    def advance(size, num_steps, w1, w2, eigenvalue, noise, decay, rate, out1, out2):
        for block in numba.prange((len(w1) + size - 1) // size):
            part = slice(block * size, min(len(w1), (block + 1) * size))
            x, y = w1[part].copy(), w2[part].copy()
            gain = rate[part] * eigenvalue[part]
            slope = rate[part] * (eigenvalue[part] + noise[part])
            shrinkage = rate[part] * decay[part]
            for _ in range(num_steps):
                for i in range(len(x)):
                    a, b = x[i], y[i]
                    g = gain[i] - slope[i] * (a * b)
                    x[i] = (a - shrinkage[i] * a) + g * b
                    y[i] = (b - shrinkage[i] * b) + g * a
            out1[part], out2[part] = x, y

    for size in (2**9,) if quick else (2**8, 2**10):
        run = _writing(functools.partial(advance, size), pairs, out)
        yield f"blocks of {size:,}", len(pairs.w1), run


def _writing(advance: Callable, pairs: Pairs, out: tuple) -> Callable[[int], Any]:
    def run(num_steps: int):
        advance(num_steps, *pairs, *out)
        return out

    return run


def plain_scan(pairs: Pairs, *, quick: bool) -> Ways:
    """`jax.lax.scan` of the step as one would write it down."""
    for size in _sizes(pairs, quick):
        on_device = Pairs(*map(jnp.asarray, pairs.take(slice(size))))

        def run(num_steps: int, on_device=on_device):
            return jax.block_until_ready(_scan(num_steps, *on_device))

        yield f"{size:,} pairs", size, run


@functools.partial(jax.jit, static_argnums=0)
def _scan(num_steps, w1, w2, eigenvalue, noise, decay, learning_rate):
    def step(weights, _):
        w1, w2 = weights
        g = eigenvalue - (eigenvalue + noise) * w1 * w2
        w1, w2 = (
            w1 + learning_rate * (g * w2 - decay * w1),
            w2 + learning_rate * (g * w1 - decay * w2),
        )
        return (w1, w2), None

    return jax.lax.scan(step, (w1, w2), None, length=num_steps)[0]


def diffrax_euler(pairs: Pairs, *, quick: bool) -> Ways:
    """diffrax's `Euler`, all pairs one system; a step of it is a step of gradient descent."""
    import diffrax

    solve = functools.partial(
        _diffrax, diffrax, diffrax.Euler(), diffrax.ConstantStepSize(), first_step=1.0
    )
    yield from _solving(jax.jit(solve), pairs, quick)


def torch_eager(pairs: Pairs, *, quick: bool) -> Ways:
    """PyTorch as it comes, in place."""
    import torch

    for size in _sizes(pairs, quick):
        tensors = [torch.tensor(x[:size]) for x in pairs]

        def run(num_steps: int, tensors=tensors):
            w1, w2, eigenvalue, noise, decay, rate = tensors
            w1, w2 = w1.clone(), w2.clone()
            gain, slope, kept = rate * eigenvalue, rate * (eigenvalue + noise), 1 - rate * decay
            with torch.inference_mode():
                for _ in range(num_steps):
                    g = gain - slope * w1 * w2
                    step = g * w2
                    w2.mul_(kept).addcmul_(g, w1)
                    w1.mul_(kept).add_(step)
            return w1.numpy(), w2.numpy()

        yield f"{size:,} pairs", size, run


# --- pairs, the flow ---------------------------------------------------------------


def diffrax_adaptive(pairs: Pairs, *, quick: bool) -> Ways:
    """diffrax's `Tsit5` with steps of its own choice, all pairs one system."""
    import diffrax

    control = diffrax.PIDController(rtol=1e-5, atol=1e-6)
    solve = functools.partial(_diffrax, diffrax, diffrax.Tsit5(), control, first_step=None)
    yield from _solving(jax.jit(solve), pairs, quick)


def diffrax_points(t: np.ndarray, pairs: Pairs) -> Callable[[], Any]:
    """diffrax's `Tsit5` for points of the flow, each with steps of its own choice."""
    import diffrax

    control = diffrax.PIDController(rtol=1e-6, atol=1e-7)
    solve = functools.partial(_diffrax, diffrax, diffrax.Tsit5(), control, first_step=None)
    mapped = jax.jit(jax.vmap(solve))
    arguments = jnp.asarray(t), *map(jnp.asarray, pairs)
    return lambda: jax.block_until_ready(mapped(*arguments))


def _diffrax(
    diffrax, solver, control, epochs, w1, w2, eigenvalue, noise, decay, learning_rate, *, first_step
):
    def slope(t, weights, args):
        w1, w2 = weights
        g = eigenvalue - (eigenvalue + noise) * w1 * w2
        return learning_rate * (g * w2 - decay * w1), learning_rate * (g * w1 - decay * w2)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        solver,
        t0=jnp.zeros_like(epochs),
        t1=epochs,
        dt0=None if first_step is None else jnp.asarray(first_step, epochs.dtype),
        y0=(w1, w2),
        stepsize_controller=control,
        saveat=diffrax.SaveAt(t1=True),
        max_steps=None,
    )
    return tuple(w[0] for w in solution.ys)


def _solving(solve: Callable, pairs: Pairs, quick: bool) -> Ways:
    for size in _sizes(pairs, quick):
        on_device = Pairs(*map(jnp.asarray, pairs.take(slice(size))))

        def run(num_steps: int, on_device=on_device):
            epochs = jnp.asarray(num_steps, on_device.w1.dtype)
            return jax.block_until_ready(solve(epochs, *on_device))

        yield f"{size:,} pairs", size, run


def scipy_adaptive(pairs: Pairs, *, quick: bool) -> Ways:
    """SciPy's `solve_ivp` (RK45), all pairs one system."""
    for wanted in (10**3,) if quick else (10**3, 10**4):
        size = min(wanted, len(pairs.w1))
        run = functools.partial(scipy_flow, pairs=pairs.take(slice(size)), rtol=1e-5, atol=1e-6)
        yield f"{size:,} pairs", size, run


def scipy_flow(epochs: float, pairs: Pairs, rtol: float, atol: float) -> tuple:
    """Weights of the flow at an epoch by SciPy's `solve_ivp` (RK45)."""
    from scipy.integrate import solve_ivp

    w1, w2, eigenvalue, noise, decay, rate = pairs
    total = eigenvalue + noise

    def slope(_, weights):
        x, y = np.split(weights, 2)
        g = eigenvalue - total * (x * y)
        return np.concatenate([rate * (g * y - decay * x), rate * (g * x - decay * y)])

    solution = solve_ivp(slope, (0, epochs), np.concatenate([w1, w2]), rtol=rtol, atol=atol)
    return tuple(np.split(solution.y[:, -1], 2))


def _sizes(pairs: Pairs, quick: bool) -> list[int]:
    """How many pairs at a time: what suits the caches is for each way to find."""
    wanted = (10**4,) if quick else (10**4, 10**5, 10**6)
    return [size for size in wanted if size <= len(pairs.w1)] or [len(pairs.w1)]


# --- the flow in closed form ---------------------------------------------------------


def numpy_mapping(t, w1, w2, eigenvalue, noise, learning_rate):
    """Eq. (5) of the paper in NumPy, without any guard; w1 and w2 of one sign."""
    total = eigenvalue + noise
    k = total * (w1 * w1 - w2 * w2) / 2
    z = np.sqrt(eigenvalue * eigenvalue + k * k)
    decayed = np.exp(-2 * z * (learning_rate * t))
    c, s = 1 + decayed, (1 - decayed) / z
    first = w1 * (c + k * s) + eigenvalue * w2 * s
    second = w2 * (c - k * s) + eigenvalue * w1 * s
    plus, minus = w1 + w2, w1 - w2
    grown = c + (total * plus * plus / 2 - eigenvalue) * s
    shrunk = c + (total * minus * minus / 2 + eigenvalue) * s
    return first * second / (grown * shrunk)


# --- matrices -------------------------------------------------------------------------


def numpy_eigenbasis(start: Matrices) -> Callable[[int], Any]:
    """NumPy in the eigenbasis, by H x H matrices, as the library does it."""

    def run(num_steps: int):
        a, b = start.w1, np.swapaxes(start.w2, -1, -2)
        eigenvalue = start.eigenvalue[..., None, :]
        kept, rate = 1 - start.learning_rate * start.decay, start.learning_rate
        for _ in range(num_steps):
            scaled = a * (eigenvalue + start.noise)
            ascent_a = b * eigenvalue - (b @ _transpose(b)) @ scaled
            ascent_b = a * eigenvalue - (scaled @ _transpose(a)) @ b
            a, b = kept * a + rate * ascent_a, kept * b + rate * ascent_b
        return a, _transpose(b)

    return run


def numpy_dense(start: Matrices) -> Callable[[int], Any]:
    """NumPy with the second moment as a full matrix."""
    second_moment = np.diag(start.eigenvalue)

    def run(num_steps: int):
        w1, w2 = start.w1, start.w2
        for _ in range(num_steps):
            encoded, decoded = w1 @ second_moment, w2.T @ second_moment
            noisy = encoded + start.noise * w1
            ascent1 = decoded - (w2.T @ w2) @ noisy - start.decay * w1
            ascent2 = encoded.T - w2 @ (noisy @ w1.T) - start.decay * w2
            w1, w2 = w1 + start.learning_rate * ascent1, w2 + start.learning_rate * ascent2
        return w1, w2

    return run


def data_of(start: Matrices, num_samples: int) -> np.ndarray:
    """Samples, (N, D), whose second moment is exactly diagonal with these eigenvalues."""
    num_directions = start.eigenvalue.size
    repeats = max(1, num_samples // num_directions)
    column = np.diag(np.sqrt(start.eigenvalue * num_directions))
    return np.tile(column, (repeats, 1)).astype(start.w1.dtype)


def numpy_data(start: Matrices, num_samples: int) -> Callable[[int], Any]:
    """NumPy with the data matrix, as the original code trains its networks."""
    x = data_of(start, num_samples)

    def run(num_steps: int):
        w1, w2 = start.w1, start.w2
        for _ in range(num_steps):
            w1, w2 = _data_step(x, w1, w2, start)
        return w1, w2

    return run


def torch_data(start: Matrices, num_samples: int) -> Callable[[int], Any]:
    """PyTorch with the data matrix."""
    import torch

    x, w1, w2 = (torch.tensor(a) for a in (data_of(start, num_samples), start.w1, start.w2))

    def run(num_steps: int):
        a, b = w1, w2
        with torch.inference_mode():
            for _ in range(num_steps):
                a, b = _data_step(x, a, b, start)
        return a.numpy(), b.numpy()

    return run


def _data_step(x, w1, w2, start: Matrices):
    """One step on all samples; NumPy's arrays and PyTorch's alike."""
    hidden = x @ w1.T
    residual = x - hidden @ w2.T
    ascent1 = (residual @ w2).T @ x / len(x) - start.noise * (w2.T @ w2) @ w1 - start.decay * w1
    ascent2 = residual.T @ hidden / len(x) - start.noise * w2 @ (w1 @ w1.T) - start.decay * w2
    return w1 + start.learning_rate * ascent1, w2 + start.learning_rate * ascent2


def _transpose(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, -1, -2)


# --- curvature ------------------------------------------------------------------------


def scipy_lanczos(start: Matrices) -> Callable[[], float]:
    """The largest eigenvalue of the Hessian by ARPACK, with products in NumPy."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    w1, w2 = start.w1, start.w2
    num_hidden, num_directions = w1.shape
    size = 2 * num_hidden * num_directions
    total = start.eigenvalue + start.noise
    gram, cross = w2.T @ w2, (w1 * total) @ w1.T

    def product(v: np.ndarray) -> np.ndarray:
        v1 = v[: size // 2].reshape(w1.shape).astype(w1.dtype)
        v2 = v[size // 2 :].reshape(w2.shape).astype(w1.dtype)
        inner = v2.T @ w2
        outer = (v1 * total) @ w1.T
        first = gram @ (v1 * total) + (inner + inner.T) @ (w1 * total) - v2.T * start.eigenvalue
        second = v2 @ cross + w2 @ (outer + outer.T) - start.eigenvalue[:, None] * v1.T
        first, second = first + start.decay * v1, second + start.decay * v2
        return np.concatenate([first.ravel(), second.ravel()])

    operator = LinearOperator((size, size), matvec=product, dtype=w1.dtype)
    begin = np.random.default_rng(0).normal(size=size).astype(w1.dtype)

    def run() -> float:
        values = eigsh(
            operator, k=1, which="LA", ncv=20, tol=1e-4, v0=begin, return_eigenvectors=False
        )
        return float(values[0])

    return run
