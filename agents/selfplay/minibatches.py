"""Cut recorded moments into minibatches: by whole segments, or moment by moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .segment import Minibatch

Moments = TypeVar("Moments")


def of_segments(
    moments: Sequence[Moments],
    sizes: Sequence[int],
    size: int,
    rng: np.random.Generator,
    collate: Callable[[Sequence[Moments]], Any],
) -> Iterator[Minibatch]:
    """Pass once over segments in random order; for moments that share much within a segment.

    Args:
        moments: of each segment.
        sizes: how many each has.
        size: moments of a minibatch, about: a segment is never cut.
        rng: source of the order.
        collate: moments of some segments -> those of a minibatch.

    Yields:
        Minibatches of whole segments.
    """
    ends = np.cumsum(sizes)
    order = [int(k) for k in rng.permutation(len(sizes)) if sizes[k]]
    count = max(1, round(int(ends[-1]) / size))
    place = np.cumsum([sizes[k] for k in order]) - np.array([sizes[k] for k in order]) / 2
    group = np.minimum(count - 1, (place * count / int(ends[-1])).astype(np.int64))
    for number in range(count):
        chosen = [k for k, its in zip(order, group.tolist(), strict=True) if its == number]
        if chosen:
            rows = np.concatenate([np.arange(ends[k] - sizes[k], ends[k]) for k in chosen])
            yield Minibatch(collate([moments[k] for k in chosen]), rows)


def of_moments(
    count: int, size: int, rng: np.random.Generator, take: Callable[[np.ndarray], Any]
) -> Iterator[Minibatch]:
    """Pass once over moments in random order.

    Args:
        count: how many there are.
        size: moments of a minibatch, about.
        rng: source of the order.
        take: int64 [T] positions -> the moments of a minibatch.

    Yields:
        Minibatches of nearly equal sizes.
    """
    for rows in np.array_split(rng.permutation(count), max(1, round(count / size))):
        yield Minibatch(take(rows), rows)
