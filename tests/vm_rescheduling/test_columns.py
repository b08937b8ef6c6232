"""Column generation: its choices can be carried out, and its bound holds wherever it starts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling.columns import generate_columns
from sysopt_gym.methods.vm_rescheduling.master import (
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
from sysopt_gym.methods.vm_rescheduling.pricing import Prices, first_prices, make_nodes
from sysopt_gym.solvers.vm_rescheduling.columns import solve

SMALL = 16


def priced(cluster: Cluster) -> tuple[Master, Relaxation]:
    nodes = make_nodes(cluster)
    master = make_master(nodes, cluster.mnl)
    free_of_charge = np.zeros(len(master.level)), np.zeros(len(nodes.pms))
    price_columns(master, Relaxation(0.0, 0.0, first_prices(nodes), *free_of_charge), 0.5)
    relaxed = relax(master, cluster.mnl, None, 10.0)
    assert relaxed is not None
    price_columns(master, relaxed, 0.5)
    return master, relaxed


@pytest.mark.parametrize("index", range(SMALL))
def test_a_choice_moves_as_many_vms_in_as_out_and_no_more_than_mnl(index: int) -> None:
    cluster = SETS.load("small:val")[index]
    master, relaxed = priced(cluster)
    choice = choose(master, relaxed, 0.5, cluster.mnl, None, 10.0)
    assert choice is not None
    outs, ins = master.outs[master.out_of[choice.one[:, 0]]], master.ins[choice.one[:, 1]]
    out, into, out_2, into_2 = split_pattern(master.nodes, choice.two[:, 1:])
    assert (outs.sum(0) + out.sum((0, 1)) == ins.sum(0) + into.sum((0, 1))).all()
    assert (out_2.sum(0) == into_2.sum(0)).all()
    assert choice.moves == outs.sum() + out.sum() + out_2.sum() <= cluster.mnl
    assert choice.slots <= relax(master, cluster.mnl, None, 10.0).slots + 1e-6


@pytest.mark.parametrize("index", range(SMALL))
def test_each_pattern_gets_a_node_of_its_own_that_holds_what_leaves(index: int) -> None:
    cluster = SETS.load("small:val")[index]
    master, relaxed = priced(cluster)
    choice = choose(master, relaxed, 0.5, cluster.mnl, None, 10.0)
    assert choice is not None
    node_of, too_few = assign(master, choice)
    served = node_of[node_of >= 0]
    assert len(set(served)) == len(served)
    assert not set(served // 2) & set(choice.two[:, 0])
    movable = master.nodes.movable.reshape(len(master.nodes.pms) * 2, -1)
    for (s, *_), node in zip(choice.one, node_of, strict=True):
        if node >= 0:
            assert (movable[node] >= master.outs[master.out_of[s]]).all()
    assert (too_few is None) == (node_of >= 0).all()


def test_a_pattern_chosen_more_often_than_there_are_nodes_names_the_nodes_short() -> None:
    master, _ = priced(SETS.load("small:val")[0])
    column = master.one[np.argmin(master.members[master.one[:, 0]].sum(axis=1))]
    holders = master.members[column[0]]
    often = Choice(0.0, 0.0, np.repeat(column[None], holders.sum() + 1, axis=0), master.two[:0])
    node_of, too_few = assign(master, often)
    assert (node_of < 0).sum() >= 1
    assert too_few is not None and too_few.sum() < len(often.one)
    assert not (too_few & ~holders).any()


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_wherever_the_prices_start_the_plan_is_feasible_and_the_bound_holds(seed: int) -> None:
    cluster = SETS.load("small:val")[seed % SMALL]
    rng = np.random.default_rng(seed)
    nodes = make_nodes(cluster)
    prices = Prices(
        single=rng.uniform(0, 2, len(nodes.single)),
        double=rng.uniform(0, 2, len(nodes.double)),
        move=rng.uniform(0, 2),
    )
    solution = generate_columns(cluster, Budget(2.0, evaluations=20).start(), seed, prices)
    verdict = validate(cluster, solution.actions, World())
    assert verdict.feasible
    assert solution.bound is None or verdict.objective >= solution.bound - 1e-9
    if solution.status == "optimal":
        assert verdict.objective == pytest.approx(solution.bound)


@pytest.mark.parametrize("index", range(4))
def test_fewest_moves_to_a_goal_within_reach_reach_it(index: int) -> None:
    cluster = SETS.load("small:val")[index]
    most = validate(cluster, solve(cluster, Budget(2.0), 0).actions, World()).objective
    goal = dataclasses.replace(cluster, objective="moves_to_goal", goal_rate=most + 0.02)
    solution = solve(goal, Budget(2.0), 0)
    verdict = validate(goal, solution.actions, World())
    assert verdict.feasible
    assert verdict.objective <= cluster.mnl
    assert verdict.objective == len(solution.actions) // 2


def test_a_full_cluster_that_has_no_order_for_the_best_patterns_is_searched_on() -> None:
    cluster = SETS.load("mixes:val/3")[0]  # 99.4 % in use
    solution = solve(cluster, Budget(60.0), 0)
    verdict = validate(cluster, solution.actions, World())
    assert solution.status == "optimal"
    assert verdict.objective == pytest.approx(solution.bound)
