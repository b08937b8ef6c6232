"""Play of the sequence-design policy on many designs side by side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.dynamics import append, append_mask
from .network import MASKED, START, SequencePolicy, shifted


def legal_at(task: DesignTask, tokens: np.ndarray) -> Tensor:
    """Which letters may stand at each place of feasible designs [B, L] after the letter before,
    bool [B, L, V].
    """
    legal = np.ones((*tokens.shape, task.letters), np.bool_)
    legal[:, 1:] = ~task.banned[tokens[:, :-1]]
    return torch.from_numpy(legal)


def log_policy(network: SequencePolicy, tokens: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of every letter at every place of designs int64 [B, L], read in one pass.

    Args:
        network: the policy.
        tokens: the designs.
        legal: bool [B, L, V]; of `legal_at`.

    Returns:
        float32 [B, L, V], and the states they come from, [B, L, d].
    """
    places = torch.arange(tokens.shape[1])
    states, _ = network.read(shifted(tokens[:, :-1]), places)
    scores = network.scores_at(states, places, legal.shape[2])
    return scores.masked_fill(~legal, MASKED).log_softmax(2), states


def chosen(log_chances: Tensor, tokens: Tensor) -> Tensor:
    """The log-probabilities [B, L] of the letters that stand there, of all, [B, L, V]."""
    return log_chances.gather(2, tokens.unsqueeze(2)).squeeze(2)


def sample(
    network: SequencePolicy, task: DesignTask, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws designs from the policy, letter by letter.

    Returns:
        Designs int8 [count, L], feasible, and log-probabilities of their letters, float32
        [count, L].
    """
    nothing = np.full((count, task.length), task.letters, np.int8)
    return _draw(network, task, nothing, np.ones(nothing.shape, np.bool_), rng)


def redraw(
    network: SequencePolicy,
    task: DesignTask,
    tokens: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Designs int8 [n, L] with that share of their letters, and those that are not legal any more,
    drawn from the policy: the conservative search of Kim et al. 2025 (arXiv 2410.04461).
    """
    return _draw(network, task, tokens, rng.random(tokens.shape) < share, rng)[0]


@torch.inference_mode()
def _draw(
    network: SequencePolicy,
    task: DesignTask,
    tokens: np.ndarray,
    drawn: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Goes through designs int8 [n, L] from left to right and draws letters where bool [n, L] says
    so, and where what stands there may not.
    """
    tokens, rows = tokens.copy(), np.arange(len(tokens))
    log_chances = np.empty(tokens.shape, np.float32)
    mask = np.empty((len(tokens), task.letters), np.int8)
    before, state = torch.full((len(tokens), 1), START), None
    for at in range(task.length):
        place = torch.tensor([at])
        states, state = network.read(before, place, state)
        append_mask(tokens, at, task.banned, mask)
        scores = network.scores_at(states, place, task.letters).squeeze(1)
        legal = torch.from_numpy(mask) > 0
        chances = scores.masked_fill(~legal, MASKED).log_softmax(1).numpy()
        letters = (chances + rng.gumbel(size=mask.shape)).argmax(axis=1)
        kept = np.minimum(tokens[:, at], task.letters - 1).astype(np.int64)
        letters = np.where(drawn[:, at] | (mask[rows, kept] == 0), letters, kept)
        append(tokens, at, letters, task.banned)
        log_chances[:, at] = chances[rows, letters]
        before = torch.from_numpy(letters).unsqueeze(1)
    return tokens, log_chances
