"""Memory mapping: network, compiled play, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
`takes` is the class of the networks whose trained policies it can be given.
"""

from ...core.registry import Entry

AGENTS = {
    "agent": Entry(".players:solve_agent", takes="DecisionPolicy"),
    "alphazero": Entry(".players:solve_alphazero", takes="DecisionPolicy"),
    "ppo": Entry(".players:solve_ppo", takes="DecisionPolicy"),
    "reader": Entry(".readers:solve_reader", takes="ProgramReader"),
}
