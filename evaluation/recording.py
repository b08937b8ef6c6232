"""Record a contender's plans as episodes, for offline learning by RLlib or any reader of Minari.

A plan is replayed in the environment whose actions are its rows, so that observations, masks,
rewards and ends are the environment's own.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium
import numpy as np

from ..core.budget import Budget
from ..core.errors import IllegalActionError, MissingDependencyError, OutputError, SolutionError
from ..core.files import unwritable, write_bytes
from ..core.lookup import check_name
from ..core.notes import note
from ..core.play import as_action, make_environment
from ..core.problem import Problem
from .judge import world_seed
from .process import Trouble, Worker

Format = Literal["rllib", "minari"]
RLLIB_FILE = "episodes.parquet"


@dataclass(frozen=True, slots=True)
class Episode:
    """One plan as the environment played it, of T steps.

    Attributes:
        instance: name of the instance.
        seed: seed of the environment's reset.
        observations: T + 1 observations.
        actions: T actions.
        rewards: T rewards.
        terminated: whether the environment ended the episode; if not, the plan was shorter, and the
            episode is cut off (truncated).
        objective: `info["objective"]` after the last action.
    """

    instance: str
    seed: int
    observations: list[Any]
    actions: list[Any]
    rewards: list[float]
    terminated: bool
    objective: float


def record(
    problem: Problem[Any], instances: Sequence[Any], contender: str, budget: Budget, seeds: range
) -> list[Episode]:
    """Play a contender on instances, and replay its plans as episodes.

    Runs that fail and plans that the environment refuses are left out, with a note.

    Args:
        problem: the family.
        instances: with their settings applied.
        contender: its registered name.
        budget: what it may spend on a plan.
        seeds: seeds of the runs on each instance.

    Returns:
        Episodes, instance by instance.

    Raises:
        SolutionError: no plan could be recorded.
    """
    worker, env = Worker(problem.family, contender, budget), make_environment(problem, instances)
    episodes: list[Episode] = []
    why = "no instances"
    try:
        for instance in instances:
            for seed in seeds:
                world = world_seed(instance.content_hash, seed)
                outcome = worker.play(instance, seed, world)
                try:
                    if isinstance(outcome, Trouble):
                        raise SolutionError(f"{outcome.status}: {outcome.error}")
                    actions = np.asarray(outcome.solution.actions)
                    episodes.append(play(env, instance, actions, world))
                except (IllegalActionError, SolutionError) as error:
                    why = f"{contender} on {instance.name}, seed {seed}: {error}"
                    note(f"left out: {why}")
    finally:
        worker.close()
        env.close()  # type: ignore[no-untyped-call]
    if not episodes:
        raise SolutionError(f"no plan of {contender} could be recorded; the last one: {why}")
    return episodes


def play(env: gymnasium.Env[Any, Any], instance: Any, actions: np.ndarray, seed: int) -> Episode:
    """Replay a plan in an environment.

    Args:
        env: made by `core.play.make_environment`.
        instance: what the plan is for.
        actions: int64, one row per step.
        seed: seed of what the world draws.

    Raises:
        IllegalActionError: an action is not legal.
        SolutionError: the plan has no actions, goes on after the end or stops within a move.
    """
    observation, info = env.reset(seed=seed, options={"instance": instance})
    episode = Episode(instance.name, seed, [observation], [], [], False, float("nan"))
    terminated = False
    for step, row in enumerate(actions):
        if terminated:
            raise SolutionError(f"the episode ended after {step} of {len(actions)} actions")
        action = as_action(row)
        observation, reward, terminated, _, info = env.step(action)
        episode.observations.append(observation)
        episode.actions.append(action)
        episode.rewards.append(float(reward))
    if not len(actions) or not info["feasible"]:
        raise SolutionError(f"after {len(actions)} actions the plan is not complete")
    return Episode(
        instance.name, seed, episode.observations, episode.actions, episode.rewards,
        bool(terminated), float(info["objective"]),
    )  # fmt: skip


def check_format(name: str) -> Format:
    """Return a format by its name, if the packages that write it are installed.

    Args:
        name: "rllib" or "minari".

    Raises:
        UnknownNameError: no such format.
        MissingDependencyError: a package that it needs is not installed.
    """
    check_name(name, get_args(Format), "format of recorded episodes")
    needed, extra = {
        "rllib": (("ray", "msgpack_numpy", "pyarrow"), "report,training"),
        "minari": (("minari", "pyarrow"), "minari"),
    }[name]
    for package in needed:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"--format {name} needs the package {error.name!r}; install it with "
                f"pip install 'sysopt-gym[{extra}]'"
            ) from error
    return "minari" if name == "minari" else "rllib"


def check_free(kind: Format, problem: Problem[Any], contender: str, folder: Path) -> None:
    """Check that nothing would be written over, before anything is played.

    Args:
        kind: the format.
        problem: the family.
        contender: the one that is recorded.
        folder: where the episodes are written.

    Raises:
        OutputError: the folder holds that data set.
    """
    path = folder / (RLLIB_FILE if kind == "rllib" else _dataset(problem, contender))
    if path.exists():
        raise OutputError(f"{path}: is there already; give another --out")


def _dataset(problem: Problem[Any], contender: str) -> str:
    """Return the id of Minari's data set of a contender's episodes."""
    name = "".join(letter if letter.isalnum() else "_" for letter in contender)
    return f"{problem.family}/{name}-v0"


def write(
    kind: Format,
    episodes: Sequence[Episode],
    problem: Problem[Any],
    instances: Sequence[Any],
    contender: str,
    folder: Path,
) -> str:
    """Write episodes in a format, and return how readers name them: a file, or an id of Minari.

    Args:
        kind: the format.
        episodes: what `record` returned.
        problem: the family.
        instances: those that were recorded.
        contender: the one that was recorded.
        folder: where they are written.

    Raises:
        OutputError: the folder cannot be written, or holds that data set.
    """
    check_free(kind, problem, contender, folder)
    if kind == "rllib":
        return str(write_rllib(episodes, folder))
    return write_minari(episodes, problem, instances, contender, folder)


def write_rllib(episodes: Iterable[Episode], folder: Path) -> Path:
    """Write episodes as RLlib's offline output does: rows of packed SingleAgentEpisodes.

    BC and MARWIL read the folder by `offline_data(input_=[folder], input_read_episodes=True)`.

    Args:
        episodes: what `record` returned.
        folder: the file RLLIB_FILE in it is written.

    Returns:
        The file.

    Raises:
        OutputError: the folder cannot be written.
    """
    import msgpack
    import msgpack_numpy
    import pyarrow
    import pyarrow.parquet
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    rows = []
    for episode in episodes:
        made = SingleAgentEpisode(
            observations=episode.observations,
            actions=episode.actions,
            rewards=episode.rewards,
            infos=[{} for _ in episode.observations],
            terminated=episode.terminated,
            truncated=not episode.terminated,
            len_lookback_buffer=0,
        )
        rows.append(msgpack.packb(made.get_state(), default=msgpack_numpy.encode))
    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"item": rows}), data)
    write_bytes(folder / RLLIB_FILE, data.getvalue())
    return folder / RLLIB_FILE


def write_minari(
    episodes: Sequence[Episode],
    problem: Problem[Any],
    instances: Sequence[Any],
    contender: str,
    folder: Path,
) -> str:
    """Write episodes as a data set of Minari, in which a step's info is its instance's name.

    Args:
        episodes: what `record` returned.
        problem: the family.
        instances: those that were recorded.
        contender: the one that was recorded.
        folder: Minari's root; readers name it by MINARI_DATASETS_PATH.

    Returns:
        The id by which `minari.load_dataset` finds it.

    Raises:
        OutputError: the folder cannot be written.
    """
    import minari
    from minari.data_collector import EpisodeBuffer

    dataset = _dataset(problem, contender)
    env = make_environment(problem, instances)
    buffers = [
        EpisodeBuffer(
            id=number,
            seed=episode.seed,
            observations=_columns(episode.observations),
            actions=_columns(episode.actions),
            rewards=episode.rewards,
            terminations=[*[False] * (len(episode.actions) - 1), episode.terminated],
            truncations=[*[False] * (len(episode.actions) - 1), not episode.terminated],
            infos={"instance": [episode.instance] * len(episode.observations)},
        )
        for number, episode in enumerate(episodes)
    ]
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.resolve())
    try:
        with warnings.catch_warnings():
            # Of particulars of an author, of which there are none.
            warnings.filterwarnings("ignore", module="minari")
            minari.create_dataset_from_buffers(
                dataset, buffers, action_space=_plain(env.action_space),
                observation_space=env.observation_space, algorithm_name=contender,
                description=f"{problem.title}: plans of {contender}", data_format="arrow",
            )  # fmt: skip
    except BaseException as error:
        shutil.rmtree(folder / dataset, ignore_errors=True)  # half of it would be taken for all
        if isinstance(error, OSError):
            raise OutputError(f"{folder / dataset}: {unwritable(error)}") from error
        raise
    finally:
        env.close()  # type: ignore[no-untyped-call]
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
    return dataset


def _columns(steps: Sequence[Any]) -> Any:
    """Turn a list of observations or actions into arrays [T, ...], a dict of them for dicts."""
    if isinstance(steps[0], dict):
        return {key: np.stack([step[key] for step in steps]) for key in steps[0]}
    return np.stack([np.asarray(step) for step in steps])


def _plain(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return Gymnasium's own space of the same actions; ours draws legal ones."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return gymnasium.spaces.Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return gymnasium.spaces.MultiDiscrete(space.nvec)
    return space
