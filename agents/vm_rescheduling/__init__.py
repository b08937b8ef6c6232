"""VM rescheduling: networks, compiled play, lessons, and the agents as contenders.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent"),
    "ppo": Entry(".players:solve_ppo"),
    "ppo_greedy": Entry(".players:solve_ppo_greedy"),
    "ppo_sample": Entry(".players:solve_ppo_sample"),
}
