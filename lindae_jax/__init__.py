"""How linear denoising, weight-decayed autoencoders learn: closed forms beside simulators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lindae_jax.version import __version__ as __version__

if TYPE_CHECKING:
    from lindae_jax import curvature, data, initial, losses, noise, simulate, spectrum, theory
    from lindae_jax.problem import Problem, Weights
    from lindae_jax.simulate import (
        DIVERGED,
        INVALID_INPUT,
        NOT_RUN,
        OK,
        Trajectory,
        raise_on_divergence,
        simulate_matrices,
        simulate_networks,
        simulate_pairs,
        simulate_sampled,
        status_message,
    )
    from lindae_jax.spectrum import Spectrum
    from lindae_jax.sweep import Sweep

__all__ = [
    # what goes in
    "Problem",
    "Spectrum",
    "Sweep",
    "Weights",
    # gradient descent, with how it ended
    "DIVERGED",
    "INVALID_INPUT",
    "NOT_RUN",
    "OK",
    "Trajectory",
    "raise_on_divergence",
    "simulate_matrices",
    "simulate_networks",
    "simulate_pairs",
    "simulate_sampled",
    "status_message",
    # modules
    "curvature",
    "data",
    "initial",
    "losses",
    "noise",
    "simulate",
    "spectrum",
    "theory",
]

# Homes of those names that are not modules and not in simulate.
_HOMES = {"Problem": "problem", "Weights": "problem", "Spectrum": "spectrum", "Sweep": "sweep"}
_MODULES = "curvature", "data", "initial", "losses", "noise", "simulate", "spectrum", "theory"


# Modules are loaded where they are first used: whoever needs one does not wait for all.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'simulate')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
