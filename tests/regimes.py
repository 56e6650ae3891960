"""Seeded samplers of the regimes in which the flow's accuracy is promised.

Each sampler returns an array (n, 7) with the columns t, w1, w2, eigenvalue,
noise, decay, learning_rate, in float64 but already rounded to the dtype under
test, so that the reference is computed from the very numbers the code is given.
"""

import zlib
from collections.abc import Callable

import numpy as np

COLUMNS = ("t", "w1", "w2", "eigenvalue", "noise", "decay", "learning_rate")


class Sampler:
    """A NumPy generator with the few distributions used here."""

    def __init__(self, name: str, n: int, dtype, seed: int):
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.n, self.eps = n, float(np.finfo(dtype).eps)
        self.dtype = np.dtype(dtype)

    def log(self, low: float, high: float) -> np.ndarray:
        return np.exp(self.rng.uniform(np.log(low), np.log(high), self.n))

    def linear(self, low: float, high: float) -> np.ndarray:
        return self.rng.uniform(low, high, self.n)

    def sign(self) -> np.ndarray:
        return self.rng.choice([-1.0, 1.0], self.n)

    def or_zero(self, x: np.ndarray, share: float = 0.1) -> np.ndarray:
        return np.where(self.rng.random(self.n) < share, 0.0, x)

    def mix(self, x: np.ndarray, y: np.ndarray, share: float = 0.5) -> np.ndarray:
        return np.where(self.rng.random(self.n) < share, x, y)

    def round(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, dtype=self.dtype).astype(np.float64)

    def nearly(self, x: np.ndarray, low: float | None = None, high: float = 1e-3) -> np.ndarray:
        """x (1 + delta), |delta| log-uniform, never equal to the rounded x."""
        x = self.round(x)
        moved = self.round(x * (1 + self.sign() * self.log(low or self.eps, high)))
        return np.where(moved == x, np.nextafter(x.astype(self.dtype), 0).astype(np.float64), moved)


Columns = dict[str, np.ndarray | float]

# --- no decay ---------------------------------------------------------------


def _wide(s: Sampler) -> Columns:
    """The range promised: six decades and more of every number."""
    lam = s.log(1e-6, 1e4)
    rate = s.log(1e-4, 1.0)
    return {
        "t": s.log(1e-4, 1e6) / lam / rate,
        "w1": s.sign() * s.log(1e-8, 10),
        "w2": s.sign() * s.log(1e-8, 10),
        "eigenvalue": lam,
        "noise": s.or_zero(s.log(1e-6, 1e4)),
        "learning_rate": rate,
    }


def _escape(s: Sampler) -> Columns:
    c = _wide(s)
    sign = s.sign()
    c["w1"] = sign * 1e-8 * s.log(0.5, 2)
    c["w2"] = s.mix(c["w1"], sign * 1e-8 * s.log(0.5, 2), 0.3)
    w0 = (c["w1"] + c["w2"]) ** 2 / 4
    c["t"] = s.linear(0.5, 1.1) * np.log(1 / w0) / (2 * c["eigenvalue"] * c["learning_rate"])
    return c


def _plateau(s: Sampler) -> Columns:
    """Before the escape, where little has moved, or after it, where w = w*."""
    c = _wide(s)
    sign = s.sign()
    c["w1"], c["w2"] = sign * s.log(1e-8, 1e-2), sign * s.log(1e-8, 1e-2)
    escape = np.log(4 / (c["w1"] + c["w2"]) ** 2)
    factor = s.mix(s.log(1e-3, 0.5), s.log(1.5, 1e4))
    c["t"] = factor * escape / (2 * c["eigenvalue"] * c["learning_rate"])
    return c


def _balanced(s: Sampler) -> Columns:
    c = _wide(s)
    return c | {"w2": c["w1"]}


def _near_balanced(s: Sampler) -> Columns:
    c = _wide(s)
    return c | {"w2": s.nearly(c["w1"])}


def _unbalanced(s: Sampler) -> Columns:
    """Magnitudes 10^8 to 1, either weight the larger, any signs."""
    c = _wide(s)
    large, small = s.log(0.1, 10), s.log(1e-9, 1e-7)
    small = s.or_zero(large * s.log(0.5e-8, 2e-8), 0.1)
    swap = s.rng.random(s.n) < 0.5
    c["w1"] = s.sign() * np.where(swap, large, small)
    c["w2"] = s.sign() * np.where(swap, small, large)
    return c


def _near_antisymmetric(s: Sampler) -> Columns:
    c = _wide(s)
    return c | {"w2": -s.nearly(c["w1"])}


def _antisymmetric(s: Sampler) -> Columns:
    c = _wide(s)
    return c | {"w2": -s.round(c["w1"])}


def _noise_dominates(s: Sampler) -> Columns:
    """lambda << epsilon, and times counted in the rate a |w|^2 as well as in lambda."""
    c = _wide(s)
    c["noise"] = s.log(1, 1e4)
    c["eigenvalue"] = c["noise"] * s.log(1e-10, 1e-3)
    size = np.abs(c["w1"]) ** 2 + np.abs(c["w2"]) ** 2
    time = s.mix(s.log(1e-3, 1e3) / c["eigenvalue"], s.log(1e-3, 1e3) / (c["noise"] * size))
    c["t"] = time / c["learning_rate"]
    return c


def _sign_change(s: Sampler) -> Columns:
    """Opposite signs, at times within one part in 10 to 10^10 of the zero crossing."""
    c = _wide(s)
    c["w1"] = s.round(c["w1"])
    c["w2"] = s.round(-np.sign(c["w1"]) * np.abs(c["w2"]))
    u0, v0 = (c["w1"] + c["w2"]) ** 2, (c["w1"] - c["w2"]) ** 2
    lam, a = c["eigenvalue"], c["eigenvalue"] + c["noise"]
    k = a * np.sqrt(u0 * v0)
    z = np.hypot(2 * lam, k)
    high, u = z + 2 * lam, np.sqrt(u0 * v0)
    low = k * k / high
    # U(t) = c solved for 1 - exp(-z t'), where U = V: only a sampler, rounding is no matter.
    bottom = u * (high - a * u0) - u0 * (low - a * v0)
    decayed = (u0 * (high + a * v0) - u * (low + a * u0)) / np.where(bottom == 0, np.nan, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -np.log(decayed) / z / c["learning_rate"]
    good = np.isfinite(crossing) & (crossing > 0)
    near = np.where(good, crossing, 1.0) * (1 + s.sign() * s.log(1e-10, 0.1))
    return c | {"t": np.where(good, near, c["t"])}


def _small_product(s: Sampler) -> Columns:
    """Times about the start, where the flow has hardly moved, lambda = 0 included."""
    c = _wide(s)
    c["eigenvalue"] = s.or_zero(c["eigenvalue"], 0.2)
    rate = c["eigenvalue"] + (c["eigenvalue"] + c["noise"]) * (c["w1"] ** 2 + c["w2"] ** 2)
    c["t"] = s.log(1e-12, 3) / np.where(rate > 0, rate, 1.0) / c["learning_rate"]
    return c


def _uniform(s: Sampler) -> Columns:
    lam, rate = s.linear(0, 10), s.linear(0.001, 0.1)
    return {
        "t": s.linear(0, 10) / np.maximum(lam, 0.1) / rate,
        "w1": s.linear(-2, 2),
        "w2": s.linear(-2, 2),
        "eigenvalue": lam,
        "noise": s.or_zero(s.linear(0, 10)),
        "learning_rate": rate,
    }


NO_DECAY: dict[str, Callable[[Sampler], Columns]] = {
    "escape": _escape,
    "plateau": _plateau,
    "balanced": _balanced,
    "near-balanced": _near_balanced,
    "unbalanced 1e8 : 1": _unbalanced,
    "near-antisymmetric": _near_antisymmetric,
    "antisymmetric": _antisymmetric,
    "lambda << epsilon": _noise_dominates,
    "sign change": _sign_change,
    "near the start": _small_product,
    "random signs": _wide,
    "uniform": _uniform,
}

# --- with decay -------------------------------------------------------------


def _box(s: Sampler) -> Columns:
    """The whole box promised, log-uniform, each zero with positive probability."""
    return {
        "t": s.or_zero(s.log(1e-3, 1e4), 0.01),
        "w1": s.sign() * s.log(1e-4, 3),
        "w2": s.sign() * s.log(1e-4, 3),
        "eigenvalue": s.or_zero(s.log(1e-3, 1e3), 0.05),
        "noise": s.or_zero(s.log(1e-3, 10)),
        "decay": s.or_zero(s.log(1e-6, 5)),
        "learning_rate": 1.0,
    }


def _box_epochs(s: Sampler) -> Columns:
    """The box with random learning rates, where t' = alpha t is not a rounded number."""
    c = _box(s)
    rate = s.log(1e-4, 1)
    return c | {"t": c["t"] / rate, "learning_rate": rate}


def _positive(c: Columns, s: Sampler) -> Columns:
    """A box without its zeros."""
    return c | {
        "eigenvalue": s.log(1e-3, 1e3),
        "decay": s.log(1e-6, 5),
        "t": s.log(1e-3, 1e4),
    }


def _small_decay(s: Sampler) -> Columns:
    return _positive(_box(s), s) | {"decay": s.log(1e-6, 1e-4)}


def _decay_is_eigenvalue(s: Sampler) -> Columns:
    decay = s.log(1e-3, 5)
    return _box(s) | {"decay": decay, "eigenvalue": s.mix(decay, s.nearly(decay), 0.7)}


def _decay_above_eigenvalue(s: Sampler) -> Columns:
    decay = s.log(1e-2, 5)
    return _box(s) | {"decay": decay, "eigenvalue": np.maximum(decay * s.log(1e-3, 1), 1e-3)}


def _no_eigenvalue(s: Sampler) -> Columns:
    return _positive(_box(s), s) | {"eigenvalue": 0.0}


def _decay_near_antisymmetric(s: Sampler) -> Columns:
    c = _positive(_box(s), s)
    return c | {"w2": -s.nearly(c["w1"])}


def _decay_antisymmetric(s: Sampler) -> Columns:
    c = _positive(_box(s), s)
    return c | {"w2": -s.round(c["w1"])}


def _decay_balanced(s: Sampler) -> Columns:
    c = _positive(_box(s), s)
    return c | {"w2": c["w1"]}


def _decay_near_balanced(s: Sampler) -> Columns:
    c = _positive(_box(s), s)
    return c | {"w2": s.nearly(c["w1"])}


def _long(s: Sampler) -> Columns:
    return _positive(_box(s), s) | {"t": s.log(1e3, 1e4)}


def _short(s: Sampler) -> Columns:
    return _positive(_box(s), s) | {"t": s.log(1e-9, 1e-2)}


def _integer_order(s: Sampler) -> Columns:
    """lambda = (2 n + 1) gamma exactly: the Bessel functions have integer order n."""
    decay = np.round(s.log(2**4, 2**13)) * 2.0**-12
    return _box(s) | {"decay": decay, "eigenvalue": decay * (2 * s.rng.integers(0, 40, s.n) + 1)}


def _large_noise(s: Sampler) -> Columns:
    return _positive(_box(s), s) | {"noise": s.log(1, 10), "eigenvalue": s.log(1e-3, 1e-2)}


def _decay_escape(s: Sampler) -> Columns:
    """lambda > gamma, at 0.5 to 1.5 times the escape time."""
    c = _positive(_box(s), s)
    c["decay"] = c["eigenvalue"] * s.log(1e-5, 0.9)
    c["decay"] = np.clip(c["decay"], 1e-6, 5)
    rate = 2 * (c["eigenvalue"] - c["decay"])
    w0 = (c["w1"] + c["w2"]) ** 2 / 4
    escape = np.log1p(1 / w0) / rate
    return c | {"t": np.minimum(s.linear(0.5, 1.5) * escape, 1e4)}


def _slide(s: Sampler) -> Columns:
    """Large unbalanced weights that slide along the manifold: 2 gamma t' about 1."""
    c = _positive(_box(s), s)
    large, small = s.log(0.5, 3), s.log(1e-4, 0.5)
    swap = s.rng.random(s.n) < 0.5
    return c | {
        "w1": s.sign() * np.where(swap, large, small),
        "w2": s.sign() * np.where(swap, small, large),
        "t": np.minimum(s.log(0.1, 20) / (2 * c["decay"]), 1e4),
    }


DECAY: dict[str, Callable[[Sampler], Columns]] = {
    "box": _box,
    "box, random learning rate": _box_epochs,
    "small gamma": _small_decay,
    "gamma = lambda": _decay_is_eigenvalue,
    "gamma > lambda": _decay_above_eigenvalue,
    "lambda = 0": _no_eigenvalue,
    "near-antisymmetric": _decay_near_antisymmetric,
    "antisymmetric": _decay_antisymmetric,
    "balanced": _decay_balanced,
    "near-balanced": _decay_near_balanced,
    "long times": _long,
    "short times": _short,
    "integer order": _integer_order,
    "large noise, small lambda": _large_noise,
    "escape": _decay_escape,
    "slide": _slide,
}


def sample(
    regimes: dict[str, Callable[[Sampler], Columns]], name: str, n: int, dtype, seed: int = 0
) -> np.ndarray:
    """Points of a named regime, (n, 7), each number exactly representable in dtype."""
    s = Sampler(name, n, dtype, seed)
    columns = {"decay": 0.0} | regimes[name](s)
    table = np.stack([np.broadcast_to(columns[c], n) for c in COLUMNS], axis=1)
    return s.round(table)
