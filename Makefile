# `make reproduce` and `make test` need Python, make and a package index; both
# work in an environment of their own and leave the rest of the machine alone.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help reproduce test test-slow lint format accuracy bench clean

help:
	@echo "make reproduce   train on the digits, compare with theory, draw the picture"
	@echo "make test        lint, types, and the tests in float32 and float64"
	@echo "make test-slow   paper-scale tests; LINDAE_DATA names the folder of MNIST and CIFAR-10"
	@echo "make lint        ruff and mypy only        make format   let ruff rewrite the code"
	@echo "make accuracy    write docs/accuracy.md    make clean    remove what make made"
	@echo "make bench       speed beside rivals and the limits of this machine, a first look"
	@echo "PYTHON=python3.12 picks another interpreter, WORKERS=8 more test processes."

reproduce: $(VENV)/.installed-cli
	$(BIN)/lindae reproduce

test: lint
	$(PYTEST) -m "not slow" --doctest-modules lindae_jax tests README.md
	LINDAE_X64=1 $(PYTEST) -m "not slow" tests

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow tests
	LINDAE_X64=1 $(PYTEST) -m slow tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

accuracy: $(VENV)/.installed-dev
	$(BIN)/python tests/accuracy.py

bench: $(VENV)/.installed-dev
	$(BIN)/lindae bench --quick

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find lindae_jax tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which extras are in the environment; dev holds all that cli has.
$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $(VENV)/.installed-cli $@

$(VENV)/.installed-cli: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[cli]"
	@touch $@

$(VENV)/.created:
	@command -v "$(PYTHON)" > /dev/null || { echo "error: no $(PYTHON) here;\
	 install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13)\
	 else "error: lindae_jax needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d;\
	 name another: make PYTHON=python3.12" % v)'
	"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@
