"""The policy of federated_lr: what it is taught, what its players order, and what the shipped ones
are worth.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.agents.batches import imitate_choices, stack
from sysopt_gym.agents.checkpoints import SHIPPED, load_network, load_policy
from sysopt_gym.agents.federated_lr.imitation import demonstrate
from sysopt_gym.agents.federated_lr.network import RatePolicy
from sysopt_gym.agents.federated_lr.players import Agent, AlphaZeroPolicy, Ppo
from sysopt_gym.agents.federated_lr.recipe import score
from sysopt_gym.agents.training import train
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.play import Task, play_policy, run
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.federated_lr.instance import Federation, seal, terms_of
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.grid import STAY, order_of_action
from sysopt_gym.envs.federated_lr.orders import SERVER, SERVER_RULES, constant
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.validate import validate

PLAYERS = (Agent, AlphaZeroPolicy, Ppo)


def small(row: int = 0) -> Federation:
    return SETS.load(f"small:test/{row}")[0]


def played(player: Any, federation: Federation, world_seed: int = 0) -> np.ndarray:
    budget = Budget(60.0)
    task = Task(seal(federation), budget, 0, world_seed)
    return play_policy(PROBLEM, player(), task).actions


def test_an_untrained_policy_leaves_the_rates_as_they_are() -> None:
    torch.manual_seed(0)
    observation, _ = FederatedLREnv(small()).reset(seed=0)
    obs = stack([observation])
    network = RatePolicy(16)
    assert int(network.logits(network.encode(obs), obs).argmax()) == STAY


def test_constant_rates_are_taught_as_leaving_them() -> None:
    samples = demonstrate(small(), constant(terms_of(small())), 0)
    assert {sample.action for sample in samples} == {STAY}
    gained = 1.0 - min(sample.to_come for sample in samples[:1])
    assert gained < 1.0 and samples[-1].to_come <= samples[0].to_come


@given(actions=st.lists(st.integers(0, 24), min_size=21, max_size=21))
@settings(max_examples=10, deadline=None)
def test_a_plan_of_the_grid_teaches_the_very_actions_it_was_made_of(actions: list[int]) -> None:
    env = FederatedLREnv(small())
    observation, info = env.reset(seed=3)
    orders, taken, ended = [], [], False
    for action in actions:
        if ended:
            break
        action = action if observation["action_mask"][action] else STAY
        orders.append(order_of_action(action, info["alpha"], info["beta"], "average"))
        taken.append(action)
        observation, _, ended, _, info = env.step(action)
    samples = demonstrate(small(), np.array(orders), 3)
    assert [sample.action for sample in samples] == taken


def test_imitation_makes_the_lessons_likelier() -> None:
    torch.manual_seed(0)
    network = RatePolicy(16)
    teacher = load_contender("federated_lr", "bold_driver")
    orders = run(teacher, PROBLEM, Task(small(), Budget(60.0), 0, 0)).actions
    samples = demonstrate(small(), orders, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    losses = [imitate_choices(network, samples, optimizer, 8, rng) for _ in range(8)]
    assert losses[-1]["loss"] < losses[0]["loss"]


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("row", [0, 5])
def test_players_hand_over_whole_plans_under_their_own_server_rule(player: Any, row: int) -> None:
    plan = played(player, small(row))
    assert validate(small(row), plan, World(0)).feasible
    assert set(plan[:, SERVER]) == {SERVER_RULES.index(player.SERVER)}
    assert np.array_equal(plan, played(player, small(row)))


def test_the_agent_plays_as_if_every_federation_began_with_the_best_constants() -> None:
    start = dict(zip(("alpha", "beta"), Agent.FIRST, strict=True))
    for row in (0, 5):
        plan = played(Agent, small(row))
        assert np.array_equal(plan, played(Agent, dataclasses.replace(small(row), **start)))
        assert np.array_equal(plan, played(Agent, dataclasses.replace(small(row), alpha=9.0)))
        there = dataclasses.replace(small(row), **start)
        kept = played(type("Kept", (Agent,), {"act": Ppo.act}), there)
        assert np.array_equal(plan, kept), "observations are those of such a federation"


@pytest.mark.parametrize("player", PLAYERS)
def test_a_shipped_policy_mends_a_rate_that_is_far_too_low(player: Any) -> None:
    lost = small(0)
    assert lost.beta == 0.001
    kept = validate(lost, constant(terms_of(lost)), World(1)).objective
    assert validate(lost, played(player, lost, 1), World(1)).objective > kept + 0.1


@pytest.mark.parametrize("player", PLAYERS)
def test_shipped_policies_score_as_their_cards_say(player: Any) -> None:
    folder = SHIPPED / player.FOLDER
    _, card = load_policy(folder, PROBLEM)
    few = SETS.load("mixed:val")
    found = score(load_network(folder, PROBLEM, RatePolicy), few, player.SERVER, player.FIRST)
    # Deterministic but for the last digits of floats, which may decide a tie.
    assert found["final_error"] == pytest.approx(
        card.expected["mixed:val"]["final_error"], abs=0.01
    )
    assert card.config["ppo"]["environment"].get("server", "average") == player.SERVER


def test_a_controller_is_imitated_and_ppo_goes_on_from_there(tmp_path: Path) -> None:
    overrides = {
        "out": str(tmp_path / "run"),
        "width": "8",
        "validation": "[small:test/0]",
        "imitation.instances": "[small:test]",
        "imitation.epochs": "1",
        "ppo.instances": "[small:test/0, small:test/1]",
        "ppo.iterations": "1",
        "ppo.algorithm.env_runners.num_envs_per_env_runner": "2",
        "ppo.algorithm.training.train_batch_size_per_learner": "64",
        "ppo.algorithm.training.minibatch_size": "32",
        "ppo.algorithm.training.num_epochs": "1",
    }
    folder = train("federated_lr_agent", overrides, resume=False)
    _, card = load_policy(folder, PROBLEM)
    assert card.config["imitation"]["contender"] and card.expected["small:test/0"]["loss_left"] > 0
