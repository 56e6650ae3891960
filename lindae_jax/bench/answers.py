"""Slow answers, independent of the library, that every contender is held against."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SAMPLES = 64


class Pairs(NamedTuple):
    """Weight pairs with their problems, arrays of one shape and dtype."""

    w1: Any
    w2: Any
    eigenvalue: Any
    noise: Any
    decay: Any
    learning_rate: Any

    def take(self, index) -> "Pairs":
        """Some of the pairs."""
        return Pairs(*(x[index] for x in self))

    def long(self) -> "Pairs":
        """In the widest floats that there are."""
        return Pairs(*(np.asarray(x).astype(np.longdouble) for x in self))


class Matrices(NamedTuple):
    """Autoencoders in the eigenbasis; w1 (..., H, D), w2 (..., D, H), eigenvalue (..., D)."""

    w1: Any
    w2: Any
    eigenvalue: Any
    noise: float
    decay: float
    learning_rate: float


def sample(num: int) -> np.ndarray:
    """Indices of a few members, the first and the last among them."""
    return np.unique(np.linspace(0, num - 1, min(num, SAMPLES)).astype(int))


def steps(pairs: Pairs, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent of pairs, step by step as the paper writes it."""
    w1, w2, eigenvalue, noise, decay, rate = pairs.long()
    for _ in range(num_steps):
        g = eigenvalue - (eigenvalue + noise) * w1 * w2
        w1, w2 = w1 + rate * (g * w2 - decay * w1), w2 + rate * (g * w1 - decay * w2)
    return w1, w2


def flow(t: ArrayLike, pairs: Pairs, num_steps: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Gradient flow of pairs until epoch t, by the classical Runge-Kutta method."""
    w1, w2, eigenvalue, noise, decay, rate = pairs.long()
    h = rate * np.asarray(t, np.longdouble) / num_steps

    def slope(x, y):
        g = eigenvalue - (eigenvalue + noise) * x * y
        return g * y - decay * x, g * x - decay * y

    for _ in range(num_steps):
        a1, a2 = slope(w1, w2)
        b1, b2 = slope(w1 + h / 2 * a1, w2 + h / 2 * a2)
        c1, c2 = slope(w1 + h / 2 * b1, w2 + h / 2 * b2)
        d1, d2 = slope(w1 + h * c1, w2 + h * c2)
        w1 = w1 + h / 6 * (a1 + 2 * b1 + 2 * c1 + d1)
        w2 = w2 + h / 6 * (a2 + 2 * b2 + 2 * c2 + d2)
    return w1, w2


def matrix_steps(start: Matrices, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent of whole autoencoders in float64, by W2 W1 of size D x D."""
    w1, w2 = (np.asarray(w, np.float64) for w in start[:2])
    eigenvalue = np.asarray(start.eigenvalue, np.float64)[..., None, :]
    diagonal = np.eye(w1.shape[-1]) * eigenvalue
    for _ in range(num_steps):
        residual = diagonal - w2 @ w1 * (eigenvalue + start.noise)
        ascent1 = np.swapaxes(w2, -1, -2) @ residual - start.decay * w1
        ascent2 = residual @ np.swapaxes(w1, -1, -2) - start.decay * w2
        w1, w2 = w1 + start.learning_rate * ascent1, w2 + start.learning_rate * ascent2
    return w1, w2


def relative_error(found, reference) -> float:
    """Largest difference of arrays in turn, relative to the largest reference value."""
    couples = list(zip(found, reference, strict=True))
    size = max(float(np.abs(r).max()) for _, r in couples)
    return max(float(np.abs(np.asarray(f, np.longdouble) - r).max()) for f, r in couples) / size
