"""What a run shows at a terminal, and that it shows nothing elsewhere."""

import os
import pty
import subprocess
import sys
import termios

PROGRAM = """
import sys
from lindae_jax import Sweep
from lindae_jax.sweep import store
store._MEMBERS = 4
axes = {"eigenvalue": [0.5 + 0.1 * i for i in range(12)], "init_w1": 0.1, "init_w2": 0.1}
Sweep(axes, 10).run(sys.argv[1])
"""


def test_members_are_counted_at_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.zarr")]
    done = subprocess.Popen(command, stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 4096):
            shown += more
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert done.wait() == 0, shown
    assert b"sweep:" in shown
    assert b"/12.0" in shown
    assert b" members" in shown


def test_a_pipe_hears_nothing(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.zarr")]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
