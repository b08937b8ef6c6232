"""Many environments FederatedLREnv stepped together: all their clients in one computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import IllegalActionError
from ...datasets.federated_lr.instance import Federation
from ..base import FamilyVectorEnv, Observation, draw_masked
from .alike import check_alike
from .dynamics import make_dynamics
from .env import FederatedLREnv, reward_of
from .forms import order_of
from .grid import mask_of
from .objective import score
from .observation import Observer


class FederatedLRVectorEnv(FamilyVectorEnv[Federation]):
    """N environments FederatedLREnv of form grid or continuous that step together.

    Observations, rewards, ends and infos are those of N single environments, batched as
    `gymnasium.vector.SyncVectorEnv` batches them: arrays with the lane first, and beside each key
    of the infos its mask `_key`, here always true. Lane i seeded with s is the single environment
    seeded with s + i. Numbers agree up to the order in which sums are taken.

    ## Autoreset
    Next step (`metadata["autoreset_mode"]`), each lane for itself: the step after its terminated
    one ignores its action, begins its next episode and returns its first observation, with reward 0
    and no end. The final observation is therefore the one that the terminated step returns; there
    is no `final_obs`.

    ## Action space
    Form grid: `MultiDiscrete([25] * N)`, an action a lane; `action_mask` [N, 25] is exact, and the
    space's own `sample()` draws legal actions. Form continuous: `Box(-1, 1, (N, 2))`.

    ## Arguments
    num_envs: N. instances (by default the first of small:test), form, server, settings, device: as
    of the single environment. The federations must be alike in model, classes, shape of a row,
    participants, local steps and batch size.

    Raises:
        SettingError: form orders, or an argument that cannot be used.
        InstanceError: federations that are not alike.
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
    ) -> None:
        super().__init__(FederatedLREnv(instances, form, server, settings, device), num_envs)
        for other in self.instances[1:]:
            check_alike(self.instances[0], other)
        self.server = server
        self.dynamics = make_dynamics([self.instances[0]] * num_envs, device)
        self._observer = Observer(num_envs)
        # By round, of each lane's episode.
        self._accuracies: list[list[float]] = [[] for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, np.bool_)

    def _begin(self, instance: Federation | None, seeds: Sequence[int | None]) -> None:
        if instance is not None:
            check_alike(self.instances[0], instance)
        for lane, seed in enumerate(seeds):
            self._begin_lane(lane, instance, seed)
        self._observer.begin(self.dynamics.statistics, np.arange(self.num_envs))

    def _play(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = self.dynamics.statistics
        going, over = np.flatnonzero(~self._ended), np.flatnonzero(self._ended)
        orders = self._orders(actions, going)
        rewards = np.zeros(self.num_envs)
        before = s.validation_loss[going].tolist()
        if len(going):
            self.dynamics.step(orders, going)
            self._observer.look(s, going)
        for lane, loss in zip(going.tolist(), before, strict=True):
            rewards[lane] = reward_of(s, lane, loss)
            if s.step[lane] > 1:
                self._accuracies[lane].append(float(s.validation_accuracy[lane]))
        self._ended[going] = s.diverged[going] | (s.step[going] > s.rounds[going])
        for lane in over.tolist():
            self._begin_lane(lane, None, None)
        if len(over):
            self._observer.begin(s, over)
        return rewards, self._ended.copy()

    def _begin_lane(self, lane: int, federation: Federation | None, seed: int | None) -> None:
        """Start an episode of the federation, or of one that the lane draws, in a lane."""
        rng = self._rngs[lane]
        if federation is None:
            federation = self.instances[rng.integers(len(self.instances))]
        world = int(rng.integers(2**32)) if seed is None else seed
        self.dynamics.begin(lane, federation, world)
        self._accuracies[lane] = []
        self._ended[lane] = False

    def _orders(self, actions: np.ndarray, going: np.ndarray) -> np.ndarray:
        """Return the actions of the lanes that go on as orders, int64 [n, 5]."""
        shape = self.action_space.shape
        if actions.shape != shape or (self.form == "grid" and actions.dtype.kind not in "iu"):
            kind = "whole numbers, one a lane" if self.form == "grid" else "numbers, two a lane"
            raise IllegalActionError(
                f"actions are {kind}, {shape}; got shape {actions.shape}, dtype {actions.dtype}"
            )
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

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> np.ndarray:
        if seed is None and self._begun:
            return draw_masked(rng, self._masks())
        lanes = range(self.num_envs)
        first = [
            self.instances[0] if seed is None else self._drawn_after(seed + lane)[0]
            for lane in lanes
        ]
        return draw_masked(rng, np.array([mask_of(f.alpha, f.beta) for f in first]))

    def _observation(self) -> Observation:
        seen = {"rounds": self._observer.rounds.copy()}
        if self.form == "grid":
            seen["action_mask"] = self._masks()
        return seen

    def _info(self) -> dict[str, Any]:
        s = self.dynamics.statistics
        objective = np.empty(self.num_envs)
        for lane, f in enumerate(self.dynamics.federations):
            accuracies = np.array(self._accuracies[lane])
            objective[lane] = score(f.objective, accuracies, f.rounds, f.target)
        return s.columns() | {"objective": objective, "feasible": self._ended.copy()}
