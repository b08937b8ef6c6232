"""Export a plan as a table for operators: each move's source, target, gain and prerequisites."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from ...core.errors import SolutionError
from ...datasets.vm_rescheduling.instance import Cluster
from ...datasets.vm_rescheduling.places import places_of
from .dynamics import FRAGMENT, FREE, State, Static, is_legal, make_state, make_static, move
from .objective import fragment_rate, goal_reached

Place = tuple[int, int]  # PM and NUMA node
Use = dict[Place, tuple[int, int]]  # CPU and memory of each part of a VM, in order


class _Move(NamedTuple):
    """A move made.

    Attributes:
        step: its number, from 1.
        vm: index of the VM.
        source: the NUMA nodes that the VM left, with the CPU and memory that became free.
    """

    step: int
    vm: int
    source: Use


class _Made:
    """The moves made so far, in the order of their steps.

    Attributes:
        of_vm: moves of each VM.
        left: moves that left each NUMA node.
        last_left: of these the ones after which their VM has not moved again, by VM.
    """

    def __init__(self) -> None:
        self.of_vm: dict[int, list[_Move]] = {}
        self.left: dict[Place, list[_Move]] = {}
        self.last_left: dict[Place, dict[int, _Move]] = {}

    def add(self, one: _Move) -> None:
        """Add a move."""
        earlier = self.of_vm.setdefault(one.vm, [])
        for place in earlier[-1].source if earlier else ():
            del self.last_left[place][one.vm]
        earlier.append(one)
        for place in one.source:
            self.left.setdefault(place, []).append(one)
            self.last_left.setdefault(place, {})[one.vm] = one

    def of_set(self, static: Static, group: int) -> list[list[_Move]]:
        """Return the moves of each member of a deployment set that has any."""
        members = static.set_vms[static.set_start[group] : static.set_start[group + 1]].tolist()
        return [self.of_vm[member] for member in members if member in self.of_vm]


def export_plan(cluster: Cluster, actions: np.ndarray) -> list[dict[str, Any]]:
    """Return one row per move, in the order in which the moves can be made one at a time.

    Columns: step; wave (moves of one wave can be made side by side once earlier waves are done);
    vm; flavour; cores and memory_mb (of the whole VM); from_pm, from_numa, to_pm, to_numa ("0+1"
    for a VM on two nodes, in the order of its parts); gain_slots (change in whole free 16-core
    slots); fragment_rate (after the move) and fragment_rate_change (below 0 is better); rests_on
    (the earlier moves without which this one would break a constraint, and why); deployment_sets
    (the VM's sets).

    The plan is applied to the instance as it stands; in live mode a move may no longer fit when
    its turn comes.

    Args:
        cluster: the snapshot.
        actions: the plan, int64 [n], plies in turn: a VM, then its destination S * pm + place; a VM
            ply of n_vms or more stops the plan.

    Raises:
        SolutionError: a move is not legal where it stands; names the step.
    """
    plies = [int(ply) for ply in np.asarray(actions).ravel()]
    static = make_static(cluster)
    state = make_state(cluster, static)
    made = _Made()
    order: nx.DiGraph[int] = nx.DiGraph()
    rows: list[dict[str, Any]] = []
    for at in range(0, len(plies), 2):
        step, vm = at // 2 + 1, plies[at]
        if vm >= cluster.n_vms:
            break
        pm, node = divmod(plies[at + 1], static.stride) if at + 1 < len(plies) else (-1, 0)
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
        target = _use(cluster, vm, pm, node)
        rests_on = _rests_on(cluster, static, state, made, vm, target)
        order.add_node(step)
        order.add_edges_from((e, step) for e in _earlier(static, state, made, vm, target))
        source = _use(cluster, vm, int(state.vm_pm[vm]), int(state.vm_numa[vm]))
        rate, slots = fragment_rate(state.totals), _slots(static, state)
        move(static, state, vm, pm, node)
        after = fragment_rate(state.totals)
        kind = int(static.vm_flavor[vm])
        cpu, memory = cluster.total(kind)
        rows.append(
            {
                "step": step,
                "wave": 0,
                "vm": cluster.vm_ids[vm],
                "flavour": cluster.flavor_names[kind],
                "cores": cpu / cluster.cpu_per_core,
                "memory_mb": memory,
                "from_pm": cluster.pm_ids[next(iter(source))[0]],
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
        made.add(_Move(step, vm, source))
    for wave, steps in enumerate(nx.topological_generations(order), start=1):
        for step in steps:
            rows[step - 1]["wave"] = wave
    return rows


def _earlier(static: Static, state: State, made: _Made, vm: int, target: Use) -> list[int]:
    """Return the steps that must be done before this move, whatever the order of the others.

    Where a NUMA node has the room even if no VM had left it, entering it needs no earlier move;
    otherwise all moves that left it come first. So do the VM's own earlier moves, and those of
    members of its deployment sets that left the host (or rack).
    """
    steps = [before.step for before in made.of_vm.get(vm, ())]
    for place, need in target.items():
        left = made.left.get(place, [])
        cpu = state.free_cpu[place] - sum(before.source[place][0] for before in left)
        mem = state.free_mem[place] - sum(before.source[place][1] for before in left)
        if cpu < need[0] or mem < need[1]:
            steps += [before.step for before in left]
    pm = _host(target)
    for group in static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]:
        for before in chain.from_iterable(made.of_set(static, group)):
            was = _host(before.source)
            same_rack = static.set_by_rack[group] and static.pm_rack[was] == static.pm_rack[pm]
            if was == pm or same_rack:
                steps.append(before.step)
    return steps


def _slots(static: Static, state: State) -> int:
    """Return the whole free 16-core slots on ACTIVE hosts."""
    return int(state.totals[FREE] - state.totals[FRAGMENT]) // static.unit


def _use(cluster: Cluster, vm: int, pm: int, place: int) -> Use:
    """Return the NUMA nodes of a place of a VM on a PM, and what it needs of each."""
    parts = cluster.parts_of(int(cluster.vm_flavor[vm]))
    nodes = places_of(parts, cluster.n_nodes)[place]
    return {(pm, node): part for node, part in zip(nodes, parts, strict=True)}


def _host(use: Use) -> int:
    return next(iter(use))[0]


def _sets_of(cluster: Cluster, static: Static, vm: int) -> str:
    groups = static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]
    return ", ".join(f"{g} (by {'rack' if cluster.set_by_rack[g] else 'host'})" for g in groups)


def _rests_on(
    cluster: Cluster,
    static: Static,
    state: State,
    made: _Made,
    vm: int,
    target: Use,
) -> str:
    """Describe the earlier moves that this one needs, and what each frees.

    Only each VM's last move is looked at: without it the VM would still be where that move found
    it, so its moves before that change nothing now.
    """
    reasons = [
        reason
        for place, need in target.items()
        for reason in _room_made(cluster, state, made, vm, place, need)
    ]
    pm = _host(target)
    for group in static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]]:
        lasts = [moves[-1] for moves in made.of_set(static, group) if moves[-1].vm != vm]
        for earlier in sorted(lasts, key=lambda one: one.step):
            was = _host(earlier.source)
            same_rack = static.set_by_rack[group] and static.pm_rack[was] == static.pm_rack[pm]
            if was == pm or same_rack:
                where = f"rack {static.pm_rack[pm]}" if same_rack else cluster.pm_ids[pm]
                reasons.append(
                    f"step {earlier.step} ({cluster.vm_ids[earlier.vm]} of deployment set {group} "
                    f"leaves {where})"
                )
    return "; ".join(reasons) or "room already there"


def _room_made(
    cluster: Cluster, state: State, made: _Made, vm: int, place: Place, need: tuple[int, int]
) -> list[str]:
    """Describe the moves of other VMs without which a NUMA node would lack CPU or memory."""
    reasons = []
    left = [one for mover, one in made.last_left.get(place, {}).items() if mover != vm]
    for which, (what, unit, free) in enumerate(
        (("cores", cluster.cpu_per_core, state.free_cpu), ("MB", 1, state.free_mem))
    ):
        gain = {earlier.step: earlier.source[place][which] for earlier in left}
        spare = int(free[place] - need[which])
        if sum(gain.values()) <= spare:
            continue
        needed = [step for step in gain if gain[step] > spare]
        named = "some of steps" if not needed else "step" if len(needed) == 1 else "steps"
        steps = ", ".join(map(str, needed or gain))
        gives = sum(gain[step] for step in needed or gain) / unit
        reasons.append(
            f"{named} {steps} (frees {gives:g} {what} on {cluster.pm_ids[place[0]]}/{place[1]})"
        )
    return reasons
