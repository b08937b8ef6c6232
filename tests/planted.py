"""Faults planted in the code that the validators check, and what the judge says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import load_problem
from sysopt_gym.evaluation.judge import judge

Fault = Callable[[pytest.MonkeyPatch], None]
Case = tuple[Any, np.ndarray, World]  # instance, plan, world
DISAGREEMENTS = ("the environment says", "the environment accepts", "the environment rejects")


def plant(patch: pytest.MonkeyPatch, original: Any, fault: Callable[..., Any]) -> None:
    """Replace a function in every module that has it, so that a validator which shared it would
    have the fault as well, and would not notice.

    Args:
        patch: undoes it after the test.
        original: a function that compiled code does not call, as that keeps its own copy.
        fault: is called in its place.
    """
    assert not hasattr(original, "py_func"), "compiled: plant the fault where Python calls it"
    found = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("sysopt_gym."):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    patch.setattr(module, attribute, fault)
                    found += 1
    assert found


def wrap(original: Callable[..., Any], change: Callable[[Any], Any]) -> Fault:
    """Make the fault of a function whose results are changed."""
    return lambda patch: plant(patch, original, lambda *given: change(original(*given)))


def check_that_the_judge_notices(family: str, cases: Iterable[Case], fault: Fault) -> None:
    """Check that the judge agrees on all cases, and on one of them no longer with the fault."""
    problem, cases = load_problem(family), list(cases)
    for case in cases:
        assert judge(problem, *case).agree
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        found = [judge(problem, *case) for case in cases]
    texts = [one.violations[0] for one in found if not one.agree]
    assert any(text.startswith(DISAGREEMENTS) for text in texts), texts
