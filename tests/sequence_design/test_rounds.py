"""Rounds with feedback: what is measured, when it is known, and that no one else can measure."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError
from sysopt_gym.core.play import Task, play_policy, run
from sysopt_gym.core.registry import (
    contender_entry,
    contender_names,
    load_contender,
    load_problem,
)
from sysopt_gym.core.solution import Solution
from sysopt_gym.datasets.sequence_design.ehrlich import from_handle
from sysopt_gym.datasets.sequence_design.instance import DesignTask, seal
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.rounds import with_measured
from sysopt_gym.envs.sequence_design.validate import validate
from sysopt_gym.evaluation.judge import judge
from sysopt_gym.methods.sequence_design.in_rounds import InRounds
from sysopt_gym.methods.sequence_design.pool import hand_in
from sysopt_gym.solvers.sequence_design.acquisition import log_improvement

Tiny = Callable[..., DesignTask]
SEEDS = st.integers(0, 10**6)
PROBLEM = load_problem("sequence_design")
ENV_ID = "sysopt/SequenceDesign-v0"


def in_rounds(task: DesignTask, rounds: int = 3) -> DesignTask:
    return with_settings(task, {"rounds": str(rounds)})


def oracle_of(task: DesignTask) -> Callable[[np.ndarray], np.ndarray]:
    """The Ehrlich function itself, 0 for designs that it has no score for."""
    score = from_handle(task.handle(), task.banned).score
    return lambda rows: np.maximum(score(rows), 0.0)


def random_letters(env: SequenceDesignEnv, seed: int) -> list[int]:
    """Play a random legal episode of form construct; return its letters."""
    observation, _ = env.reset(seed=seed)
    rng, letters, ended = np.random.default_rng(seed), [], False
    while not ended:
        letters.append(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
        observation, _, ended, _, _ = env.step(letters[-1])
    return letters


def test_one_round_is_the_task_as_it_was(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    assert with_settings(task, {"rounds": "1"}).content_hash == task.content_hash
    assert in_rounds(task).content_hash != task.content_hash
    assert with_settings(in_rounds(task), {"rounds": "1"}).content_hash == task.content_hash


@pytest.mark.parametrize("rounds", ["0", "-1", "101", "two", "1.5", ""])
def test_impossible_numbers_of_rounds_are_refused(tiny_task: Tiny, rounds: str) -> None:
    with pytest.raises(SettingError, match=r"rounds=.*give a whole number from 1 to 100"):
        with_settings(tiny_task(0), {"rounds": rounds})


def test_more_designs_than_the_offline_set_can_pad_are_refused(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    different = len(np.unique(task.sequences, axis=0))
    most = different // 4
    with pytest.raises(InstanceError, match=rf"4 rounds .* set batch={most} or fewer rounds"):
        with_settings(task, {"rounds": "4", "batch": str(most + 1)})
    assert with_settings(task, {"rounds": "4", "batch": str(most)}).designs_asked == 4 * most


def test_a_file_of_a_task_keeps_its_rounds(tiny_task: Tiny, tmp_path: Any) -> None:
    task = in_rounds(tiny_task(0))
    task.save(tmp_path / "task.npz")
    again = DesignTask.load(tmp_path / "task.npz")
    assert again.rounds == 3 and again.content_hash == task.content_hash


@pytest.mark.parametrize("form", ["construct", "mutate", "batch"])
def test_gymnasiums_checker_finds_nothing_to_warn_of(tiny_task: Tiny, form: str) -> None:
    env = gymnasium.make(
        ENV_ID, instances=(in_rounds(tiny_task(0)),), form=form, disable_env_checker=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_scores_are_shown_when_a_batch_is_complete_and_not_before(
    tiny_task: Tiny, seed: int
) -> None:
    task = in_rounds(tiny_task(1, 4))
    env, score = SequenceDesignEnv(task), oracle_of(task)
    observation, info = env.reset(seed=seed)
    assert info["objective"] == np.median(np.sort(score(best_offline(task, 12))))
    low, high = task.scores.min(), task.scores.max()
    rng, rewards = np.random.default_rng(seed), []
    for step in range(1, 3 * 4 * task.length + 1):
        letter = rng.choice(np.flatnonzero(observation["action_mask"]))
        before = observation
        observation, reward, ended, _, after = env.step(int(letter))
        rewards.append(reward)
        assert env.observation_space.contains(observation)
        assert ended == (step == 3 * 4 * task.length)
        if step % (4 * task.length):
            assert reward == 0.0 and after["objective"] == info["objective"]
            assert (observation["measured_scores"] == before["measured_scores"]).all()
            continue
        info = after
        done = step // (4 * task.length)
        designs = np.array(env.handed_in.unique)
        assert info["rounds"] == done and observation["round"][0] == np.float32(done / 3)
        assert (observation["measured"][: len(designs)] == designs).all()
        assert (observation["measured"][len(designs) :] == task.letters).all()
        shown = observation["measured_scores"]
        assert shown[: len(designs)] == pytest.approx((score(designs) - low) / (high - low))
        assert not shown[len(designs) :].any()
        assert sum(rewards) == pytest.approx(shown.sum())


@given(seed=SEEDS, cut=st.integers(0, 71))
@example(seed=0, cut=27)  # the batch under way decides the median
@settings(max_examples=12, deadline=None)
def test_the_judge_finds_in_a_plan_what_the_environment_found_in_play(
    tiny_task: Tiny, seed: int, cut: int
) -> None:
    task = in_rounds(tiny_task(2, 4))
    letters = random_letters(SequenceDesignEnv(task), seed)
    plan = np.array(letters[: len(letters) - cut])
    found = judge(PROBLEM, task, plan, World())
    assert found.feasible and found.agree, found.violations
    # By hand: the different designs and, beside them, the best of the offline set.
    whole = plan[: len(plan) // task.length * task.length].reshape(-1, task.length).astype(np.int8)
    rows = {row.tobytes(): row for row in whole}
    for row in best_offline(task, 24):
        if len(rows) < 12:
            rows.setdefault(row.tobytes(), row)
    scores = oracle_of(task)(np.array(list(rows.values())))
    assert found.objective == pytest.approx(np.median(scores))
    assert found.detail["max"] == found.detail["best@round3"] == pytest.approx(scores.max())
    assert found.detail["median@round3"] == pytest.approx(found.objective)


def test_what_was_known_after_each_round_is_told(tiny_task: Tiny) -> None:
    task = in_rounds(tiny_task(0, 4), 2)
    worst = np.unique(task.sequences[task.scores == 0.0], axis=0)[:4]
    best = from_handle(task.handle(), task.banned).optimum(task.length)
    # A repeat of the first batch takes a place in the second one, and counts no second time.
    plan = np.concatenate([*worst, best, worst[0], best, best]).astype(np.int64)
    verdict = validate(task, plan, World())
    assert verdict.detail is not None and verdict.detail["uniques"] == 5
    assert (verdict.detail["best@round1"], verdict.detail["median@round1"]) == (0.0, 0.0)
    assert verdict.detail["best@round2"] == 1.0
    rest = np.sort(task.scores)[-3:]
    assert verdict.objective == verdict.replayed == np.median([0.0] * 4 + [1.0, *rest])


def test_designs_beyond_the_last_batch_are_refused(tiny_task: Tiny) -> None:
    task = in_rounds(tiny_task(0, 4), 2)
    plan = np.resize(best_offline(task, 1).astype(np.int64), 8 * task.length + 1)
    found = judge(PROBLEM, task, plan, World())
    assert not found.feasible and found.agree
    assert "the 2 batches of 4 designs each are complete" in found.violations[0]
    env = SequenceDesignEnv(task)
    random_letters(env, 0)
    with pytest.raises(IllegalActionError, match="call reset"):
        env.step(0)


def test_the_null_plan_is_the_best_of_the_offline_set_in_every_round(tiny_task: Tiny) -> None:
    task = in_rounds(tiny_task(3, 4))
    found = judge(PROBLEM, task, PROBLEM.null_plan(task), World())
    assert found.feasible and found.objective == np.median(np.sort(task.scores)[-12:])


def test_contenders_get_no_oracle_and_cannot_make_an_environment_that_has_one(
    tiny_task: Tiny,
) -> None:
    task = in_rounds(tiny_task(0))
    shown = PROBLEM.policy_view(PROBLEM.contender_view(task))
    assert shown.sealed and shown.rounds == 3
    assert b"landscape" not in pickle.dumps(shown)
    with pytest.raises(InstanceError, match="the task is sealed"):
        SequenceDesignEnv(shown).reset(seed=0)


def test_a_copy_to_plan_in_has_no_oracle_and_draws_what_it_measures(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = in_rounds(tiny_task(0, 4))
    env = SequenceDesignEnv(task)
    env.reset(seed=0)
    design = env.task.sequences[0].tolist()
    twin = env.fork()
    assert twin.task.sealed and all(one.sealed for one in twin.instances)
    assert "landscape" not in repr(vars(twin._rounds))
    monkeypatch.setattr(type(PROBLEM), "open_oracle", staticmethod(lambda task: 1 / 0))
    again = twin.fork()
    for one in (twin, again):
        for letter in design * 4:
            one.step(letter)
    drawn = [one._observation()["measured_scores"][0] for one in (twin, again)]
    assert drawn[0] == drawn[1] != 0.0  # a fork of a fork goes on in its future
    with pytest.raises(ZeroDivisionError):  # the original does ask
        for letter in design * 4:
            env.step(letter)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_lanes_of_the_vectorized_environment_are_single_ones(tiny_task: Tiny, seed: int) -> None:
    tasks = tuple(in_rounds(tiny_task(number, 3), 2) for number in (0, 1))
    together, apart = (
        gymnasium.make_vec(ENV_ID, num_envs=4, vectorization_mode=mode, instances=tasks)
        for mode in ("vector_entry_point", "sync")
    )
    rng = np.random.default_rng(seed)
    one, other = together.reset(seed=seed), apart.reset(seed=seed)
    for _ in range(2 * 2 * 3 * 6 + 5):
        for mine, its in zip((one[0], one[-1]), (other[0], other[-1]), strict=True):
            assert mine.keys() == its.keys()
            for key in mine:
                assert mine[key].dtype == its[key].dtype, key
                assert (mine[key] == its[key]).all(), key
        chances = one[0]["action_mask"] * rng.choice([1.0, 1e-3], (4, 6)) * rng.random((4, 6))
        one, other = (both.step(chances.argmax(axis=1)) for both in (together, apart))
        for mine, its in zip(one[1:4], other[1:4], strict=True):
            assert mine == pytest.approx(its)


def test_the_picture_has_two_bars_for_each_round(tiny_task: Tiny) -> None:
    task = in_rounds(tiny_task(0, 4), 2)
    env = SequenceDesignEnv(task, render_mode="rgb_array")
    env.reset(seed=0)
    bars = [np.asarray(env.render())[:, -238:]]
    best = from_handle(task.handle(), task.banned).optimum(task.length).tolist()
    for _ in range(2):
        for letter in best * 4:
            env.step(int(letter))
        bars.append(np.asarray(env.render())[:, -238:])
    dark = [int((picture < 200).any(axis=2).sum()) for picture in bars]
    assert dark[0] == 0 and dark[2] == 2 * dark[1] > 0


def test_tasks_of_different_rounds_need_environments_of_their_own(tiny_task: Tiny) -> None:
    with pytest.raises(InstanceError, match="3 rounds, where tiny-0 has 1"):
        SequenceDesignEnv((tiny_task(0), in_rounds(tiny_task(0))))
    with pytest.raises(InstanceError, match="batches of 4, where tiny-0 has 5"):
        SequenceDesignEnv((in_rounds(tiny_task(0)), in_rounds(tiny_task(0, 4))))


def test_what_was_measured_joins_the_offline_set_of_the_next_round(tiny_task: Tiny) -> None:
    task = seal(in_rounds(tiny_task(0)))
    best = from_handle(tiny_task(0).handle(), task.banned).optimum(task.length)
    known = task.sequences[3]
    later = with_measured(task, np.stack([best, known]), np.array([2.0, 0.5]))
    assert later.rounds == 1 and later.sealed and len(later.scores) == len(task.scores) + 1
    low, high = task.scores.min(), task.scores.max()
    assert later.scores[-1] == low + 2.0 * (high - low)
    assert (later.sequences[later.starts[0]] == best).all()
    dataclasses.replace(later)  # passes every check


def test_an_unmeasured_design_counts_as_the_worst(changed: Callable[..., dict[str, Any]]) -> None:
    rows = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [0, 1, 2, 3]], np.int8)
    handle = json.dumps({"landscape": "measured"})
    fields = changed(
        sequences=rows, scores=np.array([0.0, 1.0, 2.0, 3.0]), oracle=handle,
        hidden_sequences=rows[:0],
    )  # fmt: skip
    task = with_settings(DesignTask(**fields), {"rounds": "2", "batch": "1"})

    class Unmeasured:
        low, high = 0.0, 4.0

        @staticmethod
        def score(designs: np.ndarray) -> np.ndarray:
            return np.full(len(designs), np.nan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(PROBLEM), "open_oracle", staticmethod(lambda task: Unmeasured()))
        env = SequenceDesignEnv(task)
        env.reset(seed=0)
        for letter in (3, 3, 3, 3):
            observation, _, _, _, info = env.step(letter)
    assert observation["measured_scores"][0] == 0.0
    assert info["objective"] == pytest.approx(np.median([0.0, 0.75]))


class Spy:
    """A planner that notes what it was given, and hands in the same designs first every time."""

    def __init__(self, first: np.ndarray) -> None:
        self.first, self.tasks, self.budgets = first, [], []

    def __call__(self, task: DesignTask, budget: Budget, seed: int) -> Solution:
        self.tasks.append(task)
        self.budgets.append(budget)
        return hand_in(task, np.concatenate([self.first, task.sequences]), budget.start())


def test_a_planner_is_asked_anew_with_all_that_was_measured(tiny_task: Tiny) -> None:
    task = in_rounds(tiny_task(0, 4))
    best = from_handle(task.handle(), task.banned).optimum(task.length)
    spy = Spy(best[None])
    policy = InRounds(spy)
    solution = play_policy(PROBLEM, policy, Task(task, Budget(30.0, 99), 0, 0))
    assert [len(one.scores) for one in spy.tasks] == [len(task.scores) + n for n in (0, 1, 1)]
    assert all(one.sealed and one.rounds == 1 for one in spy.tasks)
    assert (spy.tasks[1].sequences[-1] == best).all()
    assert spy.tasks[1].scores[-1] == 1.0  # as the oracle says
    spent = [budget.seconds for budget in spy.budgets]
    assert spent[0] == pytest.approx(0.97 * 30.0 / 3) and spent[1] == pytest.approx(14.5, abs=0.5)
    assert [budget.evaluations for budget in spy.budgets] == [33] * 3
    verdict = validate(task, solution.actions, World())
    assert verdict.feasible and verdict.detail is not None and verdict.detail["uniques"] == 12
    assert solution.played is not None and solution.played.objective == verdict.objective


PLAYERS = tuple(
    name
    for name in contender_names(PROBLEM.family)
    if contender_entry(PROBLEM.family, name).form == "player"
)


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("name", PLAYERS)
def test_every_player_fills_all_rounds_with_different_designs(
    tiny_task: Tiny, name: str, rounds: int
) -> None:
    task = in_rounds(tiny_task(7, 4), rounds)
    contender = load_contender(PROBLEM.family, name)
    solution = run(contender, PROBLEM, Task(task, Budget(60.0, 600), 1, 0))
    verdict = validate(task, solution.actions, World())
    assert verdict.feasible and verdict.detail is not None
    assert verdict.detail["uniques"] == 4 * rounds


@given(above=st.floats(-6.0, 6.0), spread=st.floats(1e-3, 10.0))
def test_the_logarithm_of_the_expected_improvement_is_that_of_an_integral(
    above: float, spread: float
) -> None:
    mean = np.array([1.0 + above * spread])
    (found,) = log_improvement(mean, np.array([spread]))
    expected = spread * (above * stats.norm.cdf(above) + stats.norm.pdf(above))
    assert found == pytest.approx(math.log(expected), abs=1e-4)


def test_far_below_the_best_improvements_still_tell_designs_apart() -> None:
    means = np.array([0.5, 0.4, -10.0, -1e6])
    values = log_improvement(means, np.full(4, 1e-3))
    assert np.isfinite(values).all() and (np.diff(values) < 0).all()
