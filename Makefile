# The commands of the book. `make` alone lists them.
#
# Everything is installed into .venv from requirements.lock, and nothing outside this folder is touched.
# Recipes quote every path, so the book may live in a folder with spaces; targets that share .venv wait for
# one another, so `make -j` is safe; and `make -C path/to/book book` works from anywhere.

SHELL := /bin/bash
PYTHON ?= python3
PROFILE ?= quick
CH ?=
P ?=
PORT ?= 8000
# P as one word of the shell, whatever it holds: `betas=[0.1, 0.2]`, quotes, brackets.
PAIRS = $(if $(strip $(P)),--pairs '$(subst ','\'',$(P))')

BIN := .venv/bin
READY := .venv/.installed
GEOWALL := $(BIN)/python -m geowall

export PYTHONDONTWRITEBYTECODE ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# One test worker more than cores, for some wait for a browser, a kill or a lock; one thread each, or they spin.
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))

.DEFAULT_GOAL := help
.PHONY: help env book test run estimate publish site serve status bench lint format clean

help:  ## list these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  make run CH=08 P="k=75 drop_first_layers=2"  one chapter with your own parameters'
	@echo '  make run CH=01 P="betas=[0.1, 0.5]"          a list among them'
	@echo '  make book PROFILE=full                       every chapter at a larger scope'

env: $(READY)  ## make .venv from requirements.lock (the other commands do it by themselves)

$(READY): requirements.lock pyproject.toml tools/environment.sh
	@PYTHON="$(PYTHON)" bash tools/environment.sh

book: $(READY)  ## execute every chapter and build a browsable book of that run
	@$(GEOWALL) book --profile $(PROFILE)

test: lint  ## lint, notebooks at quick, unit tests, strict book build, browser test
	@$(GEOWALL) run
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

run: $(READY)  ## run chapters: make run CH=08 P="k=75"; all of them without CH
	@$(GEOWALL) run $(CH) --profile $(PROFILE) $(PAIRS)

estimate: $(READY)  ## say what a run will cost before it starts
	@$(GEOWALL) estimate $(CH) --profile $(PROFILE)

publish: $(READY)  ## run chapters, at full unless PROFILE says another, and put their pages and tables into book/
	@$(GEOWALL) publish $(CH) --profile $(if $(filter file,$(origin PROFILE)),full,$(PROFILE))

site: $(READY)  ## render the committed pages, executing nothing
	@$(GEOWALL) site

serve: $(READY)  ## open the last built book on http://127.0.0.1:8000 (PORT=...)
	@$(GEOWALL) serve --port $(PORT)

status: $(READY)  ## what is published, finished, running, failed
	@$(GEOWALL) status

bench: $(READY)  ## measure the kernels against their peers into benchmarks/results.json
	@$(BIN)/python -m benchmarks

lint: $(READY)  ## check style, imports and that source notebooks hold no outputs
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . || \
	  { echo 'lint failed; `make format` mends most of it' >&2; exit 1; }
	@$(BIN)/nbstripout --verify notebooks/*.ipynb || \
	  { echo 'a source notebook holds outputs; `make format` removes them' >&2; exit 1; }

format: $(READY)  ## mend the style and strip outputs from source notebooks
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet . ; $(BIN)/nbstripout notebooks/*.ipynb

clean:  ## remove old and failed runs and built pages; `rm -rf .venv runs` removes the rest
	@rm -rf _build
	@if [ -x $(BIN)/geowall ]; then $(GEOWALL) clean; else echo 'no .venv, and runs/ is as it was'; fi
