"""Concepts: what labels mean, and how that changes over the rounds of a federation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...core.instance import remembered
from .instance import Federation

SHARE = 0.5  # of the classes, which exchange their labels at a change
LATEST = 0.9  # of the rounds are done at the latest change


class Labels(NamedTuple):
    """Labels of the rows for training, validation and test under one concept, int64 each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def concept_of(f: Federation, place: int) -> int:
    """Return how many changes have begun in a round.

    Args:
        f: the federation.
        place: index of the round, from 0.
    """
    return int(np.searchsorted(f.changes, place / f.rounds, side="right"))


def labels_of(f: Federation, concept: int) -> Labels:
    """Return all labels as they are meant after a number of changes; always the same arrays."""
    return remembered(f, _by_concept)[concept]


def _by_concept(f: Federation) -> list[Labels]:
    first = Labels(f.labels, f.val_labels, f.test_labels)
    return [first, *(Labels(*(meant[part] for part in first)) for meant in f.relabel)]


def draw_changes(count: int, classes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw when labels change and what they mean from then on, as fields of Federation.

    At a change half of the classes, drawn anew, pass their labels on in a circle.

    Args:
        count: number of changes, S.
        classes: number of classes.
        rng: random generator for everything drawn.
    """
    times = np.sort(rng.uniform(1 - LATEST, LATEST, count)).round(4)
    meant, relabel = np.arange(classes), np.empty((count, classes), np.int64)
    for row in relabel:
        some = rng.choice(classes, max(2, round(SHARE * classes)), replace=False)
        meant = meant.copy()
        meant[some] = meant[np.roll(some, 1)]
        row[:] = meant
    return {"changes": times, "relabel": relabel}
