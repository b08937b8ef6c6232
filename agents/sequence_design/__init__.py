"""Sequence design: network, play, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
`takes` is the class of the networks whose trained policies it can be given.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent", takes="SequencePolicy"),
    "alphazero": Entry(".players:solve_alphazero", takes="SequencePolicy"),
    "ppo": Entry(".players:solve_ppo", takes="SequencePolicy"),
    # Players of several rounds, whose policy goes on learning from batch to batch.
    "agent_rounds": Entry(".rounds:Agent", "player"),
    "ppo_rounds": Entry(".rounds:Ppo", "player"),
}
