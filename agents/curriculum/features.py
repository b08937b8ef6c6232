"""Numbers that describe instances of any family, by which some are near and others far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from ...core.instance import Instance

MOST = 3  # dimensions: mixtures of Gaussians with full covariances need many points for more


def features_of(instances: Sequence[Instance]) -> np.ndarray:
    """Describe instances by their fields.

    Numbers count as they are, arrays by their size, mean and standard deviation, all with the
    logarithm of their magnitude. What is the same for all is left out, the rest standardized, and
    the first principal components are taken.

    Args:
        instances: n instances of a family.

    Returns:
        float64 [n, F], F from 1 to MOST, each column in 0..1.
    """
    raw = np.array([_numbers(one) for one in instances])
    raw = np.sign(raw) * np.log1p(np.abs(raw))
    spread = raw.std(axis=0)
    differs = spread > 1e-9 * np.maximum(np.abs(raw).max(axis=0), 1.0)
    if not differs.any():
        return np.zeros((len(raw), 1))
    table = (raw - raw.mean(axis=0))[:, differs] / spread[differs]
    left, sizes, _ = np.linalg.svd(table, full_matrices=False)
    kept = int(min(MOST, (sizes > 1e-9 * sizes[0]).sum()))
    columns = left[:, :kept] * sizes[:kept]
    # By the first component's range: a component that says little is not made large.
    low, high = columns.min(axis=0), columns.max(axis=0)
    scaled: np.ndarray = (columns - low) / (high - low).max()
    return scaled


def _numbers(instance: Instance) -> list[float]:
    found: list[float] = []
    for part in fields(instance):
        value = getattr(instance, part.name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            finite = value[np.isfinite(value)].astype(np.float64)
            found += (
                [value.size, finite.mean(), finite.std()] if finite.size else [value.size, 0, 0]
            )
        elif isinstance(value, (bool, int, float)):
            found.append(float(value) if np.isfinite(value) else 0.0)
        elif isinstance(value, tuple):
            found.append(len(value))
    return found
