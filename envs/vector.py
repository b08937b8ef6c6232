"""The base class of every family's vectorized environment: lanes stepped in one computation."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..core.errors import IllegalActionError, SettingError
from ..core.instance import Instance
from .actions import Legal
from .base import GIVEN, FamilyEnv, Observation, OfFamily
from .window import check_render_mode

I = TypeVar("I", bound=Instance)  # noqa: E741 (the family's instance type)


class FamilyVectorEnv(  # type: ignore[misc]
    OfFamily[I], VectorEnv[Observation, np.ndarray, np.ndarray]
):
    """Base of a family's vectorized environment.

    What it returns is what `gymnasium.vector.SyncVectorEnv` would of single environments: arrays
    with the lane first, beside each key of the infos its mask `_key`. Lane i seeded with s is the
    single environment seeded with s + i. All of Gymnasium's autoreset modes are served. A subclass
    writes the hooks `_begin`, `_play`, `_observation`, `_info`, `_masks`, `_first_mask` and
    `_frame`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as the base class declares it)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": ["rgb_array"],
    }
    forms: ClassVar[tuple[str, ...]]
    """The forms of the single environment that can be stepped together."""
    instances_now: list[I]
    """The instance that each lane plays, as contenders see it; set by `reset`."""
    rows_now: np.ndarray
    """int64 [B]: their indices in `instances`; GIVEN where `reset` was told to play it."""

    def __init__(
        self, single: FamilyEnv[I], num_envs: int, autoreset_mode: AutoresetMode | str
    ) -> None:
        """Make the spaces.

        Args:
            single: an environment made with the same arguments.
            num_envs: number of lanes.
            autoreset_mode: "NextStep", "SameStep" or "Disabled"; see Gymnasium's AutoresetMode.

        Raises:
            SettingError: a form or a render mode that is not served, no lanes, or an unknown mode.
        """
        if single.form not in self.forms:
            choices = " or ".join(f'"{form}"' for form in self.forms)
            raise SettingError(
                f"form {single.form!r} has no vectorized environment; choose {choices}, or "
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )
        if num_envs < 1:
            raise SettingError(f"num_envs is {num_envs}; give at least 1")
        check_render_mode(single.render_mode, self.metadata["render_modes"])
        self.render_mode = single.render_mode
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = self.metadata | {
            "autoreset_mode": self.autoreset_mode,
            "render_fps": single.metadata["render_fps"],
        }
        self.num_envs, self.form = num_envs, single.form
        self.problem, self.instances = single.problem, single.instances
        self.single_observation_space = single.observation_space
        # A copy, which samples as its base class does: no one environment's actions are meant.
        self.single_action_space = copy.copy(single.action_space)
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        if isinstance(self.action_space, Legal):
            self.action_space.belong_to(self._draw_legal)
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._lanes = np.arange(num_envs)
        self.rows_now = np.full(num_envs, GIVEN)
        self._ended = np.zeros(num_envs, np.bool_)
        self._begun = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in every lane.

        Args:
            seed: the first lane's, each further lane's one more; or one for each lane.
            options: "instance" is played by all lanes; with "reset_mask", bool [B], only the lanes
                masked in begin anew, and only theirs are the infos.

        Raises:
            UnknownNameError: an option that the family does not have.
            SettingError: not one seed for each lane, or not a mask of lanes.
            InstanceError: the instance does not go with the environment's.
        """
        given = dict(options or {})
        lanes = self._to_reset(given.pop("reset_mask", None))
        instance = self._given(given)
        if instance is not None:
            self._check_fits(instance)
        seeds = _seeds_of_lanes(seed, self.num_envs)
        if isinstance(self.action_space, Legal):
            self.action_space.episode_begins()
        for lane in lanes.tolist():
            if seeds[lane] is not None:
                self._rngs[lane] = seeding.np_random(seeds[lane])[0]
        self._start(lanes, instance, [seeds[lane] for lane in lanes.tolist()])
        self._begun = True
        return self._observation(self._lanes), self._infos(lanes)

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take an action in every lane; a lane that has ended begins its next episode as the
        autoreset mode says.

        Args:
            actions: [B, ...], a batch of the single environment's actions; see the class.

        Returns:
            Observations, rewards float64 [B], terminations bool [B], truncations bool [B] (never),
            infos.

        Raises:
            IllegalActionError: an action is not legal now; nothing has changed in any lane.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        actions = self._checked(np.asarray(actions))
        over = np.flatnonzero(self._ended)
        if len(over) and self.autoreset_mode is AutoresetMode.DISABLED:
            raise IllegalActionError(
                f"the episodes of lanes {over.tolist()} are over; call "
                'reset(options={"reset_mask": terminations})'
            )
        going = np.flatnonzero(~self._ended) if len(over) else self._lanes
        rewards, ended = np.zeros(self.num_envs), np.zeros(self.num_envs, np.bool_)
        if len(going):
            rewards[going], ended[going] = self._play(actions, going)
        self._ended = ended.copy()
        if len(over):
            self._start(over, None, [None] * len(over))
        seen, infos = self._observation(self._lanes), self._infos(self._lanes)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            self._begin_anew(np.flatnonzero(ended), seen, infos)
        return seen, rewards, ended, np.zeros_like(ended), infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw the state of every lane, uint8 [H, W, 3] each; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._frame(lane) for lane in range(self.num_envs))

    def _begin_anew(self, lanes: np.ndarray, seen: Observation, infos: dict[str, Any]) -> None:
        """Begin the next episode in lanes; put what they ended with under `final_obs`, `final_info`
        and their beginning in its place.
        """
        final = np.full(self.num_envs, None, object)
        for lane in lanes.tolist():
            final[lane] = {key: part[lane].copy() for key, part in seen.items()}
        last = {key: part[lanes] for key, part in infos.items() if not key.startswith("_")}
        self._start(lanes, None, [None] * len(lanes))
        for key, part in self._observation(lanes).items():
            seen[key][lanes] = part
        for key, part in self._info(lanes).items():
            infos[key][lanes] = part
        here = np.isin(self._lanes, lanes)
        infos |= {"final_obs": final, "_final_obs": here}
        infos |= {"final_info": _spread(last, lanes, self.num_envs), "_final_info": here.copy()}

    def _start(self, lanes: np.ndarray, instance: I | None, seeds: Sequence[int | None]) -> None:
        """Start an episode of the instance, or of one that each draws, in lanes, int64 [n]."""
        if not self._begun:
            self.instances_now = self.instances[:1] * self.num_envs
        for lane in lanes.tolist():
            drawn, row = instance, GIVEN
            if drawn is None:
                row = self.draw_row(self._rngs[lane])
                drawn = self.instances[row]
            self.instances_now[lane], self.rows_now[lane] = drawn, row
        self._begin(lanes, seeds)
        self._ended[lanes] = False

    def _infos(self, lanes: np.ndarray) -> dict[str, Any]:
        """Return the figures of lanes, int64 [n], with their masks, [B] each."""
        return _spread(self._info(lanes), lanes, self.num_envs)

    def _to_reset(self, mask: Any) -> np.ndarray:
        """Return the lanes that a mask names, int64 [n]; all without one."""
        if mask is None:
            return self._lanes
        if not self._begun:
            raise SettingError("reset_mask: no episode has begun; call reset without it first")
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise SettingError(
                f"reset_mask is of bool [{self.num_envs}], true where a lane begins anew; got "
                f"{mask.dtype} {list(mask.shape)} with {int(mask.any())} true"
            )
        return np.flatnonzero(mask)

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions, whole numbers as int64; refuse another shape or kind."""
        shape = self.action_space.shape
        whole = np.issubdtype(self.action_space.dtype, np.integer)
        if actions.shape != shape or actions.dtype.kind not in ("iu" if whole else "iuf"):
            kind = "whole numbers" if whole else "numbers"
            raise IllegalActionError(
                f"actions are {kind} of shape {shape}, a lane a row; got shape {actions.shape}, "
                f"dtype {actions.dtype}"
            )
        return actions.astype(np.int64) if whole else actions

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> np.ndarray:
        if seed is None and self._begun:
            return draw_masked(rng, self._masks())
        seeds = [(seed or 0) + lane for lane in range(self.num_envs)]
        first = self.instances[:1] * self.num_envs
        if seed is not None:
            first = [self._drawn_after(one)[0] for one in seeds]
        return draw_masked(rng, np.stack([*map(self._first_mask, first, seeds)]))

    def _check_fits(self, instance: I) -> None:
        """Refuse an instance that does not go with the environment's; by default none.

        Raises:
            InstanceError: with the remedy.
        """

    @abstractmethod
    def _begin(self, lanes: np.ndarray, seeds: Sequence[int | None]) -> None:
        """Start an episode of its `instances_now` in each of the lanes.

        Args:
            lanes: int64 [n], rising.
            seeds: of these lanes, as given to `reset`; `_rngs` have been seeded with them.
        """

    @abstractmethod
    def _play(self, actions: np.ndarray, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take actions; return rewards float64 [n] and ends bool [n] of the lanes that go on.

        Args:
            actions: [B, ...], of the space's shape and kind.
            going: int64 [n], rising; the lanes whose action counts.
        """

    @abstractmethod
    def _observation(self, lanes: np.ndarray) -> Observation:
        """Return what agents see now in the lanes, int64 [n]; arrays [n, ...] of the caller's."""

    @abstractmethod
    def _info(self, lanes: np.ndarray) -> dict[str, Any]:
        """Return figures of the lanes, int64 [n], by name; arrays [n] of the caller's."""

    @abstractmethod
    def _masks(self) -> np.ndarray:
        """Return the masks of all lanes now, int8 [B, A]; asked of forms that have masks."""

    @abstractmethod
    def _first_mask(self, instance: I, seed: int) -> np.ndarray:
        """Return the mask after a reset with the seed that draws the instance, int8 [A]."""

    @abstractmethod
    def _frame(self, lane: int) -> np.ndarray:
        """Draw the state of a lane, uint8 [H, W, 3]."""


def draw_masked(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Draw an action for each lane among those masked in.

    Args:
        rng: the generator.
        masks: [B, N]; above 0 where an action is legal.

    Returns:
        int64 [B].
    """
    actions: np.ndarray = ((1.0 - rng.random(masks.shape)) * masks).argmax(axis=1)
    return actions


def _spread(figures: dict[str, Any], lanes: np.ndarray, size: int) -> dict[str, Any]:
    """Return figures [n] of some lanes as infos [size], with a mask beside each."""
    infos: dict[str, Any] = {}
    for key, figure in figures.items():
        part = figure
        if len(lanes) < size:
            part = np.full(size, None if figure.dtype == object else 0, figure.dtype)
            part[lanes] = figure
        there = np.zeros(size, np.bool_)
        there[lanes] = True
        infos |= {key: part, f"_{key}": there}
    return infos


def _mode(given: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(given)
    except ValueError:
        known = ", ".join(mode.value for mode in AutoresetMode)
        raise SettingError(f"autoreset_mode {given!r} is unknown; known: {known}") from None


def _seeds_of_lanes(seed: int | Sequence[int | None] | None, lanes: int) -> list[int | None]:
    """Return a seed for each lane: the first lane's and ones above it, those given, or none."""
    if seed is None:
        return [None] * lanes
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + lane for lane in range(lanes)]
    if len(seed) != lanes:
        raise SettingError(f"{len(seed)} seeds for {lanes} lanes; give one for each lane")
    return list(seed)
