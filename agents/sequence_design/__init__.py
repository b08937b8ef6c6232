"""Sequence design: network, play, lessons, and the agents as contenders.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent"),
    "muzero": Entry(".players:solve_muzero"),
    "ppo": Entry(".players:solve_ppo"),
}
