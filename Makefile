# Every command builds what it needs; a second call finds it there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 2
CATALOGUE = --titles=examples/pricerunner/offers.csv.gz --id=product_id --title=product_title

.DEFAULT_GOAL := help
.PHONY: help train serve search page test test-slow lint fix clean

help:  ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/installed  ## the quickstart: fine-tune a BERT teacher, distil it, export the student (ARGS="--config=... --workdir=...")
	$(BIN)/tfb2d train $(ARGS)

serve: $(VENV)/serving  ## serve the student that this repository brings, on port 8500 (ARGS="--rest_api_port=8501")
	$(BIN)/tfb2d serve --model_name=quickstart --model_base_path=$(CURDIR)/saved_models/quickstart $(ARGS)

search: $(VENV)/searching  ## the e-commerce quickstart: a twin and a student over the example catalogue, and a page to search it; about eight minutes on 2 cores
	$(BIN)/tfb2d train --config=search --workdir=runs/search
	$(BIN)/tfb2d search build $(CATALOGUE) --model=saved_models/search_twin --index=runs/search/index
	$(BIN)/tfb2d search serve --index=runs/search/index --ranker=saved_models/search --teacher=runs/search/teachers/minilm $(ARGS)

page: $(VENV)/searching  ## the same page at once, with the twin and the student that this repository brings
	$(BIN)/tfb2d search build $(CATALOGUE) --model=saved_models/search_twin/1 --index=runs/page/index
	$(BIN)/tfb2d search serve --index=runs/page/index --ranker=saved_models/search/1 $(ARGS)

test: $(VENV)/dev  ## unit, property and end-to-end tests, in WORKERS=2 processes
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(VENV)/dev  ## the tests that take longer
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/dev  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fix: $(VENV)/dev  ## let ruff repair what it can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:  ## forget the environment
	rm -rf $(VENV) build *.egg-info

$(VENV)/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/serving: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	touch $@

$(VENV)/searching: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[search]'
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
