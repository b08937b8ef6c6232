"""Action spaces whose unmasked samples are legal actions of the environment they belong to.

Gymnasium's checker and random baselines call `action_space.sample()` without a mask. A sample is
drawn among the actions legal now; right after `seed(s)`, among those legal after `reset(seed=s)`,
as the checker expects of a seeded space. A pickled or copied space belongs to no environment and
samples as its base class does.

Gymnasium's vectorized environments batch such a space. A batch that belongs to no vectorized
environment cannot know what is legal, and says so in place of drawing what is not.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from ..core.errors import IllegalActionError

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


class _Batch(Legal):
    """A batch of legal spaces, an environment a row; it has to belong to them to draw samples."""

    how = ""
    """What else to do, for the message."""

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw a legal action for each environment; with a mask, as the base class does.

        Raises:
            IllegalActionError: the space belongs to no environment, and no mask is given.
        """
        known = self._draw is not None and self._draw() is not None
        if not known and mask is None and probability is None:
            raise IllegalActionError(
                f"these {len(self)} action spaces do not know which actions are legal now; "  # type: ignore[arg-type]
                f'{self.how}, or make the environment with vectorization_mode="vector_entry_point"'
            )
        return super().sample(mask, probability)


class BatchOfDiscrete(_Batch, spaces.MultiDiscrete):
    """A batch of LegalDiscrete."""

    how = 'draw by sample(mask=tuple(observation["action_mask"]))'


class BatchOfMultiDiscrete(_Batch, spaces.Box):
    """A batch of LegalMultiDiscrete, as Gymnasium batches MultiDiscrete."""

    how = "draw from the action_space of each environment"

    def __len__(self) -> int:
        return int(self.shape[0])


@batch_space.register(LegalDiscrete)
def _batch_discrete(space: LegalDiscrete, n: int = 1) -> BatchOfDiscrete:
    sizes, starts = (np.full(n, whole, np.int64) for whole in (space.n, space.start))
    return BatchOfDiscrete(sizes, np.int64, copy.deepcopy(space.np_random), starts)


@batch_space.register(LegalMultiDiscrete)
def _batch_multi_discrete(space: LegalMultiDiscrete, n: int = 1) -> BatchOfMultiDiscrete:
    low = np.tile(space.start, (n, *[1] * space.nvec.ndim))
    high = low + space.nvec - 1
    return BatchOfMultiDiscrete(low, high, dtype=np.int64, seed=copy.deepcopy(space.np_random))
