"""From a grid of settings to a labelled result."""

from lindae_jax.sweep.lock import Busy
from lindae_jax.sweep.observe import OBSERVABLES
from lindae_jax.sweep.spec import Sweep

__all__ = ["OBSERVABLES", "Busy", "Sweep"]
