"""Training of federated_lr's policy: its network, its imitation samples and its score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ...datasets.federated_lr.instance import Federation
from ...envs.federated_lr.env import FederatedLREnv
from ..batches import imitate_choices, stack
from ..recipe import JudgedFigure, Recipe
from .imitation import lessons
from .network import RatePolicy


def score(
    network: RatePolicy, instances: Sequence[Federation], server: str = "average"
) -> dict[str, float]:
    """Score the likeliest actions in the world of seed 0, as means over instances.

    Args:
        network: the policy.
        instances: the federations.
        server: server rule of the environment.

    Returns:
        final_error: 1 - final validation accuracy; mean_error: the same over all rounds;
        loss_left: the last validation loss over the first.
    """
    rows = []
    for federation in instances:
        env = FederatedLREnv(federation, server=server)
        observation, info = env.reset(seed=0)
        ended, accuracies = False, []
        while not ended:
            with torch.inference_mode():
                obs = stack([observation])
                action = int(network.logits(network.encode(obs), obs).argmax())
            observation, _, ended, _, info = env.step(action)
            accuracies.append(info["validation_accuracy"])
        short = federation.rounds + 1 - len(accuracies)
        accuracies += [0.0] * short
        left = info["validation_loss"] / info["initial_loss"]
        rows.append((1.0 - accuracies[-1], 1.0 - float(np.mean(accuracies[1:])), left))
    means = np.mean(rows, axis=0)
    return dict(zip(("final_error", "mean_error", "loss_left"), map(float, means), strict=True))


RECIPE = Recipe(
    network=RatePolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="final_error",
    judged=JudgedFigure("final_error", lambda accuracy: 1.0 - accuracy, "final_accuracy"),
    player="ppo",
)
ADAM = dataclasses.replace(RECIPE, score=partial(score, server="adam"), player="agent")
