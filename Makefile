# `make` alone lists the targets. Each of them sets the environment up by itself; that is free when nothing changed.

PYTHON := $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$python && break; \
	done)
BIN := .venv/bin
READY := .venv/.ready
PROJECTS := pyproject.toml connectors/object/pyproject.toml connectors/sql/pyproject.toml connectors/vector/pyproject.toml
# How far pip is, is for whoever looks on, and not for the log of a build.
INSTALL := test -t 1 || quiet=--quiet; $(BIN)/python -m pip install $$quiet --disable-pip-version-check --no-deps
SOURCES := nvisy connectors tests conftest.py $(wildcard bench dataflows)

.DEFAULT_GOAL := help
.PHONY: help setup check test faults mutations soak bench demo follow rebuild fmt lock clean

help:  ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(READY)  ## a virtual environment in .venv, every package pinned by its hash

$(READY): constraints.txt $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and neither is on the PATH." >&2; exit 1; }
	@echo "Fetching some hundred packages into .venv, each checked by its hash: a minute or more, the first time."
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r constraints.txt
	$(INSTALL) --no-build-isolation -e . -e connectors/object -e connectors/sql -e connectors/vector
	@touch $@

check: setup  ## formatting, lint, types, layers, schemas
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nvisy schema --check

# More workers than cores: much of what they do is waiting for a broker.
test: check  ## everything, on a real Kafka and a real Postgres that the suite starts
	$(BIN)/python -m tests.servers
	$(BIN)/python -m pytest -n 4 --dist worksteal

faults: setup  ## the fault matrix on real servers; writes its table into docs/reliability.md
	$(BIN)/python -m tests.servers
	$(BIN)/python -m tests.faults

mutations: setup  ## one mechanism off at a time: the row of the matrix that guards it has to fail
	$(BIN)/python -m tests.faults.mutations

soak: setup  ## half an hour of edits and faults: nothing drifts, nothing grows
	$(BIN)/python -m tests.servers
	$(BIN)/python -m tests.faults.soak --write

bench: setup  ## speed and memory beside hand-written loops, within the hour; writes docs/performance.md
	$(BIN)/python -m tests.servers
	$(BIN)/python -m bench

demo: setup  ## documents become searchable vectors, in a temporary folder
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && "$(CURDIR)/$(BIN)/nvisy" quickstart --demo "$$folder"

follow: setup  ## rows of a table change, and what a search finds changes with them
	$(BIN)/python dataflows/code/follow_a_table.py

rebuild: setup  ## another model under a live index, and a reader that does not notice
	$(BIN)/python dataflows/code/rebuild_index.py

fmt: setup  ## formats and mends what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lock: setup  ## writes constraints.txt anew, with the latest versions the projects allow
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-package nvisy --no-emit-package nvisy-object --no-emit-package nvisy-sql --no-emit-package nvisy-vector \
		$(PROJECTS) --group dev --output-file constraints.txt

clean:  ## removes the environment and everything that was built or fetched
	rm -rf .venv .parts .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
