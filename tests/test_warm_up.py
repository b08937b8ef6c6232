"""What a contender compiles, it compiles before the clock runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: other tests compile, too.
PLAY = """
import gc, sys
from numba.core.dispatcher import Dispatcher
from sysopt_gym.core import registry
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.play import warm_up

def compiled():
    functions = [one.py_func for one in gc.get_objects() if isinstance(one, Dispatcher)]
    signatures = [one.signatures for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {
        (function.__module__, function.__qualname__, str(signature))
        for function, some in zip(functions, signatures) for signature in some
        if function.__module__.startswith("sysopt_gym")
    }

family, name, instances, seconds = sys.argv[1:]
problem, contender = registry.load_problem(family), registry.load_contender(family, name)
warm_up(contender, problem, float(seconds))
before = compiled()
contender.object(problem.contender_view(problem.sets.load(instances)[0]), Budget(2.0), 0)
print("compiled late:", sorted({function for _, function, _ in compiled() - before}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name", "instances", "seconds"),
    [
        pytest.param("memory_mapping", "agent", "small:test", "0.01", marks=pytest.mark.long),
        ("vm_rescheduling", "agent", "small:test", "1"),
        pytest.param("memory_mapping", "agent", "small:test", "1", marks=pytest.mark.long),
        pytest.param("memory_mapping", "alphazero", "small:test", "1", marks=pytest.mark.long),
        pytest.param("sequence_design", "agent", "ehrlich:small", "1", marks=pytest.mark.long),
        pytest.param("sequence_design", "alphazero", "ehrlich:small", "1", marks=pytest.mark.long),
    ],
)
def test_after_the_warm_up_nothing_is_left_to_compile(
    family: str, name: str, instances: str, seconds: str
) -> None:
    words = [sys.executable, "-c", PLAY, family, name, instances, seconds]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "compiled late: []"
