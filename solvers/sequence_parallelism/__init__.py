"""Solvers of sequence parallelism: plain functions from a batch and a budget to a solution.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "random": Entry(".random_search:solve"),
    "ulysses": Entry(".degrees:ulysses"),
    "single_degree": Entry(".degrees:single_degree"),
    "first_fit": Entry(".fits:first_fit"),
    "best_fit": Entry(".fits:best_fit"),
    "flexsp": Entry(".flexsp:solve"),
    "greedy": Entry(".greedy:solve"),
    "local_search": Entry(".local_search:solve"),
    "milp": Entry(".milp:solve"),
}
