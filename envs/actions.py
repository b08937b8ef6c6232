"""Action spaces whose unmasked samples are legal actions of the environment they belong to.

Gymnasium's checker and random baselines call `action_space.sample()` without a mask. A sample is
drawn among the actions legal now; right after `seed(s)`, among those legal after `reset(seed=s)`,
as the checker expects of a seeded space. A pickled or copied space belongs to no environment and
samples as its base class does.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

Draw = Callable[[np.random.Generator, int | None], Any]


class Legal:
    """A space whose samples are drawn by the environment it belongs to."""

    _draw: weakref.WeakMethod[Draw] | None = None
    _seeded: int | None = None

    def belong_to(self, draw: Draw) -> None:
        """Draw samples by a method of an environment from now on.

        Args:
            draw: bound method, (generator, seed of the reset to come or None) -> action.
        """
        self._draw = weakref.WeakMethod(draw)

    def episode_begins(self) -> None:
        """Draw samples for the episode under way, whatever seed was given before."""
        self._seeded = None

    def seed(self, seed: Any = None) -> Any:
        """Seed the samples; see the base class."""
        self._seeded = seed if isinstance(seed, int) else None
        return super().seed(seed)  # type: ignore[misc]

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw a legal action; with a mask or probabilities, as the base class does."""
        draw = self._draw() if self._draw is not None else None
        if draw is None or mask is not None or probability is not None:
            return super().sample(mask, probability)  # type: ignore[misc]
        return draw(self.np_random, self._seeded)  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_draw"}


class LegalDiscrete(Legal, spaces.Discrete[np.int64]):
    """Discrete with legal samples."""


class LegalMultiDiscrete(Legal, spaces.MultiDiscrete):
    """MultiDiscrete with legal samples."""
