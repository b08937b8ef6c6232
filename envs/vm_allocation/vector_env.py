"""Many environments VMAllocationEnv stepped together: one compiled call for all lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ...core.errors import IllegalActionError
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from ..base import Observation
from ..packed import widened
from ..vector import FamilyVectorEnv
from .dynamics import (
    CHOSEN,
    CLOCK_S,
    MOVES,
    N_REJECTED,
    NO_ONE,
    PHASE,
    PLACE,
    REQUEST,
    State,
)
from .env import VMAllocationEnv
from .objective import rejected_so_far, reward_scale
from .observation import Asked, Clock, Pm, Vm
from .packed import (
    left_in,
    look_at_lanes,
    look_at_vms,
    play_lanes,
    seen_flavor,
    state_in,
    static_in,
)
from .render import frame


class VMAllocationVectorEnv(FamilyVectorEnv[DataCenter]):
    """N environments VMAllocationEnv that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them: arrays with the lane first, and beside each key
    of the infos its mask `_key`. Lane i seeded with s is the single environment seeded with s + i.

    ## Autoreset
    `autoreset_mode`, each lane for itself: NextStep, SameStep or Disabled, as Gymnasium's
    AutoresetMode says.

    ## Action space
    `MultiDiscrete([N_actions] * N)`, an action a lane; `action_mask` is exact, as in the single
    environment. The space's own `sample()` draws legal actions.

    ## Observation space
    The single environment's Dict, each part with the lane first; what is returned never changes
    afterwards.

    ## Arguments
    num_envs: N. instances, max_pms, max_vms, settings: as of the single environment.
        autoreset_mode: one of the above. render_mode: "rgb_array", a picture of each lane.
    """

    forms = ("",)

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | DataCenter | Sequence[DataCenter] = "medium-95:train",
        max_pms: int | None = None,
        max_vms: int | None = None,
        settings: Mapping[str, str] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        single = VMAllocationEnv(instances, max_pms, max_vms, settings, render_mode)
        super().__init__(single, num_envs, autoreset_mode)
        self._single, self.n_actions = single, single.n_actions
        self._packed = np.zeros((num_envs, 1), np.int64)
        self._pms = np.zeros((num_envs, single.max_pms, len(Pm)), np.float32)
        self._pm_mask = np.zeros((num_envs, single.max_pms), np.int8)
        self._request = np.zeros((num_envs, len(Asked)), np.float32)
        self._clock = np.zeros((num_envs, len(Clock)), np.float32)
        self._mask = np.zeros((num_envs, self.n_actions), np.int8)
        self._scales = np.zeros(num_envs)
        self._states: list[State] = []

    def _check_fits(self, instance: DataCenter) -> None:
        self._single.check_padding(instance)

    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            center = self.instances_now[lane]
            world = int(self._rngs[lane].integers(2**32)) if seed is None else seed
            packed, seen = self._single.start(center, world)
            self._packed = widened(self._packed, len(packed))
            self._packed[lane, : len(packed)] = packed
            self._pms[lane], self._request[lane], self._clock[lane], self._mask[lane] = seen
            self._pm_mask[lane] = np.arange(len(self._pm_mask[lane])) < center.n_pms
            self._scales[lane] = reward_scale(center)
        self._states = [state_in(row) for row in self._packed]

    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rewards, ended = np.empty(len(going)), np.empty(len(going), np.bool_)
        wrong = play_lanes(self._packed, going, actions, self._mask, rewards, ended)
        if wrong >= 0:
            hours = self._states[wrong].numbers[CLOCK_S] / HOUR_S
            raise IllegalActionError(
                f"lane {wrong}, {self.instances_now[wrong].name}: action {actions[wrong]} is not "
                f'legal at {hours:.2f} h; choose among observation["action_mask"]'
            )
        look_at_lanes(self._packed, going, self._pms, self._request, self._clock, self._mask)
        return -self._scales[going] * rewards, ended

    def _frame(self, lane: int) -> np.ndarray:
        return frame(static_in(self._packed[lane]), self._states[lane])

    def _masks(self) -> np.ndarray:
        return self._mask

    def _first_mask(self, instance: DataCenter, seed: int) -> np.ndarray:
        return self._single.start(instance, seed)[1].mask

    def _observation(self, lanes: np.ndarray) -> Observation:
        flavors = [seen_flavor(self._packed[lane]) for lane in lanes.tolist()]
        observation: Observation = {
            "pms": self._pms[lanes],
            "pm_mask": self._pm_mask[lanes],
            "request": self._request[lanes],
            "flavor": np.array(flavors, np.int32)[:, None],
            "clock": self._clock[lanes],
            "action_mask": self._mask[lanes],
        }
        max_vms = self._single.max_vms
        if max_vms:
            vms = np.zeros((len(lanes), max_vms, len(Vm)), np.float32)
            vm_pm = np.zeros((len(lanes), max_vms), np.int32)
            vm_flavor = np.full((len(lanes), max_vms), NO_ONE, np.int32)
            for row, lane in enumerate(lanes.tolist()):
                look_at_vms(self._packed[lane], self._mask[lane], vms[row], vm_pm[row],
                            vm_flavor[row])  # fmt: skip
            chosen = self._of(lanes, CHOSEN).astype(np.int32)
            observation |= {
                "vms": vms, "vm_pm": vm_pm, "vm_flavor": vm_flavor, "chosen_vm": chosen[:, None],
            }  # fmt: skip
        return observation

    def _of(self, lanes: np.ndarray, number: int) -> np.ndarray:
        """Return one of the state's numbers for each lane, int64 [n]."""
        return np.array([self._states[lane].numbers[number] for lane in lanes.tolist()], np.int64)

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        placing = self._of(lanes, PHASE) == PLACE
        left = np.empty(len(lanes), object)
        for row, lane in enumerate(lanes.tolist()):
            left[row] = left_in(self._states[lane])
        return {
            "objective": np.array(
                [rejected_so_far(self._states[lane].numbers) for lane in lanes.tolist()]
            ),
            "feasible": self._of(lanes, CHOSEN) < 0,
            "hours": self._of(lanes, CLOCK_S) / HOUR_S,
            "request": np.where(placing, self._of(lanes, REQUEST), NO_ONE),
            "left": left,
            "rejected": self._of(lanes, N_REJECTED),
            "moves": self._of(lanes, MOVES),
        }
