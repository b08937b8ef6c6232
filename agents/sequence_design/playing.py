"""Play the sequence-design policy on many designs side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import letters_after, letters_at
from ..network import MASKED
from .network import START, SequencePolicy, shifted


def legal_at(task: DesignTask, tokens: np.ndarray) -> Tensor:
    """Find the letters that may stand at each place after those before it.

    Args:
        task: the task.
        tokens: int8 [B, L]; feasible designs.

    Returns:
        bool [B, L, V].
    """
    return torch.from_numpy(letters_after(task, tokens))


def log_policy(network: SequencePolicy, tokens: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the policy's log-probabilities of all letters at all places, in one pass.

    Args:
        network: the policy.
        tokens: int64 [B, L]; designs.
        legal: bool [B, L, V]; of `legal_at`.

    Returns:
        Log-probabilities, float32 [B, L, V], and the states they come from, [B, L, d].
    """
    places = torch.arange(tokens.shape[1])
    states, _ = network.read(shifted(tokens[:, :-1]), places)
    scores = network.scores_at(states, places, legal.shape[2])
    return scores.masked_fill(~legal, MASKED).log_softmax(2), states


def chosen(log_chances: Tensor, tokens: Tensor) -> Tensor:
    """Pick the log-probabilities of the letters that stand in designs.

    Args:
        log_chances: float32 [B, L, V].
        tokens: int64 [B, L].

    Returns:
        float32 [B, L].
    """
    return log_chances.gather(2, tokens.unsqueeze(2)).squeeze(2)


def _never() -> bool:
    return False


def sample(
    network: SequencePolicy,
    task: DesignTask,
    count: int,
    rng: np.random.Generator,
    enough: Callable[[], bool] = _never,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample designs from the policy, letter by letter.

    Args:
        network: the policy.
        task: the task.
        count: number of designs.
        rng: source of the samples.
        enough: returns, before each letter, whether to stop.

    Returns:
        Feasible designs, int8 [count, L], and log-probabilities of their letters, float32 [count,
        L]; none of both if stopped.
    """
    nothing = np.full((count, task.length), task.letters, np.int8)
    return _draw(network, task, nothing, np.ones(nothing.shape, np.bool_), rng, enough)


def redraw(
    network: SequencePolicy,
    task: DesignTask,
    tokens: np.ndarray,
    share: float,
    rng: np.random.Generator,
    enough: Callable[[], bool] = _never,
) -> np.ndarray:
    """Sample some letters of designs anew: the conservative search of Kim et al. 2025 (arXiv
    2410.04461).

    Args:
        network: the policy.
        task: the task.
        tokens: int8 [n, L]; designs.
        share: probability with which each letter is sampled anew; letters that become illegal are,
            too.
        rng: source of the choice and of the samples.
        enough: returns, before each letter, whether to stop.

    Returns:
        Feasible designs, int8 [n, L]; none if stopped.
    """
    return _draw(network, task, tokens, rng.random(tokens.shape) < share, rng, enough)[0]


@torch.inference_mode()
def _draw(
    network: SequencePolicy,
    task: DesignTask,
    tokens: np.ndarray,
    drawn: np.ndarray,
    rng: np.random.Generator,
    enough: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Go through designs from left to right and sample letters.

    Args:
        network: the policy.
        task: the task.
        tokens: int8 [n, L]; designs.
        drawn: bool [n, L]; the letters to sample; elsewhere letters are kept if they are legal.
        rng: source of the samples.
        enough: returns, before each letter, whether to stop.

    Returns:
        Designs int8 [n, L], and log-probabilities of their letters, float32 [n, L]; none of both
        if stopped.
    """
    tokens, rows = tokens.copy(), np.arange(len(tokens))
    log_chances = np.empty(tokens.shape, np.float32)
    before, state = torch.full((len(tokens), 1), START), None
    for at in range(task.length):
        if enough():
            return tokens[:0], log_chances[:0]
        place = torch.tensor([at])
        states, state = network.read(before, place, state)
        mask = letters_at(task, tokens, at)
        scores = network.scores_at(states, place, task.letters).squeeze(1)
        legal = torch.from_numpy(mask) > 0
        chances = scores.masked_fill(~legal, MASKED).log_softmax(1).numpy()
        letters = (chances + rng.gumbel(size=mask.shape)).argmax(axis=1)
        kept = np.minimum(tokens[:, at], task.letters - 1).astype(np.int64)
        letters = np.where(drawn[:, at] | (mask[rows, kept] == 0), letters, kept)
        tokens[:, at] = letters
        log_chances[:, at] = chances[rows, letters]
        before = torch.from_numpy(letters).unsqueeze(1)
    return tokens, log_chances
