"""The rate z of the flow without decay, to more digits than a float has, for the sake of exp."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lindae_jax.theory import twofloat
from lindae_jax.theory.bits import at_least, at_most
from lindae_jax.theory.ordered import Start


class Root(NamedTuple):
    """k, and z, near 1 in size, as a sum of two floats; 1 where z would be zero."""

    k: jax.Array
    z: jax.Array
    low: jax.Array


@jax.custom_jvp
def find_root(rests, near, start: Start, eigenvalue, noise) -> Root:
    """sqrt((2 lambda)^2 + k^2) and k, all rates in a unit near the larger of the two.

    `near` is k but for its last digits, which are found while others wait for the root.
    """
    big, small, p, m, _ = start
    sum_ps = p, twofloat.beyond(p, big, small)
    sum_ms = m, twofloat.beyond(m, big, -small)
    a = eigenvalue + noise
    sum_as = a, twofloat.beyond(a, at_least(eigenvalue, noise), at_most(noise, eigenvalue))
    high, low = twofloat.times(twofloat.times(sum_as, sum_ps), sum_ms)
    low = (high - near) + low
    root = twofloat.hypotenuse(jnp.where(rests, 1, 2 * eigenvalue), (near, low))
    return Root(jnp.where(rests, 1, near + low), *root)


@find_root.defjvp
def _root_jvp(primals, tangents):
    _, (k, z) = jax.jvp(_plain_root, primals[2:], tangents[2:])
    k, z = (jnp.where(primals[0], 0, x) for x in (k, z))
    return find_root(*primals), Root(k, z, jnp.zeros_like(z))


def _plain_root(start: Start, eigenvalue, noise):
    k = (eigenvalue + noise) * start.p * start.m
    square = 4 * eigenvalue * eigenvalue + k * k
    return k, jnp.sqrt(jnp.where(square == 0, 1, square))


@jax.custom_jvp
def per_epoch(rests, root: Root, learning_rate) -> twofloat.TwoFloat:
    """z times the learning rate, 0 where it rests."""
    return twofloat.scaled((root.z, root.low), jnp.where(rests, 0, learning_rate))


@per_epoch.defjvp
def _per_epoch_jvp(primals, tangents):
    (rests, root, learning_rate), (_, root_dot, learning_rate_dot) = primals, tangents
    plain = root_dot.z * learning_rate + root.z * learning_rate_dot
    tangent = jnp.where(rests, 0, plain)
    return per_epoch(*primals), (tangent, jnp.zeros_like(tangent))
