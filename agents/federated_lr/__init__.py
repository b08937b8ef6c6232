"""Federated learning rates: network, imitation samples, and the agents as contenders.

The table names the module and attribute of each agent; it is imported when it is first used.
`takes` lists the classes of the networks whose trained policies it can be given, with the forms
that they act in.
"""

from ...core.registry import Entry

TAKES = "RatePolicy RecurrentRatePolicy LogRatePolicy/continuous OrderPolicy/orders"
AGENTS = {
    "agent": Entry(".players:Agent", "player", takes=TAKES),
    "alphazero_policy": Entry(".players:AlphaZeroPolicy", "player", takes="RatePolicy"),
    "choice": Entry(".players:Choice", "player", takes="ChoicePolicy"),
    "ppo": Entry(".players:Ppo", "player", takes=TAKES),
}
