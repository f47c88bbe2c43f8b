# Two commands do all on a fresh machine: `make demo` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Rooms that are tested at the same time: tests wait for processes, servers and disks about as long as they compute.
JOBS ?= 2
ROOMS := $(filter-out __pycache__,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))

.PHONY: setup demo neo4j test $(ROOMS:%=test-%) test-fast py2neo check format lint types layers bench lock clean

setup: $(VENV)/.ready

# --no-compile: Python compiles what is imported when it is imported; compiling all of it first took half a minute.
$(VENV)/.ready: requirements/development.txt pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/development.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m reasoning.prepare
	touch $@

# STORE=neo4j: on a real Neo4j of its own.
demo: setup
	$(if $(filter neo4j,$(STORE)),python3 infra/neo4j/local.py run --) $(BIN)/whence demo $(ARGS)

# A real Neo4j on this machine; `infra/neo4j/local.py stop` ends it.
neo4j:
	@python3 infra/neo4j/local.py start $(ARGS)

test: setup
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(ROOMS:%=test-%)
else
	$(BIN)/python -m pytest $(ARGS)
endif

# What belongs to no room is tested with the last.
$(ROOMS:%=test-%): test-%: setup
	$(BIN)/python -m pytest tests/$* $(if $(filter schema,$*),$(wildcard tests/test_*.py))

test-fast: setup
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

check: format lint types layers py2neo test

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

# py2neo is at its end of life: it has an environment of its own, for the test of docs/graph/py2neo.md alone.
py2neo: $(VENV)/py2neo/.ready

$(VENV)/py2neo/.ready: requirements/py2neo.txt | $(VENV)/.ready
	python3 -m venv $(VENV)/py2neo
	$(VENV)/py2neo/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/py2neo.txt
	touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

# What others' engines need (pyAgrum brings 200 MB along) is installed for the benchmarks alone.
$(VENV)/.bench: requirements/bench.txt | $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/bench.txt
	touch $@

lock: setup
	infra/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
