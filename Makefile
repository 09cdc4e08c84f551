# Everything from a bare python3 (3.11 or newer): `make demo`, `make test`.
# ARMICRO_DATA names the folder with real data; tests that need it skip without it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
ARMICRO_DATA ?= $(wildcard ../shared/data)
export ARMICRO_DATA

RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev

.PHONY: demo test check lint types layers tests bench wheel clean

demo: $(RUN_READY)
	$(BIN)/armicro demo --out $(OUT)

test: check tests

check: lint types layers

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_READY)
	$(BIN)/mypy

layers: $(DEV_READY)
	$(BIN)/lint-imports

# Two at once: half of the time they wait for processes to start and end.
tests: $(DEV_READY)
	$(BIN)/pytest -n 2 --dist loadfile

bench: $(DEV_READY)
	for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

wheel: $(DEV_READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(DEV_READY): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[dev,camera,kfb,micromanager,train]'
	touch $@ $(RUN_READY)

clean:
	rm -rf $(VENV) dist out .bench
