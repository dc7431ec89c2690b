# make train [ARGS="model=vae bottleneck=16"]   install if needed, train
# make test  [ARGS="tests/models -k vae"]       install if needed, test
# uv is used where it is on PATH, python3 -m venv and pip where it is not; both keep your own
# index settings (UV_INDEX_URL, PIP_INDEX_URL, …), which is how to get torch for CPU only.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: train test test-slow lint format wheel clean help

help:
	@sed -n 's/^# //p' Makefile

train: $(STAMP)
	@$(BIN)/genai train $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

# training runs of minutes: the numbers that README claims, at their real size
test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(STAMP)
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

wheel: $(STAMP)
	@$(BIN)/python -m build --wheel --no-isolation

# bytecode is compiled here once: without it every start costs two to three times as much
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "genai-cli needs Python 3.10 or newer: make PYTHON=python3.12 …" >&2; exit 2; }
	@if command -v uv >/dev/null; then \
	  echo "installing into $(VENV) with uv"; \
	  uv venv -q --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install -q --python $(BIN)/python --compile-bytecode \
	    --constraint constraints.txt --editable '.[test]'; \
	else \
	  echo "installing into $(VENV) with pip"; \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[test]'; \
	fi
	@$(BIN)/python -m compileall -q genai_cli
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
