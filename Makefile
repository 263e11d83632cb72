# Everything lives in .venv and rust/target; `make clean` takes both away again.
#
#   make run      the console on the demo          make check    linters, types, import rules
#   make test     every test, Python and Rust      make fmt      format the code
#   make bench    figures beside their peers       make soak     orders under random faults
#   make build    the wheel and the services' binaries in dist/
#   make picture  the README's picture             make lock     pin the dependencies anew

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
NATIVE := signal_bridge/_native.abi3.so
RUST_SOURCES := $(shell find rust -name target -prune -o \( -name '*.rs' -o -name '*.toml' -o -name Cargo.lock \) -print 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
LOCKED := $(if $(shell command -v flock),flock $(VENV))
SAY := @printf '\033[2m·· %s\033[0m\n'

.PHONY: run test test-python test-rust check bench build fmt clean picture soak lock

run: $(NATIVE)
	@$(BIN)/trading-console $(ARGS)

test: test-python test-rust

test-python: $(VENV)/.dev $(VENV)/.conformance $(NATIVE)
	$(SAY) "Python tests"
	@$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

test-rust: | toolchain
	$(SAY) "Rust tests (a first build takes some minutes)"
	@cd rust && cargo test --workspace --locked --quiet

check: $(VENV)/.dev $(NATIVE)
	$(SAY) "ruff"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(SAY) "mypy --strict"
	@$(BIN)/mypy
	$(SAY) "stubs against the native module"
	@$(BIN)/python -m mypy.stubtest signal_bridge --ignore-missing-stub --allowlist signal_bridge/stubtest.allow
	$(SAY) "import rules"
	@$(BIN)/lint-imports
	$(SAY) "cargo fmt"
	@cd rust && cargo fmt --all --check
	$(SAY) "clippy (a first build takes some minutes)"
	@cd rust && cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

bench: $(VENV)/.bench $(NATIVE)
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(VENV)/.dev $(NATIVE)
	@$(BIN)/python -m tests.faults.soak $(ARGS)

build: $(VENV)/.run | toolchain
	$(SAY) "The wheel"
	@$(BIN)/maturin build --release --locked --quiet --out dist
	$(SAY) "The services"
	@cd rust && cargo build --release --workspace --locked --quiet
	@mkdir -p dist/bin
	@cp rust/target/release/{market-data,execution-engine,risk-manager,paper-exchange} dist/bin/
	@ls -1 dist/*.whl dist/bin/*

fmt: $(VENV)/.dev
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format --quiet .
	@cd rust && cargo fmt --all

picture: $(VENV)/.dev $(NATIVE)
	@$(BIN)/python tools/picture.py docs/console.svg

clean:
	@rm -rf $(VENV) rust/target dist $(NATIVE) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# `pip install uv` first: it resolves for every supported Python at once.
lock:
	@for set in "run --group build" "otel --extra otel" "dev --group test --group check" "bench --group test --group check --group bench"; do \
		name=$${set%% *}; uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
			--no-emit-index-url --no-header --no-annotate pyproject.toml $${set#$$name} \
			-c requirements/run.txt -o requirements/$$name.txt; done
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
		--no-header --no-annotate requirements/conformance.in -o requirements/conformance.txt

# ── what the targets stand on ──────────────────────────────────────────────────────────────────

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.93 or newer (rustup), then run make again" >&2; exit 1; }
	@cargo --version | awk '{ split($$2, v, "."); if (v[1] < 1 || (v[1] == 1 && v[2] < 93)) { \
		print $$0 " is too old: Rust 1.93 or newer is needed (rustup update)" > "/dev/stderr"; exit 1 } }'
	@command -v cc >/dev/null || { echo "cc is missing: install a C compiler (gcc or clang), then run make again" >&2; exit 1; }

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than 3.11: install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	$(SAY) "A virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt | $(BIN)/python
	$(SAY) "Python packages"
	@$(PIP) -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/otel.txt | $(VENV)/.run
	$(SAY) "Python packages for tests and checks"
	@$(PIP) -r requirements/dev.txt
	@$(PIP) -r requirements/otel.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt | $(VENV)/.dev
	$(SAY) "Python packages to compare with"
	@$(PIP) -r $<
	@touch $@

# Alpaca's older client pins packages that its newer one can't live with: it has an environment of its own.
$(VENV)/.conformance: requirements/conformance.txt | $(BIN)/python
	$(SAY) "Another client of Alpaca's, to try the exchange with"
	@$(BIN)/python -m venv $(VENV)/conformance
	@$(VENV)/conformance/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# One build at a time: two would pull the module from under each other.
$(NATIVE): $(RUST_SOURCES) pyproject.toml | $(VENV)/.run toolchain
	$(SAY) "The Rust half (a first build takes some minutes)"
	@env -u CONDA_PREFIX PIP_QUIET=1 PIP_NO_DEPS=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VIRTUAL_ENV=$(abspath $(VENV)) \
		$(LOCKED) $(BIN)/maturin develop --release --locked --quiet >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	@$(BIN)/python -m compileall -q console signal_bridge   # or every start does it, where none may be kept
	@touch $@
