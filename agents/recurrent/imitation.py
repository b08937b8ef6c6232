"""Learning from whole episodes whose actions' worth is known, so that a memory learns what to keep
of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..batches import Losses, one_pass, stack
from .cell import Rows
from .policy import begin, recall

ENTROPY = 0.01  # what a policy's entropy, in nats, counts beside the worth of its actions


class Episode(NamedTuple):
    """An episode of T steps, for a policy with A discrete actions.

    Attributes:
        observations: key -> array [T, ...], as the environment returned them; "action_mask" is
            int8 [T, A].
        worth: float32 [T, A]; of each action, the higher the better; not read of illegal ones. NaN
            at steps where it is not known, from which nothing is learned.
    """

    observations: dict[str, np.ndarray]
    worth: np.ndarray


def learn_worth(
    network: Any,
    samples: Sequence[Episode],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Raise the expected worth of the actions for one pass, the memory reading episodes in order.

    The gradient is exact where PPO's is an estimate: every action's worth is known.

    Args:
        network: a policy with `encode` and `logits`, with or without a `memory`.
        samples: the episodes.
        optimizer: optimizer of the network's parameters.
        batch_size: episodes per gradient step.
        rng: source of the order of the samples.

    Returns:
        "loss", how much less the actions are worth than the best ones, on average; "entropy".
    """

    def loss_of(batch: Sequence[Episode]) -> tuple[Tensor, Losses]:
        padded = stack([episode.observations for episode in batch])
        lengths = torch.tensor([len(episode.worth) for episode in batch])
        steps = {key: part.flatten(0, 1) for key, part in padded.items()}
        rows = Rows(torch.zeros(len(batch), int(lengths.max()), dtype=torch.bool), lengths)
        encoded, _ = recall(network, network.encode(steps), begin(network, len(batch)), rows)
        worth = torch.from_numpy(np.concatenate([episode.worth for episode in batch]))
        known = ~worth.isnan().any(dim=-1)
        worth, at = worth[known], rows.valid.flatten().nonzero().squeeze(-1)[known]
        logits, legal = network.logits(encoded, steps)[at], steps["action_mask"][at] > 0
        best = worth.masked_fill(~legal, -torch.inf).amax(dim=-1, keepdim=True)
        logs = logits.log_softmax(dim=-1)
        chances = logs.exp()
        regret = (chances * (best - worth).masked_fill(~legal, 0.0)).sum(-1).mean()
        entropy = -(chances * logs.masked_fill(~legal, 0.0)).sum(-1).mean()
        return regret - ENTROPY * entropy, {"loss": regret.item(), "entropy": entropy.item()}

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)
