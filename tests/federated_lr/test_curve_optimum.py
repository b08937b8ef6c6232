"""The exact plan of learning curves: nothing tried is better, and it is what it claims."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import SettingError
from sysopt_gym.datasets.federated_lr.instance import Federation, make_federation
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.orders import order
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.validate import validate
from sysopt_gym.evaluation.judge import judge
from sysopt_gym.solvers.federated_lr.curve_optimum import best_rates, coefficients, solve

LAWS = st.tuples(
    st.floats(0.0, 0.5), st.floats(0.1, 2.0), st.floats(0.1, 1.0), st.floats(0.0, 3.0),
    st.floats(0.2, 0.99), st.floats(0.01, 1.0),
)  # fmt: skip


def curve(law: tuple[float, ...], rounds: int) -> Federation:
    return make_federation(
        "curve", model="curve", participants=1, rounds=rounds, law=np.array(law), beta=1e-3
    )


def test_coefficients_are_those_of_the_sums_written_out() -> None:
    memory, rates = 0.7, np.array([0.4, 0.5, 0.1, 0.3])
    s2 = m = 0.0
    for k in range(1, 4):
        m = memory * m + rates[k - 1] - rates[k]
        s2 += m
    assert coefficients(memory, 4) @ rates == pytest.approx(s2)


@given(law=LAWS, rounds=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_no_plan_of_a_grid_of_rates_is_better(law: tuple[float, ...], rounds: int) -> None:
    floor, scale, exponent, annealing, memory, most = law
    _, least = best_rates(np.array(law), rounds)
    plans = np.array(list(itertools.product(np.linspace(1e-9, most, 5), repeat=rounds)))
    s2 = plans @ coefficients(memory, rounds)
    losses = floor + scale * (most + plans.sum(axis=1)) ** -exponent - annealing * s2
    assert least <= losses.min() + 1e-12


@pytest.mark.parametrize("row", range(4))
def test_the_plan_is_judged_to_reach_the_bound_it_proves(row: int) -> None:
    federation = SETS.load(f"curves:val/{row}")[0]
    solution = solve(federation, Budget(5.0), 0)
    found = judge(PROBLEM, federation, solution.actions, World())
    assert found.feasible and solution.bound is not None
    assert found.objective == pytest.approx(solution.bound, rel=1e-4)
    assert found.objective <= solution.bound + 1e-12


@given(law=LAWS, seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_random_plan_passes_the_bound(law: tuple[float, ...], seed: int) -> None:
    federation, rng = curve(law, 6), np.random.default_rng(seed)
    bound = solve(federation, Budget(5.0), 0).bound
    plan = np.array([order(1.0, rate) for rate in rng.uniform(1e-6, law[5] * 0.999, 7)])
    verdict = validate(federation, plan, World())
    assume(verdict.feasible)  # a loss of 20 times the first ends an episode before its plan
    assert bound is not None and verdict.objective <= bound + 1e-9


def test_a_federation_that_trains_a_model_is_refused() -> None:
    with pytest.raises(SettingError, match="run a controller instead"):
        solve(SETS.load("small:test/0")[0], Budget(1.0), 0)
