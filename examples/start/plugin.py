# %% [markdown]
# # An author of a plugin: a solver, a file format and a family of your own
#
# Needs `pip install sysopt-gym`, no extra. A solver is a function of an instance, a budget and a
# seed; a format is one of a path and settings. They stand in a module of yours.

# %%
import sys
from pathlib import Path

import sysopt_gym
from sysopt_gym.core.registry import contender_names, read_file, register, register_format

Path("my_package.py").write_text('''
import dataclasses

import numpy as np
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.core.errors import InstanceError


def stay(instance, budget, seed):
    """A solver: a plan without a move."""
    clock = budget.start()
    return clock.solution(np.zeros((0, 2), np.int64))


def load(path, settings):
    """A file format: the seed of a generated cluster."""
    text = path.read_text().strip()
    if not text.isdecimal():
        raise InstanceError(f"{path}: holds {text[:20]!r}; write a whole number, the seed")
    return dataclasses.replace(generate({"pms": "6", "mnl": "5"}, int(text)), name=path.stem)
''')
sys.path.insert(0, ".")

# %% [markdown]
# In a running program they are registered by name. In a package an entry point does it, which the
# command line and worker processes find:
#
#     [project.entry-points."sysopt_gym.contenders"]
#     vm_rescheduling = "my_package.tables"
#
# with `SOLVERS = {"stay": Entry(".solver:stay")}` and `FORMATS = {".seed": ".format:load"}` in
# my_package/tables.py (docs/extending.md).

# %%
register("solver", "vm_rescheduling", "stay", "my_package:stay")
register_format("vm_rescheduling", ".seed", "my_package:load")
print("stay" in contender_names("vm_rescheduling"))

Path("mine.seed").write_text("7")
problem = sysopt_gym.load_problem("vm_rescheduling")
cluster = read_file(problem, Path("mine.seed"), {})
for name in ("stay", "ha"):
    plan = sysopt_gym.solve(cluster, with_=name, budget_s=1.0)
    verdict = problem.validate(cluster, plan.actions, sysopt_gym.World())
    print(f"{name:5} fragment rate {verdict.objective:.4f}, {len(plan.actions)} moves")

# %% [markdown]
# A family of your own is a class, an environment and a table. `examples/knapsack` is a whole one:
#
#     pip install examples/knapsack
#     sysopt-gym compare knapsack --out results/knapsack
