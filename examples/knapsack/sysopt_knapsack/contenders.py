"""The family's contenders: where each is; nothing is imported before it is used."""

from sysopt_gym.core.registry import Entry

SOLVERS = {
    "random": Entry(".solvers:random"),
    "greedy": Entry(".solvers:greedy"),
    "exact": Entry(".solvers:exact"),
}
AGENTS = {"agent": Entry(".agent:Agent", "player")}
