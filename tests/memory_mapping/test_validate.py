"""The validator agrees with the dynamics on legal plans and names what corrupted ones break."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.instance import DEAD_ENDS, Program
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.objective import speedup
from sysopt_gym.envs.memory_mapping.validate import validate

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Program]
Walk = Callable[[Program, int], tuple[list[int], d.Static, d.State]]


def judged(program: Program, actions: list[int]) -> Any:
    return validate(program, np.array(actions, np.int64), World())


@pytest.mark.parametrize("dead_end", DEAD_ENDS)
@given(seed=SEEDS, instrs=st.integers(2, 16), share=st.sampled_from([0.2, 0.35, 0.6, 1.0]))
@settings(max_examples=80, deadline=None)
def test_it_agrees_with_the_dynamics_on_every_legal_episode(
    tiny_program: Make, random_walk: Walk, dead_end: str, seed: int, instrs: int, share: float
) -> None:
    try:
        program = tiny_program(seed, instrs, dead_end, share)
    except ValueError:  # a capacity below every buffer leaves nothing to decide
        return
    actions, static, state = random_walk(program, seed)
    verdict = judged(program, actions)
    if state.scalars[d.OUTCOME] == d.DEAD:
        assert dead_end == "terminate"
        assert not verdict.feasible
        assert "dead end" in verdict.violations[0]
        return
    assert verdict.violations == ()
    assert verdict.objective == speedup(static, state)
    assert verdict.detail["rewinds"] == state.scalars[d.REWINDS]
    assert verdict.detail["time_us"] == state.scalars[d.TIME] / 1e6
    assert verdict.detail["stall_us"] == state.scalars[d.STALL] / 1e6


@given(seed=SEEDS)
@settings(max_examples=12, deadline=None)
def test_it_agrees_with_the_dynamics_where_most_address_ranges_ended_long_ago(
    tiny_program: Make, random_walk: Walk, seed: int
) -> None:
    program = tiny_program(seed, 120, "backup", 0.2)
    actions, _, state = random_walk(program, seed)
    verdict = judged(program, actions)
    assert verdict.violations == ()
    assert verdict.detail["time_us"] == state.scalars[d.TIME] / 1e6
    assert verdict.detail["rewinds"] == state.scalars[d.REWINDS]


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_the_dynamics_on_which_actions_are_legal(
    tiny_program: Make, random_walk: Walk, seed: int
) -> None:
    program = tiny_program(seed, 10, "terminate", 0.3)
    actions, static, _ = random_walk(program, seed)
    state = d.make_state(static)
    stop = np.random.default_rng(seed).integers(len(actions))
    assert d.play(static, state, np.array(actions[:stop], np.int64)) == stop
    for action in range(3):
        said = judged(program, [*actions[:stop], action]).violations[0:1]
        illegal = bool(said) and "is not legal" in said[0]
        assert illegal == (state.mask[action] == 0)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_plan_without_its_rewinds_is_worth_the_same(
    tiny_program: Make, random_walk: Walk, seed: int
) -> None:
    program = tiny_program(seed, 14, "backup", 0.25)
    actions, _, state = random_walk(program, seed)
    plan = state.actions.astype(np.int64)
    assert len(plan) == program.n_decisions
    assert judged(program, plan.tolist()).objective == judged(program, actions).objective
    assert judged(program, plan.tolist()).detail["rewinds"] == 0


def test_a_plan_that_stops_early_or_goes_on_is_infeasible(tiny_program: Make) -> None:
    program = tiny_program(3)
    drops = [d.DROP] * program.n_decisions
    assert judged(program, drops).objective == 1.0
    short, long = judged(program, drops[:-1]), judged(program, [*drops, d.DROP])
    assert not short.feasible and "ends at decision" in short.violations[0]
    assert not long.feasible and "is over" in long.violations[0]
    assert math.isnan(short.objective)


@pytest.mark.parametrize("plan", [[[2]], [0.5], [7], [-1]])
def test_what_is_no_plan_is_refused_with_a_reason(tiny_program: Make, plan: Any) -> None:
    verdict = validate(tiny_program(3), np.array(plan), World())
    assert not verdict.feasible
    assert verdict.violations
