"""Compiled self-play: what it records is what the environment shows, pays and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.algorithms.ppo import PPOConfig
from sysopt_gym.agents.algorithms import build_algorithm
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.memory_mapping import selfplay as memory_play
from sysopt_gym.agents.memory_mapping.network import DecisionPolicy
from sysopt_gym.agents.pair_scores import pair_scores
from sysopt_gym.agents.selfplay.groups import group_size, in_groups, less_the_group
from sysopt_gym.agents.selfplay.minibatches import of_moments, of_segments
from sysopt_gym.agents.selfplay.segment import Order, Segment
from sysopt_gym.agents.selfplay.setup import play_compiled
from sysopt_gym.agents.training import train
from sysopt_gym.agents.vm_rescheduling import selfplay as vm_play
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.core.errors import SettingError, UnknownNameError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.memory_mapping.env import MallocGameEnv
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from tiny_clusters import make_cluster
from tiny_programs import make_program

CLUSTERS = [*map(make_cluster, range(6)), *SETS.load("small:test/0")]
PROGRAMS = [
    *map(make_program, range(3)),
    make_program(3, 12, "terminate"),
    make_program(4, 12, "reserve", share=0.2),
]


def order(count: int, steps: int = 0, episodes: int = 0, discount: float = 1.0) -> Order:
    """Order that plays `count` instances in turns."""
    turn = iter(range(10**6))
    rng = np.random.default_rng(0)
    return Order(steps, episodes, False, discount, lambda: next(turn) % count, rng)


def heard(network: Any, seen: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Logits of the legal actions, and the value, as the network computes them from padding."""
    batch = stack([seen])
    with torch.no_grad():
        encoded = network.encode(batch)
        logits = network.logits(encoded, batch)[0].numpy()
        value = float(network.value(encoded)[0])
    return logits[np.flatnonzero(seen["action_mask"])], value


def replay(env: Any, network: Any, segment: Segment[Any], judged: Any) -> None:
    """Play a whole recorded episode in the environment, and compare everything at every step."""
    seen, _ = env.reset(seed=0)
    ended, moment, info = False, -1, {}
    earned, steps = np.zeros(len(segment.actions)), np.zeros(len(segment.actions), np.int64)
    everything = 0.0
    while not ended:
        legal = np.flatnonzero(seen["action_mask"])
        action = legal[0]
        if len(legal) > 1 or env.family == "vm_rescheduling":
            moment += 1
            logits, value = heard(network, seen)
            own = judged.logits[moment].detach().numpy()
            own = own[own > -1e8]
            assert np.allclose(own, logits, atol=1e-3)
            assert segment.values[moment] == pytest.approx(value, abs=1e-3)
            assert judged.values[moment].item() == pytest.approx(value, abs=1e-3)
            taken = int(segment.actions[moment])
            if env.family == "vm_rescheduling":
                action, position = legal[taken], taken
            else:
                action, position = taken, int(np.flatnonzero(legal == taken)[0])
            weights = np.exp(logits - logits.max())
            chance = np.log(weights[position] / weights.sum())
            assert segment.log_probabilities[moment] == pytest.approx(chance, abs=1e-3)
        seen, reward, ended, _, info = env.step(action)
        everything += reward
        if moment >= 0:
            earned[moment] += reward
            steps[moment] += 1
    assert moment == len(segment.actions) - 1
    assert np.allclose(segment.rewards, earned, atol=1e-9)
    assert segment.steps.tolist() == steps.tolist()
    assert segment.gain == pytest.approx(everything, abs=1e-9)
    assert segment.objective == pytest.approx(info["objective"], abs=1e-9)
    assert segment.values[-1] == 0.0


def test_recorded_episodes_of_clusters_are_the_environments() -> None:
    torch.manual_seed(1)
    network = RelationalPolicy(16)
    player = vm_play.SELF_PLAY.player(CLUSTERS, {}, 2)
    segments = player.play(network, order(len(CLUSTERS), episodes=2 * len(CLUSTERS)))
    assert len(segments) == 2 * len(CLUSTERS)
    for segment in segments:
        if len(segment.actions):
            judged = vm_play.judge(network, vm_play.together([segment.moments]))
            recorded = vm_play.recorded(vm_play.together([segment.moments]))
            assert torch.allclose(judged.logits, recorded, atol=1e-3)
            env = VMReschedulingEnv(CLUSTERS[segment.instance])
            replay(env, network, segment, judged)
        else:
            env = VMReschedulingEnv(CLUSTERS[segment.instance])
            seen, _ = env.reset(seed=0)
            assert np.flatnonzero(seen["action_mask"]).tolist() == [env.instances[0].n_vms]


def test_recorded_episodes_of_programs_are_the_environments() -> None:
    torch.manual_seed(1)
    network = DecisionPolicy(16)
    player = memory_play.SELF_PLAY.player(PROGRAMS, {}, 1)
    cut = set()  # where more decisions were redone than the program has
    for segment in player.play(network, order(len(PROGRAMS), episodes=2 * len(PROGRAMS))):
        if not segment.is_done:
            cut.add(segment.id_)
        elif segment.id_ not in cut:
            env = MallocGameEnv(PROGRAMS[segment.instance])
            moments = memory_play.Moments(*map(torch.from_numpy, segment.moments))
            replay(env, network, segment, memory_play.judge(network, moments))


def test_parts_of_a_cut_episode_are_the_whole() -> None:
    network = DecisionPolicy(16)
    whole = memory_play.SELF_PLAY.player(PROGRAMS[:1], {}, 1)
    parts = memory_play.SELF_PLAY.player(PROGRAMS[:1], {}, 1)
    (one,) = whole.play(network, order(1, episodes=1)._replace(greedy=True))
    found: list[Segment[Any]] = []
    while not found or not found[-1].is_done:
        found += parts.play(network, order(1, steps=3)._replace(greedy=True))[:1]
        assert found[-1].is_done or found[-1].values[-1] != 0.0
    assert len(found) > 2
    assert len({part.id_ for part in found}) == 1
    assert np.concatenate([part.actions for part in found]).tolist() == one.actions.tolist()
    assert sum(part.gain for part in found) == pytest.approx(one.gain)
    assert sum(map(len, found)) == len(one)


def test_the_network_learns_from_versions_as_from_padded_observations() -> None:
    """One gradient of both, over all plies of all episodes."""
    torch.manual_seed(2)
    network = RelationalPolicy(8)
    segments = vm_play.SELF_PLAY.player(CLUSTERS, {}, 1).play(network, order(7, episodes=7))
    segments = [one for one in segments if len(one.actions)]
    moments = [one.moments for one in segments]
    batch = next(iter(vm_play.minibatches(moments, 10**6, np.random.default_rng(0))))
    assert sorted(batch.rows.tolist()) == list(range(sum(len(one.actions) for one in segments)))
    judged = vm_play.judge(network, batch.moments)
    actions = np.concatenate([one.actions for one in segments])[batch.rows]
    chances = judged.logits.log_softmax(1)[torch.arange(len(actions)), torch.from_numpy(actions)]
    (chances.sum() + judged.values.sum()).backward()
    parts = dict(network.named_parameters())
    own = {name: part.grad.clone() for name, part in parts.items() if part.grad is not None}
    network.zero_grad()
    for segment in segments:
        env = VMReschedulingEnv(CLUSTERS[segment.instance])
        seen, _ = env.reset(seed=0)
        for taken in segment.actions:
            observation = stack([seen])
            encoded = network.encode(observation)
            legal = np.flatnonzero(seen["action_mask"])
            logits = network.logits(encoded, observation)[0][torch.from_numpy(legal)]
            (logits.log_softmax(0)[int(taken)] + network.value(encoded)[0]).backward()
            seen, *_ = env.step(legal[taken])
    for name, part in parts.items():
        if part.grad is not None and part.grad.abs().max() > 0:
            scale = float(part.grad.abs().max())
            assert torch.allclose(own[name], part.grad, atol=2e-3 * scale + 1e-4), name


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 12))
def test_scores_of_pairs_and_their_slopes_are_those_of_plain_layers(
    seed: int, entities: int, states: int, pairs: int
) -> None:
    torch.manual_seed(seed)
    given_ = [torch.randn(entities, 3), torch.randn(states, 3), torch.randn(3)]
    rows, at = torch.randint(entities, (pairs,)), torch.randint(states, (pairs,))
    slopes, found = torch.randn(pairs), []
    for plain in (True, False):
        own, shift, weight = (part.clone().requires_grad_() for part in given_)
        if plain:
            scores = torch.relu(own[rows] + shift[at]) @ weight
        else:
            scores = pair_scores(own, shift, weight, rows, at)
        (scores * slopes).sum().backward()
        found.append([scores.detach(), own.grad, shift.grad, weight.grad])
    for wanted, got in zip(*found, strict=True):
        assert torch.allclose(wanted, got, atol=1e-5)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_a_pass_has_every_moment_once(sizes: list[int], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = list(of_segments(list(range(len(sizes))), sizes, size, rng, list))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(sum(sizes)))
    ends = np.cumsum(sizes)
    for batch in batches:
        whole = np.concatenate([np.arange(ends[k] - sizes[k], ends[k]) for k in batch.moments])
        assert batch.rows.tolist() == whole.tolist()
    mixed = list(of_moments(sum(sizes), size, rng, lambda rows: rows))
    assert sorted(np.concatenate([batch.rows for batch in mixed]).tolist()) == sorted(rows.tolist())
    counts = [len(batch.rows) for batch in mixed]
    assert max(counts) - min(counts) <= 1


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_advantages_are_sums_of_all_later_errors(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    discount, lambda_ = rng.uniform(0.5, 1.0, 2)
    values, rewards = rng.normal(size=count + 1), rng.normal(size=count)
    steps = rng.integers(1, 4, count)
    segment = Segment(
        None, np.zeros(count, np.int64), np.zeros(count), values, rewards, steps, 0, 0, count, 0.0,
        0.0, None,
    )  # fmt: skip
    wanted = []
    for t in range(count):
        total, factor = 0.0, 1.0
        for k in range(t, count):
            total += factor * (rewards[k] + discount ** steps[k] * values[k + 1] - values[k])
            factor *= discount ** steps[k] * lambda_
        wanted.append(total)
    assert np.allclose(segment.advantages(discount, lambda_), wanted)


SHORT = {
    "training": {"train_batch_size_per_learner": 64, "minibatch_size": 32, "num_epochs": 2},
    "env_runners": {"num_env_runners": 0, "num_envs_per_env_runner": 2},
}


def build(environment: dict[str, Any], self_play: str, **parts: Any) -> Any:
    """PPO on small clusters."""
    network = {"family": "vm_rescheduling", "width": 8}
    given_ = {"instances": "small:train"} | environment
    return build_algorithm(
        "ppo", load_problem("vm_rescheduling"), given_, network, 3, SHORT | parts, None, self_play
    )


@pytest.mark.slow
def test_training_on_programs_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """In the middle of episodes that several iterations take."""
    overrides = {
        "width": "8", "imitation.epochs": "0", "validation": "[small:val/0]",
        "ppo.instances": "[small:train]", "ppo.iterations": "4", "ppo.checkpoint_every": "2",
        "ppo.self_play": "compiled", "ppo.algorithm.env_runners.num_envs_per_env_runner": "3",
        "ppo.algorithm.training.train_batch_size_per_learner": "48",
        "ppo.algorithm.training.minibatch_size": "16",
    }  # fmt: skip
    train("memory_mapping_ppo", overrides | {"out": str(tmp_path / "run")}, resume=False)
    (tmp_path / "run/checkpoints/000004").rename(tmp_path / "last")
    train("memory_mapping_ppo", overrides | {"out": str(tmp_path / "run")}, resume=True)
    again = tmp_path / "run/checkpoints/000004"
    first, second = (torch.load(p / "network.pt")["network"] for p in (tmp_path / "last", again))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


@pytest.mark.slow
def test_groups_are_of_one_instance_and_their_others_are_the_baseline() -> None:
    turn = iter(range(10))
    draw = in_groups(lambda: next(turn), 3)
    assert [draw() for _ in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    player = vm_play.SELF_PLAY.player(CLUSTERS, {}, 1)
    segments = player.play(RelationalPolicy(8), order(3, episodes=7))
    rng = np.random.default_rng(0)
    given_ = [rng.normal(size=len(one.actions)) for one in segments]
    ends = np.cumsum([len(part) for part in given_])[:-1]
    for row, left in enumerate(np.split(less_the_group(segments, np.concatenate(given_)), ends)):
        for t in range(len(left)):
            others = [
                part[t]
                for k, (one, part) in enumerate(zip(segments, given_, strict=True))
                if k != row and one.instance == segments[row].instance and t < len(part)
            ]
            assert left[t] == pytest.approx(given_[row][t] - (np.mean(others) if others else 0.0))


@pytest.mark.parametrize("group", [0, True, 2.0])
def test_groups_that_cannot_be_are_refused(group: Any) -> None:
    with pytest.raises(SettingError, match="no number of episodes"):
        group_size(PPOConfig().learners(learner_config_dict={"group": group}))


def test_groups_that_are_not_played_are_told() -> None:
    config = PPOConfig().learners(learner_config_dict={"group": 8})
    with pytest.warns(InputNote, match="does not serve self_play: environment; episodes have no"):
        assert not play_compiled(config, "ppo", {}, VMReschedulingEnv(CLUSTERS[0]), "environment")


@pytest.mark.long
def test_remote_runners_play_compiled_and_differ() -> None:
    algorithm = build({}, "compiled", env_runners={"num_env_runners": 2})
    try:
        for _ in range(2):
            result = algorithm.train()
        assert result["env_runners"]["num_env_steps_sampled_lifetime"] >= 128
        played = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: [one.actions.tolist() for one in runner.sample(num_timesteps=30)],
            local_env_runner=False,
        )
        assert len(played) == 2 and played[0] != played[1]
    finally:
        algorithm.stop()


@pytest.mark.parametrize("group", [1, 3])
def test_a_run_that_goes_on_plays_what_it_would_have(group: int, tmp_path: Path) -> None:
    parts = {"learners": {"learner_config_dict": {"group": group}}}
    first = build({}, "auto", **parts)
    first.train()
    first.save_to_path(str(tmp_path))
    on, other = first.train(), build({}, "auto", **parts)
    other.restore_from_path(str(tmp_path))
    again = other.train()
    for figures in ("episode_return_max", "objective", "num_env_steps_sampled_lifetime"):
        assert on["env_runners"][figures] == pytest.approx(again["env_runners"][figures])
    weights = [
        one.learner_group.get_weights()["default_policy"]["network.message.weight"]
        for one in (first, other)
    ]
    assert np.allclose(*weights, atol=1e-6)
    for one in (first, other):
        one.stop()


@pytest.mark.parametrize(
    ("environment", "parts", "named"),
    [
        ({"form": "joint"}, {}, "form 'joint'"),
        ({"allow_stop": True}, {}, "allow_stop"),
        ({}, {"learners": {"num_learners": 2}}, "several learners"),
        ({}, {"callbacks": {"on_episode_step": "builtins:print"}}, "on_episode_step of your own"),
        ({"instances": "huge:test/1"}, {}, "huge:test/1, whose record takes 2.1 GB"),
    ],
)
def test_what_cannot_be_played_compiled_is_refused_where_it_is_asked_for(
    environment: dict[str, Any], parts: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        build(environment, "compiled", **parts)


def test_an_unknown_way_to_play_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="auto, compiled, environment"):
        build({}, "quick")
