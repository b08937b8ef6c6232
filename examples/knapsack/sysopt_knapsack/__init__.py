"""A family of another package: pick items within a weight (the knapsack problem)."""

from sysopt_gym.core.registry import Family

FAMILY = Family(
    problem="sysopt_knapsack.problem:PROBLEM",
    env_id="sysopt/Knapsack-v0",
    env="sysopt_knapsack.env:KnapsackEnv",
    contenders=("sysopt_knapsack.contenders",),
)
