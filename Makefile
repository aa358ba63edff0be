# Everything sets up what it needs: a Python environment in .venv, from the pinned versions of requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
CORPUS ?= librispeech
STUDY = experiment=paper data=$(CORPUS) $(if $(MODELS),model=$(MODELS)) $(ARGS)
NO_SPEECH = CORPUS=$(CORPUS) cannot be had here; the same command goes on from where it stopped. With some of LibriSpeech: \
	make reproduce CORPUS=librispeech_sample LIBRISPEECH=DIR; with none, on synthetic speech: make reproduce CORPUS=demo
ifdef LIBRISPEECH
export LIBRISPEECH := $(abspath $(LIBRISPEECH))
endif

.PHONY: help install demo sweep reproduce test lint bench lock
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | while IFS="$$(printf '\t')" read -r name does; do printf '  make %-9s %s\n' "$$name" "$$does"; done

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: .venv/installed  ## set up .venv (6 GB, a few minutes)

demo: .venv/installed  ## all seven nets on a small synthetic corpus, and their table: does everything work here?
	$(BIN)/speaker-count train experiment=demo
	$(BIN)/speaker-count report multirun/demo-demo-paper

sweep: .venv/installed  ## the paper's nets on real speech: CORPUS=librispeech LIBRISPEECH=DIR MODELS=m3,m5 ARGS="seed=0,1"
	@status=0; $(BIN)/speaker-count train $(STUDY) || status=$$?; \
	for folder in $$($(BIN)/speaker-count forecast --folders $(STUDY)); do \
		$(BIN)/speaker-count report $$folder || status=$$?; \
	done; exit $$status

reproduce: .venv/installed  ## the paper, from the speech to the report, as sweep: says first how long it takes; resumes
	@$(BIN)/speaker-count forecast $(STUDY)
	@$(BIN)/speaker-count prepare data=$(CORPUS) $(filter data.%,$(ARGS)) || { echo "$(NO_SPEECH)" >&2; exit 2; }
	@$(MAKE) --no-print-directory sweep

test: .venv/installed  ## the tests; those on real speech need LIBRISPEECH=DIR or ../shared/librispeech-sample
	$(BIN)/python -m pytest

lint: .venv/installed  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/installed  ## how fast everything is, beside its peers, in ten minutes: the table, and multirun/bench.json
	$(BIN)/python -m tests.benchmarks --json multirun/bench.json $(ARGS)

lock:  ## pin the newest versions that pyproject.toml admits (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 \
		--extra bench --extra demo --extra dev pyproject.toml -o requirements.lock
