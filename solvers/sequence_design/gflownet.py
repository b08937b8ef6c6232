"""A GFlowNet sampler: draw sequences in proportion to a reward, by trajectory balance.

After Malkin et al. 2022 (arXiv 2201.13259), for biological sequences as in GFN-AL (Jain et al.
2022, arXiv 2203.04115). Each sequence is built by one path, letter after letter, so the backward
policy is certain. The reward is exp(beta * proxy), the proxy scaled by the offline set; batches are
part samples, part offline sequences drawn by rank. A policy that has collapsed to one sequence does
not balance.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import letters_after, letters_at, repaired
from ...methods.sequence_design.pool import (
    MOST_LETTERS,
    Pool,
    at_a_time,
    fit_proxy_in_half_the_time,
    has_time_to_learn,
    out_of_time,
)

WIDTH = 128
RATE, Z_RATE = 2e-3, 5e-2  # learning rates of the policy and of log Z
SAMPLED, KNOWN = 96, 32  # sampled and offline sequences of a batch, fewer of long ones
BETA = 8.0  # exponent of the reward
EXPLORED = 0.02  # probability of drawing a letter uniformly from the legal ones
MASKED = -1e9  # score of an illegal letter


class Policy(nn.Module):
    """Autoregressive policy: scores of the next letter from the letters before it.

    Args:
        task: gives length L, letters V, and the rules.

    Attributes:
        task: the task.
        log_z: estimated log of the partition function.
    """

    def __init__(self, task: DesignTask) -> None:
        super().__init__()
        length, letters = task.length, task.letters
        self.letter = nn.Embedding(letters + 1, WIDTH)
        self.recurrent = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.scores = nn.Linear(WIDTH, letters)
        self.place = nn.Parameter(torch.zeros(length, letters))
        self.log_z = nn.Parameter(torch.zeros(()))
        self.task = task

    def logits(
        self, before: Tensor, hidden: Tensor | None, place: slice, legal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the next letters at consecutive positions.

        Args:
            before: int64 [B, n]; the letter before each position, V at the beginning.
            hidden: float32 [1, B, WIDTH]; the recurrent state before these; None at the beginning.
            place: the n positions.
            legal: bool [B, n, V]; the letters that may stand there.

        Returns:
            Scores float32 [B, n, V], MASKED where illegal, and the recurrent state after them.
        """
        seen, hidden = self.recurrent(self.letter(before), hidden)
        scores = self.scores(seen) + self.place[place]
        return scores.masked_fill(~legal, MASKED), hidden

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Compute log probabilities, float32 [B], of legal sequences int64 [B, L]."""
        start = torch.full_like(tokens[:, :1], self.task.letters)
        legal = torch.from_numpy(letters_after(self.task, tokens.numpy().astype(np.int8)))
        before = torch.cat([start, tokens[:, :-1]], dim=1)
        scores, _ = self.logits(before, None, slice(None), legal)
        return scores.log_softmax(2).gather(2, tokens.unsqueeze(2)).sum(dim=(1, 2))

    @torch.inference_mode()
    def sample(self, count: int, rng: np.random.Generator, clock: Clock) -> np.ndarray:
        """Draw feasible sequences; a share EXPLORED of the letters is uniform over the legal ones.

        Args:
            count: number of sequences.
            rng: draws the letters.
            clock: of the run.

        Returns:
            int8 [count, L]; no sequence if the time is over before they are complete.
        """
        before, hidden = torch.full((count, 1), self.task.letters), None
        tokens = np.zeros((count, len(self.place)), np.int8)
        for place in range(len(self.place)):
            if out_of_time(clock):
                return tokens[:0]
            mask = letters_at(self.task, tokens, place)[:, None]
            legal = torch.from_numpy(mask > 0)
            scores, hidden = self.logits(before, hidden, slice(place, place + 1), legal)
            free = torch.where(legal, 0.0, MASKED)
            explores = torch.as_tensor(rng.random((count, 1, 1)) < EXPLORED)
            noise = torch.as_tensor(rng.gumbel(size=scores.shape))
            before = (torch.where(explores, free, scores) + noise).argmax(dim=2)
            tokens[:, place] = before[:, 0].numpy()
        return tokens


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Train a GFlowNet until the budget ends (Malkin et al. 2022; Jain et al. 2022).

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one sampled sequence.
        seed: draws the proxy's training, first weights (it seeds torch), samples and offline rows.

    Returns:
        The best batch sampled, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    policy = Policy(instance)
    rest = [weight for name, weight in policy.named_parameters() if name != "log_z"]
    optimizer = torch.optim.Adam(
        [{"params": rest, "lr": RATE}, {"params": [policy.log_z], "lr": Z_RATE}]
    )
    ranks = np.argsort(np.argsort(-instance.scores, kind="stable"), kind="stable")
    chances = 1.0 / (0.01 * len(ranks) + ranks)
    chances /= chances.sum()
    while not out_of_time(clock):
        began = clock.elapsed
        sampled = policy.sample(at_a_time(instance, SAMPLED), rng, clock)
        sampling_s = clock.elapsed - began
        values = pool.add(sampled)
        if not has_time_to_learn(clock, sampling_s):
            break
        few = at_a_time(instance, KNOWN, MOST_LETTERS // 4)
        drawn = np.array(instance.sequences[rng.choice(len(ranks), few, p=chances)])
        known = repaired(instance, drawn, rng)
        rewards = BETA * np.concatenate([values, pool.proxy.predict(known)[0]])
        tokens = torch.as_tensor(np.concatenate([sampled, known]).astype(np.int64))
        balance = policy.log_z + policy.log_probabilities(tokens) - torch.as_tensor(rewards).float()
        loss = (balance**2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(rest, 10.0)
        optimizer.step()
    return pool.solution()
