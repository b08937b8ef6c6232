"""The policy of sequence parallelism: compiled play, lessons, and the agents as contenders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.sequence_parallelism.imitation import demonstrate
from sysopt_gym.agents.sequence_parallelism.network import FAR, ShortlistPolicy
from sysopt_gym.agents.sequence_parallelism.players import load_weights
from sysopt_gym.agents.sequence_parallelism.playing import Player, take_weights
from sysopt_gym.agents.sequence_parallelism.recipe import RECIPE
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.envs.sequence_parallelism.env import SequenceParallelismEnv
from sysopt_gym.envs.sequence_parallelism.problem import PROBLEM

SMALL = {"sequences": "12", "devices": "8", "context": "32K", "shape": "crawl", "steps": "2"}


@pytest.fixture(scope="module")
def network() -> ShortlistPolicy:
    torch.manual_seed(0)
    return ShortlistPolicy(8)


def test_compiled_play_is_that_of_the_network(network: ShortlistPolicy) -> None:
    batch = generate(SMALL, 0)
    player, rng = Player(batch, take_weights(network)), np.random.default_rng(0)
    time = player.play(0.0, rng)
    env, ended = SequenceParallelismEnv(batch), False
    observation, info = env.reset()
    actions = []
    while not ended:
        obs = stack([observation])
        with torch.inference_mode():
            logits = network.logits(network.encode(obs), obs)[0]
        actions.append(int(logits.argmax()))
        observation, _, ended, _, info = env.step(actions[-1])
    assert player.actions.tolist() == actions
    assert info["objective"] == pytest.approx(time)
    assert player.play(1.0, rng) == pytest.approx(
        PROBLEM.validate(batch, player.actions, World()).objective
    )


def test_both_forms_have_the_same_logits(network: ShortlistPolicy) -> None:
    batch, seen = generate(SMALL, 1), []
    for form in ("groups", "shortlist"):
        observation, _ = SequenceParallelismEnv(batch, form).reset()
        obs = stack([observation])
        seen.append((observation, network.logits(network.encode(obs), obs)[0].detach().numpy()))
    (groups, wide), (short, narrow) = seen
    there = short["action_mask"] > 0
    assert np.allclose(wide[groups["candidate_actions"][there]], narrow[there])
    others = np.setdiff1d(np.flatnonzero(groups["action_mask"]), groups["candidate_actions"])
    assert (wide[others] == np.float32(FAR)).all()


def test_samples_follow_the_softmax_of_the_scores(network: ShortlistPolicy) -> None:
    batch = generate(SMALL | {"sequences": "1", "steps": "1"}, 0)
    player, rng = Player(batch, take_weights(network)), np.random.default_rng(0)
    observation, _ = SequenceParallelismEnv(batch, "shortlist").reset()
    obs = stack([observation])
    chances = network.logits(network.encode(obs), obs)[0].softmax(0).detach().numpy()
    drawn = []
    for _ in range(2000):
        player.play(1.0, rng)
        drawn.append(player.actions[0])
    _, counts = np.unique(drawn, return_counts=True)
    assert sorted(counts / 2000) == pytest.approx(sorted(chances[chances > 0]), abs=0.05)


def test_lessons_are_choices_of_the_plan_with_what_was_still_to_come() -> None:
    batch = generate(SMALL, 0)
    env, rng = SequenceParallelismEnv(batch), np.random.default_rng(0)
    observation, _ = env.reset()
    plan, ended, total = [], False, 0.0
    while not ended:
        listed = observation["candidate_actions"]
        plan.append(int(rng.choice(listed[listed >= 0])))
        observation, reward, ended, *_ = env.step(plan[-1])
        total += reward
    choices = demonstrate(env, batch, np.array(plan), 1.0)
    assert len(choices) == len(plan)
    assert choices[0].to_come == pytest.approx(total)
    short, first = SequenceParallelismEnv(batch, "shortlist"), choices[0].observation
    assert short.observation_space.contains(first)
    short.reset()
    for choice in choices:
        _, ended = short.advance(choice.action)
    assert ended and short.report()["objective"] == env.report()["objective"]


def test_a_score_is_a_share_of_the_bound_and_lower_is_better() -> None:
    found = RECIPE.score(ShortlistPolicy(8), [generate(SMALL, 0)])
    assert found["best_of_8"] >= 1.0 and set(found) == {"greedy", "sample", "best_of_8"}


@pytest.mark.parametrize("name", ["ppo", "agent"])
def test_the_agents_plan_within_evaluations_and_beat_random_play(name: str) -> None:
    batch = PROBLEM.sets.load("small:test/1")[0]
    solved = run(load_contender(PROBLEM.family, name), PROBLEM, Task(batch, Budget(60.0, 40), 0, 0))
    verdict = PROBLEM.validate(batch, solved.actions, World())
    assert verdict.feasible and verdict.objective < 4000
    times = [PROBLEM.validate(batch, one.actions, World()).objective for one in solved.incumbents]
    assert times == sorted(times, reverse=True) and times[-1] == verdict.objective


def test_the_shipped_policy_plays_a_batch_of_512_in_milliseconds() -> None:
    from sysopt_gym.agents.sequence_parallelism.players import PPO

    batch = PROBLEM.sets.load("wiki-192k:test/0")[0]
    player, rng = Player(batch, load_weights(PPO)), np.random.default_rng(0)
    assert player.play(0.0, rng) < 1.6 * PROBLEM.describe(batch)["least time (ms)"]
