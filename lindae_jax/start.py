"""What the command line sets before JAX's first array, for the cores of a CPU."""

import importlib.metadata
import importlib.util
import mmap
import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

import jax
import jaxlib

from lindae_jax.batches.devices import num_cores

# Passed on to LLVM: several vectors in each iteration of a loop, also of a long one, as many as
# would fit into thrice the registers of AVX-512 (docs/speed.md).
_OPTIONS = {"small-loop-cost": 9999, "force-target-num-vector-regs": 96}
INTERLEAVE = "--xla_backend_extra_options=" + ",".join(f"-{k}={v}" for k, v in _OPTIONS.items())


def use_all_cores(number: int | None = None) -> None:
    """Make each core a device of its own, unless the user has chosen or JAX has begun.

    Parameters
    ----------
    number : int, optional
        Of devices, by default one for each core; more would not be faster.
    """
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not (jax.config.jax_num_cpu_devices > 0 or chosen):  # type: ignore[attr-defined]
        try:
            jax.config.update("jax_num_cpu_devices", min(number or num_cores(), num_cores()))
        except RuntimeError:  # JAX has begun, and reads no flags any more
            return
    _keep_cores_busy(os.environ)


def _keep_cores_busy(environment: MutableMapping[str, str]) -> None:
    """Tell XLA, which reads this when it begins, unless it is told something of the kind.

    Where it was measured: compilers for accelerators would see the option too.
    """
    flags = environment.get("XLA_FLAGS", "").strip()
    if flags and not flags.startswith("-"):  # the name of a file of flags
        return
    if "xla_backend_extra_options" in flags or platform.machine() not in ("x86_64", "AMD64"):
        return
    if _has_only_a_cpu() and all(map(_is_known, _OPTIONS)):
        environment["XLA_FLAGS"] = f"{flags} {INTERLEAVE}".lstrip()


def _has_only_a_cpu() -> bool:
    """Whether JAX will compile for nothing else, by what is chosen or installed."""
    chosen = jax.config.jax_platforms  # type: ignore[attr-defined]
    if chosen:
        return bool(chosen == "cpu")
    if importlib.metadata.entry_points(group="jax_plugins"):
        return False
    return not any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))


def _is_known(option: str, folder: Path = Path(jaxlib.__file__).parent) -> bool:
    """Whether an option of LLVM is named in XLA's library: one that is not ends the process."""
    name = option.encode() + b"\0"
    for library in folder.glob("*jax_common.*"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            if m.find(name) >= 0:
                return True
    return False
