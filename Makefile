# The project's commands. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
# uv lives inside the project, so that a fresh machine needs nothing but git, make, python3 and a package index.
UV := .uv/bin/uv
RUN := .venv/bin
STAMP := .venv/.in-step

export UV_PROJECT_ENVIRONMENT := .venv
# The machine's own certificates: some networks have theirs.
export UV_SYSTEM_CERTS := true
export RASA_TELEMETRY_ENABLED := false

.PHONY: help setup run ask train check check-release words test lint format types rasa-validate browser fuzz load sbom clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@echo "== uv $(UV_VERSION) into .uv (once, a few seconds)"
	@python3 -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)" 2>&1 | { grep -v WARNING || true; }

$(STAMP): $(UV) uv.lock pyproject.toml $(wildcard deployment/tensorflow/tensorflow/*.py) .python-version
	@echo "== the environment into .venv, as locked in uv.lock (once, about a minute)"
	@$(UV) sync --frozen --no-progress --quiet
	@touch $(STAMP)

setup: $(STAMP) ## make the environment in .venv and compile the catalogues
	@$(RUN)/outreach words --compile-only

run: setup ## train if needed and serve the chat page on localhost (PORT=8080)
	@$(RUN)/outreach train --if-needed
	@$(RUN)/outreach run --port $(or $(PORT),8080)

ask: setup ## talk to the assistant in this terminal (TEXT="..." for one message)
	@$(RUN)/outreach train --if-needed
	@$(RUN)/outreach ask $(if $(TEXT),"$(TEXT)")

train: setup ## train the model
	@$(RUN)/outreach train

check: setup ## validate knowledge, catalogues and training data
	@$(RUN)/outreach check

check-release: setup ## the same, and what still needs a human reviewer
	@$(RUN)/outreach check --release

words: $(STAMP) ## extract, merge and compile the catalogues after a text changed
	@$(RUN)/outreach words

browser: ## say whether a browser for the page's tests is here, and install Debian's where that is possible
	@tests/browser.sh

test: setup browser lint types ## everything: lint, types, data, model, every test
	@$(RUN)/outreach train --if-needed
	@$(RUN)/outreach check
	@$(MAKE) --no-print-directory rasa-validate
	@$(RUN)/pytest

lint: $(STAMP) ## ruff
	@$(RUN)/ruff check . && $(RUN)/ruff format --check .

format: $(STAMP) ## let ruff put the code in form
	@$(RUN)/ruff check --fix . ; $(RUN)/ruff format .

types: $(STAMP) ## mypy
	@$(RUN)/mypy

rasa-validate: $(STAMP) ## Rasa's own validation of domain, rules and data
	@$(RUN)/python -W ignore -m rasa data validate --fail-on-warnings --domain bot/domain --config bot/config.yml --data nlu_data/en nlu_data/es nlu_data/ht bot/rules > .venv/rasa-validate.log 2>&1 \
	  && echo "rasa data validate: in order" || { tail -40 .venv/rasa-validate.log; exit 1; }

fuzz: setup ## odd texts and bodies against everything that parses them, for about an hour (tests/test_fuzz.py)
	@$(RUN)/outreach train --if-needed
	@OUTREACH_FUZZ=$(or $(EXAMPLES),20000) $(RUN)/pytest -o timeout=0 tests/test_fuzz.py

load: setup ## a flood, a rush of 2,000 conversations and a soak, with figures (about a quarter of an hour)
	@$(RUN)/outreach train --if-needed
	@$(RUN)/python -W ignore benchmarks/flood.py
	@$(RUN)/python -W ignore benchmarks/soak.py

sbom: $(STAMP) ## software bill of materials, CycloneDX 1.5 JSON on standard output
	@$(UV) export --frozen --no-dev --no-header --no-hashes --format requirements-txt | $(RUN)/python deployment/sbom.py

clean: ## remove environment, model and build output
	rm -rf .venv .uv models .rasa .mypy_cache .ruff_cache .pytest_cache artefacts
