"""Choosing the server's rule and both rates in the midst of training, and lessons in it from
hindsight.

Which fixed rule and rates are best differs from federation to federation, and within one: FedAdam
is ahead until labels change their meaning, for its moments then remember the steps before, and
averaging after that, at rates that depend on the model. A policy chooses one of ARMS at some steps,
by what it sees. It learns from forks: at some steps of an episode training goes on under each arm,
in the very rounds that are to come, and what an arm is worth is the mean accuracy there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ...datasets.federated_lr.instance import TEXT, Federation
from ...envs.federated_lr.observation import Observer
from ...envs.federated_lr.training import Training
from ...methods.federated_lr.constants import Rates
from ..batches import Losses
from ..recipe import ImitationPass
from ..recurrent.cell import State
from ..recurrent.imitation import Episode, learn_worth
from .network import RatePolicy

# Rules by the server's rate, which is another for each of them, with the clients' rates.
RULES = ("average", 2.0), ("adam", 0.1), ("adam", 0.03), ("adam", 0.01)
BETAS = (0.03, 0.1, 0.3, 1.0)
ARMS = tuple(Rates(*rule, beta) for rule, beta in product(RULES, BETAS))
FIRST = ARMS[1]  # until the first choice: averaging at 2/.1, of which only .1 matters
ORDERS = np.stack([one.plan(1)[0] for one in ARMS])
LOGS = np.log([[one.alpha, one.beta] for one in ARMS])
EARLY, EVERY = 3, 5  # steps of a choice: each of the first few, then one in so many
MARGIN = 1.0  # added to the logit of the arm in play
FORKED = 5  # steps of an episode at which training forks, on average, beside the first choice
HORIZON, LEAST_LEFT = 12, 3  # rounds of a fork; rounds that must be left for one
WANDER = 0.2  # chance of any arm in place of the policy's choice, after the first pass
PASSES = 40  # over the lessons of a pass of imitation
MOST_WORK = 1e6  # of a round; federations that take longer teach nothing
LEAST_PARAMETERS, TEXT_LENGTH = 300, 20  # of work_of
MOST_WORLD = 2**19  # worlds of lessons lie below it


class ChoicePolicy(RatePolicy):
    """The same network, whose actions are ARMS.

    Args:
        width: units of both hidden layers.
    """

    OUTPUTS = len(ARMS)

    @staticmethod
    def _begin_unchanged(bias: Tensor) -> None:
        """Let an untrained network prefer no arm."""

    def choose(self, rounds: np.ndarray, arms: np.ndarray) -> np.ndarray:
        """Return the arms to go on with, int64 [B].

        Args:
            rounds: float32 [B, 4, 16], as observed.
            arms: those in play, int64 [B].
        """
        with torch.inference_mode():
            context = self.encode({"rounds": torch.from_numpy(rounds)}).context
            logits: np.ndarray = self.scores(context).numpy()
        logits[np.arange(len(arms)), arms] += MARGIN
        chosen: np.ndarray = logits.argmax(axis=1)
        return chosen

    def order(
        self, rounds: np.ndarray, alpha: float, beta: float, server: str, state: State
    ) -> np.ndarray:
        """Return the order of the arm in play or chosen now, int64 [5].

        Args:
            rounds: float32 [4, 16], as observed.
            alpha: the server's rate now, by which the arm in play is known.
            beta: the clients' rate now, likewise.
            server: not read; arms have their own rules.
            state: of the episode, {} at first; it counts the steps.
        """
        step = int(state.get("step", 0))
        state["step"] = torch.tensor(step + 1)
        arm = int(np.abs(LOGS - np.log([alpha, beta])).sum(axis=1).argmin())
        if is_due(step):
            arm = int(self.choose(rounds[None], np.array([arm]))[0])
        given: np.ndarray = ORDERS[arm]
        return given


def is_due(step: int) -> bool:
    """Tell whether an arm is chosen at a step; never at step 0, which has seen no update."""
    return 0 < step <= EARLY or (step > 0 and step % EVERY == 0)


def work_of(f: Federation) -> float:
    """Return the uses of a weight in a round."""
    rows = f.participants * f.local_steps * f.batch_size
    return rows * max(f.parameters, LEAST_PARAMETERS) * (TEXT_LENGTH if f.model in TEXT else 1)


def lessons(imitation: ImitationPass[ChoicePolicy, Federation]) -> list[Episode]:
    """Return an episode of each federation that trains quickly enough; see Recipe.

    In the first pass it wanders from arm to arm; later it goes mostly where the policy leads it. No
    contender is imitated.
    """
    wander = WANDER if imitation.number else 1.0
    some = [f for f in imitation.instances if work_of(f) < MOST_WORK]
    found = [forked(f, imitation.network, wander, imitation.rng) for f in some]
    return [episode for episode in found if len(episode.worth)]


def forked(
    federation: Federation, network: ChoicePolicy, wander: float, rng: np.random.Generator
) -> Episode:
    """Play an episode, and find what arms are worth at some of its steps, which are returned.

    Args:
        federation: the instance.
        network: the policy that chooses.
        wander: chance of any arm in place of its choice.
        rng: source of the world, of the steps that fork and of arms that are not chosen.
    """
    f = dataclasses.replace(federation, alpha=FIRST.alpha, beta=FIRST.beta)
    lane, observer, only = Training([f]), Observer(1), np.arange(1)
    lane.begin(0, f, int(rng.integers(MOST_WORLD)))
    observer.begin(lane.statistics, only)
    s, arm, rounds, worth = lane.statistics, ARMS.index(FIRST), [], []
    while not s.diverged[0] and s.step[0] <= f.rounds:
        step = int(s.step[0])
        forks = step == 1 or (step > 1 and rng.random() < FORKED / f.rounds)
        if forks and f.rounds - step >= LEAST_LEFT:
            rounds.append(observer.rounds[0].copy())
            worth.append(worth_of_arms(lane))
        if is_due(step):
            strays = rng.random() < wander
            chosen = network.choose(observer.rounds, np.array([arm]))[0]
            arm = int(rng.integers(len(ARMS)) if strays else chosen)
        lane.step(ORDERS[arm][None])
        observer.look(s, only)
    seen: dict[str, np.ndarray] = {
        "rounds": np.array(rounds, np.float32),
        "action_mask": np.ones((len(worth), len(ARMS)), np.int8),
    }
    return Episode(seen, np.array(worth, np.float32))


def worth_of_arms(lane: Training) -> np.ndarray:
    """Return what each arm is worth now, float64 [arms]: the mean accuracy of the validation rows
    over the next rounds under it.

    Args:
        lane: training in one lane.
    """
    fork = lane.spread(len(ARMS))
    s, going, total = fork.statistics, np.arange(len(ARMS)), np.zeros(len(ARMS))
    rounds = min(HORIZON, int(s.rounds[0] - s.step[0]) + 1)
    for _ in range(rounds):
        fork.step(ORDERS[going], going)
        going = going[~s.diverged[going]]
        if not len(going):
            break
        total[going] += s.validation_accuracy[going]
    return total / rounds


def learn(
    network: ChoicePolicy,
    samples: Sequence[Episode],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Raise the expected worth of the arms in PASSES passes; see learn_worth, whose figures of the
    last pass are returned.
    """
    figures: Losses = {}
    for _ in range(PASSES):
        figures = learn_worth(network, samples, optimizer, batch_size, rng)
    return figures
