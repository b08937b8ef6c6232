"""Solvers of sequence parallelism: plain functions from a batch and a budget to a solution.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "random": Entry(".random_search:solve"),
}
