"""The agents of sequence design as contenders: they learn one task within their budget, on a proxy
of their own.

The worth of a letter differs from landscape to landscape, so a policy is for one task. All start
from the shipped policy for this very task, where there is one, else from one that imitates the best
measured sequences; or from the policy that they are given. `ppo` samples designs and learns from
their values; `alphazero` improves designs by searching in the game and learns the search's policy;
`agent` is a hybrid: a genetic algorithm starts from the designs that PPO has found. All return the
best different designs met.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core.budget import Budget
from ...core.registry import load_problem
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.observation import PROGRESS, VALUES
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.pool import (
    Pool,
    at_a_time,
    fit_proxy_in_half_the_time,
    has_time_to_learn,
    out_of_time,
)
from ..batches import step
from ..checkpoints import load_network, shipped_for
from ..muzero.forest import SearchSettings
from .imitation import imitate_measured, surprise
from .lookahead import Bettered, Lookahead
from .network import Encoded, SequencePolicy
from .playing import chosen, legal_at, log_policy, redraw, sample

PRACTICE_SHARE = 0.3  # share of the seconds after the proxy's training that `agent`'s PPO gets
PPO, ALPHAZERO = "sequence_design_ppo", "sequence_design_alphazero"
WIDTH = 64  # width of a new policy
# Imitation of measured sequences: gradient steps, sequences of each, learning rate, and share of
# the seconds left.
WARM_BATCHES, WARM_SIZE, WARM_RATE, WARM_SHARE = 100, 128, 5e-3, 0.15

# PPO: learning rate; in an iteration, new samples, designs with letters sampled anew, and the share
# of these letters; passes over the samples, and the clip of the probability ratio.
RATE = 5e-3
SAMPLES, REDRAWN, SHARE = 128, 128, 0.1
EPOCHS, CLIP = 2, 0.2
VALUE_WEIGHT, ENTROPY_WEIGHT, BEST_WEIGHT = 0.5, 0.02, 0.5
BEST = 64  # designs of the pool's best batch that a step imitates
DENSITY = 0.1  # taken from a design's reward for each doubling of 1 + how often it was met
LEAST_FRESH = 0.5  # share of new samples below which an iteration is stale
PATIENCE = 20  # stale iterations in a row after which the policy is replaced

LANES = 64
SIMULATIONS, CONSIDERED, C_SCALE = 8, 4, 0.1  # settings of a search
FROM_POOL = 0.5  # probability that a lane starts from a design of the pool
ALPHAZERO_RATE = 3e-3
REPLAY = 10  # rounds whose designs are learned from
STEPS, STEP_SIZE = 4, 128  # gradient steps of a round; designs of each


def solve_ppo(
    instance: DesignTask, budget: Budget, seed: int, policy: Path | None = None
) -> Solution:
    """Plan by proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347) on the proxy,
    beside imitation of the pool's best (Abolafia et al. 2018, arXiv 1801.03526).

    Args:
        instance: the sealed task.
        budget: seconds and evaluations; one evaluation is one design.
        seed: seed of the proxy, the policy and the samples.
        policy: folder of the policy to start from, whatever task it was trained on.

    Returns:
        The best batch of designs by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    practise(pool, lambda: out_of_time(clock), first_policy(PPO, pool, seed, rng, policy), rng)
    return pool.solution()


def solve_alphazero(
    instance: DesignTask, budget: Budget, seed: int, policy: Path | None = None
) -> Solution:
    """Plan by Gumbel AlphaZero, searching in the game itself; see lookahead.py.

    In every round the search improves designs of the pool and fresh samples, and the policy learns
    the search's improved one along the designs that result.

    Args:
        instance: the sealed task.
        budget: seconds and evaluations; one evaluation is one design.
        seed: seed of the proxy, the policy and the searches.
        policy: folder of the policy to start from, whatever task it was trained on.

    Returns:
        The best batch of designs by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    network = first_policy(ALPHAZERO, pool, seed, rng, policy)
    optimizer = torch.optim.Adam(network.parameters(), ALPHAZERO_RATE)
    settings = SearchSettings(SIMULATIONS, CONSIDERED, discount=1.0, c_scale=C_SCALE)
    lanes = at_a_time(instance, LANES)
    lookahead = Lookahead(network, pool, lanes, settings)
    replay: deque[Bettered] = deque(maxlen=REPLAY)
    while not out_of_time(clock):
        began = clock.elapsed
        tokens, _ = sample(network, instance, lanes, rng, lambda: out_of_time(clock))
        if not len(tokens):
            break
        sampling_s = clock.elapsed - began
        known = rng.random(lanes) < FROM_POOL
        tokens[known] = pool.best[rng.integers(len(pool.best), size=known.sum())]
        replay.append(lookahead.better(tokens, rng))
        for _ in range(STEPS):
            if not has_time_to_learn(clock, sampling_s):
                break
            step(network, optimizer, _search_loss(network, instance, replay, rng))
    return pool.solution()


def solve_agent(
    instance: DesignTask, budget: Budget, seed: int, policy: Path | None = None
) -> Solution:
    """Plan by PPO, then by a genetic algorithm on the same proxy from the best designs met.

    PPO gets PRACTICE_SHARE of the time that is left after the proxy's training.

    Args:
        instance: the sealed task.
        budget: seconds and evaluations; one evaluation is one design.
        seed: seed of the proxy, the policy, the samples and the genetic algorithm.
        policy: folder of the policy to start from, whatever task it was trained on.

    Returns:
        The best batch of designs by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    until = clock.elapsed + PRACTICE_SHARE * clock.remaining
    first = first_policy(PPO, pool, seed, rng, policy)
    practise(pool, lambda: out_of_time(clock) or clock.elapsed > until, first, rng)
    asked, rest = clock.elapsed, clock.remaining_budget().start()
    best = evolve(instance, pool.proxy, pool.tokens, rest, np.random.default_rng(seed))
    return clock.finish_with(best, asked)


def practise(
    pool: Pool, enough: Callable[[], bool], first: SequencePolicy, rng: np.random.Generator
) -> SequencePolicy:
    """Train policies by PPO until `enough()`; the pool keeps their designs.

    Repeats are worth less the more often they were met; a policy that samples few new designs is
    replaced by the first one.

    Args:
        pool: gives designs their values, and keeps the best.
        enough: whether to stop.
        first: the policy to start from; it is not changed.
        rng: draws the samples.

    Returns:
        The policy that was in training last.
    """
    network = first
    while not enough():
        learner = ProximalLearner(copy.deepcopy(first), pool, rng)
        network, stale = learner.network, 0
        while stale < PATIENCE and not enough():
            stale = 0 if learner.iterate() > LEAST_FRESH else stale + 1
    return network


class ProximalLearner:
    """A policy in training by PPO.

    Attributes:
        network: the policy.
        pool: gets every design that is sampled, and gives its value.
        rng: source of the samples.
        optimizer: optimizer of the network's parameters.
        met: bytes of a design -> how often it was sampled.
    """

    def __init__(self, network: SequencePolicy, pool: Pool, rng: np.random.Generator) -> None:
        self.network, self.pool, self.rng = network, pool, rng
        self.optimizer = torch.optim.Adam(network.parameters(), RATE)
        self.met: Counter[bytes] = Counter()

    def iterate(self) -> float:
        """Sample designs, evaluate them, and learn from them; return the share of new samples."""
        pool, task, rng = self.pool, self.pool.task, self.rng

        def enough() -> bool:
            return out_of_time(pool.clock)

        best = pool.best[rng.integers(len(pool.best), size=at_a_time(task, REDRAWN))]
        pool.add(redraw(self.network, task, best, SHARE, rng, enough))
        if enough():
            return 1.0
        began = pool.clock.elapsed
        tokens, log_chances = sample(self.network, task, at_a_time(task, SAMPLES), rng, enough)
        sampling_s = pool.clock.elapsed - began
        codes = [row.tobytes() for row in tokens]
        met = np.array([self.met[code] for code in codes])
        self.met.update(codes)
        rewards = pool.add(tokens) - DENSITY * np.log2(1.0 + met)
        if enough():
            return 1.0
        scaled = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        returns, old = torch.from_numpy(scaled).float(), torch.from_numpy(log_chances)
        letters, legal = torch.from_numpy(tokens.astype(np.int64)), legal_at(task, tokens)
        for _ in range(EPOCHS):
            if not has_time_to_learn(pool.clock, sampling_s):
                break
            loss = self._loss(letters, legal, old, returns) + BEST_WEIGHT * self._surprise_of_best()
            step(self.network, self.optimizer, loss)
        return float((met == 0).mean())

    def _loss(self, letters: Tensor, legal: Tensor, old: Tensor, returns: Tensor) -> Tensor:
        """Compute PPO's loss: the clipped objective (equation 7), the values' error and the
        entropy.

        Args:
            letters: int64 [B, L]; designs.
            legal: bool [B, L, V]; of `legal_at`.
            old: float32 [B, L]; log-probabilities of the letters when they were sampled.
            returns: float32 [B]; normalized rewards.
        """
        log_chances, states = log_policy(self.network, letters, legal)
        beside = torch.zeros(*letters.shape, len(PROGRESS) + len(VALUES))
        beside[..., 0] = torch.arange(letters.shape[1]) / letters.shape[1]
        encoded = Encoded(states.flatten(0, 1), beside.flatten(0, 1))
        error = returns.unsqueeze(1) - self.network.value(encoded).view(letters.shape)
        gain = error.detach()
        ratio = (chosen(log_chances, letters) - old).exp()
        clipped = torch.minimum(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain).mean()
        entropy = -(log_chances.exp() * log_chances).sum(2).mean()
        return -clipped + VALUE_WEIGHT * (error**2).mean() - ENTROPY_WEIGHT * entropy

    def _surprise_of_best(self) -> Tensor:
        """Compute the cross-entropy per letter to designs of the pool."""
        count = at_a_time(self.pool.task, BEST)
        best = self.pool.best[self.rng.integers(len(self.pool.best), size=count)]
        tokens = torch.from_numpy(best.astype(np.int64))
        return surprise(self.network, tokens, legal_at(self.pool.task, best))


def _search_loss(
    network: SequencePolicy, task: DesignTask, replay: deque[Bettered], rng: np.random.Generator
) -> Tensor:
    """Compute the cross-entropy per letter to the improved policies along designs of the last
    rounds.
    """
    tokens = np.concatenate([made.tokens for made in replay])
    rows = rng.integers(len(tokens), size=at_a_time(task, STEP_SIZE))
    policy = torch.from_numpy(np.concatenate([made.policy for made in replay])[rows])
    letters = torch.from_numpy(tokens[rows].astype(np.int64))
    log_chances, _ = log_policy(network, letters, legal_at(task, tokens[rows]))
    return -(policy * log_chances).sum(2).mean()


def first_policy(
    name: str, pool: Pool, seed: int, rng: np.random.Generator, policy: Path | None
) -> SequencePolicy:
    """Return the policy of a folder if one is given; else the one shipped under a name for this
    very task, or one trained on the best sequences.

    Raises:
        CheckpointError: the policy is damaged or for another version of the environment.
    """
    torch.set_num_threads(1)
    # Through the registry: the problem's module imports the oracles, which no agent may import.
    problem = load_problem(DesignTask.FAMILY)
    if policy is not None:
        return load_network(policy, problem, SequencePolicy)
    shipped = shipped_for(name, problem, pool.task.content_hash, SequencePolicy)
    if shipped is not None:
        return shipped
    torch.manual_seed(seed)
    network = SequencePolicy(WIDTH)
    optimizer = torch.optim.Adam(network.parameters(), WARM_RATE)
    until = pool.clock.elapsed + WARM_SHARE * pool.clock.remaining
    imitate_measured(
        network, pool.task, optimizer, WARM_BATCHES, at_a_time(pool.task, WARM_SIZE), rng,
        enough=lambda: pool.clock.elapsed > until,
    )  # fmt: skip
    return network
