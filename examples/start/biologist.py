# %% [markdown]
# # A biologist: a table of measured mutants to the designs to make next
#
# Needs `pip install sysopt-gym`, no extra. The table has the columns of ProteinGym: mutant,
# mutated_sequence, DMS_score. Here one is made up; put yours in its place.

# %%
import random
from pathlib import Path

import sysopt_gym

random.seed(0)
WILD_TYPE = "MKTAYIAKQRQISFVKSHFSRQ"
worth = {
    (at, letter): random.gauss(0, 1) for at in range(4, 12) for letter in "ACDEFGHIKLMNPQRSTVWY"
}
lines = ["mutant,mutated_sequence,DMS_score"]
for _ in range(400):
    sites = sorted(random.sample(range(4, 12), random.choice([1, 1, 2])))
    changed = {at: random.choice("ACDEFGHIKLMNPQRSTVWY".replace(WILD_TYPE[at], "")) for at in sites}
    mutant = ":".join(f"{WILD_TYPE[at]}{at + 1}{letter}" for at, letter in changed.items())
    sequence = "".join(changed.get(at, letter) for at, letter in enumerate(WILD_TYPE))
    score = sum(worth[at, letter] - worth[at, WILD_TYPE[at]] for at, letter in changed.items())
    lines.append(f"{mutant},{sequence},{score + random.gauss(0, 0.2):.3f}")
Path("measured.csv").write_text("\n".join(lines) + "\n")

# %% [markdown]
# All rows are shown (`offline=1`: designs to make, not a test of methods). 24 designs are asked
# for, with at most three letters changed; positions that never varied stay as they are.

# %%
problem = sysopt_gym.load_problem("sequence_design")
settings = {"offline": "1", "batch": "24", "max_mutations": "3"}
task = problem.load_file(Path("measured.csv"), settings)
for fact, value in problem.describe(task).items():
    print(f"{fact:40} {value}")

# %% [markdown]
# The designs in the order in which to make them: what the proxy expects of each, in the units of
# the table, and by how much its networks differ. The proxy is trained within the seconds given;
# give it a minute for real.

# %%
solution = sysopt_gym.solve(task, with_="ga", budget_s=6.0)
designs = problem.export_plan(task, solution.actions)
for design in designs[:8]:
    changes = [
        f"{a}{at}{b}"
        for at, (a, b) in enumerate(zip(WILD_TYPE, design["sequence"], strict=True), 1)
        if a != b
    ]
    print(
        design["rank"], ":".join(changes), round(design["proxy_score"], 2),
        "+-", round(design["proxy_spread"], 2),
    )  # fmt: skip
