# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Two are enough to begin: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ENV := source tools/env.sh
OUT ?= out
# one thread per process: several of them share the machine
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

TASK ?= pick_place
EPISODES ?= 50
ARGS ?=

.PHONY: help setup build browser console demo test test-fast test-unit test-node test-process test-learning reliability check docs develop format \
	demos pocket bench eval train results doctor lock clean distclean

help: ## list every target
	@printf 'Whetstone: make <target>\n\n'
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables: TASK=%s EPISODES=%s OUT=%s ARGS="further arguments"\n' '$(TASK)' '$(EPISODES)' '$(OUT)'

setup: ## install what is missing into .venv and build the workspace
	@$(PYTHON) tools/setup

build: ## build the workspace even when nothing changed
	@$(PYTHON) tools/setup --force-build

# what is learnt in the demonstration knows demonstrations of the expert from the start
LEARNS := $(if $(findstring --train-minutes 0,$(ARGS)),,yes)

demo: setup ## three tasks by instruction, one of them sharpened, both compared; GIFs in out/ (ARGS="--train-minutes 0": no learning)
	@mkdir -p $(OUT) && $(ENV) && $(if $(LEARNS),python tools/rl/demonstrations.py --out $(OUT)/demonstrations &&) \
		whetstone demo --out $(OUT) $(if $(LEARNS),--train-prior $(OUT)/demonstrations) $(ARGS)

console: setup ## simulator, policy and arm, operated and trained from the browser: http://127.0.0.1:8600
	@$(ENV) && whetstone up console:=true $(ARGS)

# what only developers need: the site and its check, readers and the encoding of others
develop:
	@$(PYTHON) tools/setup --extra docs --extra interop

# A browser for the tests of the operator console; without one they are skipped.
browser: setup
	@$(PYTHON) tools/setup --extra browser || echo '[test] goes on without a browser'

test: develop browser ## everything CI runs: check, then all four rings of tests
	@$(ENV) && python tools/check && python tools/run_tests.py unit node process learning

test-fast: develop ## core and node tests only
	@$(ENV) && python tools/run_tests.py unit node

test-unit: develop ## ring a: plain Python
	@$(ENV) && python tools/run_tests.py unit

test-node: develop ## ring b: nodes in process
	@$(ENV) && python tools/run_tests.py node

test-process: develop browser ## ring c: real processes, started and killed
	@$(ENV) && python tools/run_tests.py process

reliability: setup ## every fault row, also without its protection; writes docs/reference/reliability.md (ARGS="--repeat 20")
	@$(ENV) && python -m pytest tests/process/test_rows.py -q --timeout=300 --all-mutations $(ARGS); \
		status=$$?; (cd tests && python -m harness.report); exit $$status

test-learning: setup ## ring d: learning and determinism
	@$(ENV) && python tools/run_tests.py learning

check: develop ## format, lint, types, spelling, import wall, sizes, parameters, links, site, secrets
	@$(ENV) && python tools/check

docs: develop ## build the documentation site into out/site (serve it: mkdocs serve)
	@$(ENV) && NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet && echo "open $(CURDIR)/out/site/index.html"

format: setup ## rewrite the sources as the formatter wants them
	@$(ENV) && ruff format . && ruff check --fix-only --quiet .

demos: setup ## record demonstrations of the scripted expert through the graph (MCAP)
	@$(ENV) && whetstone demos $(ARGS)

pocket: setup ## train the pocket VLA (resumable)
	@$(ENV) && OMP_NUM_THREADS=$$(nproc) python tools/train_pocket.py $(or $(ARGS),all)

bench: setup ## benchmarks, figures to out/bench.json
	@$(PYTHON) tools/setup --extra bench --extra interop || echo '[bench] goes on without what it would be compared with'
	@mkdir -p $(OUT) && $(ENV) && python bench/run.py --json $(OUT)/bench.json $(ARGS)

eval: setup ## success rate of a policy: make eval TASK=stack EPISODES=50
	@mkdir -p $(OUT) && $(ENV) && whetstone eval --task $(TASK) --episodes $(EPISODES) --json $(OUT)/eval.json $(ARGS)

train: setup ## sharpen the policy on a task: make train TASK=stack ARGS="--minutes 19"
	@mkdir -p $(OUT) && $(ENV) && whetstone train --task $(TASK) $(ARGS)

results: setup ## make the missing runs of EXPO, DSRL and their ablations (hours), their table and picture
	@$(ENV) && python tools/rl/results.py $(ARGS)

doctor: setup ## say what this machine has and what it lacks
	@$(ENV) && whetstone doctor $(ARGS)

lock: ## solve requirements/*.in into lock files with hashes
	@tools/lock.sh

clean: ## remove builds and caches, keep .venv
	rm -rf ros2_ws/build ros2_ws/install ros2_ws/log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf .venv
