"""What the times depend on: machine, versions, flags, devices."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax

from lindae_jax import record
from lindae_jax.batches import layout
from lindae_jax.batches.devices import num_cores

_LIBRARIES = "jax", "jaxlib", "numpy", "scipy", "numba", "diffrax", "torch"
_SWITCHES = re.compile(r"CC|JAX_\w+|XLA_\w+|\w+_NUM_THREADS|GLIBC_TUNABLES")
COMPILER_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")


def dtypes() -> tuple[str, ...]:
    """Floats that arrays can have: float64 in 64-bit mode only."""
    wide = jax.dtypes.canonicalize_dtype("float64") == "float64"
    return ("float32", "float64") if wide else ("float32",)


def describe() -> dict[str, Any]:
    """All of it, for JSON."""
    devices = jax.devices()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "vectors": vectors(),
        "cores": num_cores(),
        "memory_bytes": total_memory(),
        "devices": [f"{d.platform}: {d.device_kind}" for d in devices],
        "dtypes": dtypes(),
        "versions": record.versions(*_LIBRARIES),
        "compiler": _compiler(),
        "compiler_flags": COMPILER_FLAGS,
        "xla_options": (layout.cpu_options() or {}) if devices[0].platform == "cpu" else {},
        "environment": {k: v for k, v in os.environ.items() if _SWITCHES.fullmatch(k)},
    }


def total_memory() -> int | None:
    """Bytes of main memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def free_memory() -> int | None:
    """Bytes that the device of the arrays can still give, where the system tells."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else limit - stats.get("bytes_in_use", 0)
    found = re.search(r"^MemAvailable: +(\d+) kB", _read("/proc/meminfo"), re.M)
    return int(found[1]) * 1024 if found else total_memory()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", _read("/proc/cpuinfo"), re.M)
    return found[1] if found else platform.processor() or platform.machine()


def vectors() -> list[str]:
    """Vector instructions of the processor, of those that a compiler may use here."""
    found = re.search(r"^(?:flags|Features)\s*: (.+)$", _read("/proc/cpuinfo"), re.M)
    flags = set(found[1].split()) if found else set()
    return [name for name in ("avx2", "fma", "avx512f", "asimd", "sve") if name in flags]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _compiler() -> str:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "none"
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]
