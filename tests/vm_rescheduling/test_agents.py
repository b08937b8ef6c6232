"""The policy of VM rescheduling: compiled play is the network, and plans are feasible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.checkpoints import Card, load_policy
from sysopt_gym.agents.vm_rescheduling import compiled, heads, playing
from sysopt_gym.agents.vm_rescheduling.imitation import (
    demonstrate,
    imitate,
    losses_of,
    slots_gained,
)
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.agents.vm_rescheduling.players import (
    POLICY,
    solve_ppo,
    solve_ppo_greedy,
    solve_ppo_sample,
)
from sysopt_gym.agents.vm_rescheduling.recipe import score
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM
from sysopt_gym.envs.vm_rescheduling.validate import validate


def shipped_network() -> tuple[RelationalPolicy, Card]:
    weights, card = load_policy(POLICY, PROBLEM)
    network = RelationalPolicy(card.width)
    network.load_state_dict(weights)
    return network, card


@pytest.mark.parametrize("name", ["small:test/0", "constrained-small:test/0"])
def test_compiled_scores_are_the_networks_at_every_ply(name: str) -> None:
    network, _ = shipped_network()
    weights = compiled.take_weights(network)
    cluster = SETS.load(name)[0]
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=0)
    rng, ended, vm = np.random.default_rng(0), False, -1
    while not ended:
        batch = stack([observation])
        with torch.no_grad():
            wanted = network.logits(network.encode(batch), batch)[0].numpy()
        e = env.episode
        memory = compiled.remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights)
        context = compiled.context_of(weights, memory, float(observation["progress"][0]))
        if observation["phase"][0] == 0:
            scores = np.empty(cluster.n_vms)
            heads.vm_scores(weights, memory, context, e.vm_legal, scores)
        else:
            scores = np.empty(2 * cluster.n_pms)
            row, host = e.vms[vm], e.vm_pm[vm]
            heads.dest_scores(e.pms, row, host, weights, memory, context, vm, e.dest_legal, scores)
        assert np.allclose(scores, wanted[: len(scores)], atol=1e-3)
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        vm = action if observation["phase"][0] == 0 else -1
        observation, _, ended, _, _ = env.step(action)


def test_embeddings_kept_up_to_date_are_those_computed_anew() -> None:
    network, _ = shipped_network()
    weights = compiled.take_weights(network)
    cluster = SETS.load("small:test/1")[0]
    e = playing.start_episode(cluster)
    memory = compiled.remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights)
    plies = np.zeros(2 * cluster.mnl, np.int64)
    playing.rollout(
        e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal, weights, memory,
        cluster.mnl, 1.0, np.random.default_rng(0), plies,
    )  # fmt: skip
    anew = compiled.remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights)
    for kept, fresh in zip(memory[:8], anew[:8], strict=True):  # the rest is kept by residue
        assert np.allclose(kept, fresh, atol=1e-3)


@pytest.mark.parametrize("name", ["small:test/0", "constrained-small:test/0"])
def test_play_begins_as_the_environment_does(name: str) -> None:
    cluster = SETS.load(name)[0]
    env = VMReschedulingEnv(cluster)
    env.reset(seed=0)
    for own, theirs in zip(playing.start_episode(cluster), env.episode, strict=True):
        assert np.array_equal(own, theirs)


def test_a_plan_may_begin_with_moves_of_another() -> None:
    cluster = SETS.load("small:test/1")[0]
    player = playing.Player(cluster, compiled.take_weights(shipped_network()[0]))
    rng = np.random.default_rng(0)
    objective, plan = player.play(0.0, rng)
    assert len(plan) >= 6
    again, same = player.play(0.0, rng, plan)
    assert np.array_equal(same, plan) and again == objective
    # Embeddings after moves that were given are those after moves that were chosen.
    again, same = player.play(0.0, rng, plan[:4])
    assert np.array_equal(same, plan) and again == objective
    # A move that is not legal is left out: no VM is moved to where it is.
    idle = [plan[0], 2 * cluster.vm_pm[plan[0]] + cluster.vm_numa[plan[0]]]
    again, same = player.play(0.0, rng, np.array([*idle, *plan]))
    assert np.array_equal(same, plan) and again == objective
    for _ in range(20):
        part = plan.reshape(-1, 2)[rng.random(len(plan) // 2) < 0.5].ravel()
        objective, other = player.play(0.5, rng, part)
        assert validate(cluster, other, World()).objective == pytest.approx(objective, abs=1e-9)


def test_padding_changes_nothing_the_network_says() -> None:
    network = RelationalPolicy(8)
    cluster = SETS.load("small:test/0")[0]
    tight = VMReschedulingEnv(cluster).reset(seed=0)[0]
    roomy = VMReschedulingEnv(cluster, max_pms=60, max_vms=500).reset(seed=0)[0]
    said = []
    for observation in (tight, roomy):
        batch = stack([observation])
        with torch.no_grad():
            encoded = network.encode(batch)
            logits = network.logits(encoded, batch)[0, : cluster.n_vms + 1]
            said.append((logits.numpy(), float(network.value(encoded))))
    assert np.allclose(said[0][0], said[1][0], atol=1e-5)
    assert said[0][1] == pytest.approx(said[1][1], abs=1e-5)


def test_the_shipped_policy_scores_as_its_card_says() -> None:
    network, card = shipped_network()
    expected = card.expected["small:val"]
    # Deterministic but for the last digits of floats, which may decide a tie.
    assert score(network, SETS.load("small:val"))["greedy"] == pytest.approx(
        expected["greedy"], abs=0.01
    )


@pytest.mark.parametrize("solve", [solve_ppo, solve_ppo_greedy, solve_ppo_sample])
@pytest.mark.parametrize("name", ["small:test/0", "constrained-small:test/1"])
def test_plans_are_feasible_and_better_than_none(solve: Any, name: str) -> None:
    cluster = SETS.load(name)[0]
    solution = solve(cluster, Budget(60.0, evaluations=8), 0)  # seconds enough to compile
    nothing = validate(cluster, np.zeros(0, np.int64), World())
    verdict = validate(cluster, solution.actions, World())
    assert verdict.feasible and verdict.objective < nothing.objective
    held = [validate(cluster, i.actions, World()).objective for i in solution.incumbents]
    assert held == sorted(held, reverse=True)


def test_the_same_seed_and_evaluations_give_the_same_plan() -> None:
    cluster = SETS.load("small:test/2")[0]
    budget = Budget(60.0, evaluations=5)
    plans = [solve_ppo(cluster, budget, 3).actions for _ in range(2)]
    assert np.array_equal(*plans)


def test_where_nothing_may_move_the_plan_is_empty() -> None:
    cluster = SETS.load("small:test/0")[0]
    pinned = dataclasses.replace(cluster, vm_pinned=np.ones(cluster.n_vms, np.bool_))
    assert len(solve_ppo(pinned, Budget(60.0, evaluations=2), 0).actions) == 0


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_slots_gained_are_the_change_of_whole_slots_by_a_move(
    tiny_cluster: Callable[..., Cluster],
    legal_moves: Callable[..., list[tuple[int, int, int]]],
    seed: int,
) -> None:
    cluster = tiny_cluster(seed)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    before = d.copy_state(state)
    for vm, pm, node in legal_moves(static, state):
        if state.vm_pm[vm] == pm:
            continue  # a flip touches one host twice
        gain = slots_gained(static, state, vm, 2 * pm + node)
        slots = (state.free_cpu // 16).sum()
        d.move(static, state, vm, pm, node)
        assert (state.free_cpu // 16).sum() - slots == gain
        d.restore_state(state, before)


def test_imitation_makes_the_plan_likelier() -> None:
    torch.manual_seed(0)
    network = RelationalPolicy(8)
    cluster = SETS.load("small:test/0")[0]
    plan = solve_ppo_greedy(cluster, Budget(10.0), 0).actions
    rng = np.random.default_rng(0)
    samples = demonstrate(cluster, plan, True, rng)
    before = losses_of(network, samples)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(5):
        imitate(network, samples, optimizer, 4, rng)
    after = losses_of(network, samples)
    assert after[0] < before[0] and after[1] < before[1]


def test_values_are_what_the_rest_of_the_plan_gains() -> None:
    cluster = SETS.load("small:test/0")[0]
    plan = solve_ppo_greedy(cluster, Budget(10.0), 0).actions
    env = VMReschedulingEnv(cluster)
    env.reset(seed=0)
    gained = sum(env.step(ply)[1] for ply in plan.tolist())
    assert gained > 0
    whole, discounted = (
        [s.to_come for s in demonstrate(cluster, plan, True, np.random.default_rng(0), discount)]
        for discount in (1.0, 0.5)
    )
    assert len(whole) == len(plan) and whole[0] == pytest.approx(gained)
    rewards = -np.diff([*whole, 0.0])
    halves = 0.5 ** np.arange(len(plan))
    assert discounted == pytest.approx(
        [rewards[t:] @ halves[: len(plan) - t] for t in range(len(plan))]
    )
