"""The worth of hosts: what it sees, the migrations it plans, and the policies that play by it."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.agents.vm_allocation import evolution
from sysopt_gym.agents.vm_allocation.evolution import FIRST_STREAM, World, rejected
from sysopt_gym.agents.vm_allocation.players import (
    WEIGHTS,
    load_weights,
    save_weights,
)
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World as Seeds
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.registry import load_contender, load_problem
from sysopt_gym.datasets.vm_allocation import splits
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.instance import DataCenter
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.evaluation.judge import judge
from sysopt_gym.methods.vm_allocation.moving import plan_moves
from sysopt_gym.methods.vm_allocation.rehearsal import LEAST, MOST, Play, best_of
from sysopt_gym.methods.vm_allocation.worth import Worth, unflat, worth_in, write_changes


def twenty(**values: str) -> DataCenter:
    return with_settings(generate({"pms": "20"}, 3), {"horizon_h": "12"} | values)


class Filled:
    """Hosts with VMs drawn at random, and all that a plan of migrations is made from."""

    def __init__(self, center: DataCenter, vms: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.center, self.sizes = center, center.flavor_size
        self.free_cpu, self.free_mem = center.numa_cpu.copy(), center.numa_mem.copy()
        self.under = np.zeros((center.n_pms, 6), np.int64)
        flavors, places = [], []
        for _ in range(vms):
            k, pm, node = (int(rng.integers(n)) for n in (len(self.sizes), center.n_pms, 2))
            node = 0 if center.flavor_nodes[k] == 2 else node
            nodes = [0, 1] if center.flavor_nodes[k] == 2 else [node]
            if (self.free_cpu[pm, nodes] < center.flavor_cpu[k]).any():
                continue
            self.put(k, pm, nodes)
            flavors.append(k)
            places.append(2 * pm + node)
        self.flavor, self.place = np.array(flavors), np.array(places)

    def put(self, k: int, pm: int, nodes: list[int]) -> None:
        self.free_cpu[pm, nodes] -= self.center.flavor_cpu[k]
        self.free_mem[pm, nodes] -= self.center.flavor_mem[k]
        for limit in range(self.sizes[k], 3):
            self.under[pm, [2 * limit + node for node in nodes]] += self.center.flavor_cpu[k]

    def plan(self, worth: Worth, most: int, cost: float = 0.0) -> np.ndarray:
        center, moves = self.center, np.empty((most, 2), np.int64)
        count = plan_moves(
            worth, self.free_cpu.copy(), self.free_mem.copy(), self.under.copy(),
            np.full(center.n_pms, 2), center.flavor_cpu, center.flavor_mem, center.flavor_nodes,
            self.sizes, self.flavor, self.place.copy(), np.ones(len(self.flavor), np.bool_),
            cost, moves,
        )  # fmt: skip
        return moves[:count]

    def total(self, worth: Worth) -> float:
        """Return what all hosts are worth, without the scarcity of slots."""
        value = 0.0
        for pm in range(self.center.n_pms):
            value += worth.tables[0, 0, self.free_cpu[pm, 0], self.free_cpu[pm, 1]]
            for layer, limit in ((1, 2), (2, 1)):
                left = self.center.numa_cpu[pm] - self.under[pm, 2 * limit : 2 * limit + 2]
                value += worth.tables[0, layer, left[0], left[1]]
        return value


@pytest.fixture(scope="module")
def plain() -> Worth:
    """The shipped worth, but for the scarcity of slots."""
    weights = load_weights(WEIGHTS)
    row = weights.flat()
    row[-16:-8] = 0.0
    return worth_in(twenty(), unflat(row))


@pytest.mark.parametrize("seed", range(3))
def test_each_migration_raises_what_all_hosts_are_worth(plain: Worth, seed: int) -> None:
    hosts = Filled(twenty(), 150, seed)
    moves, before = hosts.plan(plain, 30), hosts.total(plain)
    assert len(moves)
    for vm, place in moves.tolist():
        k, here = int(hosts.flavor[vm]), int(hosts.place[vm])
        two = hosts.center.flavor_nodes[k] == 2
        nodes = [0, 1] if two else [here % 2]
        hosts.free_cpu[here // 2, nodes] += hosts.center.flavor_cpu[k]
        hosts.free_mem[here // 2, nodes] += hosts.center.flavor_mem[k]
        for limit in range(hosts.sizes[k], 3):
            columns = [2 * limit + node for node in nodes]
            hosts.under[here // 2, columns] -= hosts.center.flavor_cpu[k]
        hosts.put(k, place // 2, [0, 1] if two else [place % 2])
        hosts.place[vm] = place
        assert hosts.free_cpu.min() >= 0 and hosts.free_mem.min() >= 0
        after = hosts.total(plain)
        assert after > before
        before = after


def test_no_migration_is_planned_that_costs_more_than_it_gains(plain: Worth) -> None:
    assert not len(Filled(twenty(), 150, 0).plan(plain, 30, 1e6))


def test_a_request_changes_the_worth_by_what_the_host_is_worth_with_it(plain: Worth) -> None:
    hosts = Filled(twenty(), 40, 5)
    center, changes = hosts.center, np.empty(40)
    for k in range(len(hosts.sizes)):
        nodes = int(center.flavor_nodes[k])
        fits = hosts.free_cpu >= center.flavor_cpu[k]
        mask = np.stack([fits.all(axis=1), np.zeros(20)], 1) if nodes == 2 else fits
        if not mask.any():
            continue
        write_changes(
            plain, hosts.free_cpu, hosts.under, mask.reshape(-1).astype(np.int8),
            int(center.flavor_cpu[k]), nodes, int(hosts.sizes[k]), changes,
        )  # fmt: skip
        place = int(changes.argmax())
        assert mask.reshape(-1)[place]
        before = hosts.total(plain)
        hosts.put(k, place // 2, [0, 1] if nodes == 2 else [place % 2])
        assert hosts.total(plain) - before == pytest.approx(changes[place], abs=1e-9)


def test_weights_survive_their_file(tmp_path: Path) -> None:
    weights = load_weights(WEIGHTS)
    save_weights(tmp_path / "again.json", weights)
    assert load_weights(tmp_path / "again.json").flat() == pytest.approx(weights.flat(), abs=1e-4)


@pytest.mark.parametrize("moves", ["0", "12"])
def test_compiled_play_for_training_is_what_the_agent_plays(moves: str) -> None:
    problem, center = load_problem("vm_allocation"), twenty(moves_per_hour=moves)
    agent = load_contender("vm_allocation", "agent")
    solution = run(agent, problem, Task(center, Budget(120.0), 0, 5))
    found = judge(problem, center, solution.actions, Seeds(5))
    assert rejected(load_weights(WEIGHTS), World(center, 5)) == found.objective


def rehearse(*leads: float, noise: float = 1.0, seconds: float = 60.0) -> tuple[int, list[int]]:
    """Rehearse policies of which all but the first turn so much less away; list the worlds."""
    center, worlds = generate({"pms": "10"}, 0), []

    def play(lead: float, at: int) -> Play:
        def played(packed: np.ndarray) -> float:
            worlds.append(int(abs(packed.sum())))
            packed[:] = 0  # as play does, in place
            return float(10.0 - lead + noise * np.random.default_rng([worlds[-1], at]).normal())

        return played

    plays = [play(lead, at) for at, lead in enumerate((0.0, *leads))]
    return best_of(plays, center, Budget(seconds), 1), worlds


def test_a_rehearsal_chooses_the_policy_that_turns_away_least_of_equal_ones_the_first() -> None:
    assert rehearse(1.0)[0] == 1
    assert rehearse(0.0, noise=0.0)[0] == 0
    assert rehearse(-1.0)[0] == 0
    assert rehearse(1.0, 2.0)[0] == 2


def test_policies_rehearse_the_same_worlds_as_many_as_there_is_time_for() -> None:
    _, worlds = rehearse(1.0)
    assert worlds[::2] == worlds[1::2] and len(set(worlds)) == MOST
    _, fewer = rehearse(1.0, seconds=1.0)
    assert LEAST <= len(set(fewer)) < MOST
    assert rehearse(1.0, seconds=0.01) == (0, [])


def test_a_data_center_where_nobody_comes_is_rehearsed_as_well() -> None:
    center = dataclasses.replace(generate({"pms": "10"}, 0), arrivals_per_h=0.0, start_vms=0)
    agent = load_contender("vm_allocation", "agent")
    solution = run(agent, load_problem("vm_allocation"), Task(center, Budget(60.0), 0, 0))
    assert judge(load_problem("vm_allocation"), center, solution.actions, Seeds(0)).objective == 0.0


def test_training_never_draws_a_world_of_a_set() -> None:
    drawn = [world.center.stream for world in evolution.draw_worlds(np.random.default_rng(0))]
    assert min(drawn) >= FIRST_STREAM > max(splits.FIRST_STREAM.values()) + 1000


def test_a_run_that_was_interrupted_goes_on_as_if_it_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "WEIGHTS", tmp_path / "worth.json")
    monkeypatch.setattr(evolution, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(evolution, "validation_worlds", lambda: [])
    monkeypatch.setattr(
        evolution, "draw_worlds", lambda rng: [World(twenty(), int(rng.integers(9)))]
    )

    def begun() -> evolution.Run:
        return evolution.begun(False, 3, lambda rows, worlds: [99.0])

    def score(rows: list[np.ndarray], worlds: list[World]) -> list[float]:
        return [float(np.square(row[:5]).sum()) + sum(w.seed for w in worlds) for row in rows]

    def trained(run: evolution.Run, generations: int, file: Path) -> np.ndarray:
        for _ in range(generations):
            run.seconds = 0.0
            evolution.train(run, score, 1e-9, 1, file)
        return np.array(run.search.mean)

    whole = trained(begun(), 3, tmp_path / "whole")
    trained(begun(), 1, tmp_path / "parts")
    resumed = pickle.loads((tmp_path / "parts").read_bytes())
    assert np.array_equal(trained(resumed, 2, tmp_path / "parts"), whole)
