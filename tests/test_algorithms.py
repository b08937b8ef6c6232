"""RLlib's algorithms on the families' environments: what trains, what is refused, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from sysopt_gym.agents.algorithms import (
    ALGORITHMS,
    apply_part,
    build_algorithm,
    check_fits,
    trained_policy,
)
from sysopt_gym.agents.network import MASKED
from sysopt_gym.agents.q_module import QF_PREDS, QModule
from sysopt_gym.agents.recipe import load_recipe
from sysopt_gym.agents.rl_module import PolicyModule
from sysopt_gym.core.errors import SettingError, TrainingError, UnknownNameError
from sysopt_gym.core.registry import load_problem

LANES = {"env_runners": {"num_env_runners": 0, "num_envs_per_env_runner": 2}}
SHORT: dict[str, dict[str, Any]] = {
    "ppo": {
        "training": {
            "train_batch_size_per_learner": 64,
            "minibatch_size": 32,
            "num_epochs": 1,
        }
    },
    "appo": {
        "training": {"train_batch_size_per_learner": 64},
        "reporting": {"min_sample_timesteps_per_iteration": 128},
    },
    "dqn": {
        "training": {
            "train_batch_size_per_learner": 16,
            "num_steps_sampled_before_learning_starts": 32,
        },
        "reporting": {"min_sample_timesteps_per_iteration": 128},
    },
}
SHORT["impala"] = SHORT["appo"]
ENDED: list[float] = []  # objectives of episodes, as `note_ended` saw them


def note_ended(*, episode: Any, **others: Any) -> None:
    ENDED.append(episode.get_infos(-1)["objective"])


def build(stage: str, family: str, instances: Any, more: Any = {}, **kwargs: Any) -> Any:  # noqa: B006
    environment = {"instances": instances}
    if family == "sequence_design":
        environment["designs"] = 1
    described = {"family": family, "width": 8}
    parts = LANES | SHORT.get(stage, {}) | more
    return build_algorithm(stage, load_problem(family), environment, described, 0, parts, **kwargs)


@pytest.fixture
def stopping() -> Iterator[list[Any]]:
    algorithms: list[Any] = []
    yield algorithms
    for algorithm in algorithms:
        algorithm.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, family, instances",
    [
        ("appo", "vm_rescheduling", "small:train/0"),
        ("impala", "memory_mapping", "small:train/0"),
        pytest.param("dqn", "sequence_design", "ehrlich:small/0", marks=pytest.mark.long),
    ],
)
def test_an_algorithm_changes_the_network_and_reports_objectives(
    stage: str, family: str, instances: str, stopping: list[Any]
) -> None:
    algorithm = build(stage, family, instances)
    stopping.append(algorithm)
    before = trained_policy(stage, algorithm).state_dict()
    results = [algorithm.train() for _ in range(2)]
    after = trained_policy(stage, algorithm).state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(values).all() for values in after.values())
    load_recipe(family).network(8).load_state_dict(after)
    assert np.isfinite(results[-1]["env_runners"]["objective"])


@pytest.mark.slow
def test_the_objective_is_the_mean_of_the_environments_by_instance_set(
    stopping: list[Any],
) -> None:
    problem = load_problem("memory_mapping")
    names = {"these": "small:train/0", "those": "small:train/1"}
    loaded = {name: problem.sets.load(place)[0] for name, place in names.items()}
    instances = [problem.contender_view(one) for one in loaded.values()]
    sets = {one.content_hash: name for name, one in zip(names, instances, strict=True)}
    own = {"callbacks": {"on_episode_end": f"{__name__}:note_ended"}}
    ENDED.clear()
    algorithm = build("ppo", "memory_mapping", instances, own, sets=sets)
    stopping.append(algorithm)
    met: set[str] = set()
    for _ in range(20):
        before = len(ENDED)
        told = algorithm.train()["env_runners"]
        if ended := ENDED[before:]:  # a user's callback is heard, too
            assert told["objective"] == pytest.approx(np.mean(ended))
            found = {k: v for k, v in told["objective_by_set"].items() if np.isfinite(v)}
            assert min(found.values()) <= told["objective"] <= max(found.values())
            met |= set(found)
        if met == set(names):
            break
    assert met == set(names)


@pytest.mark.slow
def test_training_ends_in_the_error_that_a_learners_thread_dies_of(stopping: list[Any]) -> None:
    algorithm = build("impala", "memory_mapping", "small:train/0")
    stopping.append(algorithm)

    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError("planted")

    algorithm.learner_group._learner.compute_loss_for_module = fail
    with pytest.raises(TrainingError, match="ZeroDivisionError: planted"):
        for _ in range(3):
            algorithm.train()


@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=1, max_size=8),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_actions_that_are_masked_are_never_chosen(
    masks: list[list[bool]], dueling: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    described = {"family": "memory_mapping", "width": 8, "num_atoms": 1, "epsilon": 0.5}
    described |= {"double_q": True, "dueling": dueling}
    module = QModule(action_space=gym.spaces.Discrete(3), model_config=described)
    space = gym.make("sysopt_gym:sysopt/MallocGame-v0", instances="small:train/0").observation_space
    mask = torch.tensor(masks)
    seen = {key: torch.randn(len(masks), *part.shape) for key, part in space.items()} | {
        "action_mask": mask.to(torch.int8)
    }
    values = module.compute_q_values({"obs": seen})[QF_PREDS]
    assert torch.equal(values > MASKED / 2, mask)
    greedy = module.forward_inference({"obs": seen})["action_dist_inputs"].argmax(-1)
    explored = module.forward_exploration({"obs": seen}, t=0)["actions"]
    for actions in (greedy, explored):
        assert mask.gather(1, actions.unsqueeze(1)).all()
    if dueling:  # a state's value is the mean over its legal actions
        mean = (values * mask).sum(1) / mask.sum(1)
        expected = module.network.value(module.network.encode(seen))
        torch.testing.assert_close(mean, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", ["dqn", "alphazero"])
def test_an_algorithm_that_cannot_choose_the_actions_says_which_can(stage: str) -> None:
    check_fits(stage, gym.spaces.Discrete(3))
    serving = [n for n, one in ALGORITHMS.items() if gym.spaces.Box in one.actions]
    with pytest.raises(SettingError, match=rf"^{stage} chooses.*Discrete.*are Box") as refused:
        check_fits(stage, gym.spaces.Box(-1.0, 1.0, (2,)))
    assert all(name in str(refused.value) for name in serving)


def test_a_script_that_gives_dqn_the_wrong_module_is_told_the_right_one() -> None:
    described = {"family": "memory_mapping", "width": 8}
    config = DQNConfig().environment(
        "sysopt_gym:sysopt/MallocGame-v0", env_config={"instances": "small:train/0"}
    )
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=PolicyModule, model_config=described))
    with pytest.raises(SettingError, match="QModule"):
        config.build_algo()


def test_parts_of_a_configuration_are_checked_by_their_keys() -> None:
    config = DQNConfig()
    apply_part(config, "callbacks", {"on_episode_end": [f"{__name__}:note_ended"]}, "dqn.algorithm")
    assert config.callbacks_on_episode_end == [note_ended]
    apply_part(config, "fault_tolerance", {"max_num_env_runner_restarts": 3}, "dqn.algorithm")
    assert config.max_num_env_runner_restarts == 3
    with pytest.raises(UnknownNameError, match=r"dqn\.algorithm\.training.*did you mean 'lr'"):
        apply_part(config, "training", {"lrr": 1}, "dqn.algorithm")
    with pytest.raises(SettingError, match=r"callbacks\.on_episode_end.*module:attribute"):
        apply_part(config, "callbacks", {"on_episode_end": "nowhere"}, "dqn.algorithm")


@pytest.mark.parametrize(
    ("stage", "known", "right"), [("muzero", True, "alphazero"), ("alphazero", False, "muzero")]
)
def test_a_search_is_named_by_what_it_searches_in(stage: str, known: bool, right: str) -> None:
    with pytest.raises(SettingError, match=rf"^{stage}\..*known_model.* is called {right}"):
        build(stage, "memory_mapping", "small:train/0", {"training": {"known_model": known}})


def test_learning_from_recordings_asks_for_them() -> None:
    with pytest.raises(SettingError, match=r"bc\.algorithm\.offline_data\.input_.*data record"):
        build("bc", "memory_mapping", "small:train/0")


def test_learning_from_recordings_beside_remote_runners_is_refused() -> None:
    settings = {
        "offline_data": {"input_": ["episodes"]},
        "evaluation": {"evaluation_num_env_runners": 1},
    }
    with pytest.raises(SettingError, match=r"evaluation_num_env_runners 1: .*leave it at 0"):
        build("bc", "memory_mapping", "small:train/0", settings)
