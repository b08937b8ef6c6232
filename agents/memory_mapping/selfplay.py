"""Compiled self-play of memory mapping: decisions with a choice are recorded as they are seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import gymnasium as gym
import numpy as np
import torch
from numba import njit
from torch import Tensor

from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import (
    DEAD,
    GOES_ON,
    OUTCOME,
    State,
    Static,
    make_state,
    make_static,
    step,
)
from ...envs.memory_mapping.objective import speedup
from ...envs.memory_mapping.observation import (
    AHEAD,
    BINS,
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    PAST,
    SUPPLY,
    WINDOW,
    fixed_features,
)
from ..network import MASKED
from ..selfplay.drawing import draw
from ..selfplay.minibatches import of_moments
from ..selfplay.segment import Judged, Minibatch, Order, Segment, SelfPlay
from .network import ACTIONS, DecisionPolicy
from .playing import Desk, Weights, consider, make_desk, take_weights


class Book(NamedTuple):
    """The record of up to T moments of one program.

    Attributes:
        decisions: float32 [T, W, 28]; see the environment's observations, as for the next three.
        occupancy: float32 [T, 32, 32].
        supply: float32 [T, 24].
        globals: float32 [T, 8].
        mask: int8 [T, 3]; the legal actions.
        logits: float32 [T, 3]; of the policy that played, MASKED where not legal.
        actions: int64 [T].
        log_probabilities: float32 [T]; of the actions.
        values: float32 [T + 1]; expected returns.
        rewards: float64 [T]; from each moment up to the next.
        steps: int64 [T]; decisions from each moment up to the next.
    """

    decisions: np.ndarray
    occupancy: np.ndarray
    supply: np.ndarray
    globals: np.ndarray
    mask: np.ndarray
    logits: np.ndarray
    actions: np.ndarray
    log_probabilities: np.ndarray
    values: np.ndarray
    rewards: np.ndarray
    steps: np.ndarray


def _make_book(count: int) -> Book:
    """Make room for so many moments."""
    return Book(
        np.empty((count, WINDOW, len(DECISION_FEATURES)), np.float32),
        np.empty((count, PAST + AHEAD, BINS), np.float32),
        np.empty((count, SUPPLY), np.float32),
        np.empty((count, len(GLOBAL_FEATURES)), np.float32),
        np.empty((count, ACTIONS), np.int8),
        np.empty((count, ACTIONS), np.float32),
        np.empty(count, np.int64),
        np.empty(count, np.float32),
        np.zeros(count + 1, np.float32),
        np.zeros(count),
        np.zeros(count, np.int64),
    )


@njit(cache=True)
def _record(
    static: Static, state: State, fixed: np.ndarray, w: Weights, desk: Desk, most: int,
    gain: float, greedy: bool, discount: float, rng: np.random.Generator, book: Book,
) -> tuple[int, int, float]:  # fmt: skip
    """Play on, in place, for `most` decisions and then up to the next with a choice, or to the end.

    Args:
        static: the program.
        state: the game; played on.
        fixed: float32 [D, 28]; `fixed_features(static)`.
        w: the network.
        desk: its buffers.
        most: decisions to make.
        gain: sum of the rewards of the episode so far.
        greedy: whether the likeliest actions are taken.
        discount: of the rewards between two moments.
        rng: source of the actions.
        book: gets the record, from its first row on.

    Returns:
        Moments recorded; decisions made; sum of the rewards of the episode.
    """
    moments, made, factor = 0, 0, 1.0
    while state.scalars[OUTCOME] == GOES_ON:
        mask = state.mask
        several = mask[0] + mask[1] + mask[2] > 1
        action = 0
        if several:
            consider(static, state, fixed, w, desk)
            book.values[moments] = desk.worth[0]
            if made >= most:
                return moments, made, gain
            book.decisions[moments] = desk.decisions
            book.occupancy[moments] = desk.occupancy
            book.supply[moments] = desk.supply
            book.globals[moments] = desk.globals_
            for k in range(ACTIONS):
                book.mask[moments, k] = mask[k]
                book.logits[moments, k] = desk.scores[k] if mask[k] else MASKED
            action, book.log_probabilities[moments] = draw(book.logits[moments], greedy, rng)
            book.actions[moments] = action
            moments += 1
            factor = 1.0
        else:
            while not mask[action]:
                action += 1
        reward = step(static, state, action) / max(1, static.all_slow)
        if state.scalars[OUTCOME] == DEAD:
            reward = -1.0 - gain
        gain += reward
        made += 1
        if moments:
            book.rewards[moments - 1] += factor * reward
            book.steps[moments - 1] += 1
            factor *= discount
    book.values[moments] = 0.0
    return moments, made, gain


class Moments(NamedTuple):
    """What the network sees at T moments, see Book: arrays where they were played, tensors where
    they are learned from.
    """

    decisions: Any
    occupancy: Any
    supply: Any
    globals: Any
    action_mask: Any
    logits: Any


@dataclass(slots=True)
class _Lane:
    """A game that is being played.

    Attributes:
        which: position of its program.
        state: where it stands.
        gain: sum of its rewards so far.
        id_: of the episode.
    """

    which: int
    state: State
    gain: float = 0.0
    id_: str = field(default_factory=lambda: uuid4().hex)


class _Player:
    """Plays programs in lanes, each a part of its program a time; see selfplay.Player."""

    def __init__(
        self, programs: Sequence[Program], environment: Mapping[str, Any], lanes: int
    ) -> None:
        self._programs = programs
        self.games: list[_Lane | None] = [None] * lanes
        self._known: dict[int, tuple[Static, np.ndarray]] = {}

    def play(self, network: DecisionPolicy, order: Order) -> list[Segment[Moments]]:
        """Play on in every lane."""
        weights, desk = take_weights(network), make_desk(network.width)
        segments: list[Segment[Moments]] = []
        for lane in range(len(self.games)):
            left = -(-order.steps // len(self.games))
            episodes = -(-order.episodes // len(self.games))
            if episodes:
                self.games[lane] = None
            while left > 0 or episodes > 0:
                segments.append(self._play_on(lane, max(0, left), weights, desk, order))
                left -= len(segments[-1])
                episodes -= segments[-1].is_done
        return segments

    def _play_on(
        self, lane: int, most: int, weights: Weights, desk: Desk, order: Order
    ) -> Segment[Moments]:
        """Play a lane's program on, or the next one, for `most` decisions; 0 for their number."""
        begun = time.perf_counter()
        game = self.games[lane] or self._begin(order.draw())
        static, fixed = self._program(game.which)
        most = most or len(static.dec_instr)
        book = _make_book(most)
        before = game.gain
        moments, made, game.gain = _record(
            static, game.state, fixed, weights, desk, most, before, order.greedy, order.discount,
            order.rng, book,
        )  # fmt: skip
        done = game.state.scalars[OUTCOME] != GOES_ON
        self.games[lane] = None if done else game
        return Segment(
            moments=Moments(*(array[:moments] for array in book[:6])),
            actions=book.actions[:moments],
            log_probabilities=book.log_probabilities[:moments],
            values=book.values[: moments + 1],
            rewards=book.rewards[:moments],
            steps=book.steps[:moments],
            lane=lane,
            instance=game.which,
            env_steps_made=made,
            gain=game.gain - before,
            seconds=time.perf_counter() - begun,
            objective=speedup(static, game.state) if done else None,
            id_=game.id_,
        )

    def _begin(self, which: int) -> _Lane:
        return _Lane(which, make_state(self._program(which)[0]))

    def _program(self, which: int) -> tuple[Static, np.ndarray]:
        """Return a program's arrays, and `fixed_features` of them, computed once."""
        if which not in self._known:
            static = make_static(self._programs[which])
            self._known[which] = static, fixed_features(static)
        return self._known[which]


def judge(network: DecisionPolicy, moments: Moments) -> Judged:
    """Score the actions and guess what is to come.

    Args:
        network: the policy.
        moments: T of them.

    Returns:
        logits: float32 [T, 3]; values: float32 [T].
    """
    seen = moments._asdict()
    encoded = network.encode(seen)
    return Judged(network.logits(encoded, seen), network.value(encoded))


def recorded(moments: Moments) -> Tensor:
    """Return the logits of the policy that played, float32 [T, 3]."""
    logits: Tensor = moments.logits
    return logits


def unserved(env: gym.Env[Any, Any]) -> str:
    """Return what of an environment is not played compiled; "" if all of it is."""
    window = env.unwrapped.window  # type: ignore[attr-defined]
    return "" if window == WINDOW else f"window {window}, only {WINDOW}"


def minibatches(
    moments: Sequence[Moments], size: int, rng: np.random.Generator
) -> Iterator[Minibatch]:
    """Mix the moments of all segments; see selfplay.minibatches.of_moments."""
    parts = zip(*moments, strict=True)
    together = Moments(*(torch.from_numpy(np.concatenate(part)) for part in parts))

    def take(rows: np.ndarray) -> Moments:
        index = torch.from_numpy(rows)
        return Moments(*(part.index_select(0, index) for part in together))

    return of_moments(len(together.logits), size, rng, take)


SELF_PLAY = SelfPlay(unserved, _Player, minibatches, judge, recorded)
