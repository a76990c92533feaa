# Every command builds what it needs; a second call finds it there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help train test test-slow lint fix clean

help:  ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/installed  ## the quickstart: fine-tune a BERT teacher, distil it, export the student (ARGS="--config=... --workdir=...")
	$(BIN)/python -m tfb2d.train $(ARGS)

test: $(VENV)/dev  ## unit, property and end-to-end tests
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/dev  ## the tests that take longer
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/dev  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fix: $(VENV)/dev  ## let ruff repair what it can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:  ## forget the environment
	rm -rf $(VENV) build *.egg-info

$(VENV)/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14) and "Python 3.10 to 3.13 is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
