"""C code of this folder, compiled for this machine by its own compiler."""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lindae_jax.bench.machine import COMPILER_FLAGS
from lindae_jax.bench.timing import Absent


def load(source: str, *definitions: str) -> ctypes.CDLL:
    """The library made of a file, with definitions such as "DECAY=1".

    Raises
    ------
    Absent
        No C compiler here, or it fails.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Absent("no C compiler (cc) here")
    return _compiled(compiler, source, definitions)


@functools.cache
def _compiled(compiler: str, source: str, definitions: tuple[str, ...]) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "compiled.so")
        options = [*COMPILER_FLAGS, *(f"-D{each}" for each in definitions)]
        command = [compiler, *options, str(Path(__file__).with_name(source)), "-o", library]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Absent(f"{compiler} failed: {done.stderr.strip()[-150:]}")
        return ctypes.CDLL(library)
