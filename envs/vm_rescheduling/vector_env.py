"""Many environments VMReschedulingEnv of form plies stepped together: one compiled call for all
lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ...core.errors import IllegalActionError
from ...datasets.vm_rescheduling.instance import Cluster
from ..base import Observation
from ..packed import widened
from ..vector import FamilyVectorEnv
from .dynamics import State, make_static
from .env import VMReschedulingEnv
from .episode import play_lanes
from .packed import CHOSEN, Episode, state_of
from .render import frame


class VMReschedulingVectorEnv(FamilyVectorEnv[Cluster]):
    """N environments VMReschedulingEnv of form plies that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them: arrays with the lane first, and beside each key
    of the infos its mask `_key`. Lane i seeded with s is the single environment seeded with s + i.

    ## Autoreset
    `autoreset_mode`, each lane for itself. NextStep: the step after its terminated one ignores its
    action, begins its next episode and returns its first observation, with reward 0 and no end;
    the final observation is the one that the terminated step returns. SameStep: the terminated step
    returns the next episode's first observation, and the last one's end under `final_obs` and
    `final_info`. Disabled: `reset(options={"reset_mask": terminations})`.

    ## Action space
    `MultiDiscrete([A] * N)`, an action a lane; `action_mask` [N, A] is exact, as in the single
    environment. The space's own `sample()` draws legal actions.

    ## Observation space
    The single environment's Dict, each part with the lane first; what is returned never changes
    afterwards.

    ## Arguments
    num_envs: N. instances, allow_stop, max_pms, max_vms, settings: as of the single environment.
        form: plies; joint is served by `gymnasium.make_vec(..., vectorization_mode="sync")`, as is
        the reset option elapsed_s. autoreset_mode: one of the above. render_mode:
        "rgb_array", a picture of each lane.
    """

    forms = ("plies",)

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | Cluster | Sequence[Cluster] = "small:train",
        form: str = "plies",
        allow_stop: bool = False,
        max_pms: int | None = None,
        max_vms: int | None = None,
        settings: Mapping[str, str] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        single = VMReschedulingEnv(
            instances,
            form,  # type: ignore[arg-type]
            allow_stop,
            max_pms,
            max_vms,
            settings,
            render_mode,
        )
        super().__init__(single, num_envs, autoreset_mode)
        self._single, self.n_actions = single, single.n_actions
        blank = single.start_of(self.instances[0])[0]
        # The buffers of an episode, each with the lane first.
        self._episodes = Episode(*(np.zeros((num_envs, *part.shape), part.dtype) for part in blank))
        self._figures = np.zeros((num_envs, 2))
        self._moves = np.zeros(num_envs, np.int64)
        self._mnl = np.ones(num_envs, np.int64)
        # By lane, kept for pictures: the VM moved last, and its places before and after.
        self._last_moves: list[tuple[int, int, int] | None] = [None] * num_envs

    def _check_fits(self, instance: Cluster) -> None:
        self._single.check_padding(instance)

    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        for lane in lanes.tolist():
            cluster = self.instances_now[lane]
            start, *self._figures[lane] = self._single.start_of(cluster)
            ints = widened(self._episodes.ints, len(start.ints))
            self._episodes = self._episodes._replace(ints=ints)
            for buffer, part in zip(self._episodes, start, strict=True):
                buffer[lane, : len(part)] = part
            self._mnl[lane] = cluster.mnl
            self._last_moves[lane] = None
        self._moves[lanes] = 0

    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards, ended = np.empty(len(going)), np.empty(len(going), np.bool_)
        made = self._moves.copy()
        moves = [] if self.render_mode is None else self._moves_of(actions, going)
        wrong = play_lanes(
            self._episodes, going, actions, rewards, ended, self._figures, self._moves
        )
        if wrong >= 0:
            ply = "VM" if self._episodes.ints[wrong, CHOSEN] < 0 else "destination"
            raise IllegalActionError(
                f"lane {wrong}, {self.instances_now[wrong].name}: after {self._moves[wrong]} moves "
                f'{ply} {actions[wrong]} is not legal; choose among observation["action_mask"]'
            )
        for lane, move in moves:
            if self._moves[lane] > made[lane]:  # else it no longer fitted
                self._last_moves[lane] = move
        return rewards, ended

    def _moves_of(
        self, actions: np.ndarray, going: np.ndarray
    ) -> list[tuple[int, tuple[int, int, int]]]:
        """Return the lanes that are about to move a VM, and for each the VM and its places."""
        moves = []
        for lane in going[self._episodes.ints[going, CHOSEN] >= 0].tolist():
            vm, state = int(self._episodes.ints[lane, CHOSEN]), self._state(lane)
            place = self.instances_now[lane].stride * state.vm_pm[vm] + state.vm_numa[vm]
            moves.append((lane, (vm, int(place), int(actions[lane]))))
        return moves

    def _state(self, lane: int) -> State:
        return state_of(self._episodes._replace(ints=self._episodes.ints[lane]))

    def _frame(self, lane: int) -> np.ndarray:
        cluster = self.instances_now[lane]
        return frame(
            make_static(cluster), self._state(lane), cluster.numa_cpu, self._last_moves[lane]
        )

    def _masks(self) -> np.ndarray:
        return self._masks_of(self._lanes)

    def _masks_of(self, lanes: np.ndarray) -> np.ndarray:
        e, n = self._episodes, self.n_actions
        first = e.ints[lanes, CHOSEN, None] < 0
        return np.where(first, e.vm_legal[lanes, :n], e.dest_legal[lanes, :n])

    def _first_mask(self, instance: Cluster, seed: int) -> np.ndarray:
        start: Episode = self._single.start_of(instance)[0]
        return start.vm_legal[: self.n_actions]

    def _observation(self, lanes: np.ndarray) -> Observation:
        e = self._episodes
        chosen = e.ints[lanes, CHOSEN, None].astype(np.int32)
        progress = np.minimum(1.0, self._moves[lanes] / self._mnl[lanes])
        return {
            "pms": e.pms[lanes],
            "vms": e.vms[lanes],
            "vm_pm": e.vm_pm[lanes],
            "pm_mask": e.pm_mask[lanes],
            "vm_mask": e.vm_mask[lanes],
            "chosen_vm": chosen,
            "phase": (chosen >= 0).astype(np.int8),
            "progress": progress.astype(np.float32)[:, None],
            "action_mask": self._masks_of(lanes),
        }

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        return {
            "objective": self._figures[lanes, 0],
            "feasible": self._episodes.ints[lanes, CHOSEN] < 0,
            "moves": self._moves[lanes],
            "fragment_rate": self._figures[lanes, 1],
        }
