# make demo: the main job on real data.  make test: lint, types, layers, every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CONFIG := examples/tweets/ftx.toml

export TOKENIZERS_PARALLELISM := true
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test lint types layers tests test-slow test-soak test-load bench docs clean

demo: $(VENV)/.demo
	$(BIN)/ftx run train quantize export --config $(CONFIG)
	$(BIN)/ftx predict latest "what a lovely ride, I would buy this car" --config $(CONFIG)

test: lint types layers tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# Two workers on two cores: with more than one thread each, torch's threads spin while the other worker wants the core.
tests: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# Kills at random moments, fresh environments, a million rows: minutes each.
test-slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

# The documentation, into site/; a broken link, or a page that no other names, fails.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# 100,000 requests of mixed lengths; FTX_SOAK_REQUESTS=10000 for fewer.
test-soak: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow tests/serving/test_soak.py -s

# Servers of known behaviour under load: stalls, capacities, comparisons, a starved client. Minutes together.
test-load: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/loadtests

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/data_million_rows.py

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing (torch and what goes with it: some minutes the first time)"
	$(INSTALL) --editable '.[train,onnx,demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(INSTALL) --editable '.[all]'
	@touch $@

clean:
	rm -rf $(VENV) examples/tweets/.ftx
