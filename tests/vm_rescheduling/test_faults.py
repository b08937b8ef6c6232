"""Faults in the dynamics or the churn are noticed by the judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from planted import Case, Fault, check_that_the_judge_notices, plant, wrap
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling import churn
from sysopt_gym.datasets.vm_rescheduling.instance import OBJECTIVES, Cluster
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.objective import goal_reached

Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def cases(make: Make, legal: Legal) -> list[Case]:
    """Random legal plans to the last move, in clusters that stand still and in live ones."""
    made = []
    for seed in range(24):
        cluster = make(
            seed, objective=OBJECTIVES[seed % 5], drain_pms=np.array([0, 1]), mnl=4, pm_move_cap=3
        )
        rng, static = np.random.default_rng(seed), d.make_static(cluster)
        state, plan = d.make_state(cluster, static), []
        while state.totals[d.MOVES] < 4 and not goal_reached(static, state.totals):
            moves = legal(static, state)
            if not moves:
                break
            vm, pm, node = moves[rng.integers(len(moves))]
            d.move(static, state, vm, pm, node)
            plan += [vm, 2 * pm + node]
        live = make(seed, mode="live", churn_per_min=120.0, mnl=4)
        made.append((cluster, np.array(plan, np.int64), World()))
        made.append((live, np.array(plan, np.int64), World(seed, 15.0)))
    return made


def first_arrival_is_dropped(patch: pytest.MonkeyPatch) -> None:
    best_fit, asked = churn._best_fit, []

    def faulty(cluster: Cluster, *given: Any) -> Any:
        asked.append(cluster)
        return None if len(asked) % 3 == 1 else best_fit(cluster, *given)

    plant(patch, best_fit, faulty)


def exits_leave_their_room_occupied(patch: pytest.MonkeyPatch) -> None:
    occupy = churn._occupy

    def faulty(*given: Any) -> None:
        if given[-1] > 0:
            occupy(*given)

    plant(patch, occupy, faulty)


def more_free_cpu(free: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return free[0] + 1, free[1]


FREE = Cluster.free
FAULTS: dict[str, Fault] = {
    "an arrival is dropped": first_arrival_is_dropped,
    "a VM that leaves still occupies its node": exits_leave_their_room_occupied,
    "fragments are counted by 8 cores": lambda patch: patch.setattr(
        Cluster, "fragment_unit", property(lambda cluster: 8 * cluster.cpu_per_core)
    ),
    "every node has one CPU more": lambda patch: patch.setattr(
        Cluster, "free", lambda cluster: more_free_cpu(FREE(cluster))
    ),
    "the plan may have one move less": wrap(
        d.make_static, lambda static: static._replace(mnl=static.mnl - 1)
    ),
    "a host takes part in one move less": wrap(
        d.make_static, lambda static: static._replace(pm_move_cap=static.pm_move_cap - 1)
    ),
    "pins hold all VMs but the pinned ones": wrap(
        d.make_static, lambda static: static._replace(vm_pinned=1 - static.vm_pinned)
    ),
    "every deployment set is kept apart by racks": wrap(
        d.make_static, lambda static: static._replace(set_by_rack=static.set_by_rack | True)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_dynamics_or_the_churn_is_noticed(
    tiny_cluster: Make, legal_moves: Legal, fault: str
) -> None:
    check_that_the_judge_notices("vm_rescheduling", cases(tiny_cluster, legal_moves), FAULTS[fault])
