# Every target sets up what it needs: nothing but Python 3.11, its venv module and make is asked for.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The pins in constraints.txt are for 3.11.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# An environment is healthy when its set-up was finished, it still runs, and its `selena` is the
# one in this folder (after a move or a copy of the folder it is not). A healthy one is brought up
# to date when the pins change; any other is made anew.
LOCATE := from importlib.util import find_spec as find; \
	assert all(map(find, ["torch", "hypothesis", "mypy", "pytest", "ruff"])); \
	print(find("selena").origin)
HEALTHY := $(shell test -f $(READY) && $(BIN)/python -I -c '$(LOCATE)' 2>/dev/null \
	| grep -Fxq '$(CURDIR)/src/selena/__init__.py' && echo yes)
ifneq ($(HEALTHY),yes)
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt
	$(if $(HEALTHY),,rm -rf $(VENV) && $(PYTHON) -m venv $(VENV))
	rm -f $@
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: help demo test test-slow check format bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Train, defend, attack and report on a small data set
	$(BIN)/selena demo

test: check ## Check, then run the fast tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(READY) ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(READY) ## Lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY) ## Format, and mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m benchmarks

clean: ## Remove the environment, caches and builds (never runs or results)
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
