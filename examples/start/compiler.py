# %% [markdown]
# # A compiler engineer: your PyTorch model to a plan of fast memory
#
# Needs `pip install 'sysopt-gym[agents]'`, of which this script uses torch alone. HLO text, JAX
# functions and a JSON of your own are read, too (docs/memory_mapping.md).

# %%
from pathlib import Path

import sysopt_gym
import torch
from sysopt_gym.datasets.memory_mapping.loaders import to_json
from sysopt_gym.datasets.memory_mapping.torch_export import program_of_model

model = torch.nn.Sequential(  # or yours
    torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256), torch.nn.LayerNorm(256)
).eval()
program = program_of_model(model, (torch.zeros(64, 256),), capacity="1/4")  # of its peak, or "8MiB"
problem = sysopt_gym.load_problem("memory_mapping")
for fact, value in problem.describe(program).items():
    print(f"{fact:32} {value}")
Path("program.json").write_text(to_json(program))  # to change, and for the command line

# %% [markdown]
# Which tensor is in fast memory when: XLA's way of assigning, and a local search for two seconds.
# `agent` is the learned policy with that search; its first use compiles for a minute or two.

# %%
for method in ("xla_msa", "local_search"):
    plan = sysopt_gym.solve(program, with_=method, budget_s=2.0)
    verdict = problem.validate(program, plan.actions, sysopt_gym.World())
    print(f"{method:14} {verdict.objective:.3f} times as fast as without fast memory")
for step in problem.export_plan(program, plan.actions)[:6]:
    print(step)
