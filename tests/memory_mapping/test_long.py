"""Long programs: wishes are mended where they lead to dead ends, and searches have no rewinds."""

from __future__ import annotations

import numpy as np
import pytest
from sysopt_gym.agents.memory_mapping import players, playing, readers, reading
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.registry import load_contender, load_problem
from sysopt_gym.datasets.memory_mapping.generator import generate
from sysopt_gym.datasets.memory_mapping.instance import Program
from sysopt_gym.envs.memory_mapping.dynamics import REWINDS, TIME, make_state, make_static
from sysopt_gym.envs.memory_mapping.validate import validate
from sysopt_gym.methods.memory_mapping import best, local_search, long
from sysopt_gym.methods.memory_mapping.wishes import play_wishes

LIMITED = Budget(seconds=60.0, evaluations=30)


def train_step(kind: str = "chain") -> Program:
    return generate({"kind": kind, "layers": "3", "train": "1", "capacity": "0.3"}, 1)


@pytest.fixture
def all_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (long, best, local_search, players, playing, readers, reading):
        monkeypatch.setattr(module, "LONG", 0)


@pytest.mark.usefixtures("all_are_long")
@pytest.mark.parametrize("kind", ["chain", "transformer", "unet"])
def test_wishes_that_lead_to_dead_ends_become_a_plan_without_any(kind: str) -> None:
    program = train_step(kind)
    static = make_static(program)
    state, again = make_state(static), make_state(static)
    for seed in range(10):
        wishes = (np.random.default_rng(seed).random(len(static.dec_instr)) < 0.7).astype(np.int8)
        time = long.play_within(static, state, wishes, LIMITED.start())
        assert state.scalars[REWINDS] == 0 and state.scalars[TIME] == time
        verdict = validate(program, state.actions, World())
        assert verdict.objective == pytest.approx(static.all_slow / time, rel=1e-12)
        assert verdict.detail is not None and verdict.detail["rewinds"] == 0
        play_wishes(static, again, wishes)
        if again.scalars[REWINDS] == 0:
            assert (again.actions == state.actions).all()


def test_a_plan_that_the_seconds_cut_short_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long, "SLICE", 1)
    static = make_static(train_step())
    state, wishes = make_state(static), np.ones(len(static.dec_instr), np.int8)
    clock = Budget(seconds=1e-9).start()
    assert long.play_within(static, state, wishes, clock) == long.NEVER
    assert (state.actions == -1).any()


@pytest.mark.usefixtures("all_are_long")
@pytest.mark.parametrize(
    "name",
    ["random", "greedy", "threshold", "xla_msa", "local_search", "portfolio", "ppo", "alphazero",
     "agent", *(pytest.param(name, marks=pytest.mark.long) for name in ("beam", "reader"))],
)  # fmt: skip
def test_contenders_hand_in_plans_of_long_programs_that_are_no_worse_than_all_slow(
    name: str,
) -> None:
    program, problem = train_step(), load_problem("memory_mapping")
    contender = load_contender("memory_mapping", name)
    solution = run(contender, problem, Task(program, LIMITED, 0, 0))
    verdict = validate(program, solution.actions, World())
    assert verdict.feasible and verdict.objective >= 1.0
