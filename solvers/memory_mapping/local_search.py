"""Local search over wishes, from the best plan of a threshold sweep."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping.local_search import search


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by local search over wishes.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: draws the changes tried.
    """
    return search(instance, budget.start(), seed)
