# Voicefork's few commands. Each sets up what it needs first; a second time that takes a second.
.DEFAULT_GOAL := help
SHELL := bash
BIN := .venv/bin

.PHONY: help setup python demo test test-unit fuzz lint bench bench-worker bench-latency bench-handoff bench-forks bench-edge bench-scaling images chart constraints clean

help: ## what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## system programs, .venv, Asterisk
	@bash scripts/setup.sh

python:
	@bash scripts/setup.sh python

demo: setup ## one call: bot, escalation, music, agent (ARGS="--help" shows more)
	@$(BIN)/voicefork demo $(ARGS)

# Most tests wait for real time to pass: three side by side keep two cores less than half busy.
# Those marked `alone` have the machine to themselves, after the others (exit 5: none was chosen).
JOBS := 3
test: setup ## every test: unit, integration, and end to end with real programs
	@$(BIN)/python -m pytest -q -raR -n $(JOBS) --dist loadfile -m 'not alone' $(ARGS); crowd=$$?; \
	$(BIN)/python -m pytest -q -raR -m alone $(ARGS); alone=$$?; \
	[ $$crowd = 5 -a $$alone = 5 ] && exit 5; \
	for code in $$crowd $$alone; do [ $$code = 0 -o $$code = 5 ] || exit $$code; done

test-unit: python ## the pure tests
	@$(BIN)/python -m pytest -q tests/unit $(ARGS)

SECONDS := 600
fuzz: python ## any bytes into each of 5 parsers, SECONDS=600 each; finds land in fuzz-out/
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet atheris
	@for part in sip multipart sdp metadata rtp; do mkdir -p fuzz-out/$$part && nice -n 19 \
	  $(BIN)/python -m tests.fuzz.$$part -max_total_time=$(SECONDS) -print_final_stats=1 \
	  -artifact_prefix=fuzz-out/$$part- fuzz-out/$$part tests/fuzz/corpus/$$part || exit 1; done

lint: python ## ruff, mypy, import layers, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint

bench: setup ## what a call costs, and how many fit on a core
	@$(BIN)/python -m bench $(ARGS)

bench-worker: setup ## what a call costs a worker, and how many fit on a core
	@$(BIN)/python -m bench.worker $(ARGS)

bench-latency: setup ## mouth to ear of the bot
	@$(BIN)/python -m bench.latency $(ARGS)

bench-handoff: setup ## every pattern beside a bare ARI script, 1,000 handoffs, 40 a second (ARGS=--quick: few)
	@$(BIN)/python -m bench.handoff $(ARGS)

bench-forks: setup ## kill and drain under 50 live forks, and how long the choice of a worker takes
	@$(BIN)/python -m bench.forks $(ARGS)

bench-edge: setup ## what a fork costs a call's set-up in a real OpenSIPS (skipped without one)
	@$(BIN)/python -m bench.edge $(ARGS)

bench-scaling: python ## autoscaling on a business day and in a flash crowd, simulated
	@$(BIN)/python -m bench.scaling $(ARGS)

BASE_IMAGE ?= localhost/python-base:bookworm
images: setup ## the containers: built, and run as the chart does (root, podman, debootstrap)
	@bash scripts/image-base.sh $(BASE_IMAGE)
	@BASE_IMAGE=$(BASE_IMAGE) $(BIN)/python -m pytest -q -raR tests/images $(ARGS)

chart: python ## the chart: rendered by both Helms, validated, checked; Containerfiles, scripts, alerts
	@bash scripts/chart-tools.sh all
	@$(BIN)/python -m pytest -q -raR tests/chart $(ARGS)
	@bash scripts/chart-checks.sh

constraints: python ## constraints.txt anew from the pyproject files
	@bash scripts/constraints.sh

clean: ## everything that was made in this folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-out fuzz-out bench/out
	find proto/voicefork -name '*_pb2*.py*' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
