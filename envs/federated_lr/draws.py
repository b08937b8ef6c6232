"""What chance decides in a federation's world, as a function of the world's seed alone, so that no
decision of a controller changes it: the first weights, and of every round the participants, how far
each gets, and its rows. Rounds of another seed are another future of the same federation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...datasets.federated_lr.instance import Federation


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """Training rows by client: rows[first[c] : first[c] + count[c]] are client c's, int64."""

    rows: np.ndarray
    first: np.ndarray
    count: np.ndarray


def shelve(owner: np.ndarray) -> Shelf:
    """The rows of each client, from the owner of each row, int64 [N]."""
    count = np.bincount(owner)
    return Shelf(np.argsort(owner, kind="stable"), np.cumsum(count) - count, count)


def first_weights(seed: int, bounds: np.ndarray) -> np.ndarray:
    """Weights of the first model, float64 [P], even between -bounds and bounds."""
    weights: np.ndarray = np.random.default_rng([seed, 0]).uniform(-1.0, 1.0, len(bounds)) * bounds
    return weights


class Draws(NamedTuple):
    """Of all rounds: participants int32 [T, M], the local steps each of them does int32 [T, M], and
    its rows int32 [T, M, K, B]; index 0 is round 1.
    """

    clients: np.ndarray
    steps: np.ndarray
    rows: np.ndarray


def draw_rounds(federation: Federation, shelf: Shelf, seed: int) -> Draws:
    """What happens in every round.

    Participants are drawn without replacement by Gumbel's trick, with the availability of the
    instance's drift; rows with replacement among the participant's own.
    """
    f, rng = federation, np.random.default_rng([seed, 1])
    clients, each = len(shelf.count), (f.rounds, f.participants)
    chosen = np.empty(each, np.int32)
    # Round by round, so that no array has the size of all rounds times all clients.
    for t in range(f.rounds):
        phase = t / f.rounds - np.arange(clients) / clients
        keys = rng.gumbel(size=clients) + f.drift * np.cos(2 * np.pi * phase)
        first = np.argpartition(-keys, f.participants - 1)[: f.participants]
        chosen[t] = first[np.argsort(-keys[first], kind="stable")]
    late = rng.random(each) < f.stragglers
    some = rng.integers(1, f.local_steps + 1, each)
    rows = np.empty((*each, f.local_steps, f.batch_size), np.int32)
    for t, own in enumerate(chosen):
        places = rng.random(rows.shape[1:]) * shelf.count[own, None, None]
        rows[t] = shelf.rows[shelf.first[own, None, None] + places.astype(np.int64)]
    return Draws(chosen, np.where(late, some, f.local_steps).astype(np.int32), rows)
