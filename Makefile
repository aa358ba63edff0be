# Every target sets up what it needs: a Python environment in .venv, from the pinned versions of requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# of the tests: one more than cores, because many tests wait for processes and clocks
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
CORPUS ?= librispeech
STUDY = experiment=paper data=$(CORPUS) $(if $(MODELS),model=$(MODELS)) $(ARGS)
NO_SPEECH = CORPUS=$(CORPUS) is not available here; the same command resumes. With some of LibriSpeech: \
	make reproduce CORPUS=librispeech_sample LIBRISPEECH=DIR; without any, on synthetic speech: make reproduce CORPUS=demo
ifdef LIBRISPEECH
export LIBRISPEECH := $(abspath $(LIBRISPEECH))
endif

WEB := speaker_count/inference/web

.PHONY: help install web-assets demo sweep reproduce test test-faults coverage mutation audit lint bench lock
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | while IFS="$$(printf '\t')" read -r name does; do printf '  make %-11s %s\n' "$$name" "$$does"; done

# the plugin is copied where Hydra looks for plugins
.venv/installed: requirements.lock pyproject.toml speaker_count/sweeping/plugin/hydra_plugins/speaker_count.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: .venv/installed  ## set up .venv (6 GB, a few minutes)

web-assets: $(WEB)/ort/ort-wasm-simd-threaded.wasm  ## onnxruntime for the browser page, by npm (14 MB)

# the plain build: one thread needs no headers, which static hosts do not set
$(WEB)/ort/ort-wasm-simd-threaded.wasm: $(WEB)/npm/package-lock.json
	npm ci --prefix $(WEB)/npm --ignore-scripts --no-audit --no-fund --silent
	mkdir -p $(WEB)/ort
	cp $(addprefix $(WEB)/npm/node_modules/onnxruntime-web/dist/,ort.wasm.bundle.min.mjs $(notdir $@)) $(WEB)/ort
	rm -r $(WEB)/npm/node_modules

demo: .venv/installed  ## all seven nets on a small synthetic corpus, and their report
	$(BIN)/speaker-count train experiment=demo
	$(BIN)/speaker-count report multirun/demo-demo-paper

sweep: .venv/installed  ## the paper's nets: LIBRISPEECH= CORPUS= MODELS=m3,m5 ARGS="seed=0,1"
	@status=0; $(BIN)/speaker-count train $(STUDY) || status=$$?; \
	for folder in $$($(BIN)/speaker-count forecast --folders $(STUDY)); do \
		$(BIN)/speaker-count report $$folder || status=$$?; \
	done; exit $$status

reproduce: .venv/installed  ## check, download what is missing, estimate, then sweep; the same keys as sweep
	@$(BIN)/speaker-count forecast --folders $(STUDY) >/dev/null  # a mistake ends here, not after the download
	@$(BIN)/speaker-count prepare data=$(CORPUS) $(filter data.%,$(ARGS)) || { echo "$(NO_SPEECH)" >&2; exit 2; }
	@$(MAKE) --no-print-directory sweep

test: export OMP_NUM_THREADS := 1
test: .venv/installed  ## the tests, on all cores; LIBRISPEECH=DIR for those on real speech
	@status=0; $(PYTEST) -n $(WORKERS) --dist loadfile --durations=10 --ignore=tests/faults -m "not alone" $(ARGS) || status=$$?; \
	$(PYTEST) --durations=10 --ignore=tests/faults -m alone $(ARGS) || status=$$?; exit $$status

test-faults: export OMP_NUM_THREADS := 1
test-faults: .venv/installed  ## kills, full disks, hostile files, done for real (9 minutes); FULL=1: more
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations=10 tests/faults $(ARGS)

coverage: .venv/installed  ## how much of the package the tests reach, by lines and branches (half an hour)
	$(BIN)/coverage erase
	-$(MAKE) --no-print-directory test PYTEST="$(BIN)/coverage run -m pytest"
	-$(MAKE) --no-print-directory test-faults PYTEST="$(BIN)/coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutation: export OMP_NUM_THREADS := 1
mutation: .venv/installed  ## how many of a thousand small faults in the core the tests notice (an hour)
	$(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats && cat mutants/mutmut-cicd-stats.json

audit: .venv/installed  ## known advisories, licences and a bill of materials of all dependencies
	$(BIN)/python -m tests.audit

lint: .venv/installed  ## style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed  ## measure speed beside peers (ten minutes); writes multirun/bench.json
	$(BIN)/python -m tests.benchmarks --json multirun/bench.json $(ARGS)

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 \
		--extra audit --extra bench --extra demo --extra dev --extra export --extra microphone --extra plot \
		--extra search --extra tensorboard --extra train --extra video \
		pyproject.toml -o requirements.lock
