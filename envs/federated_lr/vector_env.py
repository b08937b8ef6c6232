"""Many environments FederatedLREnv stepped together, alike ones in one computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ...datasets.federated_lr.instance import Federation
from ..base import Observation
from ..vector import FamilyVectorEnv
from .env import FederatedLREnv, reward_of
from .forms import order_of
from .grid import mask_of
from .groups import Groups
from .objective import score
from .observation import Observer
from .render import frame


class FederatedLRVectorEnv(FamilyVectorEnv[Federation]):
    """N environments FederatedLREnv of form grid or continuous that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them: arrays with the lane first, and beside each key
    of the infos its mask `_key`. Lane i seeded with s is the single environment
    seeded with s + i. Numbers agree up to the order in which sums are taken.

    ## Autoreset
    `autoreset_mode`, each lane for itself. NextStep: the step after its terminated one ignores its
    action, begins its next episode and returns its first observation, with reward 0 and no end;
    the final observation is the one that the terminated step returns. SameStep: the terminated step
    returns the next episode's first observation, and the last one's end under `final_obs` and
    `final_info`. Disabled: `reset(options={"reset_mask": terminations})`.

    ## Action space
    Form grid: `MultiDiscrete([25] * N)`, an action a lane; `action_mask` [N, 25] is exact, and the
    space's own `sample()` draws legal actions. Form continuous: `Box(-1, 1, (N, 2))`.

    ## Arguments
    num_envs: N. instances (by default the first of small:test), form, server, settings, device: as
    of the single environment. autoreset_mode: one of the above. render_mode: "rgb_array", a picture
    of each lane. Federations that are alike in model, classes, shape of a row, participants, local
    steps and batch size train in one computation; others, side by side.

    Raises:
        SettingError: form orders, or an argument that cannot be used.
    """

    forms = ("grid", "continuous")

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | Federation | Sequence[Federation] = "small:test/0",
        form: str = "grid",
        server: str = "average",
        settings: Mapping[str, str] | None = None,
        device: str = "cpu",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        single = FederatedLREnv(instances, form, server, settings, device, render_mode)
        super().__init__(single, num_envs, autoreset_mode)
        self.server = server
        self.dynamics = Groups([self.instances[0]] * num_envs, device)
        self._observer = Observer(num_envs)
        # By round, of each lane's episode.
        self._accuracies: list[list[float]] = [[] for _ in range(num_envs)]
        self._traces: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]  # for pictures

    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            world = int(self._rngs[lane].integers(2**32)) if seed is None else seed
            self.dynamics.begin(lane, self.instances_now[lane], world)
            self._accuracies[lane] = []
            self._traces[lane] = [self.dynamics.statistics.row(lane)]
        self._observer.begin(self.dynamics.statistics, lanes)

    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = self.dynamics.statistics
        orders = self._orders(actions, going)
        before = s.validation_loss[going].tolist()
        self.dynamics.step(orders, going)
        self._observer.look(s, going)
        rewards = np.zeros(len(going))
        for row, (lane, loss) in enumerate(zip(going.tolist(), before, strict=True)):
            rewards[row] = reward_of(s, lane, loss)
            if self.render_mode is not None:
                self._traces[lane].append(s.row(lane))
            if s.step[lane] > 1:
                self._accuracies[lane].append(float(s.validation_accuracy[lane]))
        return rewards, s.diverged[going] | (s.step[going] > s.rounds[going])

    def _orders(self, actions: np.ndarray, going: np.ndarray) -> np.ndarray:
        """Return the actions of the lanes that go on as orders, int64 [n, 5]."""
        s = self.dynamics.statistics
        rates = zip(s.alpha[going].tolist(), s.beta[going].tolist(), strict=True)
        orders = [
            order_of(self.form, actions[lane], alpha, beta, self.server, f"lane {lane}")
            for lane, (alpha, beta) in zip(going.tolist(), rates, strict=True)
        ]
        return np.array(orders)

    def _masks(self) -> np.ndarray:
        """Return the masks of all lanes, int8 [N, 25]."""
        s = self.dynamics.statistics
        return mask_of(s.alpha, s.beta)

    def _first_mask(self, instance: Federation, seed: int) -> np.ndarray:
        return mask_of(instance.alpha, instance.beta)

    def _frame(self, lane: int) -> np.ndarray:
        return frame(self._traces[lane])

    def _observation(self, lanes: np.ndarray) -> Observation:
        seen = {"rounds": self._observer.rounds[lanes]}
        if self.form == "grid":
            seen["action_mask"] = self._masks()[lanes]
        return seen

    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        s = self.dynamics.statistics
        objective = np.empty(len(lanes))
        for row, lane in enumerate(lanes.tolist()):
            f, accuracies = self.instances_now[lane], np.array(self._accuracies[lane])
            objective[row] = score(f.objective, accuracies, f.rounds, f.target)
        ended = s.diverged[lanes] | (s.step[lanes] > s.rounds[lanes])
        figures = {key: column[lanes] for key, column in s.columns().items()}
        return figures | {"objective": objective, "feasible": ended}
