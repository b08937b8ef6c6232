# %% [markdown]
# # A data-center operator: your snapshot to a plan of migrations, your trace to a placement rule
#
# Needs `pip install 'sysopt-gym[solvers]'`. The files here are templates; put yours in their place.
# examples/converters makes a snapshot of the listings of Kubernetes and OpenStack.

# %%
import csv
from pathlib import Path

import sysopt_gym

rescheduling = sysopt_gym.load_problem("vm_rescheduling")
Path("snapshot.json").write_text(rescheduling.template().text)
cluster = rescheduling.load_file(Path("snapshot.json"), {"mnl": "3"})  # three moves at most
for fact, value in rescheduling.describe(cluster).items():
    print(f"{fact:28} {value}")

# %% [markdown]
# A plan of migrations that makes whole 16-core slots of scattered free cores. `columns` proves that
# none is better.

# %%
plan = sysopt_gym.solve(cluster, with_="columns", budget_s=5.0)
verdict = rescheduling.validate(cluster, plan.actions, sysopt_gym.World())
print("fragment rate", round(verdict.objective, 4), "proven bound", plan.bound)
moves = rescheduling.export_plan(cluster, plan.actions)
for move in moves:
    print(move)
with Path("plan.csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, moves[0] if moves else ["vm"])
    writer.writeheader()
    writer.writerows(moves)

# %% [markdown]
# A trace of VMs that came and went, a line each: which rule of placement would have rejected least
# in its last day? Rules are told nothing of what comes.

# %%
allocation = sysopt_gym.load_problem("vm_allocation")
Path("vms.csv").write_text(allocation.template().text)
center = allocation.load_file(Path("vms.csv"), {"start_h": "24"})
for rule in ("slots_tuned", "best_fit", "worst_fit"):
    played = sysopt_gym.solve(center, with_=rule, budget_s=30.0)
    verdict = allocation.validate(center, played.actions, sysopt_gym.World())
    print(f"{rule:12} {verdict.objective:6.2f} % of the core-hours rejected")
