"""Ratios of modified Bessel functions of moderate order at moderate argument."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Besides that at the saddle: multiples of what one pass of the loop takes.
_NUM_NODES = {"float32": 24, "float64": 56}
_UNROLL = 4
# Where the integrand of K has fallen below half an eps of its peak.
_CUT = {"float32": 17.0, "float64": 37.0}
_NUM_NEWTON = 3
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


class _Node(NamedTuple):
    """A node |u| = v away from the saddle."""

    v: jax.Array
    pair: jax.Array
    """cosh v - 1 and sinh v - v as one complex number: XLA computes all again for each array."""
    fallen: jax.Array
    """exp(-v)."""


def _second_kind(nu, x):
    """K_{nu+1}/K_nu and exp(eta) K_nu by the trapezoidal rule about the saddle.

    The integrand exp(-phi) is entire and falls doubly exponentially, so that
    the rule converges geometrically, uniformly in nu and x. One node is the
    saddle; from there the others go left, then right.
    """
    w = jnp.sqrt(nu * nu + x * x)
    left, right = _support(nu, x, w)
    num_nodes = _NUM_NODES[x.dtype.name]
    h = (left + right) / (num_nodes - 1)
    num_left = jnp.ceil(left / h)
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)
    saddle = _Node(zero, jax.lax.complex(zero, zero), one)
    first = _first_node(h)

    def add_node(carry, j):
        node, sums = carry
        begins, is_left = j == num_left + 1, j <= num_left
        node = _Node(*(jnp.where(begins, y, z) for y, z in zip(saddle, node, strict=True)))
        node = _next_node(node, first)
        cosh_less_1, sinh_less_v = node.pair.real, node.pair.imag
        term = jnp.exp(-(w * cosh_less_1 + jnp.where(is_left, -nu, nu) * sinh_less_v))
        grown = jnp.where(is_left, node.fallen, 1 + cosh_less_1 + (sinh_less_v + node.v))
        return (node, sums + jax.lax.complex(term, term * grown)), None

    nodes = jnp.arange(1, num_nodes + 1, dtype=x.dtype)
    start = saddle, jax.lax.complex(one, one)
    (_, sums), _ = jax.lax.scan(add_node, start, nodes, unroll=_UNROLL)
    total, tilted = sums.real, sums.imag
    # (nu + w) / x, of two terms that do not cancel.
    steep = jnp.where(nu < 0, x / (w - nu), (nu + w) / x)
    return steep * (tilted / total), h * total / 2


def _first_node(h) -> _Node:
    """The node at h, by series: h <= 0.21 in float64, 0.43 in float32."""
    h2 = h * h
    cosh_less_1 = (
        h2 / 2 * (1 + h2 / 12 * (1 + h2 / 30 * (1 + h2 / 56 * (1 + h2 / 90 * (1 + h2 / 132)))))
    )
    sinh_less_v = h * h2 / 6 * (1 + h2 / 20 * (1 + h2 / 42 * (1 + h2 / 72 * (1 + h2 / 110))))
    return _Node(h, jax.lax.complex(cosh_less_1, sinh_less_v), jnp.exp(-h))


def _next_node(node: _Node, first: _Node) -> _Node:
    """By the addition theorems, in which all terms are positive: no digits are lost."""
    c, s = node.pair.real, node.pair.imag
    c1, s1 = first.pair.real, first.pair.imag
    sinh, sinh1 = s + node.v, s1 + first.v
    pair = jax.lax.complex(c + (c * c1 + c1 + sinh * sinh1), s + (sinh * c1 + s1 + c * sinh1))
    return _Node(node.v + first.v, pair, node.fallen * first.fallen)


def _support(nu, x, w):
    """How far left and right of the saddle phi passes the cut, to a thousandth.

    They only place the nodes: the rule's value hardly depends on them, so no
    derivative is taken through them.
    """
    nu, x, w = jax.lax.stop_gradient((nu, x, w))
    return _crossing(-nu, x, w), _crossing(nu, x, w)


def _crossing(nu, x, w):
    """Where phi = w (cosh v - 1) + nu (sinh v - v), which is convex, passes the cut."""
    cut = _CUT[x.dtype.name]
    # From a bound above: phi >= w (cosh v - 1) if nu >= 0; if not, phi >= |nu| (v - 1) and
    # phi >= (w - |nu|) (cosh v - 1), with w - |nu| = x^2 / (w + |nu|).
    falls = nu < 0
    ratio = cut / jnp.where(falls, x * x / (w - nu), w)
    v = jnp.log1p(ratio + jnp.sqrt(ratio * (ratio + 2)))
    v = jnp.where(falls, jnp.minimum(v, 1 - cut / jnp.where(falls, nu, -1)), v)
    for _ in range(_NUM_NEWTON):
        grown = jnp.exp(v)
        cosh, sinh = (grown + 1 / grown) / 2, (grown - 1 / grown) / 2
        beyond = w * (cosh - 1) + nu * (sinh - v) - cut
        v = v - beyond / (w * sinh + nu * (cosh - 1))
    return v
