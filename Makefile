# Every target sets up what it needs: nothing but Python (3.11 or later), its venv module and make is
# asked for.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST_ARGS ?=
DIST_ARGS ?=
FUZZ_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# As many files of tests at once as there are cores, each on one thread: most tests are too small
# to share out. Tests of a file stay together, since some use what others made.
SIDE_BY_SIDE = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Tests whose figures a processor computes. Those marked `slow` or `browser` stay out.
NUMERIC := tests/training tests/networks tests/attacks tests/defenses tests/sklearn tests/test_golden.py \
	tests/environment/test_processor.py

# Processors that one processor can stand for: name, environment. Each takes another number of threads
# and another order of tests. oneDNN and MKL take what the processor has where they may take more;
# PyTorch obeys and is killed, so AVX-512 is left out where there is none. The sums of
# `other-sums-*` are added up in another order, as by a processor that is not here.
PROCESSORS := plain avx2 avx512 avx512-bf16 avx512-amx other-sums-1 other-sums-4 other-sums-5
HAS- := true
HAS-avx512 := grep -qw avx512f /proc/cpuinfo 2>/dev/null
ON-plain := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
	SELENA_TEST_THREADS=3 SELENA_TEST_ORDER=1
ON-avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	SELENA_TEST_THREADS=1 SELENA_TEST_ORDER=2
ON-avx512 := ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE \
	MKL_ENABLE_INSTRUCTIONS=AVX512 SELENA_TEST_THREADS=2 SELENA_TEST_ORDER=3
ON-avx512-bf16 := ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 \
	SELENA_TEST_THREADS=3 SELENA_TEST_ORDER=1
ON-avx512-amx := ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE_AMX \
	SELENA_TEST_THREADS=1 SELENA_TEST_ORDER=2
ON-other-sums-1 := SELENA_TEST_SUMS=1 SELENA_TEST_THREADS=2 SELENA_TEST_ORDER=3
ON-other-sums-4 := SELENA_TEST_SUMS=4 SELENA_TEST_THREADS=1 SELENA_TEST_ORDER=1
ON-other-sums-5 := SELENA_TEST_SUMS=5 SELENA_TEST_THREADS=3 SELENA_TEST_ORDER=2

CHROMIUM := command -v chromium chromium-browser google-chrome >/dev/null

# An environment is healthy when its set-up was finished, it still runs, and its `selena` is the
# one in this folder (after a move or a copy of the folder it is not). A healthy one is brought up
# to date when the pins change; any other is made anew.
LOCATE := from importlib.util import find_spec as find; \
	assert all(map(find, ["torch", "hypothesis", "mypy", "pytest", "ruff", "xdist"])); \
	print(find("selena").origin)
# Asked for by name, another Python makes it anew as well.
WANTED := $(if $(filter file,$(origin PYTHON)),yes,$(shell \
	test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" && echo yes))
HEALTHY := $(shell test -n '$(WANTED)' -a -f $(READY) && $(BIN)/python -I -c '$(LOCATE)' 2>/dev/null \
	| grep -Fxq '$(CURDIR)/src/selena/__init__.py' && echo yes)
ifneq ($(HEALTHY),yes)
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt
	$(if $(HEALTHY),,rm -rf $(VENV) && $(PYTHON) -m venv $(VENV))
	rm -f $@
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Bytecode is kept, wherever the environment asks for none: compiling takes each process ten seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-fast test-deep test-processors fuzz test-slow test-kills test-interop test-libraries test-browser test-cuda
.PHONY: test-cluster check lint types format bench docs dist clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Train, defend, attack and report on a small data set
	$(BIN)/selena demo

# Types are checked while tests run, since neither keeps all cores busy to its end.
test: lint ## Lint, check types and run the fast tests (3 minutes on two cores)
	$(MAKE) --no-print-directory --jobs 2 types test-fast

test-fast: $(READY)
	$(SIDE_BY_SIDE) $(PYTEST_ARGS)

test-deep: $(READY) ## Run the tests that `make test` leaves out: processes, documents, tool kits (minutes)
	$(SIDE_BY_SIDE) -m 'deep and not slow' $(PYTEST_ARGS)

test-processors: $(READY) ## Run the numeric tests as other processors would: PROCESSORS="plain avx2 ..."
	$(foreach name,$(PROCESSORS),if $(HAS-$(findstring avx512,$(name))); then \
		echo '$(name): $(ON-$(name))' && $(ON-$(name)) $(SIDE_BY_SIDE) -p no:cacheprovider -m 'not slow and not browser' \
		$(if $(findstring SUMS,$(ON-$(name))),-p tests.other_sums) $(PYTEST_ARGS) $(NUMERIC); \
		else echo '$(name): left out, since this processor has no AVX-512'; fi &&) true

fuzz: $(READY) ## Feed 120,000 changed files to all loaders in turn (minutes; FUZZ_ARGS takes --inputs and names)
	$(BIN)/python -m tests.fuzzing.run $(FUZZ_ARGS)

test-slow: $(READY) ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-kills: $(READY) ## Kill commands at random moments, resume them, compare bytes (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.kills

test-libraries: $(READY) ## Run the recipes for XGBoost, LightGBM, CatBoost, skorch, Keras, transformers, Lightning
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[libraries]'
	$(BIN)/python -m pytest tests/libraries $(PYTEST_ARGS)

test-interop: $(READY) ## Run the tests that need other tools: ART, MLflow, TensorBoard, skorch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[art,mlflow,tensorboard,dp,tune]' skorch
	$(BIN)/python -m pytest tests/interop tests/tracking tests/sklearn/test_skorch.py \
		tests/defenses/test_baselines.py tests/defenses/test_all_defenses.py \
		tests/experiments/test_tuning.py -m 'not slow and not browser' $(PYTEST_ARGS)

test-browser: $(READY) ## Test the report page in Chromium (skipped where there is none)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]' \
		|| echo 'No Playwright: the tests of the page will be skipped.'
	$(CHROMIUM) || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
		|| echo 'No Chromium: the tests of the page will be skipped. Install it (apt-get install chromium).'
	$(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

test-cuda: $(READY) ## Run the tests for a GPU; where there is none, on an emulated one (needs c++)
	$(BIN)/python -m pytest tests/test_cuda.py $(PYTEST_ARGS) $$($(BIN)/python -c \
		'import torch; print("" if torch.cuda.is_available() else "-p tests.emulated_cuda")')

test-cluster: $(READY) ## Run the tests on a Ray and a Dask cluster (as root: of emulated hosts, each with its own network)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray,dask]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/cluster $(PYTEST_ARGS)

check: lint types ## Lint, formatting and types

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

format: $(READY) ## Format, and fix what the linter can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m benchmarks

docs: $(READY) ## Build the documentation into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

dist: $(READY) ## Build wheel and sdist, check both, use the wheel (DIST_ARGS=--empty: as a stranger would)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m publish.wheel $(DIST_ARGS)

clean: ## Remove the environment, caches and builds (never runs or results)
	rm -rf $(VENV) build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
