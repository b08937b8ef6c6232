"""What every solver of VM rescheduling promises, and what single ones prove."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import contender_names, load_contender
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import (
    ACTIVE,
    DISABLED,
    OBJECTIVES,
    OUTAGE,
    Cluster,
)
from sysopt_gym.datasets.vm_rescheduling.settings import with_settings
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.dynamics import make_state, make_static
from sysopt_gym.envs.vm_rescheduling.problem import PROVEN_MEDIUM
from sysopt_gym.envs.vm_rescheduling.rooms import POINTS
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling import gains, moves
from sysopt_gym.solvers.vm_rescheduling import mcts

SOLVERS = contender_names("vm_rescheduling", "solver")
EXACT = ("milp", "columns", "cpsat")
BUDGET = Budget(seconds=2.0, evaluations=10)
SAME = 1e-7


def solve(name: str, cluster: Cluster, budget: Budget = BUDGET, seed: int = 0):
    return load_contender("vm_rescheduling", name).object(cluster, budget, seed)


def judged(cluster: Cluster, actions: np.ndarray):
    return validate(cluster, actions, World())


def task(cluster: Cluster, objective: str) -> Cluster:
    changes: dict[str, object] = {"objective": objective}
    if objective == "moves_to_goal":
        changes["goal_rate"] = 0.3
    if objective == "drain":
        changes["drain_pms"] = np.array([0, 1], np.int64)
    return dataclasses.replace(cluster, **changes)


def tiny(seed: int, *, pms: int = 4, mnl: int = 2, sets: int = 0, pinned: float = 0.0) -> Cluster:
    parameters = {"pms": str(pms), "exits": "0.25", "sets": str(sets), "pinned": str(pinned)}
    return with_settings(generate(parameters, seed), {"mnl": str(mnl)})


def sparse(seed: int, objective: str, **changes: object) -> Cluster:
    """A tiny cluster of so few VMs that every plan of two moves can be tried."""
    cluster = tiny(seed, sets=1)
    keep = np.sort(np.random.default_rng(seed).permutation(cluster.n_vms)[:9])
    cluster = dataclasses.replace(
        cluster,
        numa_cpu=np.full((4, 2), 44 - 4 * (seed % 3), np.int64),
        vm_ids=tuple(cluster.vm_ids[vm] for vm in keep),
        vm_flavor=np.minimum(cluster.vm_flavor[keep] % 4, 3),
        vm_pm=np.arange(9) % 4,
        vm_numa=np.arange(9) % 2,
        vm_pinned=np.arange(9) == 8,
        set_start=np.array([0, 3]),
        set_vms=np.array([0, 1, 2]),
        set_by_rack=np.array([False]),
    )
    return dataclasses.replace(task(cluster, objective), **({"goal_rate": 0.14} | changes))


def best_of_all_plans(cluster: Cluster) -> float:
    moves = list(itertools.product(range(cluster.n_vms), range(2 * cluster.n_pms)))
    plans = [(), *((m,) for m in moves)]
    legal_first = [p for p in plans if p and judged(cluster, np.array(p).ravel()).feasible]
    plans += [(*first, second) for first in legal_first for second in moves]
    verdicts = (judged(cluster, np.array(plan, np.int64).ravel()) for plan in plans)
    return min(verdict.objective for verdict in verdicts if verdict.feasible)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", SOLVERS)
def test_every_plan_is_feasible_and_never_worse_than_doing_nothing(name: str, objective: str):
    for cluster in (SETS.load("small:test/0")[0], SETS.load("constrained-small:test/1")[0]):
        cluster = task(cluster, objective)
        solution = solve(name, cluster)
        verdict = judged(cluster, solution.actions)
        assert verdict.feasible, verdict.violations
        assert verdict.objective <= judged(cluster, np.zeros(0, np.int64)).objective + SAME
        assert solution.bound is None or solution.bound <= verdict.objective + SAME
        if solution.status == "optimal":
            assert solution.bound is not None
            assert verdict.objective == pytest.approx(solution.bound, abs=SAME)


@pytest.mark.parametrize("name", SOLVERS)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    objective=st.sampled_from(OBJECTIVES),
    statuses=st.lists(st.sampled_from([ACTIVE, ACTIVE, DISABLED, OUTAGE]), min_size=6, max_size=6),
    pm_move_cap=st.integers(0, 2),
    mnl=st.integers(1, 6),
)
def test_plans_keep_to_pins_sets_host_status_and_move_caps(
    name: str, seed: int, objective: str, statuses: list[int], pm_move_cap: int, mnl: int
):
    cluster = dataclasses.replace(
        task(tiny(seed, pms=6, mnl=mnl, sets=3, pinned=0.2), objective),
        pm_status=np.array([ACTIVE, *statuses[1:]], np.int8),
        pm_move_cap=pm_move_cap,
    )
    solution = solve(name, cluster, Budget(1.0, 5))
    verdict = judged(cluster, solution.actions)
    assert verdict.feasible, verdict.violations
    assert solution.bound is None or solution.bound <= verdict.objective + SAME


@pytest.mark.parametrize(
    "objective",
    # Patterns of whole hosts take a minute or two to compile.
    [pytest.param(one, marks=[pytest.mark.long] * (one == "admission")) for one in OBJECTIVES],
)
def test_no_plan_of_two_moves_beats_the_exact_methods(objective: str):
    cases = [
        {},
        {"pm_move_cap": 1},
        {"pm_status": np.array([ACTIVE, DISABLED, ACTIVE, ACTIVE], np.int8)},
    ]
    for seed, changes in enumerate(cases):
        cluster = sparse(seed, objective, **changes)
        best = best_of_all_plans(cluster)
        for name in SOLVERS:
            solution = solve(name, cluster, Budget(3.0, 50))
            reached = judged(cluster, solution.actions).objective
            assert reached >= best - SAME, name
            assert solution.bound is None or solution.bound <= best + SAME, name
            if solution.status == "optimal":
                assert reached == pytest.approx(best, abs=SAME), name
            if name == "milp" and objective not in ("mixed", "admission"):
                assert solution.status == "optimal"
            if name == "milp" and objective == "mixed" and "pm_status" not in changes:
                assert solution.status == "optimal"
            if name == "columns" and objective == "admission" and not changes:
                assert solution.status == "optimal"


@pytest.mark.parametrize("name", EXACT)
def test_exact_methods_prove_small_clusters_optimal(name: str):
    cluster = SETS.load("small:test/0")[0]
    solution = solve(name, cluster, Budget(20.0))
    assert solution.status == "optimal"


@pytest.mark.parametrize("name", SOLVERS)
def test_the_same_seed_gives_the_same_plan(name: str):
    cluster = SETS.load("small:test/2")[0]
    plans = [solve(name, cluster, Budget(30.0, 8), seed=3).actions for _ in range(2)]
    assert np.array_equal(*plans)


@pytest.mark.parametrize("name", ["random", "greedy", "vbpp", "beam"])
def test_a_larger_budget_never_gives_a_worse_plan(name: str):
    cluster = SETS.load("small:test/3")[0]
    reached = [
        judged(cluster, solve(name, cluster, Budget(30.0, evaluations)).actions).objective
        for evaluations in (1, 4, 16)
    ]
    assert reached == sorted(reached, reverse=True)


@pytest.mark.parametrize("name", SOLVERS)
def test_incumbents_improve_and_the_last_is_the_plan(name: str):
    cluster = SETS.load("small:test/4")[0]
    solution = solve(name, cluster)
    values = [judged(cluster, incumbent.actions).objective for incumbent in solution.incumbents]
    assert values == sorted(values, reverse=True)
    assert np.array_equal(solution.incumbents[-1].actions, solution.actions)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_goal_that_is_reached_already_needs_no_move(name: str):
    cluster = dataclasses.replace(task(tiny(5), "moves_to_goal"), goal_rate=1.0)
    assert len(solve(name, cluster).actions) == 0


@pytest.mark.parametrize("name", SOLVERS)
def test_a_cluster_where_every_vm_is_pinned_gets_the_empty_plan(name: str):
    cluster = tiny(6)
    cluster = dataclasses.replace(cluster, vm_pinned=np.ones(cluster.n_vms, np.bool_))
    assert len(solve(name, cluster).actions) == 0


def test_draining_empties_the_hosts_where_there_is_room():
    cluster = task(SETS.load("small:test/0")[0], "drain")
    cluster = dataclasses.replace(cluster, mnl=40)
    left = {
        name: judged(cluster, solve(name, cluster).actions).objective for name in ("milp", "ha")
    }
    assert left["milp"] <= left["ha"]
    on_hosts = int(np.isin(cluster.vm_pm, cluster.drain_pms).sum())
    assert left["milp"] < on_hosts


def test_ha_reaches_the_published_figures(data_file):
    figures = {("bytedance-medium", 10): 0.8508, ("bytedance-medium", 50): 0.8049,
               ("bytedance-large", 10): 0.5917, ("bytedance-large", 50): 0.5866}  # fmt: skip
    for (name, mnl), figure in figures.items():
        data_file(f"vm/{name}.json")
        cluster = with_settings(SETS.load(name)[0], {"mnl": str(mnl)})
        plan = solve("ha", cluster, Budget(10.0)).actions
        assert judged(cluster, plan).objective == pytest.approx(figure, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mnl", PROVEN_MEDIUM)
def test_milp_proves_the_public_medium_snapshot_optimal(data_file, mnl: int):
    data_file("vm/bytedance-medium.json")
    cluster = with_settings(SETS.load("bytedance-medium")[0], {"mnl": str(mnl)})
    solution = solve("milp", cluster, Budget(120.0))
    assert solution.status == "optimal"
    reached = judged(cluster, solution.actions).objective
    assert reached == pytest.approx(PROVEN_MEDIUM[mnl], abs=5e-5)


def test_the_table_of_moves_lists_the_gain_that_each_move_has():
    for objective in ("fragment_rate", "mixed", "drain", "admission"):
        cluster = task(SETS.load("constrained-small:test/0")[0], objective)
        static = make_static(cluster)
        state = make_state(cluster, static)
        table = gains.make_table(cluster, static, state, np.zeros(gains.STEPS))
        before = judged(cluster, np.zeros(0, np.int64)).objective
        worth = 1 / float(cluster.free()[0].sum())
        if objective == "admission":  # a unit of potential counts as a core
            worth = 100 * POINTS / (static.room_empty - static.room_full)
        for gain, vm, to in zip(*moves.top_moves(static, state, table, 40), strict=True):
            after = judged(cluster, np.array([vm, to])).objective
            assert gain * worth == pytest.approx(before - after, abs=1e-9)


def test_a_tiny_search_tree_grows_as_worked_out_by_hand():
    root = mcts.Node()
    mcts.expand(root, np.array([8.0, 4.0, 4.0]), np.array([7, 7, 9]), np.array([0, 2, 4]))
    likely, other = root.children
    weight = np.exp(-1.0)  # four cores less gain at a temperature of four
    assert (likely.action, other.action) == (7, 9)
    assert likely.prior == pytest.approx((1 + weight) / (1 + 2 * weight))
    assert [place.action for place in likely.children] == [0, 2]
    assert likely.children[1].prior == pytest.approx(weight / (1 + weight))
    visited = []
    for score in (0.2, 0.9, 0.1, 0.9, 0.5):
        child = mcts.select(root)
        visited.append(child.action)
        for node in (root, child):
            node.visits += 1
            node.total += score
    # By PUCT: .79; .59 > .41; .92 > .85; then the other's .77 > .74 and, after its .9, 1.11 > .79.
    assert visited == [7, 7, 7, 9, 9]
    assert mcts.most_visited(root) is likely
