"""The policy that chooses rule and rates in the midst of training, and its lessons from forks."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sysopt_gym.agents.checkpoints import SHIPPED, load_policy
from sysopt_gym.agents.federated_lr import choice
from sysopt_gym.agents.federated_lr.choice import ARMS, FIRST, ORDERS, ChoicePolicy, is_due
from sysopt_gym.agents.federated_lr.players import Choice
from sysopt_gym.agents.federated_lr.recipe import CHOICE
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.play import Task, play_policy
from sysopt_gym.datasets.federated_lr.instance import Federation, seal
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.training import Training
from sysopt_gym.envs.federated_lr.validate import validate


def small(row: int = 0) -> Federation:
    return SETS.load(f"small:test/{row}")[0]


def played(federation: Federation) -> np.ndarray:
    return play_policy(PROBLEM, Choice(), Task(seal(federation), Budget(60.0), 0, 0)).actions


@pytest.mark.parametrize("name", ["small:test/3", "drifting:val/1"])
def test_an_arm_is_worth_the_accuracies_of_the_rounds_to_come(name: str) -> None:
    lane = Training([seal(SETS.load(name)[0])])
    lane.begin(0, lane.federations[0], 3)
    for arm in (1, 5, 5, 9):
        lane.step(ORDERS[arm][None])
    worth = choice.worth_of_arms(lane)
    for arm in (0, 6):
        line, accuracies = lane.fork(), []
        for _ in range(choice.HORIZON):
            line.step(ORDERS[arm][None])
            accuracies.append(line.statistics.validation_accuracy[0])
        assert worth[arm] == pytest.approx(np.mean(accuracies))
    assert lane.statistics.step[0] == 4, "forks leave the lane as it is"


def test_lessons_are_learned() -> None:
    torch.manual_seed(0)
    network, rng = ChoicePolicy(16), np.random.default_rng(0)
    untrained = copy.deepcopy(network)

    def refuse(federation: Federation) -> np.ndarray:
        raise AssertionError("no contender is imitated")

    some = [seal(small(0)), seal(small(4))]
    episodes = choice.lessons(ImitationPass(0, network, some, refuse, rng))
    assert len(episodes) == 2
    for episode in episodes:
        count = len(episode.worth)
        assert episode.worth.shape == (count, len(ARMS)) and np.isfinite(episode.worth).all()
        assert episode.observations["rounds"].shape == (count, 4, 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    still = torch.optim.SGD(untrained.parameters(), 0.0)
    before = choice.learn(untrained, episodes, still, 4, rng)["loss"]
    assert choice.learn(network, episodes, optimizer, 4, rng)["loss"] < 0.5 * before
    assert not choice.lessons(
        ImitationPass(1, network, [dataclasses.replace(some[0], rounds=2)], refuse, rng)
    ), "nothing is learned where no rounds are left"


def test_arms_change_where_a_choice_is_due_whatever_the_initial_rates() -> None:
    for row in (0, 5):
        plan = played(small(row))
        arms = [int(np.flatnonzero((order == ORDERS).all(axis=1))[0]) for order in plan]
        assert ARMS[arms[0]] == FIRST
        changed = np.flatnonzero(np.diff(arms)) + 1
        assert len(changed) and all(is_due(int(step)) for step in changed)
        assert np.array_equal(plan, played(dataclasses.replace(small(row), alpha=9.0, beta=0.7)))
        assert validate(small(row), plan, World(0)).feasible


def test_the_shipped_policy_scores_as_its_card_says() -> None:
    weights, card = load_policy(SHIPPED / Choice.FOLDER, PROBLEM)
    network = CHOICE.network(card.width)
    network.load_state_dict(weights)
    found = CHOICE.score(network, SETS.load("mixed:val"))
    # Deterministic but for the last digits of floats, which may decide a tie.
    expected = card.expected["mixed:val"]["final_error"]
    assert found["final_error"] == pytest.approx(expected, abs=0.01)
