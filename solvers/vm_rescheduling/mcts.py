"""Monte Carlo tree search over VMs and destinations, with greedy rollouts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    MOVES,
    State,
    Static,
    copy_state,
    make_state,
    make_static,
    restore_state,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.gains import (
    Table,
    copy_table,
    make_table,
    residual_energy,
    restore_table,
)
from ...methods.vm_rescheduling.greedy import greedy_plan
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.moves import make_move, top_moves
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

EXPLORATION = 1.0  # PUCT's constant, for values scaled by the best gain
TEMPERATURE = 4.0  # of the prior, in cores of gain
MOVES_A_STATE = 32  # moves that a state is expanded by, at most
LEAST_CHILDREN = 2  # children open to a node's first visits


@dataclass(slots=True)
class Node:
    """A node of the tree: a state, or a state with a VM picked.

    The children of a state are VMs, those of a picked VM are destinations.

    Attributes:
        action: the ply that leads here.
        prior: probability of the ply among its siblings.
        visits, total: number of rollouts through here, and the sum of their values.
        children: the most probable first; None until the node is expanded.
    """

    action: int = -1
    prior: float = 1.0
    visits: int = 0
    total: float = 0.0
    children: list[Node] | None = field(default=None)


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by Monte Carlo tree search with PUCT (Silver et al. 2017).

    Each move gets an equal share of the budget; then the most visited VM and destination are played
    and their subtree is kept. In live mode the search ends with the first move whose rollouts
    improve nothing.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one rollout.
        seed: draws the tie-breaking of the rollouts.

    Returns:
        The best plan of any rollout, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    state = copy_state(start)
    search = Search(instance, static, state, np.random.default_rng(seed), clock)
    clock.incumbent(search.best)
    root, made = Node(), 0
    while not clock.expired and state.totals[MOVES] < instance.mnl:
        if goal_reached(static, state.totals):
            break
        before = search.best_value
        _simulate_share(search, root, clock, (made + 1) / instance.mnl)
        vm = most_visited(root)
        to = most_visited(vm) if vm is not None else None
        if vm is None or to is None or (instance.mode == "live" and search.best_value >= before):
            break
        search.commit(vm.action, to.action)
        root, made = to, made + 1
    return finish(clock, static, start, search.best)


def _simulate_share(search: Search, root: Node, clock: Clock, share: float) -> None:
    """Run simulations, at least one, until a share of the budget is spent."""
    budget = clock.budget
    while True:
        before = search.best_value
        search.simulate(root)
        clock.evaluations += 1
        if search.best_value < before:
            clock.incumbent(search.best)
        evaluated = budget.evaluations or math.inf
        if (
            clock.elapsed >= share * budget.seconds
            or clock.evaluations >= share * evaluated
            or clock.expired
        ):
            return


class Search:
    """The search tree's state at the root, a scratch state, and the best plan of all rollouts.

    Args:
        instance: the cluster.
        static: the same cluster as arrays.
        state: the root's state; moves played change it.
        rng: draws the tie-breaking of rollouts.
        clock: ends a rollout wherever it is.

    Attributes:
        root_state, root_table: the state at the root, and the gains of its moves.
        played: plies made at the root so far.
        best: int64 plies of the best plan.
        best_value: its objective.
        start_value: the objective before any move.
        span: the largest improvement of a rollout, which scales values to [0, 1].
    """

    def __init__(
        self,
        instance: Cluster,
        static: Static,
        state: State,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        self.static, self.rng = static, rng
        self.root_state = state
        self.root_table = make_table(instance, static, state, residual_energy(static))
        self._state, self._table = copy_state(state), copy_table(self.root_table)
        self._plies = np.zeros(2 * instance.mnl, np.int64)
        self.played: list[int] = []
        self.best = np.zeros(0, np.int64)
        self.best_value = self.start_value = value(static, state.totals)
        self.span = 0.0
        self._clock = clock

    def simulate(self, root: Node) -> None:
        """Run one simulation from the root: descent, expansion, rollout and backup."""
        static, state, table = self.static, self._state, self._table
        restore_state(state, self.root_state)
        restore_table(table, self.root_table)
        path, plies = [root], list(self.played)
        node = root
        while node.children:
            node = select(node)
            path.append(node)
            plies.append(node.action)
            if len(plies) % 2 == 0:
                make_move(static, state, table, plies[-2], plies[-1])
        over = state.totals[MOVES] >= static.mnl or goal_reached(static, state.totals)
        if node.children is None and not over:
            expand(node, *top_moves(static, state, table, MOVES_A_STATE))
        reached = self._roll_out(state, table, plies)
        self.span = max(self.span, self.start_value - reached)
        score = (self.start_value - reached) / self.span if self.span > 0 else 0.0
        for visited in path:
            visited.visits += 1
            visited.total += score

    def _roll_out(self, state: State, table: Table, plies: list[int]) -> float:
        """Complete the plan greedily, keep it if it is the best, and return its objective."""
        here = value(self.static, state.totals)
        shuffle = bool(self.span > 0)
        length, reached = greedy_plan(
            self.static, state, table, self.rng, shuffle, self._plies, self._clock
        )
        if min(here, reached) < self.best_value - 1e-12:
            self.best_value = reached
            self.best = np.concatenate([np.array(plies, np.int64), self._plies[: 2 * length]])
        return float(reached)

    def commit(self, vm: int, to: int) -> None:
        """Play a move at the root.

        Args:
            vm: the VM to move.
            to: the node to move it to, 2 * pm + numa.
        """
        make_move(self.static, self.root_state, self.root_table, vm, to)
        self.played += [vm, to]


def expand(node: Node, gains: np.ndarray, vms: np.ndarray, nodes: np.ndarray) -> None:
    """Give a node its children: VMs, each with its destinations, with priors by the moves' gains.

    Args:
        node: the node of a state.
        gains: float64 [n]; gains in cores of moves from the state, the largest first.
        vms: int64 [n]; VMs of the moves.
        nodes: int64 [n]; destinations of the moves, 2 * pm + numa.
    """
    weights = np.exp((gains - gains[0]) / TEMPERATURE) if len(gains) else gains
    by_vm: dict[int, list[tuple[float, int]]] = {}
    for weight, vm, to in zip(weights.tolist(), vms.tolist(), nodes.tolist(), strict=True):
        by_vm.setdefault(vm, []).append((weight, to))
    whole = float(weights.sum())
    node.children = []
    for vm, moves in by_vm.items():
        share = sum(weight for weight, _ in moves)
        places = [Node(to, weight / share) for weight, to in moves]
        node.children.append(Node(vm, share / whole, children=places))
    node.children.sort(key=lambda child: -child.prior)


def select(node: Node) -> Node:
    """Choose the child to visit next by PUCT (Silver et al. 2017).

    Only the first sqrt(visits) children are open, at least LEAST_CHILDREN.
    """
    assert node.children
    open_ = max(LEAST_CHILDREN, math.isqrt(node.visits))
    mean = node.total / node.visits if node.visits else 0.0
    root = math.sqrt(max(1, node.visits))

    def upper(child: Node) -> float:
        quality = child.total / child.visits if child.visits else mean
        return quality + EXPLORATION * child.prior * root / (1 + child.visits)

    return max(node.children[:open_], key=upper)


def most_visited(node: Node) -> Node | None:
    """Return the most visited child; None if there is none."""
    if not node.children:
        return None
    return max(node.children, key=lambda child: child.visits)
