"""The small version of each figure, computed once for all tests of a process."""

import functools
import json

from lindae_jax import figures, record


@functools.cache
def small(name):
    """The page of a figure's module, not to be changed."""
    return figures.compute(figures.Job(name, {"quick": True}))


def numbers(name):
    """What is drawn: the numbers as they are read back from the JSON."""
    return record.arrays(json.loads(json.dumps(small(name), allow_nan=False))["numbers"])
