"""Federated learning rates: network, lessons, and the agents as contenders.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:Agent", "player"),
    "muzero": Entry(".players:MuZero", "player"),
    "ppo": Entry(".players:Ppo", "player"),
}
