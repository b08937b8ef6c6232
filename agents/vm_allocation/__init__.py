"""VM allocation: the agents as contenders."""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:Agent", "player"),
    "potential": Entry(".players:Potential", "player"),
    "ppo": Entry(".policy:Ppo", "player", takes="AllocationPolicy"),
}
