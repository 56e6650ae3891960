"""The exact flow with weight decay from weights of equal size."""

import jax
import jax.numpy as jnp

from lindae_jax.theory.decay import limit_with_decay, rates
from lindae_jax.theory.flow import State
from lindae_jax.theory.growth import scaled_growth


def flow_balanced(t, w1, w2, eigenvalue, noise, decay, learning_rate) -> State:
    """Weights and mapping at epoch t for w1 = w2 or w1 = -w2.

    Arrays of one shape and dtype, unchecked. With u = 4 w1^2 both cases are the
    logistic equation u' = 2 mu u - (a/2) u^2, with mu = lambda - gamma, or
    mu = -(lambda + gamma) for opposite weights: eq. (7) with noise;
    docs/theory.md section 3.
    """
    a, mu, gamma, time = rates(t, eigenvalue, noise, decay, learning_rate)
    forever = jnp.isinf(t)
    time = jnp.where(forever, 1, time)
    alike = w1 == w2
    mu = jnp.where(alike, mu, -(mu + 2 * gamma))
    rise = jnp.maximum(mu, 0)
    half = jnp.exp(-rise * time)
    # The larger of the two, divided out, keeps tiny weights in range.
    tiny = jnp.finfo(w1.dtype).tiny
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.maximum(jnp.abs(w1), half), tiny))
    ws, hs = w1 / scale, half / scale
    under = hs * hs + 2 * a * ws * ws * time * scaled_growth(2 * mu * time, rise * time)
    one = ws * jnp.exp((mu - rise) * time) / jnp.sqrt(jnp.where(under > 0, under, 1))
    two = jnp.where(alike, one, -one)
    end = limit_with_decay(w1 + w2, a, mu)
    finite = jnp.isfinite(w1) & jnp.isfinite(w2)
    return State(
        *(
            jnp.where(finite, jnp.where(forever, z, x), jnp.nan)
            for x, z in zip((one, two, one * two), end, strict=True)
        )
    )
