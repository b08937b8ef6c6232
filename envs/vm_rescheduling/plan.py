"""A plan in an operator's form: move by move, from, to, gain, and what each move rests on. Uses
numpy and dynamics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import SolutionError
from ...datasets.vm_rescheduling.instance import Cluster
from .dynamics import FRAGMENT, State, Static, is_legal, make_state, make_static, move
from .objective import fragment_rate, goal_reached

Place = tuple[int, int]


def export_plan(cluster: Cluster, actions: np.ndarray) -> list[dict[str, Any]]:
    """One row a move, in the order in which the moves can be made one at a time.

    Columns: step; vm; flavour; cores and memory_mb (all of the VM); from_pm, from_numa, to_pm,
    to_numa ("0+1" for VMs on two nodes); gain_slots (16-core slots opened less closed),
    fragment_rate (after the move) and its change (below 0 is better); rests_on (the earlier moves
    without which this one would break a constraint, and why); deployment_sets (those the VM belongs
    to).

    The plan is applied to the instance as it stands; in live mode a move may no longer fit when its
    turn comes.

    Raises:
        SolutionError: a move is not legal where it stands; names the step.
    """
    plies = [int(ply) for ply in np.asarray(actions).ravel()]
    static = make_static(cluster)
    state = make_state(cluster, static)
    made: list[_Move] = []
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
        rests_on = _rests_on(cluster, static, state, made, vm, pm, node)
        source = _places(static, vm, int(state.vm_pm[vm]), int(state.vm_numa[vm]))
        target = _places(static, vm, pm, node)
        rate, fragments = fragment_rate(state.totals), int(state.totals[FRAGMENT])
        free = int(state.totals[1])
        move(static, state, vm, pm, node)
        after = fragment_rate(state.totals)
        # Slots are counted from the totals: free cores less fragments, in units of 16.
        slots = (int(state.totals[1]) - free - int(state.totals[FRAGMENT]) + fragments) // (
            static.unit
        )
        kind = int(static.vm_flavour[vm])
        nodes = int(static.flavour_nodes[kind])
        rows.append(
            {
                "step": step,
                "vm": cluster.vm_ids[vm],
                "flavour": cluster.flavour_names[kind],
                "cores": int(static.flavour_cpu[kind]) * nodes / cluster.cpu_per_core,
                "memory_mb": int(static.flavour_mem[kind]) * nodes,
                "from_pm": cluster.pm_ids[source[0][0]],
                "from_numa": "+".join(str(n) for _, n in source),
                "to_pm": cluster.pm_ids[pm],
                "to_numa": "+".join(str(n) for _, n in target),
                "gain_slots": slots,
                "fragment_rate": round(after, 6),
                "fragment_rate_change": round(after - rate, 6),
                "rests_on": rests_on,
                "deployment_sets": _sets_of(cluster, static, vm),
            }
        )
        made.append(_Move(step, vm, source, target))
    return rows


class _Move:
    """A move made: its step, its VM, and the NUMA nodes left and entered."""

    __slots__ = ("source", "step", "target", "vm")

    def __init__(self, step: int, vm: int, source: list[Place], target: list[Place]) -> None:
        self.step, self.vm, self.source, self.target = step, vm, source, target


def _places(static: Static, vm: int, pm: int, node: int) -> list[Place]:
    both = static.flavour_nodes[static.vm_flavour[vm]] == 2
    return [(pm, 0), (pm, 1)] if both else [(pm, node)]


def _sets_of(cluster: Cluster, static: Static, vm: int) -> str:
    groups = static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]
    return ", ".join(f"{g} (by {'rack' if cluster.set_by_rack[g] else 'host'})" for g in groups)


def _rests_on(
    cluster: Cluster,
    static: Static,
    state: State,
    made: list[_Move],
    vm: int,
    pm: int,
    node: int,
) -> str:
    """The earlier moves that this one needs, and what each gives it."""
    reasons: list[str] = []
    cpu, mem = static.flavour_cpu[static.vm_flavour], static.flavour_mem[static.vm_flavour]
    for place in _places(static, vm, pm, node):
        spare_cpu = int(state.free_cpu[place] - cpu[vm])
        spare_mem = int(state.free_mem[place] - mem[vm])
        left = [m for m in made if place in m.source]
        for what, demand, spare in (("cores", cpu, spare_cpu), ("MB", mem, spare_mem)):
            freed = sum(int(demand[m.vm]) for m in left)
            if freed <= spare:
                continue
            unit = cluster.cpu_per_core if what == "cores" else 1
            needed = [m for m in left if demand[m.vm] > spare] or left
            steps = ", ".join(str(m.step) for m in needed)
            which = (
                "step" if len(needed) == 1 else "steps" if needed is not left else "some of steps"
            )
            gives = sum(int(demand[m.vm]) for m in needed) / unit
            reasons.append(
                f"{which} {steps} (frees {gives:g} {what} on {cluster.pm_ids[place[0]]}/{place[1]})"
            )
    for group in static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]:
        members = static.set_vms[static.set_start[group] : static.set_start[group + 1]]
        for earlier in made:
            was = earlier.source[0][0]
            same_rack = static.set_by_rack[group] and static.pm_rack[was] == static.pm_rack[pm]
            if earlier.vm != vm and earlier.vm in members and (was == pm or same_rack):
                where = f"rack {static.pm_rack[pm]}" if same_rack else cluster.pm_ids[pm]
                reasons.append(
                    f"step {earlier.step} ({cluster.vm_ids[earlier.vm]} of deployment set {group} "
                    f"leaves {where})"
                )
    return "; ".join(dict.fromkeys(reasons)) or "room already there"
