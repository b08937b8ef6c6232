"""Column generation: flavor prices, good patterns at these prices, an exact choice among them.

The master (master.py) starts from the patterns near each node's best at rough prices; its
relaxation gives better prices, these give better patterns, until none improves. The whole choice is
then made among the patterns within a slack of the relaxation's value, which grows until no plan
outside can be better. Milliseconds where the model over all counts (aggregated.py) takes seconds,
for the relaxation of whole patterns is much closer to the optimum.

Deployment sets are left to the order of moves. Where that misses the bound, the model that keeps
sets apart (aggregated_search.py) has its turn if it is small, then the local search.

Serves fragment_rate and moves_to_goal; for admission host_columns.py generates columns of whole
hosts. For the other objectives, and where CPU has no coarse unit, local_search plans instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ...envs.vm_rescheduling.dynamics import FREE, State, Static, make_state, make_static
from ...envs.vm_rescheduling.objective import fragment_rate
from . import greedy, host_columns, local_search
from .aggregated_search import LEAST_S, kept_apart, run_highs, solve_form
from .dual import lowest
from .expand import expand
from .master import (
    Choice,
    Master,
    Relaxation,
    assign,
    choose,
    make_master,
    price_columns,
    relax,
    split_pattern,
)
from .minimal import finish
from .pricing import GridError, Nodes, Prices, first_prices, make_nodes, slot_bound

FIRST_SLACK = 0.3  # at rough prices
SLACKS = (0.3, 0.6, 1.0, 1.5, 2.0)  # at the relaxation's prices
MAX_ROUNDS = 12
MAX_CUTS = 6
SAFE = 0.85  # share of the time left that HiGHS gets, as it reads its clock only now and then
TOLERANCE = 1e-6
RESERVE_S = 0.02
SETS_SHARE = 0.6  # of the time left, for the model that keeps sets apart
LARGE_PMS = 2000  # from which on the least bound is found without a master first (dual.py)
DUAL_SHARE = 0.5  # of the time left, for that
MASTER_S = 2e-4  # time a PM that a master needs to be worth its while
MOST_CELLS = 3 * 10**7  # moves x nodes, which matching patterns to nodes takes memory for
FIRST_PLANS = 2  # greedy plans made first, so that there is an incumbent early


def generate_columns(
    instance: Cluster, clock: Clock, seed: int, prices: Prices | None = None
) -> Solution:
    """Plan by column generation.

    Args:
        instance: the cluster.
        clock: ends the search; one evaluation is one master problem solved in whole numbers.
        seed: seed of the order of moves, and of the local search that follows where the choice of
            patterns is not proven optimal.
        prices: the first prices, for the cluster's `make_nodes`; rough ones if not given.

    Returns:
        The best plan, with the relaxation's bound; "optimal" where the two meet.
    """
    if instance.objective == "admission":
        return host_columns.generate(instance, clock, seed)
    if instance.objective not in ("fragment_rate", "moves_to_goal"):
        return local_search.search(instance, clock, seed)
    try:
        nodes = make_nodes(instance)
    except GridError:
        return local_search.search(instance, clock, seed)
    static = make_static(instance)
    start = make_state(instance, static)
    local_search.compile_ahead(instance, static, start)
    rng = np.random.default_rng(seed)
    best, best_value = greedy.search(instance, static, start, clock, rng, plans=FIRST_PLANS)
    goal = _missing_slots(instance, static, start)
    prices = prices or first_prices(nodes)
    if instance.n_pms >= LARGE_PMS:
        moves = len(best) // 2 if goal is not None and best_value <= instance.mnl else instance.mnl
        bound = None
        for at in (prices, _nothing_but_moves(nodes)):
            # Of many prices with the least relaxation, those found from small ones bound patterns
            # of many VMs better.
            until = clock.elapsed + DUAL_SHARE * clock.remaining
            prices = lowest(nodes, moves, at, clock, until)
            proven = _objective_bound(instance, nodes, static, start, prices, goal)
            if proven is None:
                break
            bound = proven if bound is None else max(bound, proven)
            if best_value <= bound + 1e-9:
                return finish(clock, static, start, best, "optimal", bound)
        cells = 2 * instance.n_pms * instance.mnl
        if cells > MOST_CELLS or clock.remaining < MASTER_S * instance.n_pms:
            best, _ = local_search.improve(instance, static, start, best, clock, rng)
            return finish(clock, static, start, best, "feasible", bound)
    master = make_master(nodes, instance.mnl)
    price_columns(master, _at(master, prices), FIRST_SLACK)
    relaxed, goal = _relax(master, instance.mnl, goal, clock)
    if relaxed is None:
        return finish(clock, static, start, best)
    bound = _objective_bound(instance, nodes, static, start, relaxed.prices, goal)
    for chosen, node_of, exhausted in _choices(master, relaxed, instance.mnl, goal, clock):
        actions, _ = _plan(master, chosen, node_of, static, start, rng)
        actions, reached = greedy.complete(instance, static, start, actions, rng, clock)
        if reached < best_value - 1e-12:
            best, best_value = actions, reached
            clock.incumbent(best)
        if bound is not None and best_value <= bound + 1e-9:
            return finish(clock, static, start, best, "optimal", bound)
        if exhausted:
            break
    apart = kept_apart(static) if instance.mode == "static" else None
    if apart is not None and clock.remaining > LEAST_S and not clock.expired:
        until = clock.elapsed + SETS_SHARE * clock.remaining
        best, best_value, proven, _ = solve_form(
            apart, static, start, best, best_value, clock, until, seed, rng, run_highs
        )
        if proven is not None:
            bound = max(bound or 0.0, proven)
            if best_value <= bound + 1e-9:
                return finish(clock, static, start, best, "optimal", bound)
    if instance.mode == "static":
        # The best patterns may ask for an order of moves that a full cluster does not have.
        best, best_value = local_search.improve(
            instance, static, start, best, clock, rng, bound or 0.0
        )
    met = bound is not None and best_value <= bound + 1e-9
    return finish(clock, static, start, best, "optimal" if met else "feasible", bound)


def _choices(
    master: Master, relaxed: Relaxation, mnl: int, goal: int | None, clock: Clock
) -> Iterator[tuple[Choice, np.ndarray, bool]]:
    """Yield choices of patterns in whole numbers, slack by slack, until the clock allows no more.

    Yields:
        The choice; the node of each of its one-node patterns (-1: none); whether no choice is
        better, whatever patterns were added.
    """
    pace = 0.0  # seconds the last choice took
    for slack in SLACKS:
        price_columns(master, relaxed, slack)
        for _ in range(MAX_CUTS):
            if clock.remaining < RESERVE_S + pace:
                return
            began = clock.elapsed
            seconds = SAFE * (clock.remaining - RESERVE_S)
            chosen = choose(master, relaxed, slack, mnl, goal, seconds)
            pace = clock.elapsed - began
            clock.evaluations += 1
            if chosen is None:
                break
            node_of, too_few = assign(master, chosen)
            yield chosen, node_of, too_few is None and _missed(relaxed, chosen, goal) <= slack
            if too_few is None:
                break
            master.hall = np.concatenate([master.hall, too_few[None]])
        relaxed = _relax(master, mnl, goal, clock)[0] or relaxed


def _nothing_but_moves(nodes: Nodes) -> Prices:
    """Return prices of 0 for VMs, and of a slot for a move."""
    return Prices(np.zeros(len(nodes.single)), np.zeros(len(nodes.double)), 1.0)


def _at(master: Master, prices: Prices) -> Relaxation:
    """Return a relaxation with given prices and no charges for nodes, to start from."""
    free_of_charge = np.zeros(len(master.level)), np.zeros(len(master.nodes.pms))
    return Relaxation(0.0, 0.0, prices, *free_of_charge)


def _missed(relaxed: Relaxation, chosen: Choice, goal: int | None) -> float:
    """Return how far below 0 the worth of a pattern of a better plan can be, in slots."""
    if goal is None:
        return relaxed.slots - (chosen.slots + 1)
    return (chosen.moves - 1 - relaxed.moves) * relaxed.prices.move


def _missing_slots(instance: Cluster, static: Static, start: State) -> int | None:
    """Count the 16-core slots missing to the goal rate; None where slots are the objective."""
    if instance.objective != "moves_to_goal":
        return None
    excess = (fragment_rate(start.totals) - instance.goal_rate) * start.totals[FREE] / static.unit
    return max(0, int(np.ceil(excess - 1e-9)))


def _relax(
    master: Master, mnl: int, goal: int | None, clock: Clock
) -> tuple[Relaxation | None, int | None]:
    """Solve the relaxation, adding columns until none improves it.

    Args:
        master: changed in place.
        mnl: the most moves.
        goal: slots to open with the fewest moves; None to open the most slots.
        clock: ends the rounds.

    Returns:
        The relaxation (None if there was no time for any), and the goal, or None if it is out of
        reach.
    """
    relaxed = None
    for target in [None] if goal is None else [None, goal]:
        if target is not None and (relaxed is None or relaxed.slots < target - TOLERANCE):
            return relaxed, None
        for _ in range(MAX_ROUNDS):
            if clock.remaining < RESERVE_S:
                break
            better = relax(master, mnl, target, clock.remaining)
            if better is None:
                break
            relaxed = better
            if price_columns(master, relaxed, -TOLERANCE) == 0:
                break
    return relaxed, goal


def _objective_bound(
    instance: Cluster,
    nodes: Nodes,
    static: Static,
    start: State,
    prices: Prices,
    goal: int | None,
) -> float | None:
    """Return the objective that no plan can beat, by the prices; see pricing.slot_bound.

    None where VMs can leave PMs that are not ACTIVE, since that changes the sum of free CPU.
    """
    outside = instance.pm_status[instance.vm_pm] != ACTIVE
    if (outside & ~instance.vm_pinned).any():
        return None
    most = slot_bound(nodes, instance.mnl, prices)
    ceiling = int(np.floor(most + TOLERANCE))
    if instance.objective == "fragment_rate":
        rate = fragment_rate(start.totals) - static.unit * ceiling / start.totals[FREE]
        return max(0.0, float(rate))
    missing = _missing_slots(instance, static, start) or 0
    if goal is None or prices.move <= 0:
        return float(instance.mnl + missing - ceiling) if missing > ceiling else 0.0
    beside_moves = most - prices.move * instance.mnl
    return max(0.0, float(np.ceil((missing - beside_moves) / prices.move - TOLERANCE)))


def _plan(
    master: Master,
    chosen: Choice,
    node_of: np.ndarray,
    static: Static,
    start: State,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Expand chosen patterns to an executable plan.

    Args:
        master: the columns.
        chosen: the choice.
        node_of: int64 [A]; node of each row of `chosen.one`, -1 for none.
        static: the cluster.
        start: the state before the plan.
        rng: draws orders of moves.

    Returns:
        The plan, int64 plies, and its objective.
    """
    nodes = master.nodes
    sides: list[list[np.ndarray]] = [[], []]
    one, node = chosen.one[node_of >= 0], node_of[node_of >= 0]
    two = chosen.two
    out, into, out_2, into_2 = split_pattern(nodes, two[:, 1:])
    for side, of_node, of_pm, of_pm_2 in (
        (0, master.outs[master.out_of[one[:, 0]]], out, out_2),
        (1, master.ins[one[:, 1]], into, into_2),
    ):
        for row, flavor in zip(*np.nonzero(of_node), strict=True):
            item = (nodes.single[flavor], nodes.pms[node[row] // 2], node[row] % 2)
            sides[side] += [np.array(item)] * of_node[row, flavor]
        for row, numa, flavor in zip(*np.nonzero(of_pm), strict=True):
            item = (nodes.single[flavor], nodes.pms[two[row, 0]], numa)
            sides[side] += [np.array(item)] * of_pm[row, numa, flavor]
        for row, flavor in zip(*np.nonzero(of_pm_2), strict=True):
            item = (nodes.double[flavor], nodes.pms[two[row, 0]], 0)
            sides[side] += [np.array(item)] * of_pm_2[row, flavor]
    leaving, entering = (np.array(side, np.int64).reshape(-1, 3) for side in sides)
    return expand(static, start, leaving, entering, rng)
