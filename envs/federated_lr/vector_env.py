"""Many environments FederatedLREnv stepped together: all their clients in one computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...core.errors import IllegalActionError, SettingError
from ...core.registry import check_name
from ...datasets.federated_lr.instance import Federation, seal
from ..actions import LegalMultiDiscrete
from ..vector import seeds_of_lanes, with_masks
from .alike import check_alike
from .dynamics import make_dynamics
from .env import FederatedLREnv, SealsTestRows, reward_of
from .forms import order_of
from .grid import ACTIONS, mask_of
from .objective import score
from .observation import Observation, Observer


class FederatedLRVectorEnv(  # type: ignore[misc]
    SealsTestRows, VectorEnv[Observation, np.ndarray, np.ndarray]
):
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

    metadata: dict[str, Any] = {  # noqa: RUF012 (as the base class declares it)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        instances: str | Path | Federation | Sequence[Federation] = "small:test/0",
        form: str = "grid",
        server: str = "average",
        settings: Mapping[str, str] | None = None,
        device: str = "cpu",
    ) -> None:
        single = FederatedLREnv(instances, form, server, settings, device)
        if form == "orders":
            raise SettingError(
                'form "orders" has no vectorized environment; choose "grid" or "continuous", or '
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )
        if num_envs < 1:
            raise SettingError(f"num_envs is {num_envs}; give at least 1")
        self.instances = single.instances
        for other in self.instances[1:]:
            check_alike(self.instances[0], other)
        self.num_envs, self.form, self.server = num_envs, form, server
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        if form == "grid":
            space = LegalMultiDiscrete(np.full(num_envs, ACTIONS, np.int64))
            space.belong_to(self._draw_legal)
            self.action_space = space
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self.dynamics = make_dynamics([self.instances[0]] * num_envs, device)
        self._observer = Observer(num_envs)
        # By round, of each lane's episode.
        self._accuracies: list[list[float]] = [[] for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, np.bool_)
        self._begun = False

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
            InstanceError: the federation is not like the environment's.
        """
        options = options or {}
        for key in options:
            check_name(key, ("instance", "elapsed_s"), "reset option")
        seeds = seeds_of_lanes(seed, self.num_envs)
        given = options.get("instance")
        if given is not None:
            check_alike(self.instances[0], given)
            given = seal(given)
        if isinstance(self.action_space, LegalMultiDiscrete):
            self.action_space.episode_begins()
        for lane, own in enumerate(seeds):
            if own is not None:
                self._rngs[lane] = seeding.np_random(own)[0]
            self._begin(lane, given, own)
        self._begun = True
        self._observer.begin(self.dynamics.statistics, np.arange(self.num_envs))
        return self._observation(), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes an action in every lane; a lane that has ended begins its next episode instead.

        Args:
            actions: int64 [N] of form grid, float [N, 2] of form continuous.

        Returns:
            Observations, rewards float64 [N], terminations bool [N], truncations bool [N] (never),
            infos.

        Raises:
            IllegalActionError: an action is not legal now; nothing has changed in any lane.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        s = self.dynamics.statistics
        going, over = np.flatnonzero(~self._ended), np.flatnonzero(self._ended)
        orders = self._orders(np.asarray(actions), going)
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
            self._begin(lane, None, None)
        if len(over):
            self._observer.begin(s, over)
        return (
            self._observation(),
            rewards,
            self._ended.copy(),
            np.zeros(self.num_envs, np.bool_),
            self._info(),
        )

    def _begin(self, lane: int, federation: Federation | None, seed: int | None) -> None:
        """Sets out on an episode, of this federation or of one that the lane draws."""
        rng = self._rngs[lane]
        if federation is None:
            federation = self.instances[rng.integers(len(self.instances))]
        self.dynamics.begin(lane, federation, int(rng.integers(2**32)) if seed is None else seed)
        self._accuracies[lane] = []
        self._ended[lane] = False

    def _orders(self, actions: np.ndarray, going: np.ndarray) -> np.ndarray:
        """The actions of the lanes that go on as orders, int64 [n, 5]."""
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
        """Int8 [N, 25]."""
        s = self.dynamics.statistics
        return mask_of(s.alpha, s.beta)

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> np.ndarray:
        """Random legal actions now, or after a reset with the seed."""
        if seed is None and self._begun:
            masks = self._masks()
        else:
            first = [self.instances[0]] * self.num_envs
            if seed is not None:
                drawn = (np.random.default_rng(seed + lane) for lane in range(self.num_envs))
                first = [self.instances[own.integers(len(self.instances))] for own in drawn]
            masks = np.array([mask_of(f.alpha, f.beta) for f in first])
        actions: np.ndarray = ((1.0 - rng.random(masks.shape)) * masks).argmax(axis=1)
        return actions

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
        infos: dict[str, Any] = s.columns()
        infos |= {"objective": objective, "feasible": self._ended.copy()}
        return with_masks(infos, self.num_envs)
