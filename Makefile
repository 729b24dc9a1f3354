# Every target does its own set-up: a bare clone with Python 3.11+ and make is enough.
# The text after "##" is the target's description in `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Let processes share compiled byte code; otherwise each compiles the whole project again.
unexport PYTHONDONTWRITEBYTECODE
BUILD := pyproject.toml hatch_build.py serve/scoring/trees/traverse.c

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv creates the environment in seconds; if it is not installed, pip installs it into the environment first.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11 …"; exit 2; }
	@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  || { rm -rf $(VENV); echo "Cannot create a virtual environment; on Debian: apt install python3-venv"; exit 2; }; fi

# $(1): lock file, $(2): stamp file. The hashes ensure that exactly the locked packages are installed.
define install
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	$$uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) && \
	$$uv pip install --quiet --python $(BIN)/python --no-deps --editable . && touch $(2)
endef

$(VENV)/.train: $(BIN)/python requirements.lock $(BUILD)
	@echo "installing into $(VENV) …"
	$(call install,requirements.lock,$@)

$(VENV)/.dev: $(BIN)/python requirements-dev.lock $(BUILD)
	@echo "installing into $(VENV) …"
	$(call install,requirements-dev.lock,$@)
	@touch $(VENV)/.train

.PHONY: train
train: $(VENV)/.train ## train on the built-in demo data; pass overrides as ARGS="model=catboost sampler=smotenc"
	@$(BIN)/python -m mlsys.train $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## run the test suite; pass pytest options as ARGS="-k audit"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: check
check: lint types contracts test ## lint, format, types, import contracts and tests: everything CI runs

.PHONY: lint
lint: $(VENV)/.dev ## lint and check the format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: format
format: $(VENV)/.dev ## fix lint errors and format
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.dev ## check types
	@$(BIN)/mypy

.PHONY: contracts
contracts: $(VENV)/.dev ## check the import contracts between packages
	@$(BIN)/lint-imports --no-logo

.PHONY: bench
bench: $(VENV)/.dev ## run a small version of every benchmark, in ten minutes; pass names as ARGS="train panel_size"
	@$(BIN)/python benchmarks/small.py $(ARGS)

# $(1): lock file, $(2): its source.
define compile
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --upgrade $(2) -o $(1)
endef

.PHONY: lock
lock: $(VENV)/.dev ## update the lock files, for Python 3.11 and 3.12
	$(call compile,requirements.lock,pyproject.toml)
	$(call compile,requirements-dev.lock,pyproject.toml --all-extras -c requirements.lock)
	$(call compile,requirements-serve.lock,--group pyproject.toml:serve -c requirements-dev.lock --overrides requirements-serve.overrides)

.PHONY: clean
clean: ## remove the environment and build output; runs are kept
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
