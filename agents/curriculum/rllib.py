"""How a curriculum's weights reach environments, and how the episodes played come back.

`Course` does both, once an iteration. What it needs of runners and learners of any make is this:

- A runner's `env.unwrapped` is Gymnasium's vector environment around environments of ours, or one
  of ours, whose draws `weigh` sets (envs/base.py); a runner that draws itself asks them to
  (`draw_row`), or has a method `weigh(weights)`, float64 [n], of its own.
- A runner reports each finished episode by `report_finished`. RLlib's callback `finished` below
  does it for runners that make RLlib's callbacks, with an environment that has `rows_now` (or
  `call`), and episodes that have `id_`, `get_return`, `get_infos` and a length.
- A learner reports the |advantage| of what it learns from, by episode: `AdvantageReport`, a piece
  behind GAE in its connectors, does it for RLlib's PPO. Another learner has a method
  `take_advantages(shares)` that returns what AdvantageReport.take does.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tree
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.learner import GeneralAdvantageEstimation
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.numpy import convert_to_numpy

from ...core.errors import CheckpointError, SettingError
from . import CURRICULA
from .base import Curriculum, Outcome, Shares
from .d3s import steps_kept
from .table import load_curriculum
from .uniform import Uniform

FINISHED = "finished_episodes"  # attribute of a runner
MOST_UNFINISHED = 10_000  # episodes of runners that were lost never finish


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished episode, as a runner reports it.

    Attributes:
        id_: RLlib's name of the episode, which its parts share.
        row: index of its instance in the environment's `instances`.
        gain: its return.
        objective: `info["objective"]` at its end; NaN if there is none.
        steps: its steps.
    """

    id_: str
    row: int
    gain: float
    objective: float
    steps: int


def report_finished(runner: Any, episode: Finished) -> None:
    """Keep a finished episode for the curriculum to fetch.

    Args:
        runner: who played it.
        episode: the episode.
    """
    if not hasattr(runner, FINISHED):
        setattr(runner, FINISHED, [])
    getattr(runner, FINISHED).append(episode)


def finished(
    *,
    episode: Any,
    env_runner: Any,
    env: Any,
    env_index: int,
    prev_episode_chunks: Sequence[Any] = (),
    **others: Any,
) -> None:
    """Report an episode that has ended; RLlib's callback `on_episode_end`.

    Args:
        episode: the last part of the episode.
        env_runner: who played it; what is played for evaluation is not reported.
        env: the vectorized environment.
        env_index: the episode's lane.
        prev_episode_chunks: its earlier parts.
        **others: RLlib's further arguments.
    """
    row = row_of(env, env_index)
    if env_runner.config.in_evaluation or row < 0:
        return
    parts = [*prev_episode_chunks, episode]
    objective = episode.get_infos(-1).get("objective")
    report_finished(
        env_runner,
        Finished(
            episode.id_,
            row,
            float(sum(part.get_return() for part in parts)),
            math.nan if objective is None else float(objective),
            sum(len(part) for part in parts),
        ),
    )


def row_of(vector: Any, lane: int) -> int:
    """Return the index of the instance that a lane plays.

    Args:
        vector: one of our vectorized environments, or Gymnasium's, in this process or others.
        lane: its number.
    """
    rows = vector.rows_now if hasattr(vector, "rows_now") else vector.call("row")
    return int(rows[lane])


def weigh(runner: Any, weights: np.ndarray) -> None:
    """Have a runner draw the instances of its next episodes by weights.

    Args:
        runner: a runner; one without environments draws nothing.
        weights: float64 [n].

    Raises:
        SettingError: its environments have no weights.
    """
    if hasattr(runner, "weigh"):
        runner.weigh(weights)
        return
    if runner.env is None:
        return
    vector = runner.env.unwrapped
    try:
        vector.weigh(weights) if hasattr(vector, "weigh") else vector.call("weigh", weights)
    except AttributeError as error:
        raise SettingError(
            f"{runner.config.env}: its instances cannot be weighed; derive it from "
            "sysopt_gym.envs.base.FamilyEnv, or leave curriculum at uniform"
        ) from error


class AdvantageReport(ConnectorV2):
    """Tells the advantages of a batch, episode by episode, and replaces what is not learned from by
    what is.

    It stands behind GAE in a learner's connectors, with a batch of B steps that are the parts of
    episodes one after the other.
    """

    def __init__(self, input_observation_space: Any = None, input_action_space: Any = None) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.shares: Shares | None = None
        self.told: list[tuple[str, float, int]] = []

    def take(self, shares: Shares | None) -> list[tuple[str, float, int]]:
        """Hand over what was told since the last call.

        Args:
            shares: what of the batches to come is learned from; None for all.

        Returns:
            RLlib's name of an episode, sum of |advantage| over steps of it, how many these are.
        """
        told, self.told, self.shares = self.told, [], shares
        return told

    def __call__(
        self, *, rl_module: Any, batch: dict[str, Any], episodes: list[Any], **others: Any
    ) -> dict[str, Any]:
        """See RLlib's connectors.

        Args:
            rl_module: the learner's modules.
            batch: the batch, with advantages.
            episodes: the parts of episodes that it is made of.
            **others: RLlib's further arguments.
        """
        columns = batch[DEFAULT_MODULE_ID]
        parts = list(self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False))
        advantages = convert_to_numpy(columns[Postprocessing.ADVANTAGES]).astype(np.float64)
        real = convert_to_numpy(columns[Columns.LOSS_MASK])  # not the steps added for bootstrapping
        part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        sizes = np.bincount(part_of[real], minlength=len(parts))
        sums = np.bincount(part_of[real], np.abs(advantages[real]), len(parts))
        for part, total, size in zip(parts, sums.tolist(), sizes.tolist(), strict=True):
            # A connector before this one has put "_NUMBER" behind the name.
            self.told.append((part.id_.rpartition("_")[0], total, size))
        if self.shares is not None:
            chosen = np.zeros(len(real), np.bool_)
            _, rollouts = np.unique(part_of[real], return_inverse=True)
            entropies = _entropies(rl_module[DEFAULT_MODULE_ID], columns)
            chosen[real] = steps_kept(advantages[real], entropies[real], rollouts, self.shares)
            # Over and over, for as many gradient steps as the whole batch gives.
            rows = np.resize(np.flatnonzero(chosen), real.sum())
            batch[DEFAULT_MODULE_ID] = tree.map_structure(lambda column: column[rows], columns)
        return batch


def _entropies(module: Any, columns: dict[str, Any]) -> np.ndarray:
    """Return the entropy of the policy that played, at every step, float64 [B]."""
    kind = module.unwrapped().get_exploration_action_dist_cls()
    entropies: np.ndarray = convert_to_numpy(
        kind.from_logits(columns[Columns.ACTION_DIST_INPUTS]).entropy()
    )
    return entropies.astype(np.float64)


class Course:
    """A curriculum at work in a stage of training."""

    def __init__(self, curriculum: Curriculum, signs: Sequence[float]) -> None:
        """Put nothing to work yet; see `attach`.

        Args:
            curriculum: the curriculum. A uniform one leaves everything as it is without any.
            signs: [n]; of each instance, 1.0 where less of its objective is better, -1.0 where more
                is.
        """
        self.curriculum, self.signs = curriculum, signs
        self._idle = isinstance(curriculum, Uniform)
        # RLlib's name of an unfinished episode -> sum of |advantage| over its steps, how many.
        self._unfinished: dict[str, tuple[float, int]] = {}

    @property
    def callbacks(self) -> list[Callable[..., None]]:
        """RLlib's callbacks `on_episode_end` that the algorithm is to be built with."""
        return [] if self._idle else [finished]

    def attach(self, algorithm: Any, stage: str) -> None:
        """Have an algorithm's learners report advantages, if the curriculum uses them.

        Args:
            algorithm: an algorithm of RLlib that was built with `callbacks`.
            stage: its name, for the error message.

        Raises:
            SettingError: its learners have no advantages.
        """
        if not self.curriculum.uses_advantages:
            return
        added = algorithm.learner_group.foreach_learner(_report_advantages)
        if not all(one.get() for one in added):
            serving = [n for n in CURRICULA if not load_curriculum(n).uses_advantages]
            raise SettingError(
                f"{stage}.curriculum: this one learns from advantages, which {stage} has none of; "
                f"train by ppo, or take one of {', '.join(serving)}"
            )

    def hand_out(self, algorithm: Any) -> None:
        """Set by what weights the episodes to come are drawn, and what is learned from them.

        Args:
            algorithm: an algorithm that `attach` was called with.

        Raises:
            SettingError: its environments have no weights.
        """
        if self._idle:
            return
        weights, shares = self.curriculum.weights(), self.curriculum.shares()
        algorithm.env_runner_group.foreach_env_runner(lambda runner: weigh(runner, weights))
        if self.curriculum.uses_advantages:
            self._take_advantages(algorithm, shares)

    def take_in(self, algorithm: Any) -> None:
        """Let the curriculum learn from the episodes that have ended since the last call.

        Args:
            algorithm: an algorithm that `attach` was called with.
        """
        if self._idle:
            return
        if self.curriculum.uses_advantages:
            self._take_advantages(algorithm, None)
        reports = algorithm.env_runner_group.foreach_env_runner(_finished_of)
        self.curriculum.learn([self._outcome(one) for report in reports for one in report])

    def in_play(self) -> float | None:
        """Return how many instances the next episodes are drawn from: the exponential of the
        weights' entropy, n if all are alike; None for a uniform curriculum.
        """
        weights = self.curriculum.weights()
        weights = weights[weights > 0]
        return None if self._idle else float(np.exp(-(weights * np.log(weights)).sum()))

    def _take_advantages(self, algorithm: Any, shares: Shares | None) -> None:
        told = algorithm.learner_group.foreach_learner(lambda learner: _report_of(learner, shares))
        for name, total, steps in (entry for one in told for entry in one.get()):
            earlier, so_far = self._unfinished.pop(name, (0.0, 0))
            self._unfinished[name] = earlier + total, so_far + steps
        while len(self._unfinished) > MOST_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]

    def _outcome(self, one: Finished) -> Outcome:
        total, steps = self._unfinished.pop(one.id_, (math.nan, 1))
        objective = -self.signs[one.row] * one.objective
        return Outcome(one.row, one.gain, objective, one.steps, total / steps)

    def save(self, path: Path) -> None:
        """Write what a resumed run needs to go on with the same choices.

        Args:
            path: the file; a uniform curriculum writes none.
        """
        if not self._idle:
            path.write_bytes(pickle.dumps((self.curriculum.state(), self._unfinished)))

    def restore(self, path: Path) -> None:
        """Restore what `save` wrote.

        Args:
            path: the file.

        Raises:
            CheckpointError: it cannot be read, or is not there.
        """
        if self._idle:
            return
        try:
            state, self._unfinished = pickle.loads(path.read_bytes())
        except Exception as error:  # whatever a class that has changed raises
            raise CheckpointError(
                f"{path}: cannot be read ({error}); resume with the version that wrote it, or "
                "start another run with start=FOLDER of this one's policy"
            ) from error
        self.curriculum.restore(state)


def _finished_of(runner: Any) -> list[Finished]:
    """Take what `report_finished` has kept with a runner."""
    told: list[Finished] = getattr(runner, FINISHED, [])
    setattr(runner, FINISHED, [])
    return told


def _report_advantages(learner: Any) -> bool:
    """Have a learner report advantages; return whether it has any."""
    if hasattr(learner, "take_advantages"):
        return True
    pipeline = learner._learner_connector
    if not any(isinstance(piece, GeneralAdvantageEstimation) for piece in pipeline.connectors):
        return False
    pipeline.append(AdvantageReport())
    return True


def _report_of(learner: Any, shares: Shares | None) -> list[tuple[str, float, int]]:
    if hasattr(learner, "take_advantages"):
        told: list[tuple[str, float, int]] = learner.take_advantages(shares)
        return told
    pieces = learner._learner_connector.connectors
    (report,) = (piece for piece in pieces if isinstance(piece, AdvantageReport))
    return report.take(shares)
