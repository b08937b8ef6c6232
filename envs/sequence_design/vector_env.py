"""Many environments of form construct, stepped together: one call of the dynamics and of the proxy
for all lanes of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ...core.errors import SettingError
from ...datasets.sequence_design.instance import DesignTask
from ..base import Observation
from ..vector import FamilyVectorEnv
from .designs import padding
from .dynamics import append
from .env import SequenceDesignEnv, check_alike, illegal_letter
from .objective import expected_median
from .observation import squashed
from .proxy import Ensemble, reference_proxy
from .render import frame
from .rounds import Rounds
from .rules import has_rules, letters_at


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """A task and what its lanes share.

    Attributes:
        task: sealed.
        padding: int8 [size, L]; what pads the batches, best first.
        padding_means: float64 [size]; what the proxy expects of it; 0 with several rounds.
        proxy: that designs are valued by; None with several rounds.
        rounds: where there are several, nothing measured yet; else None.
    """

    task: DesignTask
    padding: np.ndarray
    padding_means: np.ndarray
    proxy: Ensemble | None
    rounds: Rounds | None


class SequenceDesignVectorEnv(FamilyVectorEnv[DesignTask]):
    """N environments SequenceDesignEnv of form construct that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them (B = N below): arrays with the lane first, and
    beside each key of the infos its mask `_key`. Lane i seeded with s is the
    single environment seeded with s + i. All episodes have the same number of steps, so all lanes
    begin and end together.

    ## Autoreset
    `autoreset_mode`, all lanes together. NextStep: the step after the terminated one ignores its
    actions, begins the next episodes and returns their first observations, with reward 0 and no
    end; the final observations are the ones that the terminated step returns. SameStep: the
    terminated step returns the next episodes' first observations, and the last ones' ends under
    `final_obs` and `final_info`. Disabled: `reset(options={"reset_mask": terminations})`, of all
    lanes.

    ## Action space
    `MultiDiscrete([V] * B)`, a letter a lane; `action_mask` [B, V] is exact, as in the single
    environment. The space's own `sample()` draws legal letters.

    ## Observation space
    The single environment's Dict, each Box with the lane first; what is returned never changes
    afterwards.

    ## Arguments
    num_envs: B. instances, designs, kappa, proxy, settings: as of the single environment; tasks
    that ask for batches of different sizes need `designs`. form: construct; the others' episodes
    end at different steps, and are served by `gymnasium.make_vec(..., vectorization_mode="sync")`.
    autoreset_mode: one of the above. render_mode: "rgb_array", a picture of each lane.

    Raises:
        SettingError: another form, or an argument that cannot be used.
        InstanceError: tasks of different shapes.
    """

    forms = ("construct",)

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | DesignTask | Sequence[DesignTask] = "ehrlich:small",
        form: str = "construct",
        designs: int | None = None,
        kappa: float = 0.0,
        proxy: Ensemble | None = None,
        settings: Mapping[str, str] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        single = SequenceDesignEnv(
            instances, form, designs, kappa, None, proxy, settings, render_mode
        )
        super().__init__(single, num_envs, autoreset_mode)
        sizes = {task.batch_size for task in self.instances}
        if designs is None and len(sizes) > 1:
            raise SettingError(
                f"the tasks ask for batches of different sizes, {sorted(sizes)}; set designs, so "
                "that the lanes' episodes end together"
            )
        self.kappa, self.designs, self._proxy = kappa, designs, proxy
        self._teams: dict[int, Team] = {}
        self._playing: list[tuple[Team, np.ndarray]] = []

    def _check_fits(self, instance: DesignTask) -> None:
        check_alike(self.instances[0], instance)

    def _to_reset(self, mask: Any) -> np.ndarray:
        lanes = super()._to_reset(mask)
        if len(lanes) < self.num_envs:
            raise SettingError(
                "reset_mask: the episodes of all lanes begin and end together; mask in all, or use "
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )
        return lanes

    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        of_task: dict[int, list[int]] = {}
        for lane, task in enumerate(self.instances_now):
            of_task.setdefault(id(task), []).append(lane)
        self._playing = [
            (self._team(self.instances_now[own[0]]), np.array(own)) for own in of_task.values()
        ]
        first = self._playing[0][0]
        self._rounds: list[Rounds] = []  # of each lane, where there are several rounds
        for team, own in self._playing:
            if team.rounds is not None:
                self._rounds = self._rounds or [team.rounds] * self.num_envs
                for lane in own:
                    self._rounds[lane] = team.rounds.fork()
        self._size, length = first.padding.shape
        self._batch = self._size // first.task.rounds
        self._count = 0
        self._handed_in = np.empty((self.num_envs, self._size, length), np.int8)
        self._unique_means = np.empty((self.num_envs, self._size))
        self._uniques = np.zeros(self.num_envs, np.int64)
        self._among_padding = np.zeros((self.num_envs, self._size), np.bool_)
        self._best, self._mean, self._spread = np.zeros((3, self.num_envs))
        self._text = np.full(self.num_envs, "", object)
        self._objective = self._standing() if self._rounds else self._expected()
        self._next_designs()

    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards = np.zeros(self.num_envs)
        self._append(actions)
        if self._at == self._tokens.shape[1]:
            rewards = self._hand_in()
        return rewards, np.full(self.num_envs, self._over)

    @property
    def _over(self) -> bool:
        """Whether all designs have been handed in."""
        return bool(self._count == self._size)

    def _team(self, task: DesignTask) -> Team:
        """Return what lanes of the task share, computed once if it is one of `instances`."""
        team = self._teams.get(id(task))
        if team is None or team.task is not task:
            team = self._make_team(task)
            if any(task is one for one in self.instances):
                self._teams[id(task)] = team
        return team

    def _make_team(self, task: DesignTask) -> Team:
        size = task.batch_size if self.designs is None else self.designs
        rows = padding(task, size * task.rounds)
        if task.rounds > 1:
            return Team(task, rows, np.zeros(len(rows)), None, Rounds(self.problem, task, size))
        proxy = self._proxy if self._proxy is not None else reference_proxy(task)
        return Team(task, rows, proxy.predict(rows)[0], proxy, None)

    def _next_designs(self) -> None:
        task = self.instances[0]
        self._at = 0
        self._tokens = np.full((self.num_envs, task.length), task.letters, np.int8)

    def _append(self, letters: np.ndarray) -> None:
        tokens = self._tokens.copy()
        for team, lanes in self._playing:
            part = tokens[lanes]
            row = _ruled_out(team.task, part, self._at, letters[lanes])
            if row < 0:
                row = append(part, self._at, letters[lanes], team.task.banned)
            if row >= 0:
                lane = int(lanes[row])
                raise illegal_letter(team.task, int(letters[lane]), self._at, self._masks()[lane])
            tokens[lanes] = part
        self._tokens = tokens
        self._at += 1

    def _hand_in(self) -> np.ndarray:
        """Hand in the finished design of every lane and begin the next; return their values,
        float64 [B], 0 for repeats.
        """
        tokens = self._tokens
        mean, spread = np.zeros((2, self.num_envs))
        text = np.empty(self.num_envs, object)
        for team, lanes in self._playing:
            own = tokens[lanes]
            if team.proxy is not None:
                mean[lanes], spread[lanes] = team.proxy.predict(own)
            text[lanes] = [team.task.text(row) for row in own]
            self._among_padding[lanes] |= (team.padding == own[:, None]).all(axis=2)
        self._mean, self._spread, self._text = mean, spread, text
        values = mean - self.kappa * spread
        first = ~(self._handed_in[:, : self._count] == tokens[:, None]).all(axis=2).any(axis=1)
        self._handed_in[:, self._count] = tokens
        self._unique_means[first, self._uniques[first]] = mean[first]
        self._uniques = self._uniques + first
        self._count += 1
        self._best = np.where(first, np.maximum(self._best, values), self._best)
        rewards = np.where(first, values, 0.0)
        if self._rounds and self._count % self._batch == 0:
            rewards = self._have_measured()
        self._objective = self._standing() if self._rounds else self._expected()
        if not self._over:
            self._next_designs()
        return rewards

    def _have_measured(self) -> np.ndarray:
        """Have the batch of every lane measured; return the rewards, float64 [B]."""
        rewards = np.zeros(self.num_envs)
        for lane, rounds in enumerate(self._rounds):
            rows = self._handed_in[lane, : self._count]
            new = np.array(list({row.tobytes(): row for row in rows}.values())[rounds.count :])
            scores = rounds.measure(new)
            rewards[lane] = float(scores.sum())
            self._best[lane] = max([self._best[lane], *scores.tolist()])
        return rewards

    def _standing(self) -> np.ndarray:
        """Return the median of what every lane has had measured, padded, float64 [B]."""
        return np.array([rounds.now[1] for rounds in self._rounds])

    def _expected(self) -> np.ndarray:
        """Return what the proxy expects of each lane's batch, float64 [B].

        It holds the lane's different designs and the best measured sequences that are not among
        them.
        """
        batch = self._unique_means.copy()
        missing = self._size - self._uniques[:, None]
        for team, lanes in self._playing:
            free = ~self._among_padding[lanes]
            taken = free & (free.cumsum(axis=1) <= missing[lanes])
            part = batch[lanes]
            to_fill = np.arange(self._size) >= self._uniques[lanes, None]
            part[to_fill] = np.broadcast_to(team.padding_means, taken.shape)[taken]
            batch[lanes] = part
        return expected_median(batch)

    def _masks(self) -> np.ndarray:
        masks = np.zeros((self.num_envs, self.instances[0].letters), np.int8)
        if self._over:
            masks[:, 0] = 1
            return masks
        for team, lanes in self._playing:
            masks[lanes] = letters_at(team.task, self._tokens[lanes], self._at)
        return masks

    def _first_mask(self, instance: DesignTask, seed: int) -> np.ndarray:
        return letters_at(instance, np.zeros((1, instance.length), np.int8), 0).ravel()

    def _frame(self, lane: int) -> np.ndarray:
        first = {row.tobytes(): row for row in self._handed_in[lane, : self._count]}
        rows = np.stack([*first.values(), self._tokens[lane]])
        task = self.instances_now[lane]
        by_round = self._rounds[lane].by_round if self._rounds else ()
        return frame(rows, task.letters, self._size, by_round, task.rounds)

    def _observation(self, lanes: np.ndarray) -> Observation:
        task, nothing = self.instances[0], np.zeros(len(lanes))
        progress = self._at / task.length, self._count / self._size
        seen: Observation = {
            "tokens": self._tokens[lanes],
            "progress": np.tile(np.array(progress, np.float32), (len(lanes), 1)),
            "proxy_values": np.ascontiguousarray(squashed(nothing, nothing, self._best[lanes]).T),
            "action_mask": self._masks()[lanes],
        }
        if self._rounds:
            some = [self._rounds[lane] for lane in lanes]
            done = [[rounds.done / task.rounds] for rounds in some]
            seen["round"] = np.array(done, np.float32)
            seen["measured"] = np.stack([rounds.tokens for rounds in some])
            seen["measured_scores"] = np.stack([rounds.scores for rounds in some])
        return seen

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        known = {
            "objective": self._objective[lanes],
            "feasible": np.ones(len(lanes), np.bool_),
            "designs": np.full(len(lanes), self._count),
            "uniques": self._uniques[lanes],
            "sequence": self._text[lanes],
        }
        if self._rounds:
            some = [self._rounds[lane] for lane in lanes]
            known["rounds"] = np.array([rounds.done for rounds in some])
            known["best_score"] = np.array([rounds.now[0] for rounds in some])
            return known
        return known | {"proxy_mean": self._mean[lanes], "proxy_spread": self._spread[lanes]}


def _ruled_out(task: DesignTask, tokens: np.ndarray, at: int, letters: np.ndarray) -> int:
    """Return the first lane whose letter cannot lead to a legal design; -1 if none.

    Args:
        task: the task; one without rules beside the banned pairs rules nothing out here.
        tokens: int8 [B, L].
        at: the position.
        letters: int64 [B].
    """
    if not has_rules(task):
        return -1
    mask = letters_at(task, tokens, at)
    known = (letters >= 0) & (letters < task.letters)
    wrong = ~known | (mask[np.arange(len(letters)), np.where(known, letters, 0)] == 0)
    return int(wrong.argmax()) if wrong.any() else -1
