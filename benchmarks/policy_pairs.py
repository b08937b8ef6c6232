r"""What one policy is better by than another, such as the one that its training went on from.

    sysopt-gym train memory_mapping_ppo ppo.iterations=0 out=runs/imitated
    python -m sysopt_gym.benchmarks.policy_pairs memory_mapping_ppo runs/imitated/policy \
        --instances models:test hlo

Each figure by which the family scores a policy in training, lower is better, in means over the
instances; the last column pairs them instance by instance: by how much the first policy's figure is
lower, in per cent of the other's mean, with its 95 % bootstrap interval. No clock runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from ..agents.checkpoints import SHIPPED, Policy, open_policy
from ..core.registry import load_problem
from ..evaluation.headline import interval
from ..evaluation.statistics import mean


def main() -> None:
    """Read the command line and print a row of a Markdown table for each figure and set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path, help="folder, or name of a shipped policy")
    parser.add_argument("other", type=Path, help="likewise, of the same family")
    parser.add_argument("--instances", nargs="+", required=True, help="sets to play, one by one")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pair = [open_policy(at if at.is_dir() else SHIPPED / at) for at in (given.policy, given.other)]
    families = [policy.card.family for policy in pair]
    if len(set(families)) > 1:
        parser.error(f"policies of {' and '.join(families)}; give two of the same family")
    print("| instances | figure | policy | other | lower by |")
    print("|---|---|---:|---:|---|")
    for name in given.instances:
        own, others = (scores(policy, name) for policy in pair)
        for figure in [figure for figure in own if figure in others]:
            mine, theirs = own[figure], others[figure]
            lead = mean(100 * (theirs - mine) / abs(theirs.mean()))
            print(
                f"| {name} ({len(mine)}) | {figure} | {mine.mean():.4f} | {theirs.mean():.4f} "
                f"| {lead.value:.2f} % {interval(lead)} |",
                flush=True,
            )


def scores(policy: Policy, instances: str) -> dict[str, np.ndarray]:
    """Score a policy on each instance of a set.

    Args:
        policy: the policy.
        instances: the set.

    Returns:
        Figure -> float64 [instances].
    """
    some = load_problem(policy.card.family).sets.load(instances)
    rows = [policy.recipe.score(policy.network, [one]) for one in some]
    return {figure: np.array([row[figure] for row in rows]) for figure in rows[0]}


if __name__ == "__main__":
    main()
