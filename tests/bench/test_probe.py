"""The known miscompilation is looked for, and found where it is."""

import jax
import numpy as np
import pytest

from lindae_jax.bench.probe import require_sound_backend


def last_one_wrong(function):
    """What jaxlib 0.10.2 does."""

    def compiled(*arguments):
        found = np.array(jax.jit(function)(*arguments))
        found[-1] += 1
        return found

    return compiled


@pytest.mark.both
def test_one_wrong_element_is_seen():
    with pytest.raises(
        FloatingPointError, match=r"miscompiles: 1 of 32769 .* in float32 under jit"
    ):
        require_sound_backend(last_one_wrong)


@pytest.mark.x64
def test_one_wrong_element_is_seen_in_float64():
    def only_wide(function):
        def compiled(*arguments):
            narrow = arguments[0].dtype == np.float32
            return (function if narrow else last_one_wrong(function))(*arguments)

        return compiled

    with pytest.raises(
        FloatingPointError, match=r"miscompiles: 1 of 16385 .* in float64 under jit"
    ):
        require_sound_backend(only_wide)


@pytest.mark.both
def test_without_compiling_there_is_nothing_to_see():
    require_sound_backend(lambda function: function)
