"""The policy of memory mapping: compiled play is the network, searches better plans, and what the
agents hand over is feasible.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.agents.batches import imitate_choices, stack
from sysopt_gym.agents.checkpoints import Card, load_network, load_policy
from sysopt_gym.agents.memory_mapping import playing
from sysopt_gym.agents.memory_mapping.imitation import demonstrate, lessons, tidy
from sysopt_gym.agents.memory_mapping.lookahead import Lookahead
from sysopt_gym.agents.memory_mapping.network import DecisionPolicy
from sysopt_gym.agents.memory_mapping.players import (
    ALPHAZERO,
    PPO,
    solve_agent,
    solve_alphazero,
    solve_ppo,
)
from sysopt_gym.agents.memory_mapping.recipe import score
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.core import budget as core_budget
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.memory_mapping.instance import DEAD_ENDS, Program
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.env import MallocGameEnv
from sysopt_gym.envs.memory_mapping.problem import PROBLEM
from sysopt_gym.envs.memory_mapping.validate import validate
from sysopt_gym.methods.memory_mapping.wishes import play_wishes
from sysopt_gym.solvers.memory_mapping import threshold

SEEDS = st.integers(0, 2**20)
PLAYERS = (solve_agent, solve_alphazero, solve_ppo)

Make = Callable[..., Program]


def untrained(width: int = 16) -> DecisionPolicy:
    torch.manual_seed(0)
    return DecisionPolicy(width)


def best_of_all(program: Program) -> int:
    """The least time of any plan, ps, by trying all."""
    static = d.make_static(program)
    state = d.make_state(static)
    vectors = itertools.product((0, 1), repeat=len(static.dec_instr))
    return min(play_wishes(static, state, np.array(wishes, np.int8)) for wishes in vectors)


@pytest.mark.parametrize("name", ["small:test/0", "hlo/4"])
def test_compiled_scores_and_value_are_the_networks_at_every_decision(name: str) -> None:
    network = untrained()
    weights, desk = playing.take_weights(network), playing.make_desk(16)
    program = SETS.load(name)[0]
    env = MallocGameEnv(program)
    observation, _ = env.reset(seed=0)
    fixed = playing.Player(program, weights).fixed
    rng, ended = np.random.default_rng(0), False
    while not ended:
        batch = stack([observation])
        with torch.no_grad():
            encoded = network.encode(batch)
            wanted, worth = network.scores(encoded.context)[0], network.value(encoded)[0]
        playing.consider(env.static, env.state, fixed, weights, desk)
        assert np.allclose(desk.scores, wanted.numpy(), atol=1e-4)
        assert desk.worth[0] == pytest.approx(float(worth), abs=1e-4)
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, _, ended, _, _ = env.step(action)


def test_the_policy_does_not_doubt_its_own_likeliest_plan() -> None:
    program = SETS.load("small:test/1")[0]
    player = playing.Player(program, playing.take_weights(untrained()))
    player.play(0.0, np.random.default_rng(0))
    plan = player.state.actions.copy()
    assert (player.doubts(plan) <= 0.5).all()


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_tidied_plan_takes_no_longer_and_asks_for_nothing_more(
    tiny_program: Make, seed: int
) -> None:
    static = d.make_static(tiny_program(seed))
    state = d.make_state(static)
    first = np.random.default_rng(seed).integers(0, 2, len(static.dec_instr)).astype(np.int8)
    wishes, before = first.copy(), play_wishes(static, state, first)
    tidy(static, state, wishes)
    assert int(state.scalars[d.TIME]) <= before
    assert (wishes <= first).all()


def test_lookahead_finds_the_best_plan_of_most_tiny_programs(tiny_program: Make) -> None:
    weights = playing.take_weights(untrained())
    programs = [tiny_program(seed, instrs=4, share=0.6) for seed in range(16)]
    found = []
    for program in (p for p in programs if p.n_decisions <= 10):
        player = playing.Player(program, weights)
        rng = np.random.default_rng(0)
        time = player.play(0.0, rng)
        lookahead = Lookahead(player, time, player.state.actions.copy(), 4, 16)
        for turn in range(60):
            lookahead.look(0.1 * player.static.all_slow, rng)
            if turn % 10 == 9:
                lookahead.go_back()
        best = best_of_all(program)
        assert lookahead.time >= best
        found.append(lookahead.time == best)
    assert len(found) >= 8 and np.mean(found) >= 0.8


def test_what_lookahead_claims_is_what_the_game_gives() -> None:
    program = SETS.load("small:test/2")[0]
    player = playing.Player(program, playing.take_weights(untrained()))
    rng = np.random.default_rng(0)
    first = player.play(0.0, rng)
    lookahead = Lookahead(player, first, player.state.actions.copy(), 4, 8)
    for _ in range(10):
        lookahead.look(0.0, rng)
    verdict = validate(program, lookahead.plan, World())
    assert verdict.feasible and lookahead.time <= first
    assert verdict.objective == pytest.approx(player.static.all_slow / lookahead.time)


@pytest.mark.parametrize("solve", PLAYERS)
@given(seed=SEEDS, dead_end=st.sampled_from(DEAD_ENDS))
@settings(max_examples=6, deadline=None)
def test_plans_are_feasible_whatever_becomes_of_dead_ends(
    tiny_program: Make, solve: Any, seed: int, dead_end: str
) -> None:
    program = tiny_program(seed, 6, dead_end)
    solution = solve(program, Budget(60.0, evaluations=40), seed)
    assert validate(program, solution.actions, World()).feasible


@pytest.mark.parametrize("solve", PLAYERS)
def test_incumbents_get_better_and_end_with_the_answer(solve: Any) -> None:
    program = SETS.load("small:test/3")[0]
    solution = solve(program, Budget(60.0, evaluations=200), 0)
    held = [validate(program, i.actions, World()).objective for i in solution.incumbents]
    assert held == sorted(held)
    assert np.array_equal(solution.incumbents[-1].actions, solution.actions)
    times = [i.seconds for i in solution.incumbents]
    assert times == sorted(times)


@pytest.mark.parametrize("seconds", [0.01, 0.03])
def test_agent_keeps_a_compilers_budget(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # Seconds of this thread, so that other jobs of the machine do not count.
    monkeypatch.setattr(core_budget, "time", SimpleNamespace(perf_counter=time.thread_time))
    programs = SETS.load("synthetic:val")
    for program in programs:
        solve_agent(program, Budget(0.1), 0)

    def took(program: Program) -> float:
        began = time.thread_time()
        solve_agent(program, Budget(seconds), 0)
        return time.thread_time() - began

    # Once in a while the system takes its part of the seconds.
    assert np.median([min(took(program) for _ in range(3)) for program in programs]) <= seconds


def test_agent_is_not_far_behind_the_sweep_of_thresholds_in_thirty_milliseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A clock at half the pace of this thread's, as on a machine of twice the speed: what is
    # compared is the use of the budget, and a loaded machine must not decide it.
    slow = SimpleNamespace(perf_counter=lambda: time.thread_time() / 2)
    monkeypatch.setattr(core_budget, "time", slow)
    programs, budget = SETS.load("synthetic:val"), Budget(0.03)
    for solve in (solve_agent, threshold.solve):
        for program in programs:
            solve(program, Budget(0.1), 0)
    ours, theirs = (
        np.mean([validate(p, solve(p, budget, 0).actions, World()).objective for p in programs])
        for solve in (solve_agent, threshold.solve)
    )
    assert ours >= theirs - 0.02


def test_every_sample_of_ppo_after_the_first_is_the_policys_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = []
    play_within = playing.Player.play_within

    def watched(self: Any, clock: Any, until: float, *rest: Any) -> int:
        limits.append(until)
        return play_within(self, clock, until, *rest)

    monkeypatch.setattr(playing.Player, "play_within", watched)
    solve_ppo(SETS.load("small:test/0")[0], Budget(60.0, evaluations=5), 0)
    assert len(limits) == 5 and limits[0] < 60.0 and set(limits[1:]) == {np.inf}


@pytest.mark.parametrize("solve", [solve_alphazero, solve_ppo])
def test_the_same_seed_and_evaluations_give_the_same_plan(solve: Any) -> None:
    program = SETS.load("small:test/0")[0]
    plans = [solve(program, Budget(600.0, evaluations=50), 3).actions for _ in range(2)]
    assert np.array_equal(*plans)


def test_imitation_makes_the_plan_likelier() -> None:
    program = SETS.load("small:test/0")[0]
    network = untrained(8)
    plan = solve_ppo(program, Budget(60.0, evaluations=4), 0).actions
    samples = demonstrate(program, plan)
    speedup = validate(program, plan, World()).objective
    assert max(sample.to_come for sample in samples) <= 1 - 1 / speedup + 1e-6
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    losses = [imitate_choices(network, samples, optimizer, 16, rng) for _ in range(6)]
    assert losses[-1]["loss"] < losses[0]["loss"]


def test_lessons_of_two_contenders_on_one_program_differ() -> None:
    program = SETS.load("small:test/0")[0]
    budget, rng = Budget(60.0, evaluations=20), np.random.default_rng(0)
    taught = []
    for name in ("all_slow", "greedy"):
        solver = load_contender(PROBLEM.family, name).object
        plans = ImitationPass(
            0, untrained(8), [program], lambda p, s=solver: s(p, budget, 0).actions, rng
        )
        taught.append([sample.action for sample in lessons(plans)])
    idle, greedy = taught
    assert set(idle) == {d.DROP}
    assert set(greedy) > {d.DROP}


@pytest.mark.parametrize("folder", [PPO, ALPHAZERO])
def test_shipped_policies_score_as_their_cards_say(folder: Any) -> None:
    card: Card = load_policy(folder, PROBLEM)[1]
    found = score(load_network(folder, PROBLEM, DecisionPolicy), SETS.load("small:val"))
    # Deterministic but for the last digits of floats, which may decide a tie.
    assert found["greedy"] == pytest.approx(card.expected["small:val"]["greedy"], abs=0.01)
