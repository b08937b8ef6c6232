"""Solvers of memory mapping: plain functions from a program and a budget to a solution.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "all_slow": Entry(".all_slow:solve"),
    "random": Entry(".random_search:solve"),
    "greedy": Entry(".greedy:solve"),
    "threshold": Entry(".threshold:solve"),
    "xla_msa": Entry(".xla_msa:solve"),
    "local_search": Entry(".local_search:solve"),
    "beam": Entry(".beam:solve"),
    "milp": Entry(".milp:solve"),
    "portfolio": Entry(".portfolio:solve"),
}
