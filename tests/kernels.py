"""Kernels of our own, lowered without having a GPU."""

import contextlib
import inspect
import warnings

import jax
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

# What a kernel by Pallas is called in a program for NVIDIA GPUs.
KERNEL = "__gpu$xla.gpu.triton"


def lowered(function, *inputs):
    """The program of a function for a CUDA GPU, as text; inputs are shapes."""
    pytest.importorskip("jax.experimental.pallas.triton", reason="this JAX has no Triton")
    allowed = [jax.export.DisabledSafetyCheck.custom_call(KERNEL)]
    with _some_gpu(), warnings.catch_warnings():
        # From JAX 0.12 on; where it is gone, XLA's loops stand in.
        warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated")
        exported = jax.export.export(jax.jit(function), platforms=["cuda"], disabled_checks=allowed)
        return exported(*inputs).mlir_module()


def _some_gpu():
    """What newer JAX wants to know of the GPU that a kernel is for."""
    if "platform" not in inspect.signature(AbstractDevice).parameters:
        return contextlib.nullcontext()
    device = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="cuda")
    return jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=device))
