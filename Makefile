# make train [ARGS="model=vae bottleneck=16"]   install if needed, train
# make test  [ARGS="tests/models -k vae"]       install if needed, test
# make lecture [ARGS="dataset=digits"]           the whole lecture, WHAT=quick a part; one page
# make bench, make bench-gpu                     races beside peers (benchmarks/README.md)
# uv is used where it is on PATH, python3 -m venv and pip where it is not; both keep your own
# index settings (UV_INDEX_URL, PIP_INDEX_URL, …), which is how to get torch for CPU only.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
TORCH :=  # another one than constraints.txt has, which brings the sympy that it needs
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PINS := $(VENV)/constraints.txt

.PHONY: train lecture test test-slow test-slurm test-gpu test-kernels test-pythons torture audit bench bench-gpu
.PHONY: lint format wheel clean help

help:
	@sed -n 's/^# //p' Makefile

train: $(STAMP)
	@$(BIN)/genai train $(ARGS)

# worksteal: a worker begins with half of the files and takes of the other's last, so that what a
# file shares is made once
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

DEFAULT = not slow and not slurm and not gpu and not torture
test: $(STAMP)
	@$(PYTEST) -m "$(DEFAULT)" $(ARGS)

# every experiment of the lecture with its commands, then its page (genai lecture --help)
WHAT ?= all
lecture: $(STAMP)
	@$(BIN)/genai lecture $(WHAT) $(ARGS)

# runs killed anywhere, disks that are full or gone, wrong input: under half an hour on two cores;
# its last lines say what was tried, how often, and what was lost. SEED=n repeats a failure
torture: $(STAMP)
	@GENAI_TORTURE_SEED=$(SEED) $(PYTEST) -m torture $(ARGS)

# training runs of minutes: the numbers of docs/results.md, at their real size
test-slow: $(STAMP)
	@$(PYTEST) -m "slow and not gpu" $(ARGS)

# a real Slurm of two nodes on this machine (Debian: munge slurmctld slurmd slurm-client)
test-slurm: $(STAMP)
	@$(BIN)/python -m pytest -m slurm $(ARGS)

# the rooms that compute, with the instructions of three generations of processors: other orders of
# summation, other kernels. What training reaches is held with a margin (tests marked `trains`)
KERNELS = tests/models tests/networks tests/diffusion tests/losses tests/training tests/evaluation
test-kernels: $(STAMP)
	@$(call with_kernels,default,SSE41,SSE4_2)
	@$(call with_kernels,avx2,AVX2,AVX2)
	@$(call with_kernels,avx512,AVX512_CORE,AVX512)

# $(1) of torch's own kernels, $(2) of oneDNN's, $(3) of MKL's
with_kernels = if [ $(1) = default ] || grep -qm1 '$(subst avx512,avx512dq,$(1))' /proc/cpuinfo; then \
  echo "tests that compute, with $(1)"; ATEN_CPU_CAPABILITY=$(1) ONEDNN_MAX_CPU_ISA=$(2) \
  MKL_ENABLE_INSTRUCTIONS=$(3) $(PYTEST) -q -m "$(DEFAULT)" $(KERNELS) $(ARGS); \
  else echo "not tested: $(1), which this processor lacks" >&2; fi

# on an NVIDIA GPU, which no other test sees
test-gpu: $(STAMP)
	@$(BIN)/python -m pytest -m gpu $(ARGS)

# `make test` on the oldest Python with the oldest torch, and on the newest: each in a .venv of its
# own, with an interpreter from PATH or pyenv. One that is missing is told, and a failure in CI
OLDEST_TORCH = torch==2.6.0 torchvision==0.21.0
test-pythons:
	@$(call with_python,3.10,TORCH="$(OLDEST_TORCH)" test)
	@$(call with_python,3.13,test)

with_python = p=$$(for p in "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(1).*/bin/python python$(1); \
  do "$$p" -c '' 2>/dev/null && echo "$$p"; done | tail -1); \
  if [ -n "$$p" ]; then $(MAKE) PYTHON="$$p" VENV=.venv-$(1) $(2); \
  else echo "not tested: Python $(1), which is neither on PATH nor in pyenv" >&2; [ -z "$$CI" ]; fi

# under half an hour on two cores; CORES=1 beside other work, FASHION=DIR of its files
CORES ?= $(shell nproc)
FASHION ?= /usr/share/datasets/fashion-mnist
ROOT = --root $(FASHION)

bench: $(VENV)/.peers
	$(BIN)/python benchmarks/startup.py --warmup 0 --record $(ARGS)
	$(BIN)/python benchmarks/autoencoder.py $(ROOT) --limit 20000 --record $(ARGS)
	$(BIN)/python benchmarks/autoencoder.py $(ROOT) --limit 20000 --record --threads $(CORES) \
	  --only genai products Keras machine $(ARGS)
	$(BIN)/python benchmarks/vae.py $(ROOT) --limit 3200 --skip compiled --record --threads $(CORES) $(ARGS)
	$(BIN)/python benchmarks/flow.py --coupling affine --record $(ARGS)
	$(BIN)/python benchmarks/flow.py --coupling spline --record $(ARGS)
	$(BIN)/python benchmarks/diffusion.py $(ROOT) --limit 256 --skip compiled --record --threads $(CORES) $(ARGS)
	$(BIN)/python benchmarks/diffusion_sampling.py $(ROOT) --steps 10 --record --threads $(CORES) $(ARGS)
	$(BIN)/python benchmarks/sweep.py --record $(ARGS)
	$(BIN)/python benchmarks/sweep.py --dataset fashion_mnist $(ROOT) --limit 3000 --epochs 2 \
	  --seeds 8 --only packed other --record $(ARGS)
	$(BIN)/python benchmarks/overhead.py $(ROOT) --record $(ARGS)

GPU = --device cuda --record $(ARGS)
bench-gpu: $(VENV)/.peers
	$(BIN)/python benchmarks/autoencoder.py $(ROOT) $(GPU)
	$(BIN)/python benchmarks/vae.py $(ROOT) $(GPU)
	$(BIN)/python benchmarks/flow.py --coupling affine $(GPU)
	$(BIN)/python benchmarks/flow.py --coupling spline $(GPU)
	$(BIN)/python benchmarks/diffusion.py $(ROOT) --batch 128 --limit 12800 $(GPU)
	$(BIN)/python benchmarks/diffusion.py $(ROOT) --batch 128 --limit 12800 --precision bf16 $(GPU)
	$(BIN)/python benchmarks/diffusion_sampling.py $(ROOT) --batch 1024 --steps 50 $(GPU)
	$(BIN)/python benchmarks/sweep.py $(GPU)

# the peers, beside the package; without this a script leaves out whoever is not there
$(VENV)/.peers: $(STAMP)
	@if command -v uv >/dev/null; then \
	  uv pip install -q --python $(BIN)/python --constraint $(PINS) --editable '.[test,bench]'; \
	else \
	  $(BIN)/python -m pip install -q --constraint $(PINS) --editable '.[test,bench]'; \
	fi
	@touch $@

# the pins against the published advisories (pypi.org); without a network it says so and fails
NO_ANSWER = not found on PyPI|ConnectionError|Max retries|timed out|Name or service
audit: $(VENV)/.audit
	@$(BIN)/pip-audit -r constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
	  >$(VENV)/audit.txt 2>&1; code=$$?; \
	if grep -qE '$(NO_ANSWER)' $(VENV)/audit.txt; then \
	  echo "audit: pypi.org does not answer for these packages; nothing was checked" >&2; exit 2; \
	fi; cat $(VENV)/audit.txt; exit $$code

$(VENV)/.audit: $(STAMP)
	@if command -v uv >/dev/null; then \
	  uv pip install -q --python $(BIN)/python --constraint $(PINS) --editable '.[audit]'; \
	else \
	  $(BIN)/python -m pip install -q --constraint $(PINS) --editable '.[audit]'; \
	fi
	@touch $@

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache

format: $(STAMP)
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

wheel: $(STAMP)
	@$(BIN)/python -m build --wheel --no-isolation

# bytecode is compiled here once: without it every start costs two to three times as much
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "genai-cli needs Python 3.10 or newer: make PYTHON=python3.12 …" >&2; exit 2; }
	@mkdir -p $(VENV)
	@if [ -n "$(TORCH)" ]; then grep -vE '^(torch|torchvision|sympy)==' constraints.txt; \
	  else cat constraints.txt; fi >$(PINS)
	@if command -v uv >/dev/null; then \
	  echo "installing into $(VENV) with uv"; \
	  uv venv -q --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install -q --python $(BIN)/python --compile-bytecode \
	    --constraint $(PINS) --editable '.[test]' $(TORCH); \
	else \
	  echo "installing into $(VENV) with pip"; \
	  "$(PYTHON)" -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check \
	    --constraint $(PINS) --editable '.[test]' $(TORCH); \
	fi
	@$(BIN)/python -m compileall -q genai_cli
	@touch $(STAMP)

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .ruff_cache
