# %% [markdown]
# # A researcher: an environment, a policy of your own, and a comparison
#
# Needs `pip install 'sysopt-gym[report]'`. A compiler places the tensors of a program in a small
# fast memory, decision by decision (docs/memory_mapping.md).

# %%
from pathlib import Path

import gymnasium
import sysopt_gym  # registers the environments

env = gymnasium.make("sysopt/MallocGame-v0", instances="small:test")
observation, info = env.reset(seed=0)
done = False
while not done:
    action = env.action_space.sample(observation["action_mask"])  # the mask is exact
    observation, reward, terminated, truncated, info = env.step(action)
    done = terminated or truncated
print("random actions:", round(info["objective"], 3), "times as fast as without fast memory")

# %% [markdown]
# A policy is a class with `reset` and `act`. It stands in a file, for contenders run in processes
# of their own. This one uses fast memory wherever it may: NoCopy (1), else Copy (0), else Drop (2).

# %%
Path("mine.py").write_text("""
import numpy as np


class FastFirst:
    def reset(self, instance, budget, seed):
        pass

    def act(self, observation, info):
        liked = np.array([2.0, 3.0, 1.0])  # Copy, NoCopy, Drop
        return int(np.where(observation["action_mask"] > 0, liked, 0.0).argmax())
""")

# %% [markdown]
# The judge gives all contenders the same instances and seconds, replays what they return, and
# writes a page with tables and pictures.

# %%
request = sysopt_gym.Request(
    families=["memory_mapping"],
    instances=["small:test/0", "small:test/1"],
    contenders=["mine=mine.py:FastFirst", "greedy", "all_slow"],
    budget_s=0.5,
)
for row in sysopt_gym.compare(request, Path("results/mine")):
    print(f"{row.contender:10} {row.instance:16} {row.objective:.3f}")
print("Open results/mine/report.html")
