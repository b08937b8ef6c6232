# make compare: from a fresh clone to a comparison report.  make test: from a fresh clone through the tests.
# make check: lint, types, import contracts and the same tests; what continuous integration runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= results/compare
# The families with agents to show; `sysopt-gym compare` without a name plays every family.
FAMILIES ?= vm_rescheduling memory_mapping

# One compute thread a process: rollouts and solvers run side by side, and seconds compare.
export OMP_NUM_THREADS := 1

.PHONY: compare test check lint types contracts bench clean

compare: $(VENV)/run.stamp
	$(BIN)/sysopt-gym compare $(FAMILIES) --out $(OUT) --resume
	@echo "Open $(OUT)/report.html"

test: $(VENV)/dev.stamp
	$(BIN)/pytest -n auto

check: lint types contracts test

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The root is the package, so mypy sees it through a link of the package's name.
types: $(VENV)/dev.stamp
	mkdir -p .mypy && ln -sfn .. .mypy/sysopt_gym
	cd .mypy && ../$(BIN)/mypy -p sysopt_gym

contracts: $(VENV)/dev.stamp
	$(BIN)/lint-imports

bench: $(VENV)/run.stamp
	$(BIN)/sysopt-gym bench

# torch goes first and by its exact version: any other resolution brings gigabytes of CUDA. Python
# compiles what is imported when it is imported, which is a small part of what is installed.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

$(VENV)/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[all]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(INSTALL) -e '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy build dist *.egg-info
