"""Numbers as JSON: what is written is what is read back."""

import importlib.metadata
import json
import platform

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lindae_jax
from lindae_jax import record


@pytest.mark.both
def test_every_number_survives_json_exactly(rng, dtype):
    x = rng.normal(size=(3, 4)).astype(dtype)
    for given in (x, jnp.asarray(x), x.tolist(), tuple(x)):
        back = record.arrays(json.loads(json.dumps(record.plain({"a": {"x": given}}))))
        np.testing.assert_array_equal(back["a"]["x"].astype(dtype), x)


def test_a_float32_keeps_its_own_digits():
    assert record.plain(np.float32(0.1)) == 0.1
    assert record.plain(np.float32([0.1, 1 / 3])) == [0.1, 0.33333334]


def test_what_is_not_finite_is_null_and_comes_back_as_nan():
    x = {"rows": np.array([[1.0, np.inf], [np.nan, -np.inf]]), "one": float("inf")}
    written = json.dumps(record.plain(x), allow_nan=False)
    assert json.loads(written) == {"rows": [[1.0, None], [None, None]], "one": None}
    back = record.arrays(json.loads(written))
    np.testing.assert_array_equal(back["rows"], [[1.0, np.nan], [np.nan, np.nan]])
    assert np.isnan(back["one"])


def test_words_whole_numbers_and_uneven_lists_stay():
    x = {"names": ["AE", "DAE"], "seed": np.int64(3), "quick": True, "rows": [[1, 2], [3]], "e": []}
    written = record.plain(x)
    assert written == {**x, "seed": 3}
    assert type(written["seed"]) is int
    back = record.arrays(written)
    assert back["names"] == ["AE", "DAE"]
    assert back["quick"] is True
    assert [row.tolist() for row in back["rows"]] == [[1, 2], [3]]
    assert back["rows"][0].dtype == np.int64
    assert len(back["e"]) == 0


def test_versions_are_those_installed(monkeypatch):
    found = record.versions("jax", "numpy")
    assert found["python"] == platform.python_version()
    assert found["lindae_jax"] == lindae_jax.__version__
    assert (found["jax"], found["numpy"]) == (jax.__version__, np.__version__)

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    # As where it runs from a folder of its sources.
    found = record.versions("matplotlib")
    assert found["matplotlib"] == "not installed"
    assert found["lindae_jax"] == lindae_jax.__version__
