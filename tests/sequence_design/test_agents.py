"""The policy of sequence design: a distribution over feasible designs, searches better designs, and
what the agents hand over is a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sysopt_gym.agents import checkpoints
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.checkpoints import Card, save_policy
from sysopt_gym.agents.muzero.forest import SearchSettings
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.agents.sequence_design import players, playing
from sysopt_gym.agents.sequence_design.imitation import (
    Sample,
    imitate,
    imitate_measured,
    lessons,
)
from sysopt_gym.agents.sequence_design.lookahead import Lookahead
from sysopt_gym.agents.sequence_design.network import Encoded, SequencePolicy
from sysopt_gym.agents.sequence_design.players import (
    ALPHAZERO,
    PPO,
    ProximalLearner,
    solve_agent,
    solve_alphazero,
    solve_ppo,
)
from sysopt_gym.agents.sequence_design.recipe import score_edits
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.sequence_design.instance import DesignTask, seal
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.dynamics import feasible
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.plan import designs_of
from sysopt_gym.envs.sequence_design.problem import PROBLEM
from sysopt_gym.envs.sequence_design.proxy import fit_proxy, reference_proxy
from sysopt_gym.envs.sequence_design.validate import validate
from sysopt_gym.methods.sequence_design.pool import Pool

PLAYERS = (solve_agent, solve_alphazero, solve_ppo)

Tiny = Callable[..., DesignTask]


@pytest.fixture(autouse=True, scope="module")
def small_policies() -> Iterator[None]:
    """Policies of tiny tasks are good enough for these tests when they are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "WIDTH", 16)
        patch.setattr(players, "WARM_BATCHES", 20)
        patch.setattr(players, "LANES", 16)
        yield


def untrained(width: int = 16) -> SequencePolicy:
    torch.manual_seed(0)
    return SequencePolicy(width)


def made_pool(task: DesignTask) -> Pool:
    return Pool(seal(task), fit_proxy(task, np.random.default_rng(0)), Budget(600.0).start())


def all_feasible(task: DesignTask) -> np.ndarray:
    every = np.array(list(itertools.product(range(task.letters), repeat=task.length)), np.int8)
    return every[feasible(every, task.banned)]


def log_chances_of(network: SequencePolicy, task: DesignTask, rows: np.ndarray) -> np.ndarray:
    """Of each letter, by one pass over whole designs."""
    tokens = torch.from_numpy(rows.astype(np.int64))
    with torch.inference_mode():
        log_policy, _ = playing.log_policy(network, tokens, playing.legal_at(task, rows))
        chances: np.ndarray = playing.chosen(log_policy, tokens).numpy()
    return chances


def test_the_policy_is_a_distribution_over_feasible_designs(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    parts = np.array_split(all_feasible(task), 20)
    total = sum(np.exp(log_chances_of(untrained(), task, part).sum(axis=1)).sum() for part in parts)
    assert total == pytest.approx(1.0, abs=1e-3)


def test_samples_are_feasible_and_as_likely_as_they_say(tiny_task: Tiny) -> None:
    task, network = tiny_task(1), untrained()
    tokens, log_chances = playing.sample(network, task, 400, np.random.default_rng(0))
    assert feasible(tokens, task.banned).all() and tokens.max() < task.letters
    assert np.allclose(log_chances, log_chances_of(network, task, tokens), atol=1e-4)
    with torch.no_grad():  # half of the probability is on a few designs, and so are the samples
        network.scores.weight.mul_(20.0)
    every = all_feasible(task)
    chances = np.exp(log_chances_of(network, task, every).sum(axis=1))
    order = np.argsort(-chances)
    likely = order[: 1 + np.searchsorted(np.cumsum(chances[order]), 0.5)]
    held = {every[row].tobytes() for row in likely}
    drawn, _ = playing.sample(network, task, 2000, np.random.default_rng(1))
    share = np.mean([row.tobytes() in held for row in drawn])
    assert share == pytest.approx(chances[likely].sum(), abs=0.05)


def test_what_is_redrawn_stays_feasible_and_keeps_the_rest(tiny_task: Tiny) -> None:
    task, rng = tiny_task(2), np.random.default_rng(0)
    designs = np.repeat(best_offline(task, 40), 10, axis=0)
    assert (playing.redraw(untrained(), task, designs, 0.0, rng) == designs).all()
    near = playing.redraw(untrained(), task, designs, 0.2, rng)
    assert feasible(near, task.banned).all()
    assert 0.05 < (near != designs).mean() < 0.4


def test_the_environments_observations_get_the_same_scores(tiny_task: Tiny) -> None:
    task, network = tiny_task(3), untrained()
    env = SequenceDesignEnv(task, designs=1)
    design = best_offline(task, 1)[0]
    observation, _ = env.reset(seed=0)
    seen = []
    for letter in design:
        seen.append(observation)
        observation, *_ = env.step(int(letter))
    obs = stack(seen)
    with torch.inference_mode():
        scores = network.logits(network.encode(obs), obs).log_softmax(1)
    told = scores.gather(1, torch.from_numpy(design.astype(np.int64)).unsqueeze(1)).squeeze(1)
    assert np.allclose(told, log_chances_of(network, task, design[None])[0], atol=1e-4)


def test_edits_are_scored_where_they_are_legal(tiny_task: Tiny) -> None:
    task, network = tiny_task(4), untrained()
    observation, _ = SequenceDesignEnv(task, form="mutate").reset(seed=0)
    obs = stack([observation])
    with torch.inference_mode():
        encoded = network.encode(obs)
        chances = network.logits(encoded, obs).softmax(1)[0].numpy()
    assert (chances > 0).tolist() == (observation["action_mask"] == 1).tolist()
    assert network.value(encoded).shape == (1,)
    assert 0.0 <= score_edits(network, [task])["shortfall"] <= 2.0


def test_imitation_makes_the_solvers_designs_likelier(tiny_task: Tiny) -> None:
    task, network, rng = tiny_task(5), untrained(), np.random.default_rng(0)
    solver = load_contender(PROBLEM.family, "ga").object

    def plan(task: DesignTask) -> np.ndarray:
        return solver(seal(task), Budget(60.0, evaluations=600), 0).actions

    samples = lessons(ImitationPass(0, network, [task], plan, rng))
    assert len(samples) == task.batch_size
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = [imitate(network, samples, optimizer, 2, rng) for _ in range(10)]
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]


def test_the_value_of_imitated_designs_is_the_return_of_the_runs_environment(
    tiny_task: Tiny,
) -> None:
    """Under the run's discount and its pessimism; of one design an episode, or of a batch."""
    task, rng = tiny_task(5), np.random.default_rng(0)
    designs = best_offline(task, 3)
    worths = np.subtract(*(kind * scale for kind, scale in zip(
        reference_proxy(seal(task)).predict(designs), (1.0, 0.5), strict=True
    )))  # fmt: skip
    ahead = 0.9 ** np.arange(task.length - 1, -1, -1)
    for count, expected in (
        (1, worths[:, None] * ahead),
        (2, [worths[0] * ahead + worths[1] * 0.9**task.length * ahead,
             worths[1] * ahead, worths[2] * ahead]),
    ):  # fmt: skip
        told = {"designs": count, "kappa": 0.5}
        samples = lessons(
            ImitationPass(0, untrained(), [task], lambda _: designs.ravel(), rng, {}, 0.9, told)
        )
        shown = np.stack([sample.to_come.numpy() for sample in samples])
        assert shown == pytest.approx(np.array(expected), abs=1e-5)
        spent = np.stack([sample.beside[:, 0].numpy() for sample in samples])
        assert spent == pytest.approx(np.tile(np.arange(task.length) / task.length, (3, 1)))


def test_after_imitation_the_critic_explains_the_returns_of_other_designs(
    tiny_task: Tiny,
) -> None:
    """So that PPO does not start from a random critic."""
    task, network, rng = tiny_task(5, 60), untrained(), np.random.default_rng(0)
    taught, others = rng.permutation(task.sequences)[:120].reshape(2, 60, task.length)

    def lessons_of(designs: np.ndarray) -> list[Sample]:
        alone = {"designs": 1}
        plan = designs.ravel()
        return lessons(ImitationPass(0, network, [task], lambda _: plan, rng, {}, 0.99, alone))

    def explained(samples: list[Sample]) -> float:
        tokens, legal, beside, to_come = map(torch.stack, zip(*samples, strict=True))
        _, states = playing.log_policy(network, tokens, legal)
        values = network.value(Encoded(states.flatten(0, 1), beside.flatten(0, 1))).detach()
        return 1.0 - float(((values - to_come.flatten()) ** 2).mean() / to_come.var())

    learned, unseen = lessons_of(taught), lessons_of(others)
    assert explained(unseen) < 0.1
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    errors = [imitate(network, learned, optimizer, 10, rng)["value_loss"] for _ in range(14)]
    assert errors[-1] < 0.5 * errors[0]
    assert explained(unseen) > 0.2


def test_measured_sequences_are_imitated_by_rank(tiny_task: Tiny) -> None:
    task, network = tiny_task(6), untrained()
    best, worst = task.sequences[task.starts[:10]], task.sequences[np.argsort(task.scores)[:50]]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    imitate_measured(network, task, optimizer, 60, 32, rng, enough=lambda: False)
    likely, unlikely = (log_chances_of(network, task, rows).sum(axis=1) for rows in (best, worst))
    assert likely.mean() > unlikely.mean() + 1.0


def test_ppo_makes_samples_better_and_most_of_them_stay_new(tiny_task: Tiny) -> None:
    task = tiny_task(7)
    pool = made_pool(task)
    learner = ProximalLearner(untrained(), pool, np.random.default_rng(0))

    def worth() -> float:
        tokens, _ = playing.sample(learner.network, task, 400, np.random.default_rng(1))
        return float(pool.proxy.predict(tokens)[0].mean())

    before = worth()
    fresh = [learner.iterate() for _ in range(30)]
    assert worth() > before + 0.1
    assert fresh[0] > 0.8


def test_the_search_betters_every_design_or_leaves_it_as_good(tiny_task: Tiny) -> None:
    task = tiny_task(8)
    pool = made_pool(task)
    lookahead = Lookahead(untrained(), pool, 16, SearchSettings(8, 4, 1.0))
    rng = np.random.default_rng(0)
    starts = task.sequences[rng.integers(len(task.sequences), size=16)]
    before = pool.proxy.predict(starts)[0]
    made = lookahead.better(starts, rng)
    assert feasible(made.tokens, task.banned).all()
    assert np.allclose(made.values, pool.proxy.predict(made.tokens)[0])
    assert (made.values >= before).all() and (made.values > before).mean() > 0.5
    assert np.allclose(made.policy.sum(axis=2), 1.0, atol=1e-4)
    legal = playing.legal_at(task, made.tokens).numpy()
    assert (made.policy[~legal] < 1e-6).all()


def test_the_search_finds_the_best_design_there_is_of_a_tiny_task(tiny_task: Tiny) -> None:
    task = tiny_task(9)
    pool = made_pool(task)
    lookahead = Lookahead(untrained(), pool, 16, SearchSettings(12, 6, 1.0))
    rng = np.random.default_rng(0)
    tokens = best_offline(task, 16)
    for _ in range(4):
        tokens = lookahead.better(tokens, rng).tokens
    best = pool.proxy.predict(all_feasible(task))[0].max()
    assert pool.values[0] == pytest.approx(best)


@pytest.mark.parametrize("solve", PLAYERS)
def test_a_batch_is_feasible_full_different_and_better_than_what_was_measured(
    tiny_task: Tiny, solve: Any
) -> None:
    task = tiny_task(10)
    solution = solve(seal(task), Budget(60.0, evaluations=3000), 0)
    verdict = validate(task, solution.actions, World())
    assert verdict.feasible and verdict.detail is not None
    assert verdict.detail["uniques"] == task.batch_size
    proxy = fit_proxy(task, np.random.default_rng(1))
    found, known = (
        np.median(proxy.predict(rows)[0])
        for rows in (designs_of(task, solution.actions), best_offline(task, task.batch_size))
    )
    assert found > known


@pytest.mark.parametrize("solve", PLAYERS)
def test_the_same_seed_and_evaluations_give_the_same_batch(tiny_task: Tiny, solve: Any) -> None:
    task = seal(tiny_task(11))
    plans = [solve(task, Budget(600.0, evaluations=1500), 3).actions for _ in range(2)]
    assert np.array_equal(*plans)


def test_a_policy_is_taken_for_its_own_task_alone(
    tiny_task: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = (seal(tiny_task(seed)).content_hash for seed in (0, 1))
    network = untrained()
    card = Card(PROBLEM.family, PROBLEM.env_version, 16, "test", {}, {}, "test", [own])
    save_policy(tmp_path / f"{PPO}_tiny", network.state_dict(), card)
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path)
    found = checkpoints.shipped_for(PPO, PROBLEM, own, SequencePolicy)
    assert found is not None and torch.equal(found.scores.weight, network.scores.weight)
    assert checkpoints.shipped_for(PPO, PROBLEM, other, SequencePolicy) is None
    assert checkpoints.shipped_for(ALPHAZERO, PROBLEM, own, SequencePolicy) is None
