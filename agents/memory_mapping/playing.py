"""Play the decision policy at full speed: the network in compiled code, on the dynamics themselves.

Tests hold it equal to network.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...core.budget import Budget, Clock
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    COPY,
    DEAD,
    DROP,
    GOES_ON,
    NO_COPY,
    OUTCOME,
    POSITION,
    REDONE,
    TIME,
    State,
    Static,
    make_state,
    reset,
    step,
)
from ...envs.memory_mapping.observation import (
    AHEAD,
    BINS,
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    PAST,
    SUPPLY,
    WINDOW,
    fixed_features,
    observe,
)
from ...envs.memory_mapping.static import planning_static
from ...envs.memory_mapping.stays import previous_uses
from ...methods.memory_mapping.long import LONG, pass_dead_end, play_within, without_rewinds
from ...methods.memory_mapping.wishes import choose
from ..layers import Layer, affine, relu, take_layer
from .network import ACTIONS, CHANNELS, HEADS, PATCH, PATCHES, DecisionPolicy

SLICE = 100  # decisions between two looks at the clock; a millisecond or two
UNLIMITED_S = 1e9


class Weights(NamedTuple):
    """The layers of DecisionPolicy; see there."""

    decision: Layer
    query: Layer
    patch: Layer
    scene: Layer
    hidden: Layer
    context: Layer
    scores: Layer
    worth: Layer


class Desk(NamedTuple):
    """Buffers for one observation and for the network's intermediate results, all float32.

    Attributes:
        decisions: [W, 28]; see the environment's observations, as for the next three.
        occupancy: [32, 32].
        supply: [24].
        globals_: [8].
        tokens: [W, d]; embeddings of the decisions.
        query: [HEADS * d].
        match: [W]; scores of attention.
        square: [PATCH * PATCH]; one patch of the picture.
        around: [PATCHES * CHANNELS + 24 + 8]; patches, supply and globals.
        joined: [(2 + HEADS) * d]; embedding of the decision, results of attention, the scene.
        hidden: [2 d].
        context: [d].
        scores: [3]; scores of the actions, not masked.
        worth: [1]; the value.
    """

    decisions: np.ndarray  # [W, F]
    occupancy: np.ndarray  # [PAST + AHEAD, BINS]
    supply: np.ndarray
    globals_: np.ndarray
    tokens: np.ndarray  # [W, d]
    query: np.ndarray  # [HEADS * d]
    match: np.ndarray  # [W]
    square: np.ndarray  # [PATCH * PATCH]
    around: np.ndarray  # patches, supply and globals
    joined: np.ndarray  # [(2 + HEADS) * d]; the decision, what it heard, the scene
    hidden: np.ndarray  # [2 d]
    context: np.ndarray  # [d]
    scores: np.ndarray  # [3]
    worth: np.ndarray  # [1]


def take_weights(network: DecisionPolicy) -> Weights:
    """Copy the network's layers for compiled functions."""
    return Weights(*(take_layer(getattr(network, name)) for name in Weights._fields))


def make_desk(width: int) -> Desk:
    """Allocate the buffers for a network of this width."""

    def room(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    return Desk(
        room(WINDOW, len(DECISION_FEATURES)),
        room(PAST + AHEAD, BINS),
        room(SUPPLY),
        room(len(GLOBAL_FEATURES)),
        room(WINDOW, width),
        room(HEADS * width),
        room(WINDOW),
        room(PATCH * PATCH),
        room(PATCHES * CHANNELS + SUPPLY + len(GLOBAL_FEATURES)),
        room((2 + HEADS) * width),
        room(2 * width),
        room(width),
        room(ACTIONS),
        room(1),
    )


@njit(cache=True, fastmath=True)
def _attend(w: Weights, desk: Desk, ahead: int) -> None:
    """Write the first decision's embedding and its results of attention into `joined`."""
    d = desk.tokens.shape[1]
    now = desk.tokens[0]
    desk.joined[:d] = now
    affine(now, d, w.query, desk.query)
    scale = np.float32(1.0 / np.sqrt(d))
    for head in range(HEADS):
        query, most = desk.query[head * d : (head + 1) * d], np.float32(-1e30)
        for t in range(ahead):
            total = np.float32(0.0)
            for j in range(d):
                total += query[j] * desk.tokens[t, j]
            desk.match[t] = total * scale
            most = max(most, desk.match[t])
        heard = desk.joined[(1 + head) * d : (2 + head) * d]
        heard[:] = 0.0
        whole = np.float32(0.0)
        for t in range(ahead):
            part = np.exp(desk.match[t] - most)
            whole += part
            for j in range(d):
                heard[j] += part * desk.tokens[t, j]
        for j in range(d):
            heard[j] /= whole


@njit(cache=True, fastmath=True)
def _look_around(w: Weights, desk: Desk) -> None:
    """Write the scene into `joined`: the picture in patches, supply and globals."""
    across = BINS // PATCH
    for place in range(PATCHES):
        top, left = place // across * PATCH, place % across * PATCH
        for row in range(PATCH):
            for column in range(PATCH):
                desk.square[row * PATCH + column] = desk.occupancy[top + row, left + column]
        out = desk.around[place * CHANNELS : (place + 1) * CHANNELS]
        affine(desk.square, PATCH * PATCH, w.patch, out)
        relu(out)
    at = PATCHES * CHANNELS
    desk.around[at : at + SUPPLY] = desk.supply
    desk.around[at + SUPPLY :] = desk.globals_
    scene = desk.joined[(1 + HEADS) * desk.tokens.shape[1] :]
    affine(desk.around, len(desk.around), w.scene, scene)
    relu(scene)


@njit(cache=True)
def consider(static: Static, state: State, fixed: np.ndarray, w: Weights, desk: Desk) -> None:
    """Observe, and compute the network's context, scores of all actions, and value into the
    buffers.

    Args:
        static: the program.
        state: the game; at a decision.
        fixed: float32 [D, 28]; `fixed_features(static)`.
        w: the network.
        desk: overwritten.
    """
    observe(static, state, fixed, desk.decisions, desk.occupancy, desk.supply, desk.globals_)
    ahead = min(len(desk.decisions), len(static.dec_instr) - state.scalars[POSITION])
    for t in range(ahead):
        affine(desk.decisions[t], desk.decisions.shape[1], w.decision, desk.tokens[t])
        relu(desk.tokens[t])
    _attend(w, desk, ahead)
    _look_around(w, desk)
    affine(desk.joined, len(desk.joined), w.hidden, desk.hidden)
    relu(desk.hidden)
    affine(desk.hidden, len(desk.hidden), w.context, desk.context)
    relu(desk.context)
    affine(desk.context, len(desk.context), w.scores, desk.scores)
    affine(desk.context, len(desk.context), w.worth, desk.worth)


@njit(cache=True)
def chance_of_fast(mask: np.ndarray, scores: np.ndarray) -> float:
    """Return the policy's probability of fast memory; 0 or 1 where there is no choice.

    Args:
        mask: int64 [3]; the legal actions.
        scores: float32 [3]; scores of the actions.
    """
    if not mask[DROP]:
        return 1.0
    if not (mask[NO_COPY] or mask[COPY]):
        return 0.0
    fast = scores[NO_COPY] if mask[NO_COPY] else scores[COPY]
    chance: float = 1.0 / (1.0 + np.exp(scores[DROP] - fast))
    return chance


@njit(cache=True)
def rollout(
    static: Static,
    state: State,
    fixed: np.ndarray,
    w: Weights,
    desk: Desk,
    temperature: float,
    rng: np.random.Generator,
    wishes: np.ndarray,
    before: np.ndarray,
    most: int,
) -> None:
    """Play on from the present decision, past dead ends; at the end `state.actions` is the plan.

    Args:
        static: the program.
        state: the game; played on.
        fixed: float32 [D, 28]; `fixed_features(static)`.
        w: the network.
        desk: its buffers.
        temperature: temperature of sampling; 0 takes the likelier choice.
        rng: source of the samples.
        wishes: int8 [D]; gets 1 for fast memory, but 0 for what led to a dead end.
        before: int64 [D]; `previous_uses` of the program.
        most: decisions to make, about, those redone included.
    """
    static, state = borrow(static), borrow(state)
    until = state.scalars[POSITION] + state.scalars[REDONE] + most
    while state.scalars[OUTCOME] == GOES_ON:
        if state.scalars[POSITION] + state.scalars[REDONE] >= until:
            return
        mask = state.mask
        wish = 0
        if mask[DROP] and (mask[NO_COPY] or mask[COPY]):
            consider(static, state, fixed, w, desk)
            chance = chance_of_fast(mask, desk.scores)
            if temperature <= 0.0:
                wish = int(chance > 0.5)
            else:
                odds = np.log(chance + 1e-12) - np.log(1.0 - chance + 1e-12)
                wish = int(rng.random() < 1.0 / (1.0 + np.exp(-odds / temperature)))
        action = choose(state, wish)
        wishes[state.scalars[POSITION]] = action != DROP
        step(static, state, action)
        if state.scalars[OUTCOME] == DEAD:
            pass_dead_end(static, state, wishes, before)


@njit(cache=True)
def doubts(
    static: Static,
    state: State,
    fixed: np.ndarray,
    w: Weights,
    desk: Desk,
    plan: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the policy's probability, at every decision, of the choice that a plan does not make.

    Args:
        static: the program.
        state: overwritten.
        fixed: float32 [D, 28]; `fixed_features(static)`.
        w: the network.
        desk: its buffers.
        plan: int64 [D]; actions of a plan without rewinds.
        out: float64 [D]; gets the probabilities, 0 where there is no choice.
    """
    static, state = borrow(static), borrow(state)
    reset(static, state)
    out[:] = 0.0
    for d in range(len(plan)):
        mask = state.mask
        if mask[DROP] and (mask[NO_COPY] or mask[COPY]):
            consider(static, state, fixed, w, desk)
            chance = chance_of_fast(mask, desk.scores)
            out[d] = chance if plan[d] == DROP else 1.0 - chance
        step(static, state, plan[d])


class Player:
    """Plays one program again and again.

    Attributes:
        static: the program; dead ends are backed up from, also under policy terminate.
        state: of the last play.
        fixed: float32 [D, 28]; `fixed_features(static)`.
        weights: the network.
        desk: its buffers.
    """

    def __init__(self, program: Program, weights: Weights) -> None:
        self.static = planning_static(program)
        self.state = make_state(self.static)
        self.fixed = fixed_features(self.static)
        self.weights = weights
        self.desk = make_desk(len(weights.context.bias))
        self._before = previous_uses(self.static)

    def play(self, temperature: float, rng: np.random.Generator) -> int:
        """Play one plan, which is then in `state.actions`.

        Args:
            temperature: temperature of sampling; 0 takes the likelier choices.
            rng: source of the samples.

        Returns:
            The plan's time, ps.
        """
        return self.play_within(Budget(seconds=UNLIMITED_S).start(), np.inf, temperature, rng)

    def play_within(
        self, clock: Clock, until: float, temperature: float, rng: np.random.Generator
    ) -> int:
        """Play one plan by the policy until a moment, and what is left in slow memory.

        Args:
            clock: the run's.
            until: seconds of the clock.
            temperature: temperature of sampling; 0 takes the likelier choices.
            rng: source of the samples.

        Returns:
            The plan's time, ps; NEVER if the clock's seconds ended before the plan did.
        """
        state, count = self.state, len(self._before)
        long = count > LONG
        static = without_rewinds(self.static) if long else self.static
        wishes = np.zeros(count, np.int8)
        reset(static, state)
        while state.scalars[OUTCOME] == GOES_ON and clock.elapsed < until:
            rollout(
                static, state, self.fixed, self.weights, self.desk, temperature, rng, wishes,
                self._before, SLICE,
            )  # fmt: skip
        if state.scalars[OUTCOME] == GOES_ON or long:
            return play_within(self.static, state, wishes, clock)
        return int(state.scalars[TIME])

    def doubts(self, plan: np.ndarray) -> np.ndarray:
        """Return the probabilities, float64 [D], of the choices that a plan does not make; see
        `doubts`.
        """
        out = np.zeros(len(plan))
        doubts(self.static, self.state, self.fixed, self.weights, self.desk, plan, out)
        return out
