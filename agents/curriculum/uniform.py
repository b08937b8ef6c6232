"""All instances alike, whatever is learned on them: the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Curriculum, Outcome, uniform


@dataclass
class Uniform(Curriculum):
    """All instances alike."""

    def begin(self) -> None:
        """There is no state."""

    def weights(self) -> np.ndarray:
        """See the base class."""
        return uniform(len(self.training))

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learned."""
