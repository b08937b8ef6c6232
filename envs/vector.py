"""What vectorized environments have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import SettingError


def seeds_of_lanes(seed: int | Sequence[int | None] | None, lanes: int) -> list[int | None]:
    """A seed a lane: the first lane's, each further lane's one more; or those given; or none.

    Raises:
        SettingError: not one seed a lane.
    """
    if seed is None:
        return [None] * lanes
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + lane for lane in range(lanes)]
    if len(seed) != lanes:
        raise SettingError(f"{len(seed)} seeds for {lanes} lanes; give one a lane")
    return list(seed)


def with_masks(infos: dict[str, Any], lanes: int) -> dict[str, Any]:
    """The infos with, beside each key, its mask `_key`: every lane has it."""
    return infos | {f"_{key}": np.ones(lanes, np.bool_) for key in infos}
