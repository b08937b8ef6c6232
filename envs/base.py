"""The base class of every family's environment; vector.py has that of the vectorized ones.

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

from ..core.errors import IllegalActionError, InstanceError, SettingError
from ..core.instance import Instance
from ..core.lookup import check_name
from ..core.problem import Problem
from ..core.registry import load_problem
from ..core.sources import apply_settings, check_settings, find_instances
from .actions import Legal
from .window import Window, check_render_mode

I = TypeVar("I", bound=Instance)  # noqa: E741 (the family's instance type)
Observation = dict[str, Any]
GIVEN = -1  # in place of the index of an instance that was not drawn


class OfFamily(Generic[I]):
    """What single and vectorized environments share: instances, options, and copies that go their
    own way.

    Only the environment's view of an instance is kept, in Gymnasium's record `spec`, too.
    """

    problem: Problem[I]
    """The family; its settings and sets are what the arguments may name."""
    instances: list[I]
    """The instances that episodes are drawn from, as environments keep them."""
    action_space: gym.Space[Any]
    reset_options: ClassVar[tuple[str, ...]] = ("instance",)
    """The names that `reset(options=...)` takes."""
    _spec: EnvSpec | None = None
    _odds: np.ndarray | None = None  # float64 [n], summed up; None: all alike

    def weigh(self, weights: Sequence[float] | np.ndarray | None) -> None:
        """Set how likely each instance is to be drawn by the resets to come.

        Args:
            weights: of `instances` in their order, float64 [n], at least 0, in any unit; None draws
                all alike, as at first.

        Raises:
            SettingError: not a weight for each instance, or none above 0.
        """
        if weights is None:
            self._odds = None
            return
        given, count = np.asarray(weights, np.float64), len(self.instances)
        if given.shape != (count,) or not np.isfinite(given).all() or given.min() < 0:
            raise SettingError(
                f"weigh: give {count} finite weights of at least 0, one for each instance; got "
                f"shape {given.shape}"
            )
        if not given.any():
            raise SettingError("weigh: all weights are 0; give at least one above it")
        odds = np.cumsum(given)
        self._odds = odds / odds[-1]  # the last is exactly 1, above all that `random` draws

    def draw_row(self, rng: np.random.Generator) -> int:
        """Draw the index of an instance, as likely as `weigh` has set.

        Args:
            rng: the generator.
        """
        if self._odds is None:
            return int(rng.integers(len(self.instances)))
        return int(np.searchsorted(self._odds, rng.random(), side="right"))

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made, with its view of the instances."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "instances" in spec.kwargs:
            given = spec.kwargs["instances"]
            if isinstance(given, Instance):
                given = (given,)
            if not isinstance(given, (str, Path)):
                given = tuple(self.problem.environment_view(one) for one in given)
            spec = dataclasses.replace(spec, kwargs=spec.kwargs | {"instances": given})
        self._spec = spec

    def _given(self, options: Mapping[str, Any] | None) -> I | None:
        """Check the names of a reset's options; return the environment's view of the instance among
        them.
        """
        for key in options or {}:
            check_name(key, self.reset_options, "reset option")
        instance = (options or {}).get("instance")
        return None if instance is None else self.problem.environment_view(instance)

    def _drawn_after(self, seed: int) -> tuple[I, np.random.Generator]:
        """Return the instance that a reset with the seed draws, and the generator behind it."""
        rng = np.random.default_rng(seed)
        return self.instances[self.draw_row(rng)], rng

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


class FamilyEnv(OfFamily[I], gym.Env[Observation, Any]):  # type: ignore[misc]
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
    """The instance that is being played, as environments keep it; set by `reset`."""
    row: int = GIVEN
    """Its index in `instances`; GIVEN where `reset` was told to play it."""
    _is_fork = False

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
        instance, row = self._given(options), GIVEN
        if instance is None:
            row = self.draw_row(self.np_random)
            instance = self.instances[row]
        self._begin(instance, seed, options or {})
        self.instance, self.row, self._begun = instance, row, True
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
        reward, ended = self.advance(action)
        return self._observation(), reward, ended, False, self._info()

    def advance(self, action: Any) -> tuple[float, bool]:
        """Take an action as `step` does, without looking at the state, which takes longer than the
        action itself on large instances.

        Args:
            action: a member of the action space that is legal now.

        Returns:
            The reward, and whether the episode has ended.

        Raises:
            IllegalActionError: the action is not legal now; nothing has changed.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        reward, ended = self._play(action)
        if self.render_mode == "human":
            self.render()
        return reward, ended

    def report(self) -> dict[str, Any]:
        """Return what `step` gives as its information, of the present state."""
        return self._info()

    def action_masks(self) -> np.ndarray:
        """Return which actions are legal now; sb3-contrib's MaskablePPO asks for it by this name.

        Returns:
            bool [N] of a `Discrete` action space; of a `MultiDiscrete` one the masks of its parts
            one after the other, [sum of nvec]. Never all False, nor at the end.

        Raises:
            IllegalActionError: no episode has begun.
            SettingError: actions of this form have no such mask.
        """
        if not self._begun:
            raise IllegalActionError("no episode has begun; call reset")
        return self._action_masks()

    def fork(self) -> Self:
        """Return an environment in the same state to plan in, without rendering.

        What chance decides from here on is drawn anew, so that a planner cannot see what the world
        will do. A fork of a fork goes on in its future, so that a search compares actions under the
        same luck. `copy.deepcopy`, `copy.copy` and pickle keep the world's own future: they are for
        going on with an episode, and for hindsight.

        A fork is quickly made: action space and random generator are the original's, so it is not
        to be reset or sampled from. `copy.deepcopy` makes one that shares nothing.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.render_mode, twin._starts, twin._is_fork = None, {}, True
        if self._begun:
            twin._own_episode()
            if not self._is_fork:
                twin._draw_future(self.np_random)
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

    def _draw_future(self, rng: np.random.Generator) -> None:
        """Draw anew what chance will decide in this fork; by default nothing is left to chance.

        Args:
            rng: the original's generator, to spawn one from: its own draws do not change by that.
        """

    def start_of(self, instance: I) -> Any:
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
        return [problem.environment_view(one) for one in found]
