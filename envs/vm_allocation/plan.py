"""A plan in an operator's form: one row for each VM that was placed or migrated."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import SolutionError
from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from .dynamics import (
    CHOOSE,
    CHOSEN,
    CLOCK_S,
    ILLEGAL,
    PHASE,
    PLACE,
    REQUEST,
    act,
    make_state,
    make_static,
    walk,
)


def export_plan(center: DataCenter, actions: np.ndarray) -> list[dict[str, Any]]:
    """Return what was done, step by step.

    Columns: step; hours since the start; what (place, migrate, choose, stop); vm, the number of the
    request; flavor; host; numa ("0", "1" or "both").

    Args:
        center: a data center with a trace: where requests are drawn, they are drawn for a world.
        actions: int64 [n].

    Raises:
        SolutionError: the plan cannot be carried out, or the requests are drawn.
    """
    if not center.is_traced:
        raise SolutionError(
            f"{center.name}: its requests are drawn anew for each world, so a plan cannot be "
            "carried out elsewhere; export plans of traces"
        )
    trace = requests_of(center, 0)
    static, state = make_static(center, trace), make_state(center, len(trace.flavor))
    walk(static, state)
    rows = []
    for step, action in enumerate(np.asarray(actions, np.int64).tolist(), start=1):
        phase, hours = int(state.numbers[PHASE]), int(state.numbers[CLOCK_S]) / HOUR_S
        vm = int(state.numbers[REQUEST])
        if phase == CHOOSE and 0 <= action < len(state.slots):
            vm = int(state.slots[action])
        elif phase > PLACE:
            vm = int(state.slots[state.numbers[CHOSEN]])
        if act(static, state, action) == ILLEGAL:
            raise SolutionError(
                f"{center.name}: step {step} cannot be taken; `sysopt-gym validate` says why"
            )
        rows.append(_row(center, static.flavor, step, hours, phase, vm, action))
    return rows


def _row(
    center: DataCenter, flavors: np.ndarray, step: int, hours: float, phase: int, vm: int,
    action: int,
) -> dict[str, Any]:  # fmt: skip
    row = {"step": step, "hours": f"{hours:.4f}", "what": "", "vm": "", "flavor": "", "host": "",
           "numa": ""}  # fmt: skip
    if phase == CHOOSE:
        is_stop = action == center.n_slots
        return row | {"what": "stop" if is_stop else "choose", "vm": "" if is_stop else vm}
    if phase > CHOOSE + 1:
        return row | {"what": "end"}
    k = int(flavors[vm])
    return row | {
        "what": "place" if phase == PLACE else "migrate",
        "vm": vm,
        "flavor": center.flavor_names[k],
        "host": center.pm_ids[action // 2],
        "numa": "both" if center.flavor_nodes[k] == 2 else str(action % 2),
    }
