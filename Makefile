# Every target sets up what it needs: `make test` on a clean clone is enough.
# The interpreter the environment is made from: make setup PYTHON=python3.13
PYTHON ?= python3

# Whether the user named it, on the command line or in the environment.
CHOSEN := $(if $(filter file,$(origin PYTHON)),no,yes)

# Paths may hold spaces: these names are used in quotes, and never as targets.
VENV := .venv
BIN := $(VENV)/bin
PYTEST := "$(BIN)/python" -m pytest
# Tests run side by side, one process for each core, at most four.
SPREAD := -n auto --maxprocesses 4 --dist worksteal

# What `make bench` times, with options of pytest-benchmark, e.g. BENCH="bench/bench_block.py --benchmark-json=new.json".
BENCH ?= bench

# One thread per process: simtrial runs processes side by side, and times are comparable.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
# Byte code is written once, when the environment is made: every later start is quicker.
unexport PYTHONDONTWRITEBYTECODE
# Modules of other projects do not get between this one and its dependencies.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup demo lint test verify verify-quick fuzz distribution faults sanitize core docs-numbers docs docs-tools bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with the pinned dependencies and this project in it, or make it anew where it is unfit
	@sh .ci/environment "$(VENV)" "$(PYTHON)" $(CHOSEN)

demo: setup ## run the scenario `partners`, 1000 replicates (a second call shows the stored table)
	@"$(BIN)/simtrial" run partners -o runs/demo --replicates 1000

lint: setup ## ruff and mypy
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"

test: lint ## ruff, mypy and the test suite without the verification runs
	$(PYTEST) tests -q -m "not verify" $(SPREAD)

verify: setup ## the statistical verification runs, and a tenth of the fuzzing (under half an hour on two cores)
	$(PYTEST) tests -q -m "verify and not fuzz and not distribution" --ignore=tests/faults --timeout=3600 $(SPREAD) --durations=15 --durations-min=30

verify-quick: setup ## the verification runs that take less than half a minute each
	$(PYTEST) tests -q -m "verify and not slow" $(SPREAD) --durations=5 --durations-min=30

fuzz: setup ## every estimator beside its dense twin over 20,000 odd designs, and 2,000 damaged files (half an hour on two cores)
	$(PYTEST) tests -q -m fuzz --timeout=7200 $(SPREAD)

distribution: setup ## the test suite once more, from an unpacked source distribution (long)
	$(PYTEST) tests/project -q -m distribution --timeout=7200

faults: setup ## damage, full disks, killed processes and races on purpose, with their figures (long)
	$(PYTEST) tests/faults -q -s --timeout=3600

sanitize: setup ## the tests of the compiled kernels, every access to memory checked (gcc)
	@sh .ci/sanitize "$(BIN)/python"

core: setup ## build the compiled kernels again after a change in simtrial/core
	"$(BIN)/python" setup.py -q build_ext --inplace

docs-numbers: setup ## rerun the scenarios that numbers in README and docs come from, and write them there (minutes)
	"$(BIN)/python" docs/refresh.py
	"$(BIN)/python" docs/blocks.py --write README.md docs/*.md
	"$(BIN)/python" docs/pictures.py

docs-tools: setup
	"$(BIN)/python" -m pip install -qq --disable-pip-version-check --compile --require-hashes -r requirements.txt -r docs/requirements.txt

docs: docs-tools ## the documentation as a site in build/docs, every warning an error (installs what docs/requirements.txt names)
	"$(BIN)/python" -m sphinx -q -E -a -W --keep-going -d build/doctrees docs build/docs

bench: setup ## the benchmarks
	$(PYTEST) $(BENCH) -q -p no:randomly --benchmark-enable --benchmark-only --timeout=3600

clean: ## remove the environment, caches and builds (runs/ is kept)
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
