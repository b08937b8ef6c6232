"""Plans recorded as episodes: what the environment says of them, in RLlib's form and Minari's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgpack
import msgpack_numpy
import numpy as np
import pyarrow.parquet
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import IllegalActionError, OutputError, SolutionError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.play import make_environment
from sysopt_gym.core.registry import load_problem
from sysopt_gym.evaluation import recording
from sysopt_gym.evaluation.recording import Episode
from typer.testing import CliRunner

PROBLEM = load_problem("memory_mapping")


@pytest.fixture(scope="module")
def programs() -> list[Any]:
    return [PROBLEM.generate({"buffers": "8"}, seed) for seed in range(2)]


@pytest.fixture(scope="module")
def episodes(programs: list[Any]) -> list[Episode]:
    return recording.record(PROBLEM, programs, "greedy", Budget(0.5), range(2))


def test_an_episode_is_what_the_environment_says_of_the_plan(
    programs: list[Any], episodes: list[Episode]
) -> None:
    assert [episode.instance for episode in episodes] == [
        program.name for program in programs for _ in range(2)
    ]
    env = make_environment(PROBLEM, programs)
    for episode, program in zip(episodes, [p for p in programs for _ in range(2)], strict=True):
        seen, info = env.reset(seed=episode.seed, options={"instance": program})
        ended = False
        for t, action in enumerate(episode.actions):
            assert episode.observations[t]["action_mask"][action] == 1
            for key, part in seen.items():
                assert np.array_equal(part, episode.observations[t][key])
            seen, reward, ended, _, info = env.step(action)
            assert reward == episode.rewards[t]
        assert ended == episode.terminated and info["objective"] == episode.objective
        # The rewards of an episode add up to 1 - 1 / speed-up.
        assert sum(episode.rewards) == pytest.approx(1 - 1 / episode.objective)


def test_a_plan_that_stops_early_is_cut_off_and_not_ended() -> None:
    problem = load_problem("vm_rescheduling")
    cluster = problem.warm_up_instance()
    env = make_environment(problem, [cluster])
    observation, _ = env.reset(seed=0, options={"instance": cluster})
    vm = int(np.flatnonzero(observation["action_mask"])[0])
    observation, *_ = env.step(vm)
    place = int(np.flatnonzero(observation["action_mask"])[0])
    episode = recording.play(env, cluster, np.array([vm, place]), 0)
    assert not episode.terminated and len(episode.actions) == 2
    with pytest.raises(SolutionError, match="not complete"):  # between the plies of a move
        recording.play(env, cluster, np.array([vm]), 0)
    with pytest.raises(IllegalActionError):
        recording.play(env, cluster, np.array([vm, 10**6]), 0)


def test_runs_that_fail_are_left_out_with_a_note(
    programs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = recording.play

    def refuse_second(env: Any, instance: Any, actions: np.ndarray, seed: int) -> Episode:
        return played(env, instance, actions[: -1 if instance is programs[1] else None], seed)

    monkeypatch.setattr(recording, "play", refuse_second)
    with pytest.warns(InputNote, match="left out: greedy on"):
        kept = recording.record(PROBLEM, programs, "greedy", Budget(0.5), range(1))
    assert [episode.instance for episode in kept] == [programs[0].name]
    with (
        pytest.warns(InputNote, match="left out"),
        pytest.raises(SolutionError, match="no plan of greedy could be recorded"),
    ):
        recording.record(PROBLEM, programs[1:], "greedy", Budget(0.5), range(1))


def test_rllib_reads_the_episodes_as_they_were_played(
    episodes: list[Episode], tmp_path: Path
) -> None:
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    path = recording.write_rllib(episodes, tmp_path)
    rows = pyarrow.parquet.read_table(path)["item"].to_pylist()
    for row, episode in zip(rows, episodes, strict=True):
        state = msgpack.unpackb(row, object_hook=msgpack_numpy.decode)
        made = SingleAgentEpisode.from_state(state)
        assert made.is_terminated == episode.terminated and made.is_done
        assert made.get_return() == pytest.approx(sum(episode.rewards))
        assert list(made.get_actions()) == episode.actions
        last = made.get_observations(-1)
        assert all(np.array_equal(last[key], episode.observations[-1][key]) for key in last)


def test_minari_reads_the_episodes_as_they_were_played(
    episodes: list[Episode], programs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import minari

    name = recording.write_minari(episodes, PROBLEM, programs, "greedy", tmp_path)
    assert "MINARI_DATASETS_PATH" not in os.environ
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    data = minari.load_dataset(name)
    assert data.action_space == gym.spaces.Discrete(3)
    for read, episode in zip(data, episodes, strict=True):
        assert np.array_equal(read.rewards, episode.rewards)
        assert np.array_equal(read.actions, episode.actions)
        assert read.terminations[-1] == episode.terminated and not read.truncations[-1]
        masks = [seen["action_mask"] for seen in episode.observations]
        assert np.array_equal(read.observations["action_mask"], masks)
        assert set(read.infos["instance"]) == {episode.instance}


def test_the_command_records_the_plans_of_a_contender(tmp_path: Path) -> None:
    """That behavior cloning learns from them is seen by the test of its example."""
    from sysopt_gym.cli import app

    out = tmp_path / "episodes"
    words = ["data", "record", "memory_mapping", "--instances", "small:train/0", "--with"]
    told = CliRunner().invoke(app, [*words, "greedy", "--budget", "0.2", "--out", str(out)])
    assert told.exit_code == 0 and "1 episodes, 74 steps" in told.output, told.output


def test_what_was_recorded_is_not_written_over(
    episodes: list[Episode], programs: list[Any], tmp_path: Path
) -> None:
    for kind in ("rllib", "minari"):
        recording.write(kind, episodes, PROBLEM, programs, "greedy", tmp_path)
        with pytest.raises(OutputError, match="is there already; give another --out"):
            recording.write(kind, episodes, PROBLEM, programs, "greedy", tmp_path)
