"""Policies with a memory: in RLlib's module, in players, in lessons from hindsight."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from sysopt_gym.agents.algorithms import build_algorithm
from sysopt_gym.agents.checkpoints import Card, save_policy
from sysopt_gym.agents.federated_lr import hindsight
from sysopt_gym.agents.federated_lr.network import RatePolicy, RecurrentRatePolicy
from sysopt_gym.agents.federated_lr.players import Adaptive
from sysopt_gym.agents.federated_lr.recipe import GRU
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.agents.recurrent.imitation import learn_worth
from sysopt_gym.agents.recurrent.rl_module import RecurrentModule
from sysopt_gym.agents.training import train
from sysopt_gym.benchmarks import recurrent_allocation as comparison
from sysopt_gym.benchmarks import recurrent_policies
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.play import Task, play_policy
from sysopt_gym.datasets.federated_lr.instance import Federation, seal, terms_of
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.dynamics import make_dynamics
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.grid import ACTIONS, FACTORS, STAY, factors_of
from sysopt_gym.envs.federated_lr.orders import order
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.validate import validate
from sysopt_gym.methods.vm_allocation.playing import packed_world, play_tables, play_worth

RECIPE = ".agents.federated_lr.recipe:GRU"
WIDTH = 16


def small() -> Federation:
    """A small federation of which the area under the curve counts."""
    federation = SETS.load("small:test/2")[0]
    return seal(dataclasses.replace(federation, objective="area_under_curve"))


def test_the_module_computes_rows_as_it_acts_step_by_step() -> None:
    env = FederatedLREnv(small())
    described = {"family": "federated_lr", "recipe": RECIPE, "width": WIDTH, "max_seq_len": 32}
    torch.manual_seed(0)
    module = RecurrentModule(
        observation_space=env.observation_space, action_space=env.action_space,
        model_config=described,
    )  # fmt: skip
    assert module.is_stateful()
    lanes, steps = 2, 5
    rounds = torch.randn(lanes, steps, 4, 16)
    seen = {"rounds": rounds, "action_mask": torch.ones(lanes, steps, ACTIONS, dtype=torch.int8)}
    first = {key: torch.stack([part] * lanes) for key, part in module.get_initial_state().items()}
    whole = module.forward_train({Columns.OBS: seen, Columns.STATE_IN: first})
    state, inputs = first, []
    for t in range(steps):
        step = {key: part[:, t : t + 1] for key, part in seen.items()}
        out = module.forward_exploration({Columns.OBS: step, Columns.STATE_IN: state})
        assert set(out) == {Columns.ACTION_DIST_INPUTS, Columns.STATE_OUT}
        state = out[Columns.STATE_OUT]
        inputs.append(out[Columns.ACTION_DIST_INPUTS])
    torch.testing.assert_close(
        whole[Columns.ACTION_DIST_INPUTS].detach(), torch.cat(inputs, dim=1).detach()
    )
    batch = {Columns.OBS: seen, Columns.STATE_IN: first}
    values = module.compute_values(batch)
    assert values.shape == (lanes, steps) and not values.requires_grad
    torch.testing.assert_close(
        values, module.compute_values(batch, whole[Columns.EMBEDDINGS]).detach()
    )


def test_algorithms_that_keep_no_state_are_refused() -> None:
    described = {"family": "federated_lr", "recipe": RECIPE, "width": WIDTH}
    for stage in ("dqn", "alphazero", "appo"):
        with pytest.raises(SettingError, match="memory; ppo does"):
            build_algorithm(stage, PROBLEM, {"instances": [small()]}, described, 0, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy with a memory that moves the rates about."""
    torch.manual_seed(0)
    network = RecurrentRatePolicy(WIDTH)
    torch.nn.init.normal_(network.scores.weight, std=1.0)
    card = Card("federated_lr", PROBLEM.env_version, WIDTH, "made", {}, {}, "", recipe=RECIPE)
    save_policy(tmp_path / "policy", network.state_dict(), card)
    return tmp_path / "policy"


def test_players_begin_anew_with_each_episode_and_go_on_as_copies(folder: Path) -> None:
    player = Adaptive(folder)
    task = Task(small(), Budget(60.0), 0, 0)
    plan = play_policy(PROBLEM, player, task).actions
    assert len(np.unique(plan[:, 0])) > 1
    assert np.array_equal(plan, play_policy(PROBLEM, player, task).actions)
    env = FederatedLREnv(small(), form="orders")
    observation, info = env.reset(seed=0)
    player.reset(terms_of(small()), Budget(60.0), 0)
    for row in plan[:4]:
        assert np.array_equal(player.act(observation, info), row)
        observation, _, _, _, info = env.step(row)
    remembered = {key: part.clone() for key, part in player.state.items()}
    for twin in (copy.deepcopy(player), pickle.loads(pickle.dumps(player))):
        assert np.array_equal(twin.act(observation, info), plan[4])
        assert all(torch.equal(part, player.state[key]) for key, part in remembered.items())
    assert np.array_equal(player.act(observation, info), plan[4])


def test_actions_are_worth_the_accuracies_of_the_rounds_to_come() -> None:
    count, f = len(hindsight.TRIED), small()
    lanes = make_dynamics([f] * count)
    for lane in range(count):
        lanes.begin(lane, f, 3)
    start = np.tile(order(f.alpha, f.beta), (count, 1))
    for _ in range(3):
        lanes.step(start, np.arange(count))
    worth = hindsight.worth_of_actions(lanes)
    for action in (STAY, STAY + 1, STAY + len(FACTORS)):
        line, accuracies = lanes.fork(), []
        of_alpha, of_beta = factors_of(action)
        given = np.tile(order(f.alpha * of_alpha, f.beta * of_beta), (count, 1))
        for _ in range(hindsight.HORIZON):
            line.step(given, np.arange(count))
            accuracies.append(line.statistics.validation_accuracy[0])
        assert worth[action] == pytest.approx(np.mean(accuracies))
    both = worth[STAY + 1] + worth[STAY + len(FACTORS)] - worth[STAY]
    assert worth[STAY + len(FACTORS) + 1] == pytest.approx(both)


def test_lessons_are_learned_from_where_the_worth_is_known() -> None:
    torch.manual_seed(0)
    network: Any = GRU.network(WIDTH)
    rng = np.random.default_rng(0)

    def refuse(federation: Federation) -> np.ndarray:
        raise AssertionError("no contender is imitated")

    episodes = hindsight.lessons(ImitationPass(0, network, [small()] * 2, refuse, rng))
    assert len(episodes) == 4
    for episode in episodes:
        unknown = np.isnan(episode.worth)
        assert unknown.any() and np.array_equal(unknown.all(axis=1), unknown.any(axis=1))
    assert any(np.isfinite(episode.worth).any() for episode in episodes)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = [learn_worth(network, episodes, optimizer, 4, rng)["loss"] for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    plain = RatePolicy(WIDTH)
    assert learn_worth(plain, episodes, torch.optim.SGD(plain.parameters(), 0.0), 4, rng)["loss"]


@pytest.mark.long
def test_a_policy_with_a_memory_learns_from_hindsight_and_ppo_goes_on(tmp_path: Path) -> None:
    overrides = {
        "recipe": RECIPE, "out": str(tmp_path / "run"), "width": "8",
        "validation": "[small:test/0]",
        "imitation.contender": "", "imitation.instances": "[small:test/0]", "imitation.epochs": "1",
        "ppo.instances": "[small:test/0, small:test/1]", "ppo.iterations": "2",
        "ppo.settings": "{}", "ppo.environment": "{}",
        "ppo.algorithm.env_runners.num_envs_per_env_runner": "2",
        "ppo.algorithm.training.train_batch_size_per_learner": "64",
        "ppo.algorithm.training.minibatch_size": "32",
        "ppo.algorithm.training.num_epochs": "1",
    }  # fmt: skip
    policy = train("federated_lr_agent", overrides, resume=False)
    plan = play_policy(PROBLEM, Adaptive(policy), Task(small(), Budget(60.0), 0, 0)).actions
    judged = SETS.load("small:test/2")[0]
    assert validate(judged, plan, World(0)).feasible


@pytest.mark.long
def test_the_comparison_in_shifting_data_centers_plays_as_its_rules_do_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"PMS": 4, "TRAINED_ON": 2, "CHOSEN_ON": 1, "CHECKED": (2,)}.items():
        monkeypatch.setattr(comparison, name, value)
    center = comparison.centers_of("test", 2)[1]
    rules = comparison.rules_in(center)
    alone = [play_worth(packed_world(center, 0), rules.worth, 0.0)]
    alone += [play_tables(packed_world(center, 0), *table) for table in rules.tables]
    assert [comparison.by_rule(center, rule) for rule in range(len(alone))] == alone
    hourly = comparison.World(center)
    while hourly.play(1):
        assert np.isfinite(hourly.seen()).all() and len(hourly.seen()) == comparison.FEATURES
    assert hourly.objective() == alone[1]
    comparison.main(tmp_path, seeds=1, tests=2)
    first = capsys.readouterr().out
    assert all(name in first for name in (*recurrent_policies.NAMES, *comparison.NAMES))
    comparison.main(tmp_path, seeds=1, tests=2)
    again = capsys.readouterr().out
    assert again.splitlines()[-8:] == first.splitlines()[-8:] and "pass" not in again
