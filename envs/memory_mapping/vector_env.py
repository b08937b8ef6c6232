"""Many environments MallocGameEnv stepped together: one compiled call for all lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ...core.errors import IllegalActionError
from ...datasets.memory_mapping.instance import Program
from ..base import Observation
from ..packed import widened
from ..vector import FamilyVectorEnv
from .dynamics import DEAD, FINISHED, GOES_ON, OUTCOME, POSITION, REWINDS, STALL, TIME
from .env import MallocGameEnv
from .observation import AHEAD, BINS, DECISION_FEATURES, GLOBAL_FEATURES, PAST, SUPPLY, WINDOW
from .packed import advance_lanes, look_lanes, observe_lanes, state_in
from .render import frame


class MallocGameVectorEnv(FamilyVectorEnv[Program]):
    """N environments MallocGameEnv that step together; their programs may be of any sizes.

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
    `MultiDiscrete([3] * N)`, an action a lane; `action_mask` [N, 3] is exact, as in the single
    environment. The space's own `sample()` draws legal actions.

    ## Observation space
    The single environment's Dict, each Box with the lane first; what is returned never changes
    afterwards.

    ## Arguments
    num_envs: N. instances, window, settings: as of the single environment. autoreset_mode: one of
        the above. render_mode: "rgb_array", a picture of each lane.
    """

    forms = ("",)

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | Program | Sequence[Program] = "synthetic:train",
        window: int = WINDOW,
        settings: Mapping[str, str] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self._single = MallocGameEnv(instances, window, settings, render_mode)
        super().__init__(self._single, num_envs, autoreset_mode)
        self.window = window
        self._packed = np.zeros((num_envs, 0), np.int64)
        self._fixed = np.zeros((num_envs, 0, len(DECISION_FEATURES)), np.float32)
        self._all_slow = np.zeros(num_envs, np.int64)
        self._scalars = np.zeros((num_envs, 6), np.int64)
        self._legal = np.zeros((num_envs, 3), np.int8)
        self._returns = np.zeros(num_envs)

    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        for lane in lanes.tolist():
            start = self._single.start_of(self.instances_now[lane])
            self._packed = widened(self._packed, len(start.ints))
            self._packed[lane, : len(start.ints)] = start.ints
            self._fixed = widened(self._fixed, len(start.fixed))
            self._fixed[lane, : len(start.fixed)] = start.fixed
            self._all_slow[lane] = start.static.all_slow
        self._returns[lanes] = 0.0
        look_lanes(self._packed, lanes, self._scalars, self._legal)

    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        saved = np.empty(len(going), np.int64)
        wrong = advance_lanes(self._packed, going, actions, saved, self._scalars, self._legal)
        if wrong >= 0:
            raise IllegalActionError(
                f"lane {wrong}, {self.instances_now[wrong].name}: action {actions[wrong]} is not "
                f"legal for decision {self._scalars[wrong, POSITION]}; choose among "
                f'observation["action_mask"], {np.flatnonzero(self._legal[wrong]).tolist()}'
            )
        outcomes = self._scalars[going, OUTCOME]
        rewards = saved / np.maximum(1, self._all_slow[going])
        rewards = np.where(outcomes == DEAD, -1.0 - self._returns[going], rewards)
        self._returns[going] += rewards
        return rewards, outcomes != GOES_ON

    def _masks(self) -> np.ndarray:
        return self._legal

    def _first_mask(self, instance: Program, seed: int) -> np.ndarray:
        mask: np.ndarray = self._single.start_of(instance).first_mask
        return mask.astype(np.int8)

    def _frame(self, lane: int) -> np.ndarray:
        static = self._single.start_of(self.instances_now[lane]).static
        return frame(static, state_in(self._packed[lane]))

    def _observation(self, lanes: np.ndarray) -> Observation:
        count = len(lanes)
        seen: Observation = {
            "decisions": np.empty((count, self.window, len(DECISION_FEATURES)), np.float32),
            "occupancy": np.empty((count, PAST + AHEAD, BINS), np.float32),
            "supply": np.empty((count, SUPPLY), np.float32),
            "globals": np.empty((count, len(GLOBAL_FEATURES)), np.float32),
        }
        observe_lanes(self._packed, self._fixed, lanes, *seen.values())
        return seen | {"action_mask": self._legal[lanes]}

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        scalars, slow = self._scalars[lanes], self._all_slow[lanes]
        time = scalars[:, TIME]
        return {
            "objective": np.where(time > 0, slow / np.maximum(1, time), 1.0),
            "feasible": scalars[:, OUTCOME] == FINISHED,
            "decisions": scalars[:, POSITION].copy(),
            "rewinds": scalars[:, REWINDS].copy(),
            "time_us": time / 1e6,
            "stall_us": scalars[:, STALL] / 1e6,
        }
