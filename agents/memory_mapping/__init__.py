"""Memory mapping: network, compiled play, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent"),
    "muzero": Entry(".players:solve_muzero"),
    "ppo": Entry(".players:solve_ppo"),
}
