# `make help` lists the targets.
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER := $(VENV)/browser/.ready
CLICKHOUSE := $(VENV)/.warehouse
PYTHON ?= python3

# The programs are started hundreds of times: compiled code is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml deploy/kubernetes/warehouse/*.yaml))

.PHONY: help setup run test long browser screenshots bench chaos siege endurance model lint audit format proto lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make .venv with everything that running and testing need

$(READY): requirements.lock pyproject.toml devstack/bootstrap.py
	@$(PYTHON) devstack/bootstrap.py

$(BROWSER): $(READY) tests/browser/requirements.lock tests/browser/package-lock.json tests/browser/install.py
	@$(BIN)/python -m tests.browser.install

$(CLICKHOUSE): $(READY) warehouse/requirements.lock
	@echo "installing Kafka's and ClickHouse's clients, and ClickHouse in process"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --no-deps -r warehouse/requirements.lock \
		|| $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r warehouse/requirements.lock
	@touch $@

run: setup $(if $(WAREHOUSE),$(CLICKHOUSE)) ## Start everything on this machine, with a demo course (WAREHOUSE=1: the warehouse too); Ctrl-C stops it
	@$(BIN)/python -m devstack $(if $(WAREHOUSE),--warehouse)

test: setup $(BROWSER) $(CLICKHOUSE) ## Run the whole test suite against real servers (about ten minutes on two cores)
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

model: setup ## Search a model of the flush protocol exhaustively, and show what goes wrong without each of its measures (about ten minutes)
	@$(BIN)/python -m tests.model

long: setup $(BROWSER) $(CLICKHOUSE) ## Run the slow tests that `make test` skips (about ten minutes)
	@$(BIN)/python -m pytest -v -m minutes

browser: setup $(BROWSER) ## Run the browser tests that take minutes of real time (about six minutes)
	@$(BIN)/python -m pytest -v tests/browser -m minutes

screenshots: setup $(BROWSER) ## Make the pictures in docs/pictures of the instructor's page again (about a minute)
	@$(BIN)/python -m pytest -v tests/browser/page/pictures.py

lint: setup $(BROWSER) $(CLICKHOUSE) ## Check format, lint, types, architecture, protos and deployment files (about a minute)
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/buf lint gateway/course_analytics.binpb --path course_analytics --config '{"version": "v2"}'
	@$(BIN)/buf breaking gateway/course_analytics.binpb --against protos/released.binpb --path course_analytics
	@$(BIN)/buf format --diff --exit-code protos
	@$(BIN)/python -m devstack.generate --check
	@$(BIN)/python -m tests.browser.check
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/yamllint --strict compose.yaml deploy gateway page player .github
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)

audit: setup ## Look for known vulnerabilities in the locked dependencies (needs PyPI's database)
	@for lock in requirements.lock tests/browser/requirements.lock warehouse/requirements.lock; do \
		$(BIN)/uv tool run pip-audit@2.10.1 --requirement $$lock --require-hashes --disable-pip --strict \
			--progress-spinner off || exit 1; \
	done

bench: setup $(CLICKHOUSE) ## Measure, print a table, and write docs/benchmarks.md (about fifteen minutes)
	@$(BIN)/python -m bench

siege: setup ## Attack the whole service while a learner pings, search for new attacks, print a table (SECONDS=30 each, ten minutes)
	@$(BIN)/python -m tests.siege --seconds $(or $(SECONDS),30)

alerts: setup ## Provoke the alerts: kill and restart real programs, and check which alerts fire (about four minutes)
	@$(BIN)/python -m pytest -v tests/alerts/provoke.py

chaos: setup $(CLICKHOUSE) ## Kill everything under load and reads, print a table (SECONDS=120, four minutes; WAREHOUSE=1: relays and a warehouse too)
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(WAREHOUSE),--warehouse)

endurance: setup ## Full load without MongoDB: counts must stay exact, memory flat (SECONDS=600, 13 minutes)
	@$(BIN)/python -m tests.endurance --seconds $(or $(SECONDS),600)

format: setup ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix
	@$(BIN)/buf format --write protos

proto: setup $(BROWSER) ## Regenerate the code of the protos, the gateway's routes for files, and the types of the player's script
	@$(BIN)/python -m devstack.generate
	@$(BIN)/python -m tests.browser.check --write

lock: setup ## Pin every dependency by hash again
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade --quiet --output-file requirements.lock
	@$(BIN)/uv pip compile --group browser --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade --quiet --output-file tests/browser/requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade --quiet --output-file warehouse/requirements.lock

clean: ## Remove the local stack's data and all build results (not .venv)
	@rm -rf .devstack dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
