"""Play the policy at full speed: the network in compiled code, on the dynamics themselves.

Tests hold it equal to network.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.dynamics import (
    MICRO_BATCHES,
    State,
    Table,
    make_state,
    make_table,
    take,
)
from ...envs.sequence_parallelism.groups import groups_limit, kinds_of, order_of
from ...envs.sequence_parallelism.observation import (
    N_SEEN,
    N_WHOLE,
    SHORTLIST,
    Course,
    course_of,
    observe,
)
from ..layers import Layer, affine, relu, take_layer
from .network import ShortlistPolicy

CHUNK = 64  # sequences between two looks at the clock; half a millisecond


def _never() -> bool:
    return False


class Weights(NamedTuple):
    """The layers of ShortlistPolicy that choose; see there."""

    own: Layer
    context: Layer
    shift: Layer
    hidden: Layer
    score: Layer


def take_weights(network: ShortlistPolicy) -> Weights:
    """Copy the network's layers for compiled functions."""
    return Weights(*(take_layer(getattr(network, name)) for name in Weights._fields))


class Player:
    """Plays a batch by a policy, again and again.

    Attributes:
        actions: int64 [K]; of the last play.
    """

    def __init__(self, batch: TrainingBatch, weights: Weights) -> None:
        """Make the arrays.

        Args:
            batch: the instance.
            weights: of the network.
        """
        kinds, order = kinds_of(batch), order_of(batch)
        self.weights, self.table = weights, make_table(kinds)
        self.limit = groups_limit(batch)
        ends = np.cumsum(np.bincount(batch.step))[:-1]
        self.courses = [course_of(batch, kinds, rows) for rows in np.split(order, ends)]
        self.actions = np.zeros(len(order), np.int64)

    def play(
        self, temperature: float, rng: np.random.Generator, expired: Callable[[], bool] = _never
    ) -> float:
        """Assign every sequence; return the ms that the steps take, infinity if time ran out.

        Args:
            temperature: of the samples; 0.0 takes the likeliest actions.
            rng: draws the actions.
            expired: whether play is to be given up; asked now and then.
        """
        total, at = 0.0, 0
        for step, course in enumerate(self.courses):
            played = self.play_step(step, temperature, rng, expired)
            if played is None:
                return float("inf")
            state, actions = played
            self.actions[at : at + len(course.rows)] = actions
            total += float(state.longest[: state.counts[MICRO_BATCHES]].sum())
            at += len(course.rows)
        return total

    def play_step(
        self, step: int, temperature: float, rng: np.random.Generator, expired: Callable[[], bool]
    ) -> tuple[State, np.ndarray] | None:
        """Assign the sequences of a step; return its groups and the actions, int64 [k].

        Args:
            step: its number.
            temperature: see `play`.
            rng: see `play`.
            expired: see `play`; None is returned then.
        """
        course, count = self.courses[step], len(self.courses[step].rows)
        state = make_state(self.limit, len(self.table.devices))
        actions = np.zeros(count, np.int64)
        for first in range(0, count, CHUNK):
            if expired():
                return None
            last = min(count, first + CHUNK)
            _play(self.table, state, course, self.weights, temperature, rng, actions, first, last)
        return state, actions


@njit(cache=True, fastmath=True)
def score(
    candidates: np.ndarray, count: int, whole: np.ndarray, w: Weights, scores: np.ndarray
) -> None:
    """Compute the network's scores of the candidates.

    Args:
        candidates: float32 [n, 15].
        count: rows that are candidates.
        whole: float32 [12].
        w: the network.
        scores: gets the scores, float32 [n].
    """
    width = len(w.own.bias)
    embedded = np.empty((count, width), np.float32)
    seen = np.zeros(len(whole) + width, np.float32)
    context, shift = np.empty(width, np.float32), np.empty(width, np.float32)
    seen[: len(whole)] = whole
    for row in range(count):
        affine(candidates[row], candidates.shape[1], w.own, embedded[row])
        for j in range(width):
            seen[len(whole) + j] += max(embedded[row, j], np.float32(0.0)) / np.float32(count)
    affine(seen, len(seen), w.context, context)
    relu(context)
    affine(context, width, w.shift, shift)
    for row in range(count):
        for j in range(width):
            embedded[row, j] = max(embedded[row, j] + shift[j], np.float32(0.0))
        affine(embedded[row], width, w.hidden, context)
        relu(context)
        affine(context, width, w.score, scores[row : row + 1])


@njit(cache=True)
def _play(
    table: Table,
    state: State,
    course: Course,
    w: Weights,
    temperature: float,
    rng: np.random.Generator,
    actions: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Assign some sequences of a step.

    Args:
        table: the kinds of groups.
        state: as the sequences before them have left it; played on.
        course: of the step, k sequences.
        w: the network.
        temperature: see Player.play.
        rng: draws the actions.
        actions: gets what was done, int64 [k].
        first: place of the first.
        last: place after the last.
    """
    candidates = np.zeros((SHORTLIST, N_SEEN), np.float32)
    listed, whole = np.zeros(SHORTLIST, np.int64), np.zeros(N_WHOLE, np.float32)
    scores = np.zeros(SHORTLIST, np.float32)
    for place in range(first, last):
        count = observe(table, state, course, place, listed, candidates, whole)
        score(candidates, count, whole, w, scores)
        chosen, most = 0, -np.inf
        for row in range(count):
            level = float(scores[row])
            if temperature > 0.0:
                # The greatest of scores with Gumbel noise is a sample of their softmax.
                level = level / temperature - np.log(-np.log(rng.random() + 1e-300))
            if level > most:
                chosen, most = row, level
        actions[place] = listed[chosen]
        take(table, state, int(course.rows[place, 0]), listed[chosen])
