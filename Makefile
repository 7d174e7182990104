# Every chore is one target; `make help` lists them.  Everything is installed into .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard kernels/*.pyx kernels/*.pxi kernels/*.h kernels/micro/*.c kernels/micro/*.h kernels/micro/int8/*.c kernels/micro/int8/*.h)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test test-long lint bench schema cross cross-deps dist clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# The engine and what converting and pictures need; our own C warnings are errors.
$(VENV)/.demo: $(BIN)/pip $(SOURCES)
	TINYNET_WERROR=1 $(BIN)/pip install -q -e ".[convert,image]"
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	TINYNET_WERROR=1 $(BIN)/pip install -q -e ".[test]"
	@touch $@

demo: $(VENV)/.demo  ## set up, convert the bundled digits network and run it on pictures
	$(BIN)/python examples/demo.py

test: $(VENV)/.test  ## set up and run the everyday tests
	$(BIN)/python -m pytest -q

test-long: $(VENV)/.test  ## the same with many more drawn examples
	$(BIN)/python -m pytest -q --hypothesis-profile=long

lint: $(VENV)/.test  ## style of Python; warnings of C; also for aarch64 where its compiler is installed
	$(BIN)/ruff check .
	@for cc in gcc aarch64-linux-gnu-gcc; do \
	  command -v $$cc >/dev/null || { echo "skipped $$cc: not installed (make cross-deps)"; continue; }; \
	  for f in kernels/micro/*.c kernels/micro/int8/*.c; do \
	    $$cc -O2 -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror -fsyntax-only $$f || exit 1; \
	  done; echo "$$cc: no warnings"; \
	done

bench: $(VENV)/.test  ## tinynet beside onnxruntime on generated networks
	$(BIN)/python -m benchmarks models

schema:  ## regenerate converters/_schema from tinynet/model.fbs (needs flatc: make cross-deps)
	flatc --python -o build/schema tinynet/model.fbs
	sed -E -i 's/from tnb\.([A-Za-z]+) import/from .\1 import/' build/schema/tnb/*.py
	cp build/schema/tnb/*.py converters/_schema/

cross-deps:  ## system packages for wider checks: flatc and the aarch64 compiler (Debian, as root)
	apt-get update -qq
	apt-get install -y -qq flatbuffers-compiler gcc-aarch64-linux-gnu

dist: $(VENV)/.test  ## source distribution and wheel in dist/
	rm -rf dist build
	$(BIN)/python -m build -q

clean:  ## remove everything that was built
	rm -rf $(VENV) build dist kernels/*.so *.egg-info
