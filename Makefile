# make demo | make demo-video | make test | make check | make bench | make gpu-test: each makes the environment it needs on a fresh machine with Python 3.10 or newer.

PYTHON ?= python3
BIN := .venv/bin
DEBIAN := dcmtk dicom3tools orthanc orthanc-dicomweb orthanc-python prometheus mricron-data faketime g++ chromium chromium-driver systemd mosquitto \
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
  python3-gi gir1.2-gst-rtsp-server-1.0
BENCH_DEBIAN := dcmtk mricron-data orthanc orthanc-python gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly python3-gi gir1.2-gst-rtsp-server-1.0
SUDO := $(shell [ $$(id -u) = 0 ] || echo sudo)
PATHS := edge_runtime converters benchmarks tests

.PHONY: bench gpu-test demo demo-mr demo-video engines test test-full check unit flow lint debian demo-data clean install rollback uninstall wheels

demo: .venv/demo
	$(BIN)/python -m benchmarks.demo_ct

demo-video: .venv/demo-video
	$(BIN)/python -m benchmarks.demo_video

demo-mr: .venv/demo-mr demo-data
	$(BIN)/python -m benchmarks.demo_mr

test: .venv/test debian check flow

# Every scenario of the latency suite, into benchmarks/results/ and the table of benchmarks/README.md; SCENARIOS="--rounds 3 ingest study" for some.
bench: .venv/test
	@$(MAKE) --no-print-directory debian DEBIAN="$(BENCH_DEBIAN)"
	$(BIN)/python -m benchmarks.suite $(SCENARIOS)

# On a machine with an NVIDIA GPU; needs no environment of its own where python3 has the packages (benchmarks/README.md).
# GPU_TEST="--json OUT.json --seconds 300"
gpu-test:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu $(GPU_TEST)

check: .venv/test lint
	@$(MAKE) --no-print-directory debian DEBIAN="g++"
	@$(MAKE) --no-print-directory unit

lint:
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy
	$(BIN)/lint-imports

unit:
	$(BIN)/pytest tests/unit tests/contract -n 2 -q -m "not peer and not slow"

flow:
	$(BIN)/pytest tests/unit tests/contract -n 2 --dist loadfile -q -m "peer or slow" --durations=15
	$(BIN)/pytest tests/flow tests/real -n 2 --dist loadfile -q -m "not full" --durations=30

# Every network for every target in every precision: long.
test-full: test
	$(BIN)/pytest tests/real -n 2 --dist loadfile -q -m full

# Only what is missing: dpkg knows, and apt is asked for the rest.
debian:
	@missing=$$(for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing: $$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

# The reference engines in every precision, for the processor and for RTX cards; their figures must be the committed ones.
engines: .venv/engines
	$(BIN)/python -m converters.reference build

demo-data:
	@$(MAKE) --no-print-directory debian DEBIAN="dcmtk mricron-data"

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[convert]
	touch $@

.venv/demo-mr: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[convert,torch,bench]
	touch $@ .venv/demo

.venv/demo-video: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[convert,video]
	touch $@ .venv/demo

.venv/engines: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[convert,tensorrt-rtx]
	touch $@ .venv/demo

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[convert,torch,monai,tensorrt-rtx,cuda13,mlflow,video,bench,test]
	touch $@ .venv/demo .venv/demo-mr .venv/demo-video .venv/engines

# The service on this machine: docs/install.md. Nothing of it is needed for development.
PREFIX ?= /opt/edge-runtime
BINDIR ?= /usr/local/bin
# DESTDIR: a folder to stage in. VENV_FLAGS=--system-site-packages: on Jetson. EXTRAS=convert: with what builds engines.
# WHEELS: a folder that `make wheels` filled, for a machine without network. PURGE=1: uninstall spool and configuration too.
install rollback uninstall wheels:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' BINDIR='$(BINDIR)' PYTHON='$(PYTHON)' VENV_FLAGS='$(VENV_FLAGS)' PIP_FLAGS='$(PIP_FLAGS)' \
	  EXTRAS='$(EXTRAS)' WHEELS='$(WHEELS)' PURGE='$(PURGE)' sh systemd/install.sh $@

clean:
	rm -rf .venv build *.egg-info demo-results
