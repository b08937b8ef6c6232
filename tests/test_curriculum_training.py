"""Curricula at work: how environments draw, what the configuration takes, and that every curriculum
trains, through runners of all kinds, and goes on where it was.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
import yaml
from sysopt_gym.agents.algorithms import build_algorithm
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.agents.curriculum import CURRICULA
from sysopt_gym.agents.curriculum.base import Outcome, Shares, TrainingSet
from sysopt_gym.agents.curriculum.rllib import Course, Finished, report_finished
from sysopt_gym.agents.curriculum.table import make_curriculum
from sysopt_gym.agents.training import train
from sysopt_gym.core.errors import SettingError, UnknownNameError
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM
from sysopt_gym.envs.vm_rescheduling.vector_env import VMReschedulingVectorEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SET = "constrained-small:test"
CHOOSING = [name for name in CURRICULA if name != "uniform"]
QUICK = ("plr", "pudf")  # by advantages and by merits; the others train under `make long`
TINY = {
    "width": "8",
    "validation": "[small:val/0]",
    "imitation.epochs": "0",
    "ppo.instances": "[small:train/0, small:train/1]",
    "ppo.checkpoint_every": "2",
    "ppo.algorithm.env_runners.num_envs_per_env_runner": "2",
    "ppo.algorithm.training.train_batch_size_per_learner": "48",
    "ppo.algorithm.training.minibatch_size": "24",
    "ppo.algorithm.training.num_epochs": "1",
}


# ---- how environments draw


def test_an_environment_draws_by_its_weights_and_says_what_it_drew() -> None:
    env = VMReschedulingEnv(SET)
    count = len(env.instances)
    env.reset(seed=0)
    assert env.instance is env.instances[env.row]
    env.reset(options={"instance": env.instances[1]})
    assert env.row == -1  # it was not drawn
    weights = np.zeros(count)
    weights[[0, 2]] = 3.0, 1.0
    env.weigh(weights)
    env.reset(seed=5)
    rows = []
    for _ in range(400):
        env.reset()
        rows.append(env.row)
    assert set(rows) == {0, 2} and 0.68 < np.mean(np.array(rows) == 0) < 0.82
    for wrong in (weights[:-1], -weights, 0 * weights, weights * np.nan):
        with pytest.raises(SettingError, match="weigh"):
            env.weigh(wrong)


def test_without_weights_the_draws_are_those_of_before_and_lanes_draw_as_one_environment() -> None:
    single, lanes = VMReschedulingEnv(SET), VMReschedulingVectorEnv(3, SET)
    count = len(single.instances)
    for weights in (None, np.arange(1.0, count + 1)):
        single.weigh(weights)
        lanes.weigh(weights)
        lanes.reset(seed=11)
        for lane in range(3):
            single.reset(seed=11 + lane)
            assert single.row == lanes.rows_now[lane]
            if weights is None:
                assert single.row == np.random.default_rng(11 + lane).integers(count)
    one = [0.0] * count
    one[-1] = 1.0
    lanes.weigh(one)
    lanes.reset()
    assert lanes.rows_now.tolist() == [count - 1] * 3
    lanes.reset(options={"instance": lanes.instances[0]})
    assert lanes.rows_now.tolist() == [-1] * 3


# ---- the key of the configuration


def test_a_curriculum_is_named_alone_or_with_options(tmp_path: Path) -> None:
    read = lambda **keys: load_config("vm_rescheduling_ppo", keys).reinforcement["ppo"].curriculum  # noqa: E731
    assert read() == {"name": "uniform"}
    assert read(**{"ppo.curriculum": "plr"}) == {"name": "plr", "beta": 0.3, "staleness": 0.3}
    given = read(**{"ppo.curriculum": "{name: plr, beta: 1}"})
    assert given == {"name": "plr", "beta": 1, "staleness": 0.3}
    # One of another name has its own options.
    config = load_config("vm_rescheduling_ppo", {"ppo.curriculum": "{name: plr, beta: 1}"})
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config.document(), sort_keys=False))
    assert load_config(path, {}) == config
    kept = load_config(path, {"ppo.curriculum.staleness": "0.5"}).reinforcement["ppo"].curriculum
    assert kept == {"name": "plr", "beta": 1, "staleness": 0.5}
    other = load_config(path, {"ppo.curriculum": "dump"}).reinforcement["ppo"].curriculum
    assert other == {"name": "dump", "window": 300, "temperature": 0.1}
    taken = load_config(path, {"algorithm": "alphazero", "alphazero.curriculum": "pudf"})
    assert taken.reinforcement["alphazero"].curriculum["name"] == "pudf"
    assert load_config(path, {"algorithm": "appo"}).reinforcement["appo"].curriculum == given


@pytest.mark.parametrize(
    ("key", "value", "error", "said"),
    [
        ("ppo.curriculum", "plrr", UnknownNameError, r"did you mean 'plr'.*known: uniform, plr"),
        ("ppo.curriculum", "{name: plr, betta: 1}", UnknownNameError, r"did you mean 'beta'"),
        ("ppo.curriculum", "{name: plr, beta: hot}", SettingError, "beta.*not a number"),
        ("ppo.curriculum", "{name: balanced, low: 2}", SettingError, r"low.*outside 0\.\.1"),
        ("ppo.curriculum", "3", SettingError, "neither a name nor a mapping"),
        ("bc.curriculum", "pudf", SettingError, "learns from recordings"),
    ],
)
def test_what_a_curriculum_cannot_be_is_refused(
    key: str, value: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        load_config("vm_rescheduling_ppo", {key: value})


# ---- training


class Heard:
    """What the curricula of a test have learned from, iteration by iteration."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outcomes: list[list[Outcome]] = []
        self.weights: list[list[float]] = []
        take_in, heard = Course.take_in, self

        def told(course: Course, algorithm: Any) -> None:
            learn = course.curriculum.learn

            def learned(outcomes: Any) -> None:
                heard.outcomes.append(list(outcomes))
                learn(outcomes)

            course.curriculum.learn = learned  # type: ignore[method-assign]
            take_in(course, algorithm)
            del course.curriculum.learn
            heard.weights.append(course.curriculum.weights().tolist())

        monkeypatch.setattr(Course, "take_in", told)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    return Heard(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in CHOOSING],
)
def test_every_curriculum_trains_and_goes_on_as_if_never_stopped(
    name: str, heard: Heard, tmp_path: Path
) -> None:
    overrides = TINY | {"ppo.curriculum": name, "ppo.iterations": "4"}
    train("vm_rescheduling_ppo", overrides | {"out": str(tmp_path / "whole")}, resume=False)
    whole = heard.weights
    assert len(whole) == 4 and sum(map(len, heard.outcomes)) >= 8
    _, events = sorted((tmp_path / "whole").glob("events*"))  # the first is of the start
    in_play = EventAccumulator(str(events)).Reload().Scalars("ppo/instances_in_play")
    assert [one.step for one in in_play] == [1, 2, 3, 4]
    assert all(1 - 1e-6 <= one.value <= 2 + 1e-6 for one in in_play)
    advantages = [one.advantage for outcomes in heard.outcomes for one in outcomes]
    if make_curriculum({"name": name}, training()).uses_advantages:
        assert all(0 < one < 10 for one in advantages)
    else:
        assert all(map(math.isnan, advantages))
    # The iteration's checkpoint is all that is left of what the first two have learned.
    part = tmp_path / "part"
    (tmp_path / "whole/checkpoints/000004").rename(tmp_path / "last")
    (tmp_path / "whole").rename(part)
    heard.weights = []
    train("vm_rescheduling_ppo", overrides | {"out": str(part)}, resume=True)
    assert heard.weights == whole[2:]
    again = part / "checkpoints/000004"
    first, second = (torch.load(p / "network.pt")["network"] for p in (tmp_path / "last", again))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    assert begun(again) == begun(tmp_path / "last")


def begun(checkpoint: Path) -> list[tuple[float, int]]:
    """What is known of the episodes that have not ended; RLlib names them anew in each process."""
    _, unfinished = pickle.loads((checkpoint / "curriculum.pkl").read_bytes())
    return list(unfinished.values())


TRAINING = {"train_batch_size_per_learner": 92, "minibatch_size": 46}


def training(count: int = 3) -> TrainingSet:
    clusters = list(PROBLEM.sets.load("small:train"))[:count]
    return TrainingSet(clusters, np.arange(count), iterations=4, seed=0)


def built(name: str, stage: str = "ppo", **runners: Any) -> tuple[Course, Any]:
    """A curriculum over three clusters, and an algorithm that it is attached to."""
    clusters = training()
    course = Course(make_curriculum({"name": name}, clusters), [1.0] * len(clusters))
    network = {"family": "vm_rescheduling", "width": 8}
    algorithm = build_algorithm(
        stage,
        PROBLEM,
        {"instances": list(clusters.instances)},
        network,
        0,
        {"env_runners": {"num_envs_per_env_runner": 2} | runners}
        | ({"training": TRAINING} if stage == "ppo" else {}),
        at_end=course.callbacks,
    )
    return course, algorithm


@pytest.fixture(
    params=[
        "vector_entry_point",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("SYNC", "ASYNC", "remote")),
    ]
)
def runners(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == "remote":
        yield {"num_env_runners": 2}
    else:
        yield {"gym_env_vectorize_mode": gymnasium.VectorizeMode[request.param.upper()]}


@pytest.mark.slow
def test_runners_of_all_kinds_play_what_was_chosen_and_report_it(
    heard: Heard, runners: dict[str, Any]
) -> None:
    course, algorithm = built("plr", **runners)
    course.attach(algorithm, "ppo")
    course.curriculum.weights = lambda: np.array([0.0, 1.0, 0.0])  # type: ignore[method-assign]
    try:
        for _ in range(2):  # episodes of 10 steps, 46 steps of a lane an iteration
            course.hand_out(algorithm)
            algorithm.train()
            course.take_in(algorithm)
    finally:
        algorithm.stop()
    outcomes = [one for iteration in heard.outcomes for one in iteration]
    assert len(outcomes) >= 8 and {one.row for one in outcomes} == {1}
    for one in outcomes:  # of an episode in two parts, too, the whole length
        assert one.steps == 2 * training().instances[1].mnl
        assert math.isfinite(one.gain) and -1 <= one.objective <= 0  # a rate, turned
        assert 0 < one.advantage < 10


@pytest.mark.slow
def test_an_algorithm_without_advantages_serves_only_those_that_need_none() -> None:
    course, algorithm = built("plr", "dqn")
    try:
        with pytest.raises(SettingError, match=r"dqn\.curriculum.*ppo.*balanced, cyclical"):
            course.attach(algorithm, "dqn")
    finally:
        algorithm.stop()


def test_a_learner_of_another_make_reports_advantages_itself() -> None:
    """All that a course needs of runners and learners, played by a table."""

    class Group:
        def __init__(self, member: Any) -> None:
            self.member, self.foreach_env_runner = member, lambda call: [call(member)]

        def foreach_learner(self, call: Any) -> list[Any]:
            told = call(self.member)
            return [SimpleNamespace(get=lambda: told)]

    class Learner:
        told: ClassVar[list[tuple[str, float, int]]] = []

        def take_advantages(self, shares: Shares | None) -> list[tuple[str, float, int]]:
            told, self.told[:] = self.told[:], []
            return told

    class Runner:
        def weigh(self, weights: np.ndarray) -> None:
            self.weights = weights

    runner, learner = Runner(), Learner()
    algorithm = SimpleNamespace(env_runner_group=Group(runner), learner_group=Group(learner))
    course = Course(make_curriculum({"name": "plr"}, training()), [1.0, -1.0, 1.0])
    course.attach(algorithm, "ppo")
    course.hand_out(algorithm)
    assert runner.weights.tolist() == [1 / 3] * 3
    learner.told += [("first", 3.0, 2), ("second", 40.0, 4)]  # parts that have not ended
    course.take_in(algorithm)
    course.hand_out(algorithm)
    assert runner.weights.tolist() == [1 / 3] * 3
    learner.told += [("first", 3.0, 1), ("second", 8.0, 4)]
    report_finished(runner, Finished("first", 0, 1.0, 0.5, 3))
    report_finished(runner, Finished("second", 1, 1.0, 0.5, 8))
    course.take_in(algorithm)
    course.hand_out(algorithm)
    assert course.curriculum.scores[:2].tolist() == [6 / 3, 48 / 8]
    assert runner.weights[1] > runner.weights[0]
