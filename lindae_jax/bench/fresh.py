"""What can be seen in a fresh process only: start-up times, peak memory."""

import json
import os
import subprocess
import sys
from typing import Any

from lindae_jax.bench.timing import WrongAnswer

# The library is imported from where this process has it.
_START = """
import json, time
begin = time.perf_counter()
import jax, jax.numpy, numpy
with_jax = time.perf_counter()
import lindae_jax
imported = time.perf_counter()
from lindae_jax import *
loaded = time.perf_counter()
run = lindae_jax.simulate_pairs(0.1, 0.2, lindae_jax.Problem(1.0, 0.5), num_steps=100)
mapping = float(run.w1[-1] * run.w2[-1])
first = time.perf_counter()
print(json.dumps({
    "import_jax": with_jax - begin,
    "import_lindae_jax": imported - with_jax,
    "load_modules": loaded - imported,
    "first_result": first - loaded,
    "mapping": mapping,
}))
"""

# Run twice: the first time XLA's compiler takes memory of its own, which is told apart.
_MEMORY = """
import json, re, sys
import jax, jax.numpy as jnp
import lindae_jax
num_pairs, dtype, num_devices = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.config.update("jax_enable_x64", dtype == "float64")
if num_devices > 1:
    jax.config.update("jax_num_cpu_devices", num_devices)
device = jax.devices()[0]

def status(name):
    if device.platform != "cpu":
        stats = device.memory_stats()
        return stats["peak_bytes_in_use" if name == "VmHWM" else "bytes_in_use"]
    text = open("/proc/self/status").read()
    return int(re.search(rf"^{name}:\\s+(\\d+) kB", text, re.M)[1]) * 1024

def fresh_peak():
    if device.platform == "cpu":
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")

fill = lambda value: jax.block_until_ready(jnp.full(num_pairs, value, dtype))
w1, w2 = fill(0.1), fill(0.2)
problem = lindae_jax.Problem(fill(1.0), fill(0.5), fill(0.1), fill(0.01))
jax.block_until_ready(lindae_jax.simulate_pairs(0.1, 0.2, lindae_jax.Problem(1.0), num_steps=5))
found = {}
for call in ("first_call", "second_call"):
    fresh_peak()
    before = status("VmRSS")
    run = jax.block_until_ready(lindae_jax.simulate_pairs(w1, w2, problem, num_steps=20))
    found[call] = status("VmHWM") - before
    found["outputs"] = run.w1.nbytes + run.w2.nbytes + run.status.nbytes
    found["ends"] = [float(run.w1[-1, 0]), float(run.w1[-1, -1])]
    del run
print(json.dumps(found))
"""


def start_up(rounds: int) -> dict[str, Any]:
    """Seconds to import JAX, then the library, to load all its modules, and to a first result.

    Raises
    ------
    WrongAnswer
        The first result is wrong.
    """
    found = [_run(_START) for _ in range(rounds)]
    w1, w2 = 0.1, 0.2
    for _ in range(100):
        g = 1.0 - 1.5 * w1 * w2
        w1, w2 = w1 + 0.01 * g * w2, w2 + 0.01 * g * w1
    for each in found:
        if not abs(each["mapping"] - w1 * w2) < 1e-5:
            raise WrongAnswer(f"first result: {each['mapping']}, where {w1 * w2:.6f} is right")
    return {
        name: [each[name] for each in found]
        for name in ("import_jax", "import_lindae_jax", "load_modules", "first_result")
    }


def peak_memory(num_pairs: int, dtype: str, num_devices: int) -> dict[str, Any]:
    """Bytes that a final-only run takes beyond its inputs, outputs included, at its peak.

    Returns
    -------
    dict
        `outputs`, `first_call` (which compiles) and `second_call`; or
        `absent`, in a word why nothing can be said here.

    Raises
    ------
    WrongAnswer
        The run's result is wrong.
    """
    try:
        found = _run(_MEMORY, str(num_pairs), dtype, str(num_devices))
    except subprocess.CalledProcessError as error:
        return {"absent": (error.stderr.strip().splitlines() or ["it was killed"])[-1][:200]}
    first, last = found.pop("ends")
    if not first == last > 0.1:
        raise WrongAnswer(f"equal pairs end unequally: {first} and {last}")
    return {"num_pairs": num_pairs, "dtype": dtype, **found}


def _run(code: str, *arguments: str) -> dict[str, Any]:
    # A cache of compiled programs would hide what compiling costs.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
