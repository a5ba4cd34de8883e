PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

# Tests of everything that promises to run on both Keras generations.
HOSTS = tests/layers tests/stages tests/models tests/losses tests/metrics tests/optimizers tests/training tests/test_compose.py

.PHONY: help demo test lint bench bench-peers clean

help:
	@echo "make demo    train, compare, export, serve and query PLE on Census-Income (about 3 minutes on 2 cores)"
	@echo "make test    linters and the whole suite, on both Keras generations"
	@echo "make lint    ruff and mypy"
	@echo "make bench   side-by-side timings, written to benchmarks/results/ (make bench-peers installs the peers)"

$(READY): setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tfmtl needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[serving,onnx,tfrs,plots,dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/python examples/census_income.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal
	TF_USE_LEGACY_KERAS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(HOSTS)

bench: $(READY)
	$(BIN)/python benchmarks/run.py

# Each peer pins its own framework, so each lives in an environment of its own.
bench-peers: $(READY)
	for peer in deepctr rechub; do \
		$(PYTHON) -m venv $(VENV)/peers/$$peer && \
		$(VENV)/peers/$$peer/bin/python -m pip install --quiet --requirement benchmarks/requirements-$$peer.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
