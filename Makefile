# make compare: from a fresh clone to a comparison report.  make test: from a fresh clone through the tests.
# make docs: builds the documentation site into build/docs; a link that leads nowhere is an error.
# make check: lint, types, import contracts, documentation and the same tests; what continuous integration runs.
# make fuzz: breaks files for every loader for FUZZ_SECONDS, otherwise than the tests did.
# make mutants: plants faults and counts who notices them (FAMILY=vm_rescheduling for one family's).
# make soak: random legal play over all families for an hour (MINUTES), with memory watched.
# make long: tests that compile or train for minutes, which make test leaves out.
# make check-newest: the tests that need no ray, with the newest gymnasium, numpy and the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= results/compare
# The families with agents to show; `sysopt-gym compare` without a name plays every family.
FAMILIES ?= vm_rescheduling memory_mapping

# One compute thread a process: rollouts and solvers run side by side, and seconds compare.
export OMP_NUM_THREADS := 1
# Dozens of processes import torch or ray: where each has to compile all it imports anew, that is most
# of their time. Nothing is compiled when it is installed (INSTALL, below).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: compare test check check-newest lint types contracts docs fuzz mutants soak long cluster bench clean

compare: $(VENV)/run.stamp
	$(BIN)/sysopt-gym warm-up $(FAMILIES)
	$(BIN)/sysopt-gym compare $(FAMILIES) --out $(OUT) --resume
	@echo "Open $(OUT)/report.html"

test: $(VENV)/dev.stamp
	$(BIN)/pytest -n auto --dist worksteal

check: $(VENV)/dev.stamp
	$(MAKE) -j 2 lint types contracts docs
	$(MAKE) test

# The newest of every dependency but torch, whose newest builds bring CUDA where no index of CPU
# builds is named (TORCH=torch, with PIP_EXTRA_INDEX_URL), and without ray, which pins gymnasium: what
# needs neither ray nor a pinned package, in an environment of its own.
NEWEST := .venv-newest
TORCH ?= torch==2.13.0
NEEDS_RAY := ray|agents|flwr|sb3|torchrl|minari|botorch|RNA|transformers|jax
check-newest:
	test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --no-compile '$(TORCH)'
	$(NEWEST)/bin/pip install --quiet --no-compile --upgrade --upgrade-strategy eager \
		-e '.[federated,report,solvers]' '$(TORCH)' torch-geometric hypothesis jsonschema pytest
	$(NEWEST)/bin/pip list | grep -iE '^(gymnasium|numba|numpy|torch|torch.geometric|scipy) '
	$(NEWEST)/bin/python -m pytest -m 'not slow' -k 'not ppo_trains and not where_its_table' \
		tests/test_contracts.py tests/test_env_base.py tests/test_evaluation_judge.py \
		$$(grep -rLE '$(NEEDS_RAY)' tests --include='test_*.py' | grep -vE 'packaging|examples|readme')

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The root is the package, so mypy sees it through a link of the package's name.
types: $(VENV)/dev.stamp
	mkdir -p .mypy && ln -sfn .. .mypy/sysopt_gym
	cd .mypy && ../$(BIN)/mypy -p sysopt_gym

contracts: $(VENV)/dev.stamp
	$(BIN)/lint-imports

docs: $(VENV)/dev.stamp
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs

# FUZZ_SEED=N tries again what a run with that seed tried.
FUZZ_SECONDS ?= 1200
FUZZ_SEED ?= $(shell date +%s)
fuzz: $(VENV)/dev.stamp
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/pytest -n 0 tests/trust/test_fuzz.py

# Faults planted one at a time; FAMILY narrows it to one family, JOBS are worker processes.
JOBS ?= 1
mutants: $(VENV)/dev.stamp
	PYTHONPATH=tests $(BIN)/python -m mutants.run $(FAMILY) --jobs $(JOBS)

MINUTES ?= 60
soak: $(VENV)/dev.stamp
	$(BIN)/python -m sysopt_gym.benchmarks.soak --minutes $(MINUTES)

# Tests that compile or train for minutes, and what only they need.
long: $(VENV)/dev.stamp
	$(BIN)/pytest -n auto -m long

# Ray clusters of several nodes on this machine, of which nodes and processes are lost.
cluster: $(VENV)/dev.stamp
	$(BIN)/pytest -n 0 -m cluster

bench: $(VENV)/dev.stamp
	$(BIN)/sysopt-gym bench

# torch by its exact version: any other resolution brings gigabytes of CUDA. Python compiles what is
# imported when it is imported, which is a small part of what is installed.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt torch==2.13.0

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[agents,report,solvers]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[all,dev]'
	touch $(VENV)/run.stamp $@

clean:
	rm -rf $(VENV) $(NEWEST) .mypy build dist *.egg-info
