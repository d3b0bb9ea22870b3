# Everything is installed into .venv. `make demo` needs the runtime alone, no torch.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV     := $(VENV)/.dev
# TensorRT's signatures, for mypy, where they lie beside the checkout
TYPING  := $(wildcard ../shared/typing)

# Options of demo, bench, chaos, kill, soak and closed-loop, such as ARGS="--species human".
ARGS ?=

.PHONY: help install dev demo test test-training test-pythons lint docs bench archives archives-bench chaos floods web-cost kill soak fuzz gpu-check demo-night journal-size bundle bundle-human ablations accuracy closed-loop pin explain clean

help:            ## show this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(RUNTIME): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): pyproject.toml $(RUNTIME)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

install: $(RUNTIME) ## install hypnod into .venv

dev: $(DEV) ## install what development needs too (torch, linters, tests)

demo: $(RUNTIME) ## simulated mice through the real daemon, seen live
	$(BIN)/hypnod demo $(ARGS)

# Four workers for two cores: a third of the time is waiting, for streams, clocks and processes.
# What is imported is kept compiled, whatever the environment says: the tests start many processes.
test test-training: export PYTHONDONTWRITEBYTECODE =
test: $(DEV) ## run the tests, but for whole trainings
	$(BIN)/python -m tests.support.bundles
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not training"

test-training: $(DEV) ## run the tests that train nets from the command to the bundle
	$(BIN)/python -m pytest -n 2 --dist worksteal -m training

OTHER_PYTHONS ?= 3.12 3.13
# PyPI's torch is a build for GPUs of several GB. EXTRA=dev fetches it, and no test is skipped.
EXTRA ?= test

test-pythons: test ## run the tests on 3.11, then on OTHER_PYTHONS without those that need torch
	@for version in $(OTHER_PYTHONS); do \
		for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python none; do \
			$$python -c '' 2> /dev/null && break; \
		done; \
		[ $$python = none ] && echo "Python $$version: not tested, none is here" && continue; \
		echo "Python $$version: $$python"; \
		$$python -m venv .venv-$$version && \
		.venv-$$version/bin/python -m pip install --quiet --editable '.[$(EXTRA)]' && \
		.venv-$$version/bin/python -m pytest -n 4 --dist worksteal || exit 1; \
	done

lint: $(DEV) ## style, types, layers, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(TYPING) $(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.reference --check

docs: $(RUNTIME) ## regenerate docs/config.md and docs/messages.md
	$(BIN)/python -m docs.reference

bench: $(DEV) ## measure this computer and the engines, and write bench.json and bench-engines.json
	$(BIN)/hypnod bench --json bench.json $(ARGS)
	$(BIN)/python -m tests.rigs.bench.run --json bench-engines.json $(ARGS)

chaos: $(RUNTIME) ## every fault of docs/faults.md against a real daemon (7 minutes)
	$(BIN)/python -m tests.rigs.chaos.run $(ARGS)

floods: $(RUNTIME) ## clients do their worst, and live messages must come as soon (3 minutes)
	$(BIN)/python -m tests.rigs.floods.run

web-cost: $(DEV) ## what the live page costs with 64 subjects: daemon, server, browser (4 minutes)
	$(BIN)/python -m tests.rigs.web_cost

kill: $(RUNTIME) ## kill the daemon 100 times and see that nothing is lost (6 minutes)
	$(BIN)/python -m tests.rigs.kill.run --kills 100 $(ARGS)

archives: $(DEV) ## kill, cut off and stop who works at an archive; hosts and SLURM where they can be had (4 minutes)
	$(BIN)/python -m tests.rigs.archive.run

archives-bench: $(DEV) ## measure what docs/archives.md says, and write archives.json (10 minutes; twice that with DAY=--day)
	$(BIN)/python -m tests.rigs.archive.bench --json archives.json $(DAY)

accuracy: $(RUNTIME) ## measure what docs/accuracy.md shows, and write its tables and picture
	$(BIN)/python -m tests.rigs.accuracy.run

closed-loop: $(RUNTIME) ## how often the REM rule is right, into docs/closed-loop.md (ten minutes of computing)
	$(BIN)/python -m tests.rigs.closed_loop $(ARGS)

pin: $(DEV) ## how long a board's pin stays high after something died, into docs/closed-loop.md (6 minutes)
	$(BIN)/python -m tests.rigs.pin

explain: $(DEV) ## whether decisions rest on the planted spindle or theta, of a small net and of the shipped one (20 minutes)
	$(BIN)/python -m tests.rigs.explain.small --out runs/small-people
	$(BIN)/python -m tests.rigs.explain --bundle runs/small-people
	$(BIN)/python -m tests.rigs.explain

gpu-check: $(DEV) ## test and measure TensorRT on this computer's GPU, and write gpu-check.json
	$(BIN)/python -m tests.rigs.bench.gpu_check --out gpu-check.json

demo-night: $(RUNTIME) ## a night of eight simulated mice with troubles, and its report demo-night.html (half an hour)
	$(BIN)/python -m tests.rigs.night --out demo-night.sqlite
	$(BIN)/hypnod night demo-night.sqlite --since 2026-11-28 --min-bout 4 --html demo-night.html

journal-size: $(RUNTIME) ## stage an hour of eight simulated mice and say what each table of the journal takes (two minutes)
	folder=$$(mktemp -d) && $(BIN)/python -m tests.rigs.night --calm --hours 1 --out $$folder/night.sqlite; rm -r $$folder

soak: $(RUNTIME) ## a night in fast motion with faults and kills (HOURS, SUBJECTS, SEED, KILLS, OUT)
	$(BIN)/python -m tests.rigs.soak.run $(ARGS)

FUZZ_TARGETS ?= config edf bdf mat xdf hypnogram journal request key manifest network
FUZZ_SECONDS ?= 60

fuzz: $(DEV) ## fuzz every parser with coverage, FUZZ_SECONDS each (needs the extra fuzz)
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	for name in $(FUZZ_TARGETS); do \
		$(BIN)/python -m tests.fuzz.atheris_target $$name -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

MICE ?= 200
THREADS ?= 2

bundle: $(DEV) ## make the shipped bundle again, of widened simulated mice and real recordings (a quarter of an hour on two cores)
	$(BIN)/python -m tests.rigs.accuracy.silver --out runs/real
	OMP_NUM_THREADS=$(THREADS) $(BIN)/hypnod train runs/real/train --simulated $(MICE) --wide \
		--hours 0.75 --passes 3 --patience 2 --batch-size 32 --learning-rate 1e-3 \
		--threads $(THREADS) --stop-by runs/real/stop-by --out models/bundles/sdreamer-mouse \
		--state runs/sdreamer-mouse.state --report runs/sdreamer-mouse

PEOPLE ?= 48
YASA ?= /tmp/yasa/bin/python

bundle-human: $(DEV) ## make the shipped bundle of people again, of simulated people that YASA staged (docs/yasa_stage.py; an hour on two cores)
	$(BIN)/python -m tests.rigs.accuracy.silver_people --yasa $(YASA) --people $(PEOPLE) --out runs/people
	OMP_NUM_THREADS=$(THREADS) $(BIN)/hypnod train runs/people/train --species human --from-scratch \
		--stop-by runs/people/stop-by --passes 4 --patience 4 --batch-size 16 --learning-rate 1e-3 \
		--dropout 0.5 --threads $(THREADS) --out models/bundles/sleepdifformer-human \
		--state runs/sleepdifformer-human.state --report runs/sleepdifformer-human

JOBS ?= 2

ablations: $(DEV) ## what each part of the model is worth, into docs/ablations.md (7 minutes on an H200 with JOBS=11, hours on two cores; goes on)
	$(BIN)/python -m tests.rigs.ablations --out docs/ablations --jobs $(JOBS)

clean: ## remove .venv and caches
	rm -rf $(VENV) $(OTHER_PYTHONS:%=$(VENV)-%) .mypy_cache .ruff_cache .pytest_cache build dist
