"""A process that runs a sweep, tells what it does, and stops at a moment it is told.

Its one argument is JSON with `store`; `sweep`, the arguments of `Sweep`; `members`, those of
a store chunk; `process`, its share; `moment` and `at`, when to do what `action` says; `slow`,
seconds that every fsync takes longer; `linger`, whether to wait at the end.
"""

import json
import os
import resource
import select
import signal
import stat
import sys
import threading
import time
from pathlib import Path

from lindae_jax.sweep import Sweep, compute, durable, results, store

ORDER = json.loads(sys.argv[1])
STORE = Path(ORDER["store"])

# The file that this thread writes, and whether it has its name.
current = threading.local()
counts = {"computing": 0, "between": 0}


def tell(word):
    os.write(1, f"{word}\n".encode())


def wait():
    tell("waiting")
    # In short turns: a signal that another thread was given does not end a read.
    while not select.select([0], [], [], 0.05)[0]:
        pass


def reached(moment, at=None):
    """Do what is wanted if this is the moment."""
    if moment != ORDER.get("moment") or at != ORDER.get("at"):
        return
    if ORDER["action"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    elif ORDER["action"] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    else:
        wait()


def counted(moment):
    counts[moment] += 1
    reached(moment, counts[moment])


def hook(module, name):
    """Replace a function by one that is given the original first."""

    def decorate(replacement):
        original = getattr(module, name)
        setattr(module, name, lambda *args, **kw: replacement(original, *args, **kw))

    return decorate


@hook(compute, "run")
def compute_run(original, *args):
    tell("begun")
    found = original(*args)
    counted("computing")
    return found


@hook(results.Results, "write")
def results_write(original, *args):
    original(*args)
    tell("written")
    counted("between")


@hook(durable, "write")
def durable_write(original, path, content):
    inside = path.is_relative_to(STORE)
    current.path = path.relative_to(STORE).as_posix() if inside else None
    current.renamed = False
    original(path, content)


@hook(os, "fsync")
def fsync(original, descriptor):
    time.sleep(ORDER.get("slow", 0))
    path = getattr(current, "path", None)
    file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if file:
        reached("beside", path)
    original(descriptor)
    if file:
        reached("fsynced", path)
    elif getattr(current, "renamed", False):
        reached("durable", path)


@hook(os, "replace")
def replace(original, *args, **kw):
    original(*args, **kw)
    current.renamed = True
    reached("renamed", current.path)


@hook(os, "rename")
def rename(original, *args, **kw):
    reached("making")
    original(*args, **kw)


def main():
    # A shell's background jobs are born deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    store._MEMBERS = ORDER["members"]
    share = ORDER.get("process")
    tell("ready")
    Sweep(**ORDER["sweep"]).run(
        STORE, progress=False, process=None if share is None else tuple(share)
    )
    tell("finished")
    if ORDER.get("linger"):
        wait()


if __name__ == "__main__":
    main()
