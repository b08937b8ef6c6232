"""Plans hold no move that could be left out."""

from __future__ import annotations

import numpy as np
import pytest
from apart import kept_apart
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import contender_names, load_contender
from sysopt_gym.datasets.vm_rescheduling.instance import OBJECTIVES, Cluster
from sysopt_gym.envs.vm_rescheduling.dynamics import copy_state, make_state, make_static, move
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling.minimal import without_idle_moves

CHEAP = contender_names("vm_rescheduling", "solver")


def objective_of(cluster: Cluster, plies: np.ndarray) -> float:
    """Objective of a plan, infinity if it is not legal."""
    verdict = validate(cluster, plies, World())
    return verdict.objective if verdict.feasible else np.inf


def assert_no_move_is_idle(cluster: Cluster, plan: np.ndarray) -> None:
    """Leave out each move in turn: what remains is illegal, or worse."""
    reached = objective_of(cluster, plan)
    assert reached < np.inf
    for at in range(0, len(plan), 2):
        assert objective_of(cluster, np.delete(plan, [at, at + 1])) > reached + 1e-10


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.sampled_from(OBJECTIVES), st.integers(0, 3))
def test_of_any_legal_plan_a_part_remains_that_is_no_worse(
    tiny_cluster, legal_moves, seed: int, objective: str, cap: int
) -> None:
    cluster = tiny_cluster(
        seed, mnl=8, objective=objective, pm_move_cap=cap, goal_rate=0.3,
        drain_pms=np.array([0] if objective == "drain" else [], np.int64),
    )  # fmt: skip
    static = make_static(cluster)
    start = make_state(cluster, static)
    state, rng, plan = copy_state(start), np.random.default_rng(seed), []
    while len(plan) < 16 and (moves := legal_moves(static, state)):
        vm, pm, node = moves[int(rng.integers(len(moves)))]
        if objective_of(cluster, np.array([*plan, vm, 2 * pm + node])) == np.inf:
            break  # the goal is reached
        move(static, state, vm, pm, node)
        plan += [vm, 2 * pm + node]
    whole = np.array(plan, np.int64)
    short = without_idle_moves(static, start, whole)
    assert objective_of(cluster, short) <= objective_of(cluster, whole) + 1e-10
    assert_no_move_is_idle(cluster, short)
    rest = iter(whole.reshape(-1, 2).tolist())
    assert all(ply in rest for ply in short.reshape(-1, 2).tolist())  # the order is kept


@pytest.mark.parametrize("name", CHEAP)
def test_no_contender_pads_its_plan(name: str) -> None:
    for seed, pms in ((0, 6), (1, 6), (2, 10), (3, 24)):
        cluster = kept_apart(seed, pms)
        plan = load_contender("vm_rescheduling", name).object(cluster, Budget(0.4, 20), 0).actions
        assert_no_move_is_idle(cluster, plan)


def test_two_vms_that_change_places_for_nothing_stay_where_they_are() -> None:
    cluster = kept_apart(3, 12, sets=1)
    static = make_static(cluster)
    start = make_state(cluster, static)
    pairs = [
        (a, b)
        for a in range(cluster.n_vms)
        for b in range(cluster.n_vms)
        if cluster.vm_pm[a] != cluster.vm_pm[b] and cluster.vm_flavor[a] == cluster.vm_flavor[b]
    ]
    node = 2 * cluster.vm_pm + cluster.vm_numa
    swaps = (np.array([a, node[b], b, node[a]]) for a, b in pairs)
    legal = [swap for swap in swaps if objective_of(cluster, swap) < np.inf]
    assert legal
    for swap in legal[:20]:
        assert len(without_idle_moves(static, start, swap)) == 0
