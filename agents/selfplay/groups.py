"""Groups of episodes of one instance, whose mean is their baseline (POMO, Kwon et al. 2020).

What is expected of an instance differs more between instances than plans of one do, and a policy's
context may not tell which instance it is. So an instance is played several times in a row, and an
action counts by how much better it went than in the other plays of its instance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.errors import SettingError
from .segment import Segment

GROUP = "group"  # key of learners.learner_config_dict: episodes of an instance in a row


def group_size(config: Any) -> int:
    """Return how many episodes of an instance are played in a row; 1 without a baseline of groups.

    Args:
        config: RLlib's AlgorithmConfig.

    Raises:
        SettingError: it is no whole number from 1 on.
    """
    size = config.learner_config_dict.get(GROUP, 1)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise SettingError(
            f"learners.learner_config_dict.{GROUP}: {size!r} is no number of episodes; give a "
            "whole one from 1 on"
        )
    return size


def in_groups(draw: Callable[[], int], size: int) -> Callable[[], int]:
    """Return a draw of instances that gives each drawn one `size` times.

    Args:
        draw: () -> position of the next instance.
        size: at least 1.
    """
    drawn, left = 0, 0

    def again() -> int:
        nonlocal drawn, left
        if left == 0:
            drawn, left = draw(), size
        left -= 1
        return drawn

    return again


def less_the_group(segments: Sequence[Segment[Any]], advantages: np.ndarray) -> np.ndarray:
    """Subtract from each advantage the mean of the others of its instance, move by move.

    An action has no part in what is subtracted, so the gradient stays unbiased.

    Args:
        segments: whole episodes.
        advantages: float64 [T]; of all their moments, one segment after the other.

    Returns:
        float64 [T]; those of moments that no other episode of the instance has are as they were.
    """
    ends = np.cumsum([len(one.actions) for one in segments])
    parts = np.split(advantages.copy(), ends[:-1])
    members: dict[int, list[int]] = {}
    for row, one in enumerate(segments):
        members.setdefault(one.instance, []).append(row)
    for rows in members.values():
        longest = max(len(parts[row]) for row in rows)
        sums, counts = np.zeros(longest), np.zeros(longest)
        for row in rows:
            sums[: len(parts[row])] += parts[row]
            counts[: len(parts[row])] += 1.0
        for row in rows:
            own, at = parts[row], slice(len(parts[row]))
            others = counts[at] - 1.0
            own -= np.where(others > 0, (sums[at] - own) / np.maximum(others, 1.0), 0.0)
    return np.concatenate(parts)
