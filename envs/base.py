"""The base classes of every family's environments, single and vectorized.

A family's own class says what an episode is: `_begin`, `_play`, `_observation`, `_info`, `_frame`.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..core.errors import IllegalActionError, InstanceError, SettingError
from ..core.instance import Instance
from ..core.lookup import check_name
from ..core.problem import Problem
from ..core.registry import load_problem
from ..core.sources import apply_settings, check_settings, find_instances
from .actions import Legal, LegalMultiDiscrete
from .window import Window, check_render_mode

I = TypeVar("I", bound=Instance)  # noqa: E741 (the family's instance type)
Observation = dict[str, Any]


class _OfFamily(Generic[I]):
    """What single and vectorized environments share: instances, options, and copies that go their
    own way.

    Only the contender's view of an instance is kept, in Gymnasium's record `spec`, too.
    """

    problem: Problem[I]
    """The family; its settings and sets are what the arguments may name."""
    instances: list[I]
    """The instances that episodes are drawn from, as contenders see them."""
    action_space: gym.Space[Any]
    reset_options: ClassVar[tuple[str, ...]] = ("instance",)
    """The names that `reset(options=...)` takes."""
    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made, instances as contenders see them."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "instances" in spec.kwargs:
            given = spec.kwargs["instances"]
            if isinstance(given, Instance):
                given = (given,)
            if not isinstance(given, (str, Path)):
                given = tuple(self.problem.contender_view(one) for one in given)
            spec = dataclasses.replace(spec, kwargs=spec.kwargs | {"instances": given})
        self._spec = spec

    def _given(self, options: Mapping[str, Any] | None) -> I | None:
        """Check the names of a reset's options; return the instance among them, as contenders see
        it.
        """
        for key in options or {}:
            check_name(key, self.reset_options, "reset option")
        instance = (options or {}).get("instance")
        return None if instance is None else self.problem.contender_view(instance)

    def _drawn_after(self, seed: int) -> tuple[I, np.random.Generator]:
        """Return the instance that a reset with the seed draws, and the generator behind it."""
        rng = np.random.default_rng(seed)
        return self.instances[rng.integers(len(self.instances))], rng

    @abstractmethod
    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        """Draw a legal action for the action space's `sample`.

        Args:
            rng: the space's generator.
            seed: of the reset to come; None draws for the present state.
        """

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        # A space belongs to one environment.
        twin.__setstate__(self.__getstate__() | {"action_space": copy.copy(self.action_space)})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # In place: whoever was copied along with the environment holds this very space.
        if isinstance(self.action_space, Legal):
            self.action_space.belong_to(self._draw_legal)


class FamilyEnv(_OfFamily[I], gym.Env[Observation, Any]):  # type: ignore[misc]
    """Base of a family's environment.

    A subclass names its `family`, makes the spaces in `__init__`, and writes the hooks `_begin`,
    `_play`, `_observation`, `_info`, `_frame` and `_own_episode`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as the base class declares it)
        "render_modes": ["human", "rgb_array"],
        "render_fps": 4,
    }
    family: ClassVar[str]
    """The family's name in the registry."""
    forms: ClassVar[tuple[str, ...]] = ("",)
    """The forms in which actions may be taken, the default first."""
    instance: I
    """The instance that is being played, as contenders see it; set by `reset`."""

    def __init__(
        self,
        instances: str | Path | I | Sequence[I],
        settings: Mapping[str, str] | None,
        render_mode: str | None,
        form: str = "",
    ) -> None:
        """Find the instances; see the subclass for the arguments.

        Args:
            instances: as `find_instances` takes them (a set, a member of one, a file, a folder), or
                instances.
            settings: texts by name, as `--set`.
            render_mode: one of `metadata["render_modes"]`, or None.
            form: one of `forms`.

        Raises:
            UnknownNameError: no such set, setting or form.
            SettingError: a setting or render mode that cannot be used.
            InstanceError: there are no instances, or a file is malformed.
        """
        self.problem = load_problem(self.family)
        self.form = check_name(form, self.forms, f"form of {self.family}")
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.instances = self._gathered(instances, settings or {})
        self._window = Window()
        self._begun = False
        # By id(), beside the instance: the id is another's once its owner is gone.
        self._starts: dict[int, tuple[I, Any]] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; see the class's docstring.

        Args:
            seed: seed of the draw of the instance and of what the world draws.
            options: by the names in `reset_options`; "instance" is played in place of one drawn.

        Raises:
            UnknownNameError: an option that the family does not have.
            InstanceError: the instance does not go with the environment's spaces.
        """
        super().reset(seed=seed)
        if isinstance(self.action_space, Legal):
            self.action_space.episode_begins()
        instance = self._given(options)
        if instance is None:
            instance = self.instances[self.np_random.integers(len(self.instances))]
        self._begin(instance, seed, options or {})
        self.instance, self._begun = instance, True
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take an action; see the class's docstring.

        Args:
            action: a member of the action space that is legal now.

        Raises:
            IllegalActionError: the action is not legal now; nothing has changed.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        reward, ended = self._play(action)
        if self.render_mode == "human":
            self.render()
        return self._observation(), reward, ended, False, self._info()

    def action_masks(self) -> np.ndarray:
        """Return which actions are legal now; sb3-contrib's MaskablePPO asks for it by this name.

        Returns:
            bool [N] of a `Discrete` action space; of a `MultiDiscrete` one the masks of its parts
            one after the other, [sum of nvec]. At the end of an episode one action is masked in.

        Raises:
            IllegalActionError: no episode has begun.
            SettingError: actions of this form have no such mask.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        return self._action_masks()

    def fork(self) -> Self:
        """Return an environment in the same state that goes its own way, without rendering.

        It is quickly made, for searches: action space and random generator are the original's, so
        it is not to be reset or sampled from. `copy.deepcopy` makes one that shares nothing.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.render_mode, twin._starts = None, {}
        if self._begun:
            twin._own_episode()
        return twin

    def render(self) -> Any:
        """Show the state: return uint8 [H, W, 3] (rgb_array), or draw in a window (human).

        Raises:
            MissingDependencyError: human rendering without matplotlib.
        """
        if self.render_mode is None:
            return None
        picture = self._frame()
        if self.render_mode == "rgb_array":
            return picture
        self._window.show(picture, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        self._window.close()

    def __getstate__(self) -> dict[str, Any]:
        return {key: part for key, part in super().__getstate__().items() if key != "_window"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._window, self._starts = Window(), {}
        if self._begun:
            self._own_episode()

    @abstractmethod
    def _begin(self, instance: I, seed: int | None, options: Mapping[str, Any]) -> None:
        """Start an episode.

        Args:
            instance: to be played.
            seed: as given to `reset`; `np_random` has been seeded with it.
            options: as given to `reset`.
        """

    @abstractmethod
    def _play(self, action: Any) -> tuple[float, bool]:
        """Take an action; return its reward and whether the episode has ended."""

    @abstractmethod
    def _observation(self) -> Observation:
        """Return what an agent sees now."""

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return objective, feasibility and further figures now."""

    def _action_masks(self) -> np.ndarray:
        """Return what `action_masks` does; by default the observation's mask."""
        mask = self._observation().get("action_mask")
        if mask is None:
            raise SettingError(f"form {self.form!r} of {self.family} has no masks of actions")
        return np.asarray(mask, np.bool_)

    @abstractmethod
    def _frame(self) -> np.ndarray:
        """Draw the state, uint8 [H, W, 3]."""

    @abstractmethod
    def _own_episode(self) -> None:
        """Replace what actions change in place by copies, and make views into them again."""

    def _start_of(self, instance: I) -> Any:
        """Return `_make_start(instance)`, computed once if the instance is one of `instances`."""
        kept, start = self._starts.get(id(instance), (None, None))
        if kept is not instance:
            start = self._make_start(instance)
            if any(instance is member for member in self.instances):
                self._starts[id(instance)] = instance, start
        return start

    def _make_start(self, instance: I) -> Any:
        """Compute what all episodes of an instance start from; by default the instance itself."""
        return instance

    def _gathered(
        self, instances: str | Path | I | Sequence[I], settings: Mapping[str, str]
    ) -> list[I]:
        """Load the instances, apply the settings, and keep what contenders see of them."""
        problem = self.problem
        check_settings(problem, settings)
        if isinstance(instances, (str, Path)):
            found: list[I] = find_instances(problem, str(instances), settings)
        else:
            given = [instances] if isinstance(instances, Instance) else instances
            found = [apply_settings(problem, one, settings) for one in given]
        if not found:
            raise InstanceError("the environment got no instances; give at least one")
        return [problem.contender_view(one) for one in found]


class FamilyVectorEnv(  # type: ignore[misc]
    _OfFamily[I], VectorEnv[Observation, np.ndarray, np.ndarray]
):
    """Base of a family's vectorized environment: lanes that are stepped in one computation.

    What it returns is what `gymnasium.vector.SyncVectorEnv` would of single environments: arrays
    with the lane first, beside each key of the infos its mask `_key`, here always true. Lane i
    seeded with s is the single environment seeded with s + i. A subclass writes the hooks `_begin`,
    `_play`, `_observation`, `_info` and `_draw_legal`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as the base class declares it)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    forms: ClassVar[tuple[str, ...]]
    """The forms of the single environment that can be stepped together."""

    def __init__(self, single: FamilyEnv[I], num_envs: int) -> None:
        """Make the spaces.

        Args:
            single: an environment made with the same arguments.
            num_envs: number of lanes.

        Raises:
            SettingError: a form that is not served, or no lanes.
        """
        if single.form not in self.forms:
            choices = " or ".join(f'"{form}"' for form in self.forms)
            raise SettingError(
                f"form {single.form!r} has no vectorized environment; choose {choices}, or "
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )
        if num_envs < 1:
            raise SettingError(f"num_envs is {num_envs}; give at least 1")
        self.num_envs, self.form = num_envs, single.form
        self.problem, self.instances = single.problem, single.instances
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        if isinstance(single.action_space, gym.spaces.Discrete):
            space = LegalMultiDiscrete(np.full(num_envs, single.action_space.n, np.int64))
            space.belong_to(self._draw_legal)
            self.action_space = space
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
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
            options: as of the single environment; "instance" is played by all lanes.

        Raises:
            UnknownNameError: an option that the family does not have.
            SettingError: not one seed for each lane.
            InstanceError: the instance does not go with the environment's.
        """
        instance = self._given(options)
        seeds = _seeds_of_lanes(seed, self.num_envs)
        if isinstance(self.action_space, Legal):
            self.action_space.episode_begins()
        for lane, own in enumerate(seeds):
            if own is not None:
                self._rngs[lane] = seeding.np_random(own)[0]
        self._begin(instance, seeds)
        self._begun = True
        return self._observation(), self._masked_info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take an action in every lane; a lane that has ended begins its next episode instead.

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
        rewards, ends = self._play(np.asarray(actions))
        return self._observation(), rewards, ends, np.zeros_like(ends), self._masked_info()

    def _masked_info(self) -> dict[str, Any]:
        infos = self._info()
        return infos | {f"_{key}": np.ones(self.num_envs, np.bool_) for key in infos}

    @abstractmethod
    def _begin(self, instance: I | None, seeds: Sequence[int | None]) -> None:
        """Start an episode in every lane.

        Args:
            instance: what all lanes play; None where each draws its own by `_rngs`.
            seeds: of each lane, as given; `_rngs` have been seeded with them.
        """

    @abstractmethod
    def _play(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take actions; return rewards float64 [B] and ends bool [B]."""

    @abstractmethod
    def _observation(self) -> Observation:
        """Return what agents see now, the lane first."""

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return figures by name, [B] each."""


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


def _seeds_of_lanes(seed: int | Sequence[int | None] | None, lanes: int) -> list[int | None]:
    """Return a seed for each lane: the first lane's and ones above it, those given, or none."""
    if seed is None:
        return [None] * lanes
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + lane for lane in range(lanes)]
    if len(seed) != lanes:
        raise SettingError(f"{len(seed)} seeds for {lanes} lanes; give one for each lane")
    return list(seed)
