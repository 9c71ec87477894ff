# One word does each thing. On a new machine with Python 3.11+ and make, `make demo` and `make test` are enough.

PYTHON ?= python3
VENV   ?= .venv
MODEL  ?= models/googlenet.onnx
PORT   ?= 50051

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

# Stamps: what was installed, and from which pyproject.toml.
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test format-check lint types contracts unit format proto models bench serve clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## install into .venv and analyse a shipped GoogLeNet
	@$(BIN)/onnx-analyzer analyze $(MODEL)

test: format-check lint types contracts unit  ## everything that a reviewer would run

format-check: $(DEVELOPED)  ## is every file formatted?
	@echo '== format'; $(BIN)/ruff format --check --output-format concise

lint: $(DEVELOPED)  ## ruff's rules
	@echo '== lint'; $(BIN)/ruff check --output-format concise

types: $(DEVELOPED)  ## mypy, strict
	@echo '== types'; $(BIN)/mypy

contracts: $(DEVELOPED)  ## who may import whom
	@echo '== contracts'; $(BIN)/lint-imports --no-logo

unit: $(DEVELOPED)  ## the tests alone
	@echo '== tests'; $(BIN)/pytest -n auto

format: $(DEVELOPED)  ## rewrite the files as `make test` wants them
	@$(BIN)/ruff check --quiet --fix; $(BIN)/ruff format

# The virtual path makes the generated code import itself as analyzer.wire.v1.
proto: $(DEVELOPED)  ## generate analyzer/wire/v1 from proto/
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -I analyzer/wire/v1=proto/analyzer/v1 \
	  --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. analyzer/wire/v1/analyzer.proto

models: $(DEVELOPED)  ## build models/*.onnx from their published architectures
	@$(BIN)/python models/build.py

# Those that need nothing but the project; bench/README.md lists the others with what they ask for.
bench: $(DEVELOPED)  ## measure against onnx.load and shape inference
	@set -e; for script in floor scale chain upload start zoo; do $(BIN)/python bench/$$script.py; done

serve: $(INSTALLED)  ## the gRPC server on PORT
	@$(BIN)/onnx-analyzer serve --port $(PORT)

clean:  ## remove the environment, builds and caches
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed, $(PYTHON) is {sys.version.split()[0]}: say make PYTHON=python3.12 or the like")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(INSTALLED): pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV)'; $(PIP) --editable .
	@touch $@

$(DEVELOPED): pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV), with the tools of development'; $(PIP) --editable '.[dev]'
	@touch $(INSTALLED) $@
