"""VM rescheduling: networks, compiled play, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent"),
    "ppo": Entry(".players:solve_ppo"),
    "ppo_greedy": Entry(".players:solve_ppo_greedy"),
    "ppo_sample": Entry(".players:solve_ppo_sample"),
}
