"""Training of sequence design's policy: its network, its imitation samples and its score.

Only the judge may ask the oracle, so scores are the proxy's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from ...datasets.sequence_design.instance import DesignTask, seal
from ...envs.sequence_design.designs import Designs
from ...envs.sequence_design.env import SequenceDesignEnv
from ...envs.sequence_design.objective import expected_median
from ...envs.sequence_design.proxy import reference_proxy
from ..batches import stack
from ..recipe import JudgedFigure, Recipe
from .imitation import imitate, lessons
from .network import SequencePolicy
from .playing import sample


def score(network: SequencePolicy, instances: Sequence[DesignTask]) -> dict[str, float]:
    """Score a batch of samples by the proxy, as means over instances.

    Args:
        network: the policy.
        instances: the tasks.

    Returns:
        shortfall: 1 - the median that the proxy expects of the batch; repeats: share of repeats.
    """
    short, repeats = [], []
    for task in map(seal, instances):
        handed_in = Designs(task, task.batch_size)
        tokens, _ = sample(network, task, task.batch_size, np.random.default_rng(0))
        for design in tokens:
            handed_in.add(design)
        means, _ = reference_proxy(task).predict(handed_in.batch())
        short.append(1.0 - expected_median(means))
        repeats.append(1.0 - len(handed_in.unique) / len(tokens))
    return {"shortfall": float(np.mean(short)), "repeats": float(np.mean(repeats))}


def score_edits(network: SequencePolicy, instances: Sequence[DesignTask]) -> dict[str, float]:
    """Score a batch made by sampled edits (form "mutate") by the proxy, as means over instances.

    Args:
        network: the policy.
        instances: the tasks.

    Returns:
        shortfall: 1 - the objective that the environment reports.
    """
    short = []
    for task in instances:
        env, rng = SequenceDesignEnv(task, form="mutate"), torch.Generator().manual_seed(0)
        observation, info = env.reset(seed=0)
        ended = False
        while not ended:
            with torch.inference_mode():
                obs = stack([observation])
                chances = network.logits(network.encode(obs), obs).softmax(1)
                action = int(torch.multinomial(chances, 1, generator=rng))
            observation, _, ended, _, info = env.step(action)
        short.append(1.0 - info["objective"])
    return {"shortfall": float(np.mean(short))}


RECIPE = Recipe(
    network=SequencePolicy,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="shortfall",
    judged=JudgedFigure("shortfall", of=lambda expected: 1.0 - expected),
    player="ppo",
)
MUTATING = dataclasses.replace(RECIPE, score=score_edits, player="")
