"""What every solver of memory mapping promises, and what the bound proves."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Verdict, World
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.solution import Solution
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.generator import generate
from sysopt_gym.datasets.memory_mapping.instance import ARG, DEAD_ENDS, OUT, Program
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.objective import all_fast_bound, speedup
from sysopt_gym.envs.memory_mapping.static import planning_static
from sysopt_gym.envs.memory_mapping.validate import validate
from sysopt_gym.methods.memory_mapping import local_search, proof
from sysopt_gym.methods.memory_mapping.best import Best
from sysopt_gym.methods.memory_mapping.wishes import play_wishes

SOLVERS = (
    "all_slow", "random_search", "greedy", "threshold", "xla_msa", "local_search", "beam", "milp",
    "portfolio",
)  # fmt: skip
BUDGET = Budget(seconds=20.0, evaluations=40)
SEEDS = st.integers(0, 10**6)
Make = Callable[..., Program]


def solve(name: str, program: Program, budget: Budget = BUDGET, seed: int = 0) -> Solution:
    module: Any = importlib.import_module(f"sysopt_gym.solvers.memory_mapping.{name}")
    solution: Solution = module.solve(program, budget, seed)
    return solution


def judged(program: Program, solution: Solution) -> Verdict:
    return validate(program, solution.actions, World())


def best_of_all(program: Program) -> float:
    """The best speed-up of any plan, by trying all."""
    static = planning_static(program)
    state = d.make_state(static)
    best = 1.0
    for wishes in itertools.product((0, 1), repeat=len(static.dec_instr)):
        play_wishes(static, state, np.array(wishes, np.int8))
        best = max(best, speedup(static, state))
    return best


def tiny(make: Make, seed: int, dead_end: str = "backup") -> Program:
    """A program of 4 to 12 decisions."""
    for following in itertools.count(seed):
        with contextlib.suppress(InstanceError):  # programs with nothing to decide
            program = make(following, 4, dead_end, 0.6)
            if 4 <= program.n_decisions <= 12:
                return program
    raise AssertionError


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=SEEDS, dead_end=st.sampled_from(DEAD_ENDS), share=st.sampled_from((0.2, 0.4)))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_plan_is_feasible_and_every_bound_holds(
    tiny_program: Make, name: str, seed: int, dead_end: str, share: float
) -> None:
    try:
        program = tiny_program(seed, 10, dead_end, share)
    except InstanceError:  # nothing to decide
        assume(False)
    solution = solve(name, program)
    verdict = judged(program, solution)
    assert verdict.feasible, verdict.violations
    assert verdict.objective >= 1.0
    assert solution.bound is None or verdict.objective <= solution.bound * (1 + 1e-9)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("kind", ["chain", "unet", "transformer"])
def test_plans_of_generated_programs_are_feasible(name: str, kind: str) -> None:
    program = generate({"kind": kind, "layers": "3", "train": "1", "capacity": "0.3"}, 5)
    verdict = judged(program, solve(name, program))
    assert verdict.feasible, verdict.violations


@pytest.mark.parametrize("name", SOLVERS)
def test_incumbents_are_plans_that_get_better_and_end_with_the_answer(name: str) -> None:
    program = generate({"kind": "residual", "layers": "4", "train": "1", "capacity": "0.3"}, 2)
    solution = solve(name, program)
    values = [validate(program, one.actions, World()).objective for one in solution.incumbents]
    assert values == sorted(values)
    assert (solution.incumbents[-1].actions == solution.actions).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_seed_gives_the_same_plan_where_evaluations_end_the_search(name: str) -> None:
    program = generate({"kind": "chain", "layers": "3", "train": "1", "capacity": "0.3"}, 3)
    first, again = solve(name, program, seed=4), solve(name, program, seed=4)
    assert (first.actions == again.actions).all()


@given(seed=SEEDS, dead_end=st.sampled_from(DEAD_ENDS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_plan_of_a_tiny_program_beats_the_bound(
    tiny_program: Make, seed: int, dead_end: str
) -> None:
    program = tiny(tiny_program, seed, dead_end)
    found = Best(program, Budget(seconds=20.0).start())
    bound = proof.prove(found, 0)
    assert best_of_all(program) <= bound <= all_fast_bound(found.static) + 1e-12


def test_the_bound_proves_most_tiny_programs_optimal(tiny_program: Make) -> None:
    budget = Budget(seconds=20.0, evaluations=1000)
    proved = 0
    for seed in range(8):
        program = tiny(tiny_program, 50 * seed)
        solution = solve("milp", program, budget)
        if solution.status == "optimal":
            proved += 1
            best = best_of_all(program)
            assert judged(program, solution).objective == pytest.approx(best, rel=1e-5)
    assert proved >= 4


@pytest.mark.parametrize("name", SOLVERS)
def test_no_solver_beats_the_best_of_all_plans(tiny_program: Make, name: str) -> None:
    for seed in range(4):
        program = tiny(tiny_program, 10 * seed)
        assert judged(program, solve(name, program)).objective <= best_of_all(program) + 1e-12


@pytest.mark.parametrize("name", ["local_search", "beam", "milp", "portfolio"])
def test_searches_find_the_best_plan_of_most_tiny_programs(tiny_program: Make, name: str) -> None:
    budget = Budget(seconds=20.0, evaluations=1000)
    programs = [tiny(tiny_program, 100 * seed) for seed in range(8)]
    found = [
        judged(program, solve(name, program, budget)).objective == best_of_all(program)
        for program in programs
    ]
    assert sum(found) >= 7


def test_two_uses_of_a_buffer_share_one_copy(builder: Callable[[], Builder]) -> None:
    """A weight is worth copying only because two instructions read it."""
    new = builder()
    w = new.tensor("w", 20_000, ARG)
    y, z = new.tensor("y", 5_000, OUT), new.tensor("z", 5_000, OUT)
    new.instr("think", [], [y], compute_s=50e-6)
    new.instr("use", [w], [z], compute_s=0.0)
    new.instr("again", [w, z], [], compute_s=0.0)
    program = new.build("shared", "20000")
    verdict = judged(program, solve("milp", program))
    assert verdict.objective == best_of_all(program)
    assert verdict.detail["copies"] >= 1


@pytest.mark.parametrize("name", SOLVERS)
def test_a_program_without_decisions_is_refused_before_any_solver_sees_it(
    builder: Callable[[], Builder], name: str
) -> None:
    new = builder()
    x = new.tensor("x", 100, ARG)
    new.instr("use", [x], [new.tensor("y", 100, OUT)])
    with pytest.raises(InstanceError, match="nothing is to be decided"):
        solve(name, new.build("none", "1000"))


def test_local_search_finds_the_same_however_often_it_looks_at_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, found = SETS.load("synthetic:val/0")[0], []
    for plays in (1, 7, 4096):
        monkeypatch.setattr(local_search, "MOST_PLAYS", plays)
        best = Best(program, Budget(600.0, evaluations=1000).start())
        rng = np.random.default_rng(0)
        starts = list(rng.integers(0, 2, (3, len(best.plan))).astype(np.int8))
        local_search.improve(best, 1, starts=starts)
        found.append(best.plan.copy())
    assert all(np.array_equal(found[0], other) for other in found[1:])
