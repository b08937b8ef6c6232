"""Solvers for VM rescheduling, one file a method.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "random": Entry(".random_search:solve"),
    "ha": Entry(".ha:solve"),
    "greedy": Entry(".greedy:solve"),
    "vbpp": Entry(".vbpp:solve"),
    "beam": Entry(".beam:solve"),
    "local_search": Entry(".local_search:solve"),
    "milp": Entry(".milp:solve"),
    "columns": Entry(".columns:solve"),
    "cpsat": Entry(".cpsat:solve"),
    "pop": Entry(".pop:solve"),
    "mcts": Entry(".mcts:solve"),
}
