# A fresh machine needs Python >= 3.11, make and a way to its package registries; the rest is here.

PYTHON ?= python3
VENV ?= .venv
# Versions that the tests have passed with; `make CONSTRAINTS= ...` takes the newest of all.
CONSTRAINTS ?= constraints.txt
# Arguments to pytest, as in: make test ARGS="tests/registry --db sqlite"
ARGS ?= -n auto --maxprocesses 4 --dist worksteal

# The tests start dozens of processes, each of which would compile every library anew.
export PYTHONDONTWRITEBYTECODE :=

BIN := $(VENV)/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
PARTS := pyproject.toml $(CONSTRAINTS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.demo ## Install, and run the main job on a simulated camera (SQLite, no server)
	$(BIN)/skyspine demo
	@echo "(These commands need the environment: . $(BIN)/activate)"

.PHONY: test
test: $(VENV)/.test $(VENV)/.peer ## Install what the tests need, and run them on three databases
	$(BIN)/python -m pytest $(ARGS)

.PHONY: coverage
coverage: $(VENV)/.test $(VENV)/.peer ## Run the tests with branch coverage over all databases together
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=pyproject.toml $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: bench
bench: $(VENV)/.test ## Measure, and print the times
	$(BIN)/python -m pytest tests/benchmarks --timed -s -p no:xdist --db sqlite

.PHONY: lint
lint: $(VENV)/.lint ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(VENV)/.lint ## Put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

.PHONY: wheel
wheel: $(BIN)/uv ## Build the wheel into dist/
	$(BIN)/uv build --quiet --wheel --out-dir dist

.PHONY: lock
lock: $(BIN)/uv ## Write the newest versions of everything to constraints.txt
	$(BIN)/uv pip compile --quiet --universal --upgrade --all-extras --no-annotate \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

.PHONY: clean
clean: ## Remove the virtual environment and what was built
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache

# A stamp is renewed when pyproject.toml or constraints.txt has changed since.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "skyspine needs Python >= 3.11; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: $(BIN)/uv $(PARTS)
	$(INSTALL) --editable '.[ccd]'
	@touch $@

$(VENV)/.test: $(BIN)/uv $(PARTS) tests/install_servers.sh
	$(INSTALL) --editable '.[test]'
	sh tests/install_servers.sh $(BIN)/python $(INSTALL)
	@touch $@

# The registry that answers are compared with has an environment of its own.
$(VENV)/.peer: $(BIN)/uv tests/differential/requirements.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/peer
	$(BIN)/uv pip install --quiet --python $(VENV)/peer/bin/python -r tests/differential/requirements.txt
	@touch $@

$(VENV)/.lint: $(BIN)/uv $(PARTS)
	$(INSTALL) --editable '.[test,lint]'
	@touch $@

$(VENV)/.docs: $(BIN)/uv $(PARTS)
	$(INSTALL) --editable '.[docs]'
	@touch $@
