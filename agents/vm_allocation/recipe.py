"""Training of VM allocation's policy: its network, its imitation samples and its score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.env import VMAllocationEnv
from ..batches import imitate_choices, stack
from ..recipe import JudgedFigure, Recipe
from .imitation import lessons
from .network import AllocationPolicy


def score(network: AllocationPolicy, instances: Sequence[DataCenter]) -> dict[str, float]:
    """Score the likeliest actions in the world of seed 0, as means over instances.

    Args:
        network: the policy.
        instances: the data centers.

    Returns:
        rejected: % of the core-hours asked for.
    """
    pad = VMAllocationEnv(list(instances))
    envs = [VMAllocationEnv(center, pad.max_pms, pad.max_vms) for center in instances]
    going = [(env, env.reset(seed=0)[0]) for env in envs]
    while going:
        obs = stack([observation for _, observation in going])
        with torch.inference_mode():
            actions = network.logits(network.encode(obs), obs).argmax(dim=1).tolist()
        played = [(env, env.step(action)) for (env, _), action in zip(going, actions, strict=True)]
        going = [(env, observation) for env, (observation, _, over, *_) in played if not over]
    return {"rejected": float(np.mean([env.report()["objective"] for env in envs]))}


RECIPE = Recipe(
    network=AllocationPolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="rejected",
    judged=JudgedFigure("rejected", of=float),
)
