"""Ratios of modified Bessel functions of moderate order at moderate argument."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_NUM_NODES = {"float32": 27, "float64": 61}
# Where the integrand of K has fallen below half an eps of its peak.
_CUT = {"float32": 18.0, "float64": 40.0}
_NUM_BISECTIONS = 12
_NUM_RECURRENCES = {"float32": 20, "float64": 40}


class Ratios(NamedTuple):
    """I_{nu+1}/I_nu, K_{nu+1}/K_nu, and K_nu scaled by exp(eta)."""

    i: jax.Array
    k: jax.Array
    k_scaled: jax.Array


def ratios(nu: jax.Array, x: jax.Array) -> Ratios:
    """Ratios for nu >= -1/2, x >= 1/4 and hypot(nu, x) up to some 60.

    eta = w - nu asinh(nu / x) with w = hypot(nu, x); docs/theory.md section 3.
    """
    k, k_scaled = _second_kind(nu, x)
    return Ratios(_first_kind(nu, x), k, k_scaled)


def _first_kind(nu, x):
    """I_{nu+1}/I_nu by backward recurrence from its asymptotic form."""
    num_recurrences = _NUM_RECURRENCES[x.dtype.name]
    h = nu + (num_recurrences + 0.5)
    q2 = h * h + x * x
    start = x / (h + jnp.sqrt(q2)) * (1 - h / (2 * q2))

    def step(r, j):
        return x / (2 * (nu + j) + x * r), None

    orders = jnp.arange(num_recurrences, 0, -1, dtype=x.dtype)
    return jax.lax.scan(step, start, orders)[0]


def _second_kind(nu, x):
    """K_{nu+1}/K_nu and exp(eta) K_nu by the trapezoidal rule about the saddle.

    The integrand exp(-phi) is entire and falls doubly exponentially, so that
    the rule converges geometrically, uniformly in nu and x.
    """
    w = jnp.sqrt(nu * nu + x * x)
    low, high = _support(nu, x, w)
    num_nodes = _NUM_NODES[x.dtype.name]
    h = (high - low) / (num_nodes - 1)

    def add_node(sums, j):
        u = low + h * j
        term = jnp.exp(-_phi(nu, w, u))
        return (sums[0] + term, sums[1] + term * jnp.exp(u)), None

    zero = jnp.zeros_like(x)
    nodes = jnp.arange(num_nodes, dtype=x.dtype)
    (total, tilted), _ = jax.lax.scan(add_node, (zero, zero), nodes)
    return (nu + w) / x * (tilted / total), h * total / 2


def _phi(nu, w, u):
    grown = jnp.expm1(u)
    versine = grown * grown / (2 * (1 + grown))
    u2 = u * u
    # sinh u - u cancels for small u; six terms of its series serve |u| < 0.3.
    small = u * u2 / 6 * (1 + u2 / 20 * (1 + u2 / 42 * (1 + u2 / 72 * (1 + u2 / 110))))
    sine = (grown + grown / (1 + grown)) / 2
    return w * versine + nu * jnp.where(jnp.abs(u) < 0.3, small, sine - u)


def _support(nu, x, w):
    """The two points where phi passes the cut, to a fraction of a node's spacing.

    They only place the nodes: the rule's value hardly depends on them, so no
    derivative is taken through them.
    """
    nu, x, w = jax.lax.stop_gradient((nu, x, w))
    widest = jnp.log(4 * (2 * _CUT[x.dtype.name] / x + 1)) + 1
    return -_crossing(-nu, w, widest), _crossing(nu, w, widest)


def _crossing(nu, w, widest):

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        inside = _phi(nu, w, middle) < _CUT[w.dtype.name]
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    return jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, (jnp.zeros_like(widest), widest))[1]
