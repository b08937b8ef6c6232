"""MuZero's search on the game itself (known model), compiled: several games of one program side by
side. Uses numba and numpy.

The general search (muzero/search.py) asks for new nodes; here they are the game's own states, with
the policy network's prior and value. Decisions that leave no choice are passed over, so a tree is
one of choices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import GOES_ON, OUTCOME, TIME, State, Static, reset, step
from ...envs.memory_mapping.packed import pack, unpack
from ..muzero.search import NONE, Leaves, SearchSettings, make_forest, search
from .network import ACTIONS
from .playing import Desk, Player, Weights, consider


class Lookahead:
    """Searches of so many simulations a choice, for so many games at once."""

    def __init__(self, player: Player, games: int, simulations: int) -> None:
        self.player = player
        self.settings = SearchSettings(simulations, considered=2, discount=1.0)
        self.forest = make_forest(games, ACTIONS, self.settings)
        packed = pack(player.static)
        self.rows = np.stack([packed] * games)  # the games
        self.nodes = np.stack([packed] * (games * (simulations + 1)))  # node n of game b at n*B + b
        reset(player.static, unpack.py_func(packed)[1])

    def play(
        self, prefix: np.ndarray, rng: np.random.Generator | None
    ) -> Iterator[list[tuple[int, np.ndarray]]]:
        """Plays the games from behind the prefix to their ends; yields after every choice.

        Args:
            prefix: actions of a plan without rewinds, int64; all games begin with it.
            rng: draws the search's noise; the first game has none. None: no noise at all.

        Yields:
            The time, ps, and the plan of every game that has ended with this choice.
        """
        w, desk, fixed = self.player.weights, self.player.desk, self.player.fixed
        games = len(self.rows)
        _begin(self.rows, prefix)
        logits, value = np.zeros((games, ACTIONS)), np.zeros(games)
        legal = np.zeros((games, ACTIONS), np.bool_)
        going = np.ones(games, np.bool_)
        while going.any():
            _look(self.rows, fixed, w, desk, logits, value, legal)
            noise = np.zeros((games, ACTIONS))
            if rng is not None:
                noise[1:] = rng.gumbel(size=(games - 1, ACTIONS))
            self.nodes[:games] = self.rows
            found = search(logits, value, legal, self._expand, self.settings, noise, self.forest)
            ended = []
            _advance(self.rows, found.action)
            for b in np.flatnonzero(going):
                state = unpack.py_func(self.rows[b])[1]
                if state.scalars[OUTCOME] != GOES_ON:
                    going[b] = False
                    ended.append((int(state.scalars[TIME]), state.actions.copy()))
            yield ended

    def _expand(self, made: int, parents: np.ndarray, actions: np.ndarray) -> Leaves:
        games = len(self.rows)
        leaves = Leaves(
            np.zeros(games), np.zeros(games), np.zeros((games, ACTIONS), np.float32),
            np.zeros(games, np.bool_),
        )  # fmt: skip
        player = self.player
        _grow(
            self.nodes, made, parents, actions, player.fixed, player.weights, player.desk, *leaves
        )
        return leaves


@njit(cache=True)
def _pass_over(static: Static, state: State) -> None:
    """Takes the decisions that leave no choice."""
    while state.scalars[OUTCOME] == GOES_ON and state.mask.sum() == 1:
        step(static, state, int(np.argmax(state.mask)))


@njit(cache=True)
def _begin(rows: np.ndarray, prefix: np.ndarray) -> None:
    """Every game behind the prefix, at its next choice."""
    for b in range(len(rows)):
        static, state = unpack(rows[b])
        static, state = borrow(static), borrow(state)
        reset(static, state)
        for action in prefix:
            step(static, state, action)
        _pass_over(static, state)


@njit(cache=True)
def _advance(rows: np.ndarray, actions: np.ndarray) -> None:
    """Takes the choices in the games that go on."""
    for b in range(len(rows)):
        static, state = unpack(rows[b])
        static, state = borrow(static), borrow(state)
        if state.scalars[OUTCOME] == GOES_ON:
            step(static, state, actions[b])
            _pass_over(static, state)


@njit(cache=True)
def _look(
    rows: np.ndarray,
    fixed: np.ndarray,
    w: Weights,
    desk: Desk,
    logits: np.ndarray,
    value: np.ndarray,
    legal: np.ndarray,
) -> None:
    """What the network says of the games; a game that has ended may do anything."""
    for b in range(len(rows)):
        static, state = unpack(rows[b])
        legal[b] = True
        value[b] = 0.0
        logits[b] = 0.0
        if state.scalars[OUTCOME] == GOES_ON:
            consider(static, state, fixed, w, desk)
            value[b] = desk.worth[0]
            for a in range(ACTIONS):
                logits[b, a] = desk.scores[a]
                legal[b, a] = state.mask[a] == 1


@njit(cache=True)
def _grow(
    nodes: np.ndarray,
    made: int,
    parents: np.ndarray,
    actions: np.ndarray,
    fixed: np.ndarray,
    w: Weights,
    desk: Desk,
    reward: np.ndarray,
    value: np.ndarray,
    prior: np.ndarray,
    ended: np.ndarray,
) -> None:
    """Makes the new nodes, and fills the last four arrays (see search.Leaves)."""
    games = len(parents)
    for b in range(games):
        if parents[b] == NONE:
            continue
        row = nodes[made * games + b]
        row[:] = nodes[parents[b] * games + b]
        static, state = unpack(row)
        static, state = borrow(static), borrow(state)
        if state.scalars[OUTCOME] != GOES_ON:
            ended[b] = True
            continue
        before = state.scalars[TIME]
        step(static, state, actions[b])
        _pass_over(static, state)
        reward[b] = (before - state.scalars[TIME]) / static.all_slow
        if state.scalars[OUTCOME] != GOES_ON:
            ended[b] = True
            continue
        consider(static, state, fixed, w, desk)
        value[b] = desk.worth[0]
        most, total = -np.inf, 0.0
        for a in range(ACTIONS):
            if state.mask[a]:
                most = max(most, desk.scores[a])
        for a in range(ACTIONS):
            if state.mask[a]:
                prior[b, a] = np.exp(desk.scores[a] - most)
                total += prior[b, a]
        for a in range(ACTIONS):
            prior[b, a] /= total
