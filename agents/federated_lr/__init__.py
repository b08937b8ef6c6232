"""Federated learning rates: network, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:Agent", "player"),
    "muzero": Entry(".players:MuZero", "player"),
    "ppo": Entry(".players:Ppo", "player"),
}
