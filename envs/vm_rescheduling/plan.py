"""Export a plan as a table for operators: each move's source, target, gain and prerequisites."""

from __future__ import annotations

from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from ...core.errors import SolutionError
from ...datasets.vm_rescheduling.instance import Cluster
from .dynamics import FRAGMENT, FREE, State, Static, is_legal, make_state, make_static, move
from .objective import fragment_rate, goal_reached

Place = tuple[int, int]  # PM and NUMA node


class _Move(NamedTuple):
    """A move made.

    Attributes:
        step: its number, from 1.
        vm: index of the VM.
        source: the NUMA nodes that the VM left.
    """

    step: int
    vm: int
    source: list[Place]


def export_plan(cluster: Cluster, actions: np.ndarray) -> list[dict[str, Any]]:
    """Return one row per move, in the order in which the moves can be made one at a time.

    Columns: step; wave (moves of one wave can be made side by side once earlier waves are done);
    vm; flavour; cores and memory_mb (of the whole VM); from_pm, from_numa, to_pm, to_numa ("0+1"
    for VMs on two nodes); gain_slots (change in whole free 16-core slots); fragment_rate (after
    the move) and fragment_rate_change (below 0 is better); rests_on (the earlier moves without
    which this one would break a constraint, and why); deployment_sets (the VM's sets).

    The plan is applied to the instance as it stands; in live mode a move may no longer fit when
    its turn comes.

    Args:
        cluster: the snapshot.
        actions: the plan, int64 [n], plies in turn: a VM, then its destination 2 * pm + node; a VM
            ply of n_vms or more stops the plan.

    Raises:
        SolutionError: a move is not legal where it stands; names the step.
    """
    plies = [int(ply) for ply in np.asarray(actions).ravel()]
    static = make_static(cluster)
    state = make_state(cluster, static)
    last: dict[int, _Move] = {}  # of each VM, in order of steps
    made: list[_Move] = []
    order: nx.DiGraph[int] = nx.DiGraph()
    rows: list[dict[str, Any]] = []
    for at in range(0, len(plies), 2):
        step, vm = at // 2 + 1, plies[at]
        if vm >= cluster.n_vms:
            break
        pm, node = divmod(plies[at + 1], 2) if at + 1 < len(plies) else (-1, 0)
        in_range = vm >= 0 and 0 <= pm < cluster.n_pms
        if (
            not in_range
            or goal_reached(static, state.totals)
            or not is_legal(static, state, vm, pm, node)
        ):
            raise SolutionError(
                f"{cluster.name}: step {step} of the plan is not legal, so there is no plan to "
                "export; `sysopt-gym validate` says what it breaks"
            )
        rests_on = _rests_on(cluster, static, state, last, vm, pm, node)
        order.add_node(step)
        order.add_edges_from((e, step) for e in _earlier(static, state, made, vm, pm, node))
        source = _places(static, vm, int(state.vm_pm[vm]), int(state.vm_numa[vm]))
        target = _places(static, vm, pm, node)
        rate, slots = fragment_rate(state.totals), _slots(static, state)
        move(static, state, vm, pm, node)
        after = fragment_rate(state.totals)
        kind = int(static.vm_flavor[vm])
        nodes = int(static.flavor_nodes[kind])
        rows.append(
            {
                "step": step,
                "wave": 0,
                "vm": cluster.vm_ids[vm],
                "flavour": cluster.flavor_names[kind],
                "cores": int(static.flavor_cpu[kind]) * nodes / cluster.cpu_per_core,
                "memory_mb": int(static.flavor_mem[kind]) * nodes,
                "from_pm": cluster.pm_ids[source[0][0]],
                "from_numa": "+".join(str(n) for _, n in source),
                "to_pm": cluster.pm_ids[pm],
                "to_numa": "+".join(str(n) for _, n in target),
                "gain_slots": _slots(static, state) - slots,
                "fragment_rate": round(after, 6),
                "fragment_rate_change": round(after - rate, 6),
                "rests_on": rests_on,
                "deployment_sets": _sets_of(cluster, static, vm),
            }
        )
        last.pop(vm, None)
        last[vm] = _Move(step, vm, source)
        made.append(last[vm])
    for wave, steps in enumerate(nx.topological_generations(order), start=1):
        for step in steps:
            rows[step - 1]["wave"] = wave
    return rows


def _earlier(
    static: Static, state: State, made: list[_Move], vm: int, pm: int, node: int
) -> list[int]:
    """Return the steps that must be done before this move, whatever the order of the others.

    Where a NUMA node has the room even if no VM had left it, entering it needs no earlier move;
    otherwise all moves that left it come first. So do the VM's own earlier moves, and those of
    members of its deployment sets that left the host (or rack).
    """
    flavor = static.vm_flavor[vm]
    steps = [before.step for before in made if before.vm == vm]
    for place in _places(static, vm, pm, node):
        left = [before for before in made if place in before.source]
        kinds = static.vm_flavor[np.array([before.vm for before in left], np.int64)]
        cpu = state.free_cpu[place] - static.flavor_cpu[kinds].sum()
        mem = state.free_mem[place] - static.flavor_mem[kinds].sum()
        if cpu < static.flavor_cpu[flavor] or mem < static.flavor_mem[flavor]:
            steps += [before.step for before in left]
    for group in static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]:
        members = static.set_vms[static.set_start[group] : static.set_start[group + 1]]
        for before in made:
            was = before.source[0][0]
            same_rack = static.set_by_rack[group] and static.pm_rack[was] == static.pm_rack[pm]
            if before.vm in members and (was == pm or same_rack):
                steps.append(before.step)
    return steps


def _slots(static: Static, state: State) -> int:
    """Return the whole free 16-core slots on ACTIVE hosts."""
    return int(state.totals[FREE] - state.totals[FRAGMENT]) // static.unit


def _places(static: Static, vm: int, pm: int, node: int) -> list[Place]:
    both = static.flavor_nodes[static.vm_flavor[vm]] == 2
    return [(pm, 0), (pm, 1)] if both else [(pm, node)]


def _sets_of(cluster: Cluster, static: Static, vm: int) -> str:
    groups = static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]
    return ", ".join(f"{g} (by {'rack' if cluster.set_by_rack[g] else 'host'})" for g in groups)


def _rests_on(
    cluster: Cluster,
    static: Static,
    state: State,
    last: dict[int, _Move],
    vm: int,
    pm: int,
    node: int,
) -> str:
    """Describe the earlier moves that this one needs, and what each frees.

    Only each VM's last move is looked at: without it the VM would still be where that move found
    it, so its moves before that change nothing now.
    """
    others = [earlier for earlier in last.values() if earlier.vm != vm]
    reasons = [
        reason
        for place in _places(static, vm, pm, node)
        for reason in _room_made(cluster, static, state, others, vm, place)
    ]
    for group in static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]:
        members = static.set_vms[static.set_start[group] : static.set_start[group + 1]]
        for earlier in others:
            was = earlier.source[0][0]
            same_rack = static.set_by_rack[group] and static.pm_rack[was] == static.pm_rack[pm]
            if earlier.vm in members and (was == pm or same_rack):
                where = f"rack {static.pm_rack[pm]}" if same_rack else cluster.pm_ids[pm]
                reasons.append(
                    f"step {earlier.step} ({cluster.vm_ids[earlier.vm]} of deployment set {group} "
                    f"leaves {where})"
                )
    return "; ".join(reasons) or "room already there"


def _room_made(
    cluster: Cluster, static: Static, state: State, others: list[_Move], vm: int, place: Place
) -> list[str]:
    """Describe the earlier moves without which a NUMA node would lack CPU or memory."""
    reasons = []
    left = [earlier for earlier in others if place in earlier.source]
    for what, unit, free, of_flavor in (
        ("cores", cluster.cpu_per_core, state.free_cpu, static.flavor_cpu),
        ("MB", 1, state.free_mem, static.flavor_mem),
    ):
        demand = of_flavor[static.vm_flavor]
        spare = int(free[place] - demand[vm])
        if sum(int(demand[earlier.vm]) for earlier in left) <= spare:
            continue
        needed = [earlier for earlier in left if demand[earlier.vm] > spare]
        which = "some of steps" if not needed else "step" if len(needed) == 1 else "steps"
        steps = ", ".join(str(earlier.step) for earlier in needed or left)
        gives = sum(int(demand[earlier.vm]) for earlier in needed or left) / unit
        reasons.append(
            f"{which} {steps} (frees {gives:g} {what} on {cluster.pm_ids[place[0]]}/{place[1]})"
        )
    return reasons
