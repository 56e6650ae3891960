"""Imports run downstairs only; importing the package costs nothing and changes nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lindae_jax

PACKAGE = Path(lindae_jax.__file__).parent
FLOORS = [
    {"batches", "problem", "checks", "losses", "draws", "initial", "spectrum", "noise"}
    | {"data", "files", "plot", "record", "bars", "version"},
    {"theory", "simulate"},
    {"curvature", "reproduce"},
    {"sweep", "bench", "figures"},
    {"cli", "start"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imported(source, module):
    """Full names that a module's import statements mean, at any depth of its code."""
    package = module.rsplit(".", 1)[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            yield from (f"{above}{node.module or ''}.{alias.name}" for alias in node.names)


def upstairs(source, module):
    """Imports of a module that do not run downstairs."""
    room = module.split(".")[1]
    for name in imported(source, module):
        root, _, rest = name.replace("..", ".").partition(".")
        other = rest.split(".")[0]
        if root != "lindae_jax" or other == room:
            continue
        # The package itself stands above every floor, so nothing in it may import it.
        if other not in FLOOR or FLOOR[other] > FLOOR[room] or {room, other} == FLOORS[1]:
            yield name


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts != ("lindae_jax", "__init__"):
            yield pytest.param(path, ".".join(parts), id=".".join(parts))


@pytest.mark.parametrize(("path", "module"), list(modules()))
def test_imports_run_downstairs_only(path, module):
    assert module.split(".")[1] in FLOOR, "a module without a floor"
    assert list(upstairs(path.read_text(), module)) == []


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("lindae_jax.theory.flow", "import lindae_jax.simulate"),
        ("lindae_jax.theory.flow", "from lindae_jax import simulate"),
        ("lindae_jax.theory.flow", "from lindae_jax.simulate.pairs import simulate_pairs"),
        ("lindae_jax.theory.flow", "from ..simulate import pairs"),
        ("lindae_jax.simulate.pairs", "def f():\n    from lindae_jax import theory"),
        ("lindae_jax.spectrum", "from .theory import weights"),
        ("lindae_jax.spectrum", "from lindae_jax import Problem"),
        ("lindae_jax.spectrum", "import lindae_jax"),
        ("lindae_jax.curvature.pair", "from lindae_jax import cli"),
    ],
)
def test_an_import_that_runs_upstairs_is_seen(module, statement):
    assert list(upstairs(statement, module))


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("lindae_jax.theory.flow", "from lindae_jax import checks"),
        ("lindae_jax.theory.flow", "from ..problem import Problem"),
        ("lindae_jax.theory.flow", "from .twofloat import times"),
        ("lindae_jax.spectrum", "from lindae_jax.problem import Weights"),
        ("lindae_jax.cli", "from lindae_jax import reproduce, data"),
        ("lindae_jax.reproduce", "import numpy, lindae_jax.theory.flow"),
    ],
)
def test_an_import_that_runs_downstairs_is_not(module, statement):
    assert list(upstairs(statement, module)) == []


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


# Modules are loaded where they are first used.
EVERYTHING = "import lindae_jax\nfrom lindae_jax import *\n"


def test_importing_the_package_loads_nothing_but_jax_and_numpy_need():
    loaded = run(
        "import sys, jax, jax.numpy, numpy\n"
        "before = set(sys.modules)\n"
        f"{EVERYTHING}"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    ).split()
    assert "lindae_jax" in loaded
    assert set(loaded) - set(sys.stdlib_module_names) - {"lindae_jax", "jax", "numpy"} == set()


def test_importing_the_package_starts_no_device_and_changes_no_setting():
    # Without a backend there is no array either: one would have started it.
    run(
        "import os, jax\n"
        "from jax._src import xla_bridge\n"
        "settings, environment = dict(jax.config.values), dict(os.environ)\n"
        f"{EVERYTHING}"
        "assert not xla_bridge.backends_are_initialized()\n"
        "assert dict(jax.config.values) == settings\n"
        "assert dict(os.environ) == environment\n"
        "jax.numpy.zeros(1)\n"
        "assert xla_bridge.backends_are_initialized()\n"
    )


def test_public_names_are_there():
    assert [name for name in lindae_jax.__all__ if not hasattr(lindae_jax, name)] == []
    assert lindae_jax.__all__ == list(dict.fromkeys(lindae_jax.__all__))
    assert set(lindae_jax.__all__) <= set(dir(lindae_jax))


def test_public_names_are_what_type_checkers_see():
    for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("lindae_jax"):
            home = importlib.import_module(node.module)
            for alias in node.names:
                assert getattr(lindae_jax, alias.name) is getattr(home, alias.name)
                assert alias.name in [*lindae_jax.__all__, "__version__"]


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'lindae_jax' has no attribute 'simulate_pair'"):
        lindae_jax.simulate_pair  # noqa: B018
    with pytest.raises(ImportError, match="simulate_pair"):
        from lindae_jax import simulate_pair  # noqa: F401


def test_the_package_alone_loads_no_module_of_its_own():
    code = "import sys, lindae_jax\nprint(*(n for n in sys.modules if n.startswith('lindae_jax.')))"
    assert run(code).split() == ["lindae_jax.version"]


def test_the_version_is_cited_and_logged():
    root = PACKAGE.parent
    assert f"\nversion: {lindae_jax.__version__}\n" in (root / "CITATION.cff").read_text()
    assert f"\n## {lindae_jax.__version__}" in (root / "CHANGELOG.md").read_text()
