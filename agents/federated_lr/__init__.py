"""Federated learning rates: network, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
`takes` is the class of the networks whose trained policies it can be given.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:Agent", "player", takes="RatePolicy"),
    "muzero": Entry(".players:MuZero", "player", takes="RatePolicy"),
    "ppo": Entry(".players:Ppo", "player", takes="RatePolicy"),
}
