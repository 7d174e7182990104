# Every chore is one target; `make help` lists them.  Everything is installed into .venv, nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard kernels/*.pyx kernels/*.pxi kernels/*.h kernels/micro/*.c kernels/micro/*.h kernels/micro/int8/*.c kernels/micro/int8/*.h)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test test-long test-arm test-armv7 arm-packages lint bench schema cross cross-deps dist clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

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
	$(BIN)/python -m pytest -q -n auto --dist worksteal

test-long: $(VENV)/.test  ## the same with many more drawn examples
	$(BIN)/python -m pytest -q -n auto --dist worksteal --hypothesis-profile=long

# Folders .arm/ARCHITECTURE: Debian's Python for that processor, and this package cross-compiled.
.arm/%/debian: tests/emulated/debian.sh
	tests/emulated/debian.sh $* .arm/$*

.arm/tools: $(BIN)/pip
	mkdir -p .arm
	$(BIN)/pip install -q "setuptools>=77" "cython>=3.1"
	@touch $@

EMULATED := -m pytest -q -p no:cacheprovider --hypothesis-profile=few tests/kernels
PYTHON_ON := tests/emulated/python.sh

test-arm: .arm/arm64/debian .arm/tools  ## the kernels' tests on an emulated aarch64, with and without dot product (needs arm-packages)
	tests/emulated/build.sh $(BIN)/python aarch64-linux-gnu-gcc .arm/arm64
	$(PYTHON_ON) "qemu-aarch64-static -cpu cortex-a53" .arm/arm64 tests/emulated/levels.py scalar neon
	$(PYTHON_ON) "qemu-aarch64-static -cpu cortex-a76" .arm/arm64 tests/emulated/levels.py scalar neon neon_dot
	$(PYTHON_ON) "qemu-aarch64-static -cpu cortex-a76" .arm/arm64 $(EMULATED)

# numpy's own NEON kernels take denormals for zeros: the reference must not.
test-armv7: .arm/armhf/debian .arm/tools  ## the same on an emulated 32-bit ARM, with and without NEON
	tests/emulated/build.sh $(BIN)/python arm-linux-gnueabihf-gcc .arm/armhf
	$(PYTHON_ON) "qemu-arm-static -cpu max,neon=off" .arm/armhf tests/emulated/levels.py scalar
	$(PYTHON_ON) "qemu-arm-static -cpu cortex-a15" .arm/armhf tests/emulated/levels.py scalar neon
	NPY_DISABLE_CPU_FEATURES="NEON NEON_FP16 NEON_VFPV4" $(PYTHON_ON) "qemu-arm-static -cpu cortex-a15" .arm/armhf $(EMULATED)

arm-packages:  ## system packages for test-arm and test-armv7: emulator and cross compilers (Debian, as root)
	apt-get update -qq
	apt-get install -y -qq qemu-user-static gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf

lint: $(VENV)/.test  ## style of Python; warnings of C; also for ARM where its compilers are installed
	$(BIN)/ruff check .
	@for cc in gcc aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc; do \
	  command -v $$cc >/dev/null || { echo "skipped $$cc: not installed (make arm-packages)"; continue; }; \
	  for f in kernels/micro/*.c kernels/micro/int8/*.c; do \
	    $$cc -O2 -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror -fsyntax-only $$f || exit 1; \
	  done; echo "$$cc: no warnings"; \
	done

bench: $(VENV)/.test  ## tinynet beside onnxruntime on generated networks
	$(BIN)/python -m benchmarks models

schema:  ## regenerate converters/_schema.py from tinynet/model.fbs (needs flatc: make cross-deps)
	flatc --python --gen-onefile -o build/schema tinynet/model.fbs
	cp build/schema/model_generated.py converters/_schema.py

cross-deps:  ## system package for `make schema`: flatc (Debian, as root)
	apt-get update -qq
	apt-get install -y -qq flatbuffers-compiler

dist: $(VENV)/.test  ## source distribution and wheel in dist/
	rm -rf dist build
	$(BIN)/python -m build -q

clean:  ## remove everything that was built
	rm -rf $(VENV) .arm build dist kernels/*.so *.egg-info
