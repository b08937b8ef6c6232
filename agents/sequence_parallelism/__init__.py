"""Sequence parallelism: network, compiled play, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
`takes` is the class of the networks whose trained policies it can be given.
"""

from ...core.registry import Entry

TAKES = "ShortlistPolicy ShortlistPolicy/shortlist"  # one network acts in both forms
AGENTS = {
    "agent": Entry(".players:solve_agent", takes="LimitsNetwork"),
    "ppo": Entry(".players:solve_ppo", takes=TAKES),
}
