# One command each. Everything installs what it needs; caches stay outside the checkout (~/.cache/netkit-rollout, ~/.cache/pip).
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes; tests that share a lab, a server or a database stay together (tests/conftest.py).
PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help setup demo test lint test-fast test-lab faults quiet contracts bench clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(VENV)/.ready  ## system packages and the virtual environment

$(VENV)/.ready: pyproject.toml scripts/system-packages.sh
	scripts/system-packages.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lab,dev,postgresql]'
	touch $@

demo: setup  ## the main job on the lab: veth to netkit and back, with a client that counts what it loses
	$(BIN)/python -m rollout.lab.demo

lint: setup  ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

test: lint  ## everything: lint, unit tests, contracts, the lab
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: setup  ## without the lab's machines
	$(BIN)/python -m pytest $(PARALLEL) -m "not lab"

test-lab: setup  ## only what needs the lab's machines
	$(BIN)/python -m pytest -m lab

faults: setup  ## every fault of the datapath on the lab: which check catches it, and after how many seconds
	rm -f faults.txt
	ROLLOUT_TEST_FAULTS=all ROLLOUT_FAULTS_WITHIN_S=10 ROLLOUT_FAULT_TABLE=faults.txt $(BIN)/python -m pytest tests/lab/rollout/test_faults.py; cat faults.txt

quiet: setup  ## 200 verifications of healthy nodes on the lab: none may fail
	ROLLOUT_QUIET_LOOKS=100 $(BIN)/python -m pytest tests/lab/rollout/test_quiet.py -s

contracts: setup  ## the port contracts against a real cluster: make contracts KUBECONFIG=path
	@test -n "$(KUBECONFIG)" || { echo "error: name the cluster: make contracts KUBECONFIG=path" >&2; exit 2; }
	ROLLOUT_CONTRACT_KUBECONFIG="$(KUBECONFIG)" $(BIN)/python -m pytest tests/contracts -k "cluster or probes"

bench: setup  ## budgets as figures, one run; judged by people
	$(BIN)/python -m pytest benchmarks -q -s

clean:  ## the virtual environment and caches of the checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
