"""The names that `sysopt_gym` itself offers, and `solve`."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import sysopt_gym
import toy_family
from sysopt_gym import Budget, Solution, World
from sysopt_gym.core.errors import SettingError, UnknownNameError

pytestmark = pytest.mark.usefixtures("toy")
CALLS: list[str] = []


def recording(items: toy_family.Items, budget: Budget, seed: int) -> Solution:
    CALLS.append(items.name)
    return toy_family.greedy(items, budget, seed)


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    for name in sysopt_gym.__all__:
        assert name == "__version__" or getattr(sysopt_gym, name).__doc__
    assert set(sysopt_gym.__all__) <= set(dir(sysopt_gym))


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'solver'"):
        sysopt_gym.solver  # noqa: B018


def test_the_package_brings_no_heavy_library_before_a_name_is_used() -> None:
    heavy = "torch", "ray", "matplotlib", "pyarrow", "scipy", "highspy"
    code = f"import sys, sysopt_gym; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_solve_finds_what_the_contender_finds() -> None:
    items = toy_family.make_items(1)
    solution = sysopt_gym.solve(items, with_="best", budget_s=0.5)
    verdict = toy_family.PROBLEM.validate(items, solution.actions, World())
    assert verdict.feasible and verdict.objective == solution.bound


def test_solve_has_a_policy_play_to_the_end() -> None:
    items = toy_family.make_items(1)
    actions = sysopt_gym.solve(items, with_="follow", budget_s=0.5).actions
    left = items.capacity - items.weight[actions].sum()
    assert (np.delete(items.weight, actions) > left).all()


def test_solve_warms_a_contender_up_once_and_before_its_clock_starts() -> None:
    sysopt_gym.register("solver", "toy", "recording", f"{__name__}:recording")
    items = toy_family.make_items(1)
    CALLS.clear()
    sysopt_gym.solve(items, with_="recording", budget_s=0.5)
    *warm_ups, played = CALLS
    assert set(warm_ups) == {"warm-up"} and played == items.name
    sysopt_gym.solve(items, with_="recording", budget_s=0.5)
    assert [*warm_ups, items.name, items.name] == CALLS


def test_solve_refuses_unknown_contenders_and_impossible_budgets() -> None:
    items = toy_family.make_items(1)
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        sysopt_gym.solve(items, with_="greddy", budget_s=0.5)
    with pytest.raises(SettingError, match="positive number of seconds"):
        sysopt_gym.solve(items, with_="greedy", budget_s=0.0)
