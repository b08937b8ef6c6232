"""A controller whose rates follow a fixed plan, for the app of examples/flower_app."""

from __future__ import annotations

from sysopt_gym.envs.federated_lr.orders import order

# Alpha and beta, step by step.
PLAN = [(1.0, 0.5), (1.5, 0.2), (0.5, 0.8), (1.0, 0.1)]


class Planned:
    """Plays PLAN."""

    def reset(self, terms, budget, seed):
        """Nothing to remember."""

    def act(self, observation, info):
        """The order of the step."""
        return order(*PLAN[info["step"]])
