"""The price network and the agent that plans from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sysopt_gym.agents.checkpoints import load_network
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.agents.vm_rescheduling.players import PRICES, load_prices, solve_agent
from sysopt_gym.agents.vm_rescheduling.prices import (
    PriceNetwork,
    bound_at,
    graph_of,
    score,
)
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import CheckpointError
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling.pricing import first_prices, make_nodes, slope


def test_the_shipped_prices_score_what_their_card_says() -> None:
    card = json.loads((PRICES / "policy.json").read_text())
    for name, figures in card["expected"].items():
        found = score(load_prices(PRICES), SETS.load(name))
        assert found["excess"] == pytest.approx(figures["excess"], abs=1e-3)


@pytest.mark.parametrize("name", ["lookalike:val", "constrained:val"])
def test_learned_prices_bound_closer_than_rough_ones(name: str) -> None:
    for cluster in SETS.load(name):
        nodes = make_nodes(cluster)
        rough, _ = slope(nodes, cluster.mnl, first_prices(nodes))
        with torch.inference_mode():
            learned = load_prices(PRICES)(graph_of(nodes, cluster.mnl))
        assert bound_at(nodes, cluster.mnl, learned)[0] < rough


def test_prices_do_not_depend_on_the_order_of_hosts() -> None:
    nodes = make_nodes(SETS.load("small:val")[0])
    order = np.random.default_rng(0).permutation(len(nodes.pms))
    shuffled = type(nodes)(
        **{
            name: getattr(nodes, name)[order]
            if name in ("pms", "free", "free_mem", "movable", "movable_double")
            else getattr(nodes, name)
            for name in nodes.__slots__
        }
    )
    torch.manual_seed(0)
    network = PriceNetwork(16)
    with torch.inference_mode():
        torch.testing.assert_close(network(graph_of(nodes, 8)), network(graph_of(shuffled, 8)))


@pytest.mark.parametrize("name", ["lookalike:test/0", "constrained-small:test"])
def test_the_agent_is_always_feasible(name: str) -> None:
    for cluster in SETS.load(name):
        solution = solve_agent(cluster, Budget(1.0), 0)
        assert validate(cluster, solution.actions, World()).feasible


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(PRICES, PROBLEM, RelationalPolicy)
