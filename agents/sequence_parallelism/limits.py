"""How the network that proposes limits learns: from searches that start from its own proposals.

What a search ends with becomes likelier, so that the next one starts from better proposals (expert
iteration: Anthony et al., Thinking Fast and Slow with Deep Learning and Tree Search, 2017). No
solver's plans are imitated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Budget
from ...datasets.sequence_parallelism.generator import SHAPES, generate
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...datasets.sequence_parallelism.models import MODELS
from ...methods.sequence_parallelism.bounds import simple_bound
from ...methods.sequence_parallelism.grouping import steps_of
from ...methods.sequence_parallelism.limits import HALVINGS, MORE, Elite, narrow, narrowing, search
from ...methods.sequence_parallelism.opening import open_groups
from ...methods.sequence_parallelism.planning import Best, first_plan
from ...methods.sequence_parallelism.stream import split_steps
from ..batches import Losses, one_pass
from ..recipe import ImitationPass, Recipe, score_plans
from .limits_network import (
    LimitsNetwork,
    Proposals,
    Proposer,
    Step,
    Weights,
    centered,
    read_step,
    take_weights,
)

FRESH, FIRST_SEED = 0.5, 1 << 40  # share of generated lessons; above the seeds of every split
SEQUENCES = (16, 640)
CLUSTERS = (
    *({"model": model, "context": context} for model in MODELS for context in ("192K", "384K")),
    *({"devices": devices, "context": "128K"} for devices in ("16", "32")),
    *({"devices": devices, "context": "32K"} for devices in ("8", "16")),
)
TRIES, PROPOSALS = 200, 8  # of a lesson: plans that are built, and proposals it starts from
SEARCH_S = 1e6  # seconds that a lesson's search may take: tries end it
KEPT, GOOD = 4, 0.01  # plans of a lesson, and how much longer than the best they may take
ROUNDS = 3  # passes of gradient descent over the lessons of a pass
SHARES = (0.5, 1.2)  # of a batch's sequences, that a lesson has


class Lesson(NamedTuple):
    """A step with the limits and biases that gave the best of its plans.

    Attributes:
        step: the step.
        extra: int64 [KEPT]; micro-batches beyond the least number.
        limits: float32 [KEPT, M]; logarithms of the limits, of mean 0 over a plan's.
        bias: float32 [KEPT, G]; logarithms of the biases, of mean 0.
    """

    step: Step
    extra: np.ndarray
    limits: np.ndarray
    bias: np.ndarray


def lessons(imitation: ImitationPass[LimitsNetwork, TrainingBatch]) -> list[Lesson]:
    """Search from the network's own proposals, for each step with some of its sequences.

    No plans are imitated but those found here; see Recipe. Sequences are drawn again for each pass,
    and about half of the batches are generated in place of those given.
    """
    rng, weights = imitation.rng, take_weights(imitation.network)
    made = []
    for instance in imitation.instances:
        for one in split_steps(instance):
            fresh = generated(rng) if rng.random() < FRESH else _drawn_again(one, rng)
            made.append(_lesson(fresh, weights, rng))
    return made


def generated(rng: np.random.Generator) -> TrainingBatch:
    """Generate a batch of any shape and size, on one of CLUSTERS."""
    cluster = CLUSTERS[rng.integers(len(CLUSTERS))]
    shape, count = rng.choice(list(SHAPES)), int(np.exp(rng.uniform(*np.log(SEQUENCES))))
    drawn = {"shape": str(shape), "sequences": str(count)}
    return generate(cluster | drawn, FIRST_SEED + int(rng.integers(1 << 30)))


def _drawn_again(one: TrainingBatch, rng: np.random.Generator) -> TrainingBatch:
    """Return a batch of one step with about as many sequences, drawn from its own."""
    count = max(1, int(len(one.lengths) * rng.uniform(*SHARES)))
    lengths = rng.choice(one.lengths, count)
    return dataclasses.replace(one, lengths=lengths, step=np.zeros(count, np.int64))


def _lesson(one: TrainingBatch, weights: Weights, rng: np.random.Generator) -> Lesson:
    """Search for a batch of one step."""
    best = Best(one, Budget(SEARCH_S, TRIES).start())
    best.offer(0, first_plan(best.works[0]))
    best.allow(1.0)
    step, elites = read_step(best.works[0]), list[Elite]()
    proposer = Proposer(weights, step)
    for _ in range(PROPOSALS):
        _, shape, bias = proposer.draw(1.0, rng)
        narrow(best, 0, elites, np.exp(shape), np.exp(bias))
    search(best, 0, elites, 0.0, rng)
    most = elites[0].time * (1 + GOOD)
    kept = [one for one in elites if one.time <= most][:KEPT]
    kept = [kept[row % len(kept)] for row in range(KEPT)]
    limits = np.zeros((KEPT, step.least + MORE), np.float32)
    for row, elite in enumerate(kept):
        limits[row, : len(elite.limits)] = centered(np.log(elite.limits))
    bias = np.stack([centered(np.log(elite.bias)) for elite in kept])
    extra = np.array([len(elite.limits) - step.least for elite in kept])
    return Lesson(step, extra, limits, bias.astype(np.float32))


def log_chances(proposals: Proposals, some: Sequence[Lesson]) -> Tensor:
    """Return the log-probabilities, up to a constant, of what lessons say, float32 [B, KEPT].

    Args:
        proposals: the distributions, of B steps.
        some: the B lessons.
    """
    extra = torch.from_numpy(np.stack([lesson.extra for lesson in some]))
    most, kinds = proposals.limits.shape[2], proposals.bias.shape[1]
    limits = torch.zeros(*extra.shape, most)
    bias = torch.zeros(*extra.shape, kinds)
    there, known = torch.zeros(*extra.shape, most), torch.zeros(len(some), 1, kinds)
    for row, lesson in enumerate(some):
        limits[row, :, : lesson.limits.shape[1]] = torch.from_numpy(lesson.limits)
        bias[row, :, : lesson.bias.shape[1]] = torch.from_numpy(lesson.bias)
        known[row, :, : lesson.bias.shape[1]] = 1.0
        there[row] = torch.arange(most) < lesson.step.least + extra[row].unsqueeze(1)
    means = proposals.limits.gather(1, extra.unsqueeze(2).expand(-1, -1, most))
    spread = proposals.spread[:, None, None]
    apart = (limits - means).abs() / spread[..., 0] + spread[..., 0].log()
    beside = (bias - proposals.bias.unsqueeze(1)).abs() / spread[..., 1] + spread[..., 1].log()
    drawn = (apart * there).sum(2) + (beside * known).sum(2)
    return proposals.extra.gather(1, extra) - drawn


def imitate(
    network: nn.Module,
    samples: Sequence[Lesson],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Make the limits and biases of the best plans likelier.

    Args:
        network: the limits network.
        samples: the lessons.
        optimizer: optimizer of the network's parameters.
        batch_size: steps per gradient step.
        rng: source of the order of the samples.

    Returns:
        "loss": minus the mean log-probability; "spread": mean scale of the limits'
        logarithms.
    """

    def loss_of(batch: Sequence[Lesson]) -> tuple[Tensor, Losses]:
        proposals = network([lesson.step for lesson in batch])
        loss = -log_chances(proposals, batch).mean()
        spread = float(proposals.spread[:, 0].detach().mean())
        return loss, {"loss": float(loss.detach()), "spread": spread}

    for _ in range(ROUNDS):
        losses = one_pass(network, samples, optimizer, batch_size, rng, loss_of)
    return losses


def best_time(step: Step, limits: np.ndarray, bias: np.ndarray) -> float:
    """Return the ms of the best plan that narrowing finds.

    Args:
        step: the step.
        limits: float [M]; logarithms, up to a constant.
        bias: float [G]; logarithms, up to a constant.
    """
    tries, factors, least = narrowing(step.work, step.bound, np.exp(limits)), np.exp(bias), np.inf
    asked = next(tries)
    for _ in range(HALVINGS):
        found = float(open_groups(step.work, asked, factors).slowest.sum())
        least = min(least, found)
        asked = tries.send(found)
    return least


def score(network: LimitsNetwork, instances: Sequence[TrainingBatch]) -> dict[str, float]:
    """Score plans by their times over the simple bound, as means over instances; deterministic.

    Args:
        network: the limits network.
        instances: the batches.

    Returns:
        greedy: of the likeliest limits; sample: mean of 8 samples; best_of_8: the best of them.
    """
    rng, weights = np.random.default_rng(0), take_weights(network)

    def player_of(batch: TrainingBatch) -> Callable[[float], float]:
        works = steps_of(batch)
        bound = sum(map(simple_bound, works))
        proposers = [Proposer(weights, read_step(work)) for work in works]

        def play(temperature: float) -> float:
            times = [best_time(one.step, *one.draw(temperature, rng)[1:]) for one in proposers]
            return sum(times) / bound

        return play

    return score_plans(map(player_of, instances))


RECIPE: Recipe[LimitsNetwork, TrainingBatch, Lesson] = Recipe(
    network=LimitsNetwork,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="sample",
    player="agent",
)
