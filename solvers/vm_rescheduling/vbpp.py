"""Alpha-VBPP, a baseline of VMR2L: vector bin packing of VMs taken off fragmented nodes."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.hosts import LARGE_MEM_MB
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    MOVES,
    State,
    Static,
    copy_state,
    make_state,
    make_static,
    meets_sets,
    restore_state,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.gains import (
    NEVER,
    Table,
    copy_table,
    make_table,
    residual_energy,
    restore_table,
)
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.moves import make_move
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

ALPHAS = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)  # weights of CPU against memory
STAGE_MOVES = (1, 2, 5, 10)  # VMs a stage
CELLS_A_LOOK = 4_000_000  # VMs and nodes compared between two looks at the clock, about


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan in stages of vector bin packing: alpha-VBPP.

    This is a baseline of VMR2L (EuroSys 2025, arXiv 2505.17359). A stage takes the VMs whose
    leaving gains their node most, one a PM, and packs them, the largest first, each on the legal
    node with the best fit: the least of alpha * CPU left over in a 16-core slot + (1 - alpha) *
    memory left over in a 64-GiB slot, both as fractions. A plan has one alpha and one number of VMs
    a stage; all pairs are swept, again and again with other tie-breaking, until two sweeps improve
    nothing.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: draws the tie-breaking of all sweeps but the first.

    Returns:
        The best prefix of any plan, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    saved = make_table(instance, static, start, residual_energy(static))
    state, table = copy_state(start), copy_table(saved)
    rng = np.random.default_rng(seed)
    plies = np.zeros(2 * instance.mnl, np.int64)
    best, best_value = np.zeros(0, np.int64), value(static, start.totals)
    clock.incumbent(best)
    sweep = [(alpha, stage) for stage in STAGE_MOVES for alpha in ALPHAS]
    improved = 0
    while not clock.expired and not goal_reached(static, start.totals):
        if clock.evaluations - improved > 2 * len(sweep):
            break
        alpha, stage = sweep[clock.evaluations % len(sweep)]
        shift = int(rng.integers(2 * instance.n_pms)) if clock.evaluations >= len(sweep) else 0
        restore_state(state, start)
        restore_table(table, saved)
        moved = np.zeros(len(static.vm_flavor), np.bool_)
        stages = max(1, CELLS_A_LOOK // (stage * (len(moved) + table.enter.shape[1])))
        going, made, length, reached = True, 0, 0, float(value(static, start.totals))
        while going and clock.remaining > 0.0:
            going, made, length, reached = _pack_stages(
                static, state, table, alpha, stage, shift, plies, moved, stages, made, length,
                reached,
            )  # fmt: skip
        clock.evaluations += 1
        if reached < best_value - 1e-12:
            best, best_value = plies[: 2 * length].copy(), reached
            improved = clock.evaluations
            clock.incumbent(best)
    return finish(clock, static, start, best)


@njit(cache=True)
def _pack_stages(
    static: Static,
    state: State,
    table: Table,
    alpha: float,
    stage: int,
    shift: int,
    plies: np.ndarray,
    moved: np.ndarray,
    stages: int,
    made: int,
    prefix: int,
    best: float,
) -> tuple[bool, int, int, float]:
    """Run further stages of a plan, until MNL or until one moves nothing.

    Args:
        static: the cluster.
        state: the present one, changed in place.
        table: gains of its moves, kept up to date.
        alpha: weight of CPU against memory in the fit.
        stage: VMs a stage.
        shift: where the order of VMs and nodes begins, for tie-breaking.
        plies: int64 [2 * MNL]; the moves are written here.
        moved: bool [V]; VMs that had their turn; changed in place.
        stages: the most stages to run.
        made: moves made before.
        prefix: moves of the best prefix so far.
        best: its objective.

    Returns:
        Whether the plan may go on; moves made; moves of the best prefix; its objective.
    """
    taken = np.empty(stage, np.int64)
    size = np.empty(stage, np.int64)
    for _ in range(stages):
        progress = False
        count = _pick_vms(static, state, table, moved, shift, taken)
        for i in range(count):
            kind = static.vm_flavor[taken[i]]
            size[i] = -static.flavor_cpu[kind] * static.flavor_nodes[kind]
        for i in np.argsort(size[:count]):
            if state.totals[MOVES] >= static.mnl or goal_reached(static, state.totals):
                return False, made, prefix, best
            vm = taken[i]
            moved[vm] = True
            to = _best_fit(static, state, table, vm, alpha, shift)
            if to < 0:
                continue
            make_move(static, state, table, vm, to)
            plies[2 * made], plies[2 * made + 1] = vm, to
            made += 1
            progress = True
            reached = value(static, state.totals)
            if reached < best - 1e-12:
                best, prefix = reached, made
        if not progress:
            return False, made, prefix, best
    return True, made, prefix, best


@njit(cache=True)
def _pick_vms(
    static: Static, state: State, table: Table, moved: np.ndarray, shift: int, taken: np.ndarray
) -> int:
    """Pick the VMs not yet moved whose leaving gains most, one a PM.

    Args:
        static: the cluster.
        state: its state.
        table: gains of its moves.
        moved: bool [M]; VMs already moved.
        shift: where the order of VMs begins, for tie-breaking.
        taken: int64 [stage], overwritten by the VMs.

    Returns:
        The number of VMs found.
    """
    n_vms = len(static.vm_flavor)
    used = np.zeros(len(static.pm_status), np.bool_)
    count = 0
    while count < len(taken):
        best, vm = NEVER, -1
        for i in range(n_vms):
            v = (i + shift) % n_vms
            if moved[v] or static.vm_pinned[v] or used[state.vm_pm[v]]:
                continue
            gain = table.leave[static.vm_flavor[v], 2 * state.vm_pm[v] + state.vm_numa[v]]
            if gain > best + 1e-9:
                best, vm = gain, v
        if vm < 0:
            break
        taken[count] = vm
        used[state.vm_pm[vm]] = True
        count += 1
    return count


@njit(cache=True)
def _best_fit(static: Static, state: State, table: Table, vm: int, alpha: float, shift: int) -> int:
    """Return the legal node on another PM with the least left over; -1 if there is none."""
    kind, source = static.vm_flavor[vm], state.vm_pm[vm]
    cpu, mem, unit = static.flavor_cpu[kind], static.flavor_mem[kind], static.unit
    n = table.enter.shape[1]
    least, place = np.inf, -1
    for i in range(n):
        at = (i + shift) % n
        pm, node = at // 2, at % 2
        if table.enter[kind, at] == NEVER or pm == source:
            continue
        left = (state.free_cpu[pm, node] - cpu) % unit / unit
        left_mem = (state.free_mem[pm, node] - mem) % LARGE_MEM_MB / LARGE_MEM_MB
        if static.flavor_nodes[kind] == 2:
            left += (state.free_cpu[pm, 1] - cpu) % unit / unit
            left_mem += (state.free_mem[pm, 1] - mem) % LARGE_MEM_MB / LARGE_MEM_MB
        fit = alpha * left + (1.0 - alpha) * left_mem
        if fit < least - 1e-9 and meets_sets(static, state, vm, pm):
            least, place = fit, at
    return place
