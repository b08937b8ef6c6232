"""Improve a plan by Gumbel AlphaZero's search in the game itself, compiled.

The nodes of the search (muzero/search.py) are states of the game. The network gives their prior. A
node's value is the time saved from there on when the present plan is followed to the end, using any
buffer newly placed in fast memory: in a game without chance that is exact, and each such playout is
a plan itself. Searches start at several choices of the plan at once, where the network would choose
otherwise. Decisions that leave no choice are skipped, so a tree branches at choices only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    DROP,
    GOES_ON,
    OUTCOME,
    POSITION,
    TIME,
    State,
    Static,
    reset,
    step,
)
from ...envs.memory_mapping.packed import pack, state_in, unpack
from ...envs.memory_mapping.stays import previous_uses
from ...methods.memory_mapping.wishes import choose
from ..muzero.forest import NONE, SearchSettings, make_forest
from ..muzero.search import Leaves, search
from .network import ACTIONS
from .playing import Desk, Player, Weights, consider

LEAST_DOUBT = 0.002  # least weight with which a choice becomes a root


class Lookahead:
    """Search of a plan's choices.

    Attributes:
        player: the program and the network.
        plan: int64 [D]; the best plan.
        time: its time, ps.
        playouts: number of plans played so far.
    """

    def __init__(
        self, player: Player, time: int, plan: np.ndarray, roots: int, simulations: int
    ) -> None:
        """Start from a plan.

        Args:
            player: the program and the network.
            time: time of the plan, ps.
            plan: int64 [D].
            roots: searches that run at once.
            simulations: simulations of each search.
        """
        self.player, self.time, self.plan = player, time, plan
        self.playouts = 0
        self._now = time, plan  # the plan that is searched
        self._settings = SearchSettings(simulations, considered=2, discount=1.0)
        self._forest = make_forest(roots, ACTIONS, self._settings)
        packed = pack(player.static)
        reset(player.static, state_in(packed))
        # Node n below root b is in row n * roots + b; the last row is for playouts.
        self._nodes = np.stack([packed] * (roots * (simulations + 1) + 1))
        self._found = plan.copy()
        self._before = previous_uses(player.static)
        self.go_back()

    def look(self, heat: float, rng: np.random.Generator) -> bool:
        """Search once from random choices of the present plan, and accept the best other plan met.

        Choices are sampled where the network would choose otherwise. The plan met becomes the
        present one if it is hardly worse.

        Args:
            heat: mean of how much worse an accepted plan may be, ps.
            rng: source of the roots, the noise of the searches, and acceptance.

        Returns:
            Whether the best plan has improved.
        """
        time, plan = self._now
        roots = len(self._forest.parent)
        draws = np.searchsorted(self._odds, rng.random(roots) * self._odds[-1], side="right")
        points = np.sort(np.minimum(draws, len(plan) - 1))
        player = self.player
        logits, value = np.zeros((roots, ACTIONS)), np.zeros(roots)
        legal = np.zeros((roots, ACTIONS), np.bool_)
        _root(
            self._nodes, plan, points, player.fixed, player.weights, player.desk,
            logits, value, legal, time,
        )  # fmt: skip
        self._reached = np.array([np.iinfo(np.int64).max])
        noise = rng.gumbel(size=(roots, ACTIONS))
        search(logits, value, legal, self._expand, self._settings, noise, self._forest)
        reached = int(self._reached[0])
        if reached <= time + heat * rng.exponential():
            self._go_to(reached, self._found.copy())
        if reached >= self.time:
            return False
        self.time, self.plan = self._now
        return True

    @property
    def has_choices(self) -> bool:
        """Return whether the present plan has a decision with a choice."""
        return bool(self._odds[-1] > 0)

    def go_back(self) -> None:
        """Make the best plan the present one."""
        self._go_to(self.time, self.plan)

    def _go_to(self, time: int, plan: np.ndarray) -> None:
        """Make a plan the present one, and compute the odds of its decisions as roots."""
        self._now = time, plan
        doubts = self.player.doubts(plan)
        self._odds = np.cumsum(np.where(doubts > 0, doubts + LEAST_DOUBT, 0.0))

    def _expand(self, made: int, parents: np.ndarray, actions: np.ndarray) -> Leaves:
        """See muzero.search.Expand."""
        roots = len(parents)
        leaves = Leaves(
            np.zeros(roots), np.zeros(roots), np.zeros((roots, ACTIONS), np.float32),
            np.zeros(roots, np.bool_),
        )  # fmt: skip
        player = self.player
        self.playouts += _grow(
            self._nodes, made, parents, actions, player.fixed, player.weights, player.desk,
            self._now[1], self._before, self._reached, self._found, *leaves,
        )  # fmt: skip
        return leaves


@njit(cache=True)
def _pass_over(static: Static, state: State) -> None:
    """Take the decisions that leave no choice."""
    while state.scalars[OUTCOME] == GOES_ON and state.mask.sum() == 1:
        step(static, state, int(np.argmax(state.mask)))


@njit(cache=True)
def _root(
    nodes: np.ndarray,
    plan: np.ndarray,
    points: np.ndarray,
    fixed: np.ndarray,
    w: Weights,
    desk: Desk,
    logits: np.ndarray,
    value: np.ndarray,
    legal: np.ndarray,
    time: int,
) -> None:
    """Fill the roots with states at the plan's choices, and with the network's prior there.

    A root after the last choice has equal logits, and all its actions count as legal.

    Args:
        nodes: int64 [R (S + 1) + 1, n]; packed states, node s of root b in row s * R + b; the last
            row is scratch.
        plan: int64 [D].
        points: int64 [R]; the decisions from which each root is sought, ascending.
        fixed: float32 [D, 28]; `fixed_features` of the program.
        w: the network.
        desk: its buffers.
        logits: float64 [R, 3]; overwritten.
        value: float64 [R]; overwritten: time still to be saved under the plan, as a part of
            all_slow.
        legal: bool [R, 3]; overwritten.
        time: time of the plan, ps.
    """
    scratch = nodes[-1]
    static, state = unpack(scratch)
    static, state = borrow(static), borrow(state)
    reset(static, state)
    for b in range(len(points)):
        while state.scalars[OUTCOME] == GOES_ON and (
            state.scalars[POSITION] < points[b] or state.mask.sum() == 1
        ):
            step(static, state, plan[state.scalars[POSITION]])
        nodes[b] = scratch
        value[b] = (state.scalars[TIME] - time) / static.all_slow
        logits[b] = 0.0
        legal[b] = True
        if state.scalars[OUTCOME] == GOES_ON:
            consider(static, state, fixed, w, desk)
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
    plan: np.ndarray,
    before: np.ndarray,
    reached: np.ndarray,
    found: np.ndarray,
    reward: np.ndarray,
    value: np.ndarray,
    prior: np.ndarray,
    ended: np.ndarray,
) -> int:
    """Make the new nodes, and play each out by the present plan.

    Args:
        nodes: see `_root`.
        made: index of the new nodes.
        parents: int64 [R]; index of each root's parent node, or NONE.
        actions: int64 [R]; action taken there.
        fixed: float32 [D, 28]; `fixed_features` of the program.
        w: the network.
        desk: its buffers.
        plan: int64 [D]; the present plan.
        before: int64 [D]; `previous_uses` of the program.
        reached: int64 [1]; least time of another plan met, ps; lowered in place.
        found: int64 [D]; that plan; overwritten.
        reward: float64 [R]; gets the rewards, see search.Leaves, as do the next three.
        value: float64 [R].
        prior: float32 [R, 3].
        ended: bool [R].

    Returns:
        The number of playouts.
    """
    roots, played = len(parents), 0
    scratch = nodes[-1]
    static, trial = unpack(scratch)
    static, trial = borrow(static), borrow(trial)
    for b in range(roots):
        if parents[b] == NONE:
            continue
        row = nodes[made * roots + b]
        row[:] = nodes[parents[b] * roots + b]
        state = borrow(unpack(row)[1])
        if state.scalars[OUTCOME] != GOES_ON:
            ended[b] = True
            continue
        time = state.scalars[TIME]
        step(static, state, actions[b])
        _pass_over(static, state)
        reward[b] = (time - state.scalars[TIME]) / static.all_slow
        ended[b] = state.scalars[OUTCOME] != GOES_ON
        scratch[:] = row
        while trial.scalars[OUTCOME] == GOES_ON:
            d = trial.scalars[POSITION]
            last = before[d]
            fast = plan[d] != DROP or (
                last >= 0 and plan[last] == DROP and trial.actions[last] != DROP
            )
            step(static, trial, choose(trial, int(fast)))
        played += 1
        value[b] = (state.scalars[TIME] - trial.scalars[TIME]) / static.all_slow
        if trial.scalars[TIME] <= reached[0] and (trial.actions != plan).any():
            reached[0] = trial.scalars[TIME]
            found[:] = trial.actions
        if not ended[b]:
            consider(static, state, fixed, w, desk)
            _weigh_actions(state.mask, desk.scores, prior[b])
    return played


@njit(cache=True)
def _weigh_actions(mask: np.ndarray, scores: np.ndarray, prior: np.ndarray) -> None:
    """Write the softmax of the legal actions' scores, float32 [3], to `prior`, float32 [3]."""
    most, total = -np.inf, 0.0
    for a in range(ACTIONS):
        if mask[a]:
            most = max(most, scores[a])
    for a in range(ACTIONS):
        if mask[a]:
            prior[a] = np.exp(scores[a] - most)
            total += prior[a]
    for a in range(ACTIONS):
        prior[a] /= total
