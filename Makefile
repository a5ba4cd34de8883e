PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
INSTALL = -m pip install --quiet --disable-pip-version-check --editable '.[serving,onnx,tfrs,plots,dev$(MORE)]'
PYTEST = -m pytest --numprocesses 2 --dist worksteal

# Tests of everything that promises to run on both Keras generations.
HOSTS = tests/layers tests/stages tests/models tests/losses tests/metrics tests/optimizers tests/training tests/analysis/doctor tests/test_compose.py

# What both ends of the versions in setup.cfg must pass: layers, models, training and export, and the demo's short form.
ENDS = tests/layers tests/stages tests/models tests/losses tests/metrics tests/optimizers tests/training tests/exporting tests/test_demo.py
# On tf_keras, the part of it that leans on the host most: the two ends and CI have to stay below 40 minutes together.
ENDS_HOSTS = tests/layers tests/optimizers tests/training

# The oldest end: Python, and an environment with the oldest packages.
OLDEST_PYTHON ?= python3.11
FLOOR = $(VENV)/floor
# The newest end: an environment for each Python.
NEWEST = $(VENV)/newest-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())')

.PHONY: help demo demo-distributed environments test test-floor test-python test-release docs lint bench bench-peers clean

help:
	@echo "make demo    a video feed: does sharing help, what is wrong, export, serve, ask (3 minutes on 2 cores)"
	@echo "make demo DATA=KuaiRand-Pure/data    the same on the public data set"
	@echo "make demo-distributed                two workers as processes; one is killed, and training goes on"
	@echo "make test    linters and the whole suite, on both Keras generations"
	@echo "make lint    ruff and mypy"
	@echo "make test-floor                      layers, models, training, export and the demo with the oldest packages that setup.cfg allows"
	@echo "make test-python PYTHON=python3.13   the same with the newest ones, on another Python"
	@echo "make docs    the site, in build/site; a broken link or a missing docstring stops it"
	@echo "make test-release                    builds wheel and sdist, and runs the README's quick start from the wheel, elsewhere"
	@echo "make bench   side-by-side timings, written to benchmarks/results/ (make bench-peers installs the peers)"

$(READY): MORE = ,docs,release
$(READY): setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tfmtl needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --constraint constraints.txt
	@touch $@

demo: $(READY)
	$(BIN)/python examples/video_feed.py $(if $(DATA),--data $(DATA))

demo-distributed: $(READY)
	rm -rf build/distributed && mkdir -p build/distributed
	$(BIN)/python examples/distributed/rows.py build/distributed/rows
	$(BIN)/python examples/distributed/launch.py --workers 2 --kill-after 2 --wait-for build/distributed/out/run \
		train.py --data build/distributed/rows --out build/distributed/out --epochs 4

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python $(PYTEST)
	TF_USE_LEGACY_KERAS=1 $(BIN)/python $(PYTEST) $(HOSTS)

# An environment's tests of the ends, on both Keras generations, after the versions that docs/versions.md notes.
define test-end
	@$(1)/bin/python --version && $(1)/bin/python -m pip freeze | grep -E '^(keras|numpy|pyarrow|tensorflow|tf_keras)=='
	$(1)/bin/python $(PYTEST) $(ENDS)
	TF_USE_LEGACY_KERAS=1 $(1)/bin/python $(PYTEST) $(ENDS_HOSTS)
endef

$(FLOOR)/.ready: setup.cfg constraints-floor.txt
	$(OLDEST_PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python $(INSTALL) --constraint constraints-floor.txt
	@touch $@

# What CI installs first, both at once.
environments: $(READY) $(FLOOR)/.ready

test-floor: $(FLOOR)/.ready
	$(call test-end,$(FLOOR))

test-python:
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python $(INSTALL) --upgrade --upgrade-strategy eager
	$(call test-end,$(NEWEST))

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

test-release: $(READY)
	$(BIN)/python -m pytest -m slow tests/test_release.py

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
