"""Many environments of form construct, stepped together: one call of the dynamics and of the proxy
for all lanes of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...core.errors import IllegalActionError, SettingError
from ...core.registry import check_name
from ...datasets.sequence_design.instance import DesignTask, seal
from ..actions import LegalMultiDiscrete
from ..vector import seeds_of_lanes, with_masks
from .dynamics import append, append_mask, padding
from .env import SequenceDesignEnv, illegal_letter
from .objective import expected_median
from .observation import Observation, squashed
from .proxy import Ensemble, reference_proxy
from .tasks import SealsItsSpec, check_alike


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """A task and what its lanes share.

    Attributes:
        task: sealed.
        proxy: that designs are valued by.
        padding: int8 [size, L]; what pads a batch, best first.
        padding_means: float64 [size]; what the proxy expects of it.
    """

    task: DesignTask
    proxy: Ensemble
    padding: np.ndarray
    padding_means: np.ndarray


class SequenceDesignVectorEnv(  # type: ignore[misc]
    SealsItsSpec, VectorEnv[Observation, np.ndarray, np.ndarray]
):
    """N environments SequenceDesignEnv of form construct that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them (B = N below): arrays with the lane first, and
    beside each key of the infos its mask `_key`, here always true. Lane i seeded with s is the
    single environment seeded with s + i. All episodes have the same number of steps, so all lanes
    begin and end together.

    ## Autoreset
    Next step (`metadata["autoreset_mode"]`): the step after a terminated one ignores its actions,
    begins the next episode and returns its first observation, with reward 0 and no end. The final
    observation is therefore the one that the terminated step returns, and its infos are the final
    infos; there is no `final_obs`.

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

    Raises:
        SettingError: another form, or an argument that cannot be used.
        InstanceError: tasks of different shapes.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as the base class declares it)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | DesignTask | Sequence[DesignTask] = "ehrlich:small",
        form: str = "construct",
        designs: int | None = None,
        kappa: float = 0.0,
        proxy: Ensemble | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        single = SequenceDesignEnv(instances, form, designs, kappa, None, proxy, settings)
        if form != "construct":
            raise SettingError(
                f'form {form!r} has no vectorized environment; choose "construct", or '
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )
        if num_envs < 1:
            raise SettingError(f"num_envs is {num_envs}; give at least 1")
        sizes = {task.batch_size for task in single.instances}
        if designs is None and len(sizes) > 1:
            raise SettingError(
                f"the tasks ask for batches of different sizes, {sorted(sizes)}; set designs, so "
                "that the lanes' episodes end together"
            )
        self.num_envs, self.kappa, self.designs = num_envs, kappa, designs
        self.instances, self._proxy = single.instances, proxy
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        letters = np.full(num_envs, single.instances[0].letters, np.int64)
        self.action_space: LegalMultiDiscrete = LegalMultiDiscrete(letters)
        self.action_space.belong_to(self._draw_legal)
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._teams: dict[int, Team] = {}
        self._playing: list[tuple[Team, np.ndarray]] = []
        self._ended = True

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode in every lane.

        Args:
            seed: the first lane's, each further lane's one more; or one a lane.
            options: as of the single environment; "instance" is played by all lanes.

        Raises:
            SettingError: not one seed a lane.
            InstanceError: the task has other letters or another length than the environment's.
        """
        options = options or {}
        for key in options:
            check_name(key, ("instance", "elapsed_s"), "reset option")
        for lane, own in enumerate(seeds_of_lanes(seed, self.num_envs)):
            if own is not None:
                self._rngs[lane] = seeding.np_random(own)[0]
        self.action_space.episode_begins()
        self._begin(options.get("instance"))
        return self._observation(), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Sets a letter in every lane, int64 [B]; after an end, begins the next episodes instead.

        Returns:
            Observations, rewards float64 [B], terminations bool [B], truncations bool [B] (never),
            infos.

        Raises:
            IllegalActionError: a letter is not legal now; nothing has changed in any lane.
        """
        if not self._playing:
            raise IllegalActionError("no episode has begun; call reset")
        rewards = np.zeros(self.num_envs)
        if self._ended:
            self._begin(None)
        else:
            self._append(actions)
            if self._at == self._tokens.shape[1]:
                rewards = self._hand_in()
        ends = np.full(self.num_envs, self._ended)
        return self._observation(), rewards, ends, np.zeros_like(ends), self._info()

    def _begin(self, task: DesignTask | None) -> None:
        """Sets out on an episode in every lane, of this task or of one that the lane draws."""
        lanes = np.arange(self.num_envs)
        if task is not None:
            check_alike(self.instances[0], task)
            self._playing = [(self._team(seal(task)), lanes)]
        else:
            drawn = np.array([rng.integers(len(self.instances)) for rng in self._rngs])
            for row in set(drawn.tolist()) - self._teams.keys():
                self._teams[row] = self._team(self.instances[row])
            self._playing = [(self._teams[row], lanes[drawn == row]) for row in np.unique(drawn)]
        first = self._playing[0][0]
        self._size, length = first.padding.shape
        self._count = 0
        self._handed_in = np.empty((self.num_envs, self._size, length), np.int8)
        self._unique_means = np.empty((self.num_envs, self._size))
        self._uniques = np.zeros(self.num_envs, np.int64)
        self._among_padding = np.zeros((self.num_envs, self._size), np.bool_)
        self._best, self._mean, self._spread = np.zeros((3, self.num_envs))
        self._text = np.full(self.num_envs, "", object)
        self._objective = self._expected()
        self._ended = False
        self._next_designs()

    def _team(self, task: DesignTask) -> Team:
        size = task.batch_size if self.designs is None else self.designs
        proxy = self._proxy if self._proxy is not None else reference_proxy(task)
        rows = padding(task, size)
        return Team(task, proxy, rows, proxy.predict(rows)[0])

    def _next_designs(self) -> None:
        task = self.instances[0]
        self._at = 0
        self._tokens = np.full((self.num_envs, task.length), task.letters, np.int8)

    def _append(self, actions: np.ndarray) -> None:
        letters = np.asarray(actions)
        if letters.shape != (self.num_envs,) or letters.dtype.kind not in "iu":
            raise IllegalActionError(
                f"actions are {self.num_envs} whole numbers, a letter a lane; got shape "
                f"{letters.shape}, dtype {letters.dtype}"
            )
        letters, tokens = letters.astype(np.int64), self._tokens.copy()
        for team, lanes in self._playing:
            part = tokens[lanes]
            row = append(part, self._at, letters[lanes], team.task.banned)
            if row >= 0:
                lane = int(lanes[row])
                raise illegal_letter(team.task, int(letters[lane]), self._at, self._mask()[lane])
            tokens[lanes] = part
        self._tokens = tokens
        self._at += 1

    def _hand_in(self) -> np.ndarray:
        """Takes the finished design of every lane, sets out on the next, and returns their values
        float64 [B]; 0 for repeats.
        """
        tokens = self._tokens
        mean, spread = np.empty((2, self.num_envs))
        text = np.empty(self.num_envs, object)
        for team, lanes in self._playing:
            own = tokens[lanes]
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
        self._objective = self._expected()
        self._ended = self._count == self._size
        if not self._ended:
            self._next_designs()
        return np.where(first, values, 0.0)

    def _expected(self) -> np.ndarray:
        """What the proxy expects of each lane's batch: its different designs, padded with the best
        measured sequences that are not among them.
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

    def _mask(self) -> np.ndarray:
        mask = np.zeros((self.num_envs, self.instances[0].letters), np.int8)
        if not self._ended:
            for team, lanes in self._playing:
                part = mask[lanes]
                append_mask(self._tokens[lanes], self._at, team.task.banned, part)
                mask[lanes] = part
        return mask

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> np.ndarray:
        """Random legal letters now, or after a reset with the seed."""
        shape = self.num_envs, self.instances[0].letters
        mask = np.ones(shape) if seed is not None or self._ended else self._mask()
        letters: np.ndarray = ((1.0 - rng.random(shape)) * mask).argmax(axis=1)
        return letters

    def _observation(self) -> Observation:
        task, nothing = self.instances[0], np.zeros(self.num_envs)
        progress = self._at / task.length, self._count / self._size
        return {
            "tokens": self._tokens.copy(),
            "progress": np.tile(np.array(progress, np.float32), (self.num_envs, 1)),
            "values": np.ascontiguousarray(squashed(nothing, nothing, self._best).T),
            "action_mask": self._mask(),
        }

    def _info(self) -> dict[str, Any]:
        infos = {
            "objective": self._objective.copy(),
            "feasible": np.ones(self.num_envs, np.bool_),
            "designs": np.full(self.num_envs, self._count),
            "uniques": self._uniques.copy(),
            "sequence": self._text.copy(),
            "proxy_mean": self._mean.copy(),
            "proxy_spread": self._spread.copy(),
        }
        return with_masks(infos, self.num_envs)
