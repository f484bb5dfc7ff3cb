# The front door. `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export COMPOSE_PROJECT_NAME ?= podium-rig
export DOCKER_BUILDKIT := 0

.DEFAULT_GOAL := help
.PHONY: help venv up down lint types protos check-generated unit integration rig test-ansible test bench engine clean

help: ## Show this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/stamp: pyproject.toml constraints.txt
	@tools/python-env.sh $(PYTHON) $(VENV)
	@touch $@

venv: $(VENV)/stamp ## Make the virtual environment with everything for development.

engine: ## Install and start the Docker Engine if it is missing.
	@tools/rig/engine.sh

up: engine venv ## Start a cluster of one master and three hosts here, run an example, say what to try next.
	@tools/rig/up.sh
	@tools/rig/demo.sh

down: ## Stop the cluster and remove its containers, networks and volumes.
	@if docker compose version >/dev/null 2>&1; then docker compose down -v --remove-orphans; else docker-compose down -v --remove-orphans; fi

lint: venv ## Check style, format and the direction of imports.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: venv ## Check types (mypy strict).
	@$(BIN)/mypy

sync-client: venv ## Generate the synchronous client from the asynchronous one.
	@$(BIN)/python tools/gen_sync_client.py

protos: venv ## Generate podium/v1 from protos/.
	@$(BIN)/python tools/gen_protos.py

check-generated: venv ## Fail when generated code is stale.
	@$(BIN)/python tools/gen_protos.py --check
	@$(BIN)/python tools/gen_sync_client.py --check

unit: venv ## Pure tests, in milliseconds.
	@$(BIN)/pytest -q -n auto tests/unit

integration: engine venv ## Conformance suites, and a master with hollow nodelets over real gRPC.
	@tools/rig/base-image.sh
	@tools/test-images.sh
	@$(BIN)/pytest -q -n auto -m 'not docker' tests/conformance tests/integration
	@$(BIN)/pytest -q -m docker tests/conformance tests/integration

rig: engine venv ## Tests on several hosts with their own Docker Engines: kill, cut, restart.
	@$(BIN)/pytest -q -p no:cacheprovider -o timeout_func_only=true --timeout=300 --durations=12 tests/rig

test-ansible: engine venv ## Lint the playbooks, and play the life of a cluster on bare hosts with systemd and SSH.
	@[ -x .rig/ansible-venv/bin/ansible-lint ] || $(PYTHON) -m venv .rig/ansible-venv
	@.rig/ansible-venv/bin/pip install -q --disable-pip-version-check -c constraints.txt ansible-core ansible-lint
	@cd ansible && PATH=$(CURDIR)/.rig/ansible-venv/bin:$$PATH ansible-lint -q
	@ANSIBLE_PLAYBOOK=$(CURDIR)/.rig/ansible-venv/bin/ansible-playbook $(BIN)/pytest -q -p no:cacheprovider --durations=6 tests/ansible

test: lint types check-generated unit integration rig test-ansible ## Everything.

bench: engine venv ## Measure what docs/performance.md states.
	@$(BIN)/python -m bench

clean: down ## Also remove the virtual environment and built files.
	@rm -rf $(VENV) .rig dist build
