"""Beam search over moves, with beams that widen until the budget ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import State, Static, copy_state, make_state, make_static
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.gains import Table, copy_table, make_table, residual_energy
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.moves import make_move, top_moves
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

MAX_WIDTH = 256
MOVES_A_STATE = 12  # moves tried from a state, at most
# Largest residual energy in the search's score, in cores: the worth of an almost whole slot.
# Every width is searched with each.
ENERGY_SCALES = (0.02, 0.2, 0.4)


@dataclass(slots=True)
class _Node:
    """A state of the beam.

    Attributes:
        state: the cluster's state.
        table: gains of the moves from there.
        plan: plies from the start: VM, node, VM, node, ...
        score: sum of the gains on the way, in cores, residual energy included.
        key: hash of the numbers of VMs of each flavor on each node.
    """

    state: State
    table: Table
    plan: list[int]
    score: float
    key: int


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by beam search with widths 1, 2, 4, ..., each with every energy scale.

    States that hold the same numbers of VMs of each flavor on each node count as one.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one state expanded.
        seed: draws the hash keys that tell states apart.

    Returns:
        The best prefix of any path, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    best, best_value = np.zeros(0, np.int64), value(static, start.totals)
    clock.incumbent(best)
    rng = np.random.default_rng(seed)
    shape = (len(static.flavor_cpu), 2 * instance.n_pms)
    keys = rng.integers(0, 2**62, shape)
    width = 1
    while not clock.expired and width <= MAX_WIDTH and not goal_reached(static, start.totals):
        for scale in ENERGY_SCALES:
            if clock.expired:
                break
            table = make_table(instance, static, start, residual_energy(static, scale=scale))
            root = _Node(start, table, [], 0.0, 0)
            for plan, reached in _layers(static, root, width, keys, instance.mnl, clock):
                if reached < best_value - 1e-12:
                    best, best_value = plan, reached
                    clock.incumbent(best)
        width *= 2
    return finish(clock, static, start, best)


def _layers(
    static: Static, root: _Node, width: int, keys: np.ndarray, mnl: int, clock: Clock
) -> Iterator[tuple[np.ndarray, float]]:
    """Run a beam until no move gains or the budget ends.

    Args:
        static: the cluster.
        root: the start.
        width: of the beam.
        keys: int64 [K, N]; hash of a VM of each flavor on each node.
        mnl: most moves of a plan.
        clock: counts the states expanded and ends the search.

    Yields:
        The best plan of each layer, int64 plies, and its objective.
    """
    beam = [root]
    room = min(MOVES_A_STATE, 2 * width)
    for _ in range(mnl):
        children: list[tuple[float, int, int, int, int]] = []
        for parent, node in enumerate(beam):
            if clock.expired:
                return
            clock.evaluations += 1
            gains, vms, nodes = top_moves(static, node.state, node.table, room)
            for gain, vm, to in zip(gains.tolist(), vms.tolist(), nodes.tolist(), strict=True):
                kind = static.vm_flavor[vm]
                source = 2 * node.state.vm_pm[vm] + node.state.vm_numa[vm]
                key = (node.key + int(keys[kind, to]) - int(keys[kind, source])) & (2**62 - 1)
                children.append((node.score + gain, key, parent, vm, to))
        children.sort(key=lambda child: -child[0])
        seen = {node.key for node in beam}
        following: list[_Node] = []
        for score, key, parent, vm, to in children:
            if key in seen:
                continue
            seen.add(key)
            source_node = beam[parent]
            state, table = copy_state(source_node.state), copy_table(source_node.table)
            make_move(static, state, table, vm, to)
            following.append(_Node(state, table, [*source_node.plan, vm, to], score, key))
            if len(following) == width or clock.expired:
                break
        if not following:
            break
        values = [value(static, node.state.totals) for node in following]
        best = int(np.argmin(values))
        yield np.array(following[best].plan, np.int64), values[best]
        if goal_reached(static, following[best].state.totals):
            break
        beam = following
