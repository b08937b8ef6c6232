"""VM allocation: the agents as contenders."""

from ...core.registry import Entry

AGENTS = {
    "potential": Entry(".players:Potential", "player"),
}
