"""Uniform expansions of modified Bessel functions for large order or argument.

With w = hypot(nu, x) and s = (nu/w)^2, the functions I and K, their ratios and
logarithmic derivatives are asymptotic series in 1/w whose coefficients are
polynomials in s (Olver; DLMF 10.41). They hold for all nu >= -1/2 and x > 0 with
w large, and stay meaningful as nu and x go to infinity together, which is the
limit of vanishing decay.
"""

from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp

# From w = 40 on, 13 terms leave less than 1e-16 and 6 less than 1e-8.
THRESHOLD = 40.0
_NUM_TERMS = {"float32": 6, "float64": 13}


def _coefficients(num_terms: int):
    """Coefficients of u_k(s) and n_k(s), k = 0 .. num_terms - 1, ascending in s.

    u_k(s) is U_k(p) / p^k of DLMF 10.41.9 in s = p^2, and n_k(s) what
    10.41.9 makes of (V_k - U_k) / (p^k (1 - s)): the difference vanishes at
    x = 0 with a factor that is taken out here, so that nothing cancels there.
    """
    u = [[Fraction(1)]]
    n = [[Fraction(0)]]
    for k in range(num_terms - 1):
        following = [Fraction(0)] * (k + 2)
        for j, c in enumerate(u[k]):
            power = k + 2 * j
            following[j] += c * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            following[j + 1] -= c * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        n.append([-c * (Fraction(2 * k + 1, 2) + 2 * j) for j, c in enumerate(u[k])])
        u.append(following)
    return _as_floats(u), _as_floats(n)


def _as_floats(rows):
    return tuple(tuple(float(c) for c in row) for row in rows)


_U, _N = _coefficients(_NUM_TERMS["float64"])


class Series(NamedTuple):
    """Corrections to the leading WKB form, with the sign of odd terms + and -."""

    u_plus: jax.Array
    u_minus: jax.Array
    n_plus: jax.Array
    n_minus: jax.Array


def series(g: jax.Array, s: jax.Array) -> Series:
    """The four sums at g = 1/w and s = (nu/w)^2, for g <= 1/THRESHOLD."""
    num_terms = _NUM_TERMS[g.dtype.name]
    u_even, u_odd = _even_and_odd(_U[:num_terms], g, s)
    n_even, n_odd = _even_and_odd(_N[:num_terms], g, s)
    return Series(u_even + u_odd, u_even - u_odd, n_even + n_odd, n_even - n_odd)


def _even_and_odd(rows, g, s):
    even, odd = jnp.zeros_like(g), jnp.zeros_like(g)
    for k in reversed(range(len(rows))):
        value = jnp.full_like(s, rows[k][-1])
        for c in reversed(rows[k][:-1]):
            value = value * s + c
        if k % 2:
            odd = odd * (g * g) + value
        else:
            even = even * (g * g) + value
    return even, odd * g
