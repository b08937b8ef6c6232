"""The family's Problem: what the solvers, the agents and the evaluation know it by."""

from __future__ import annotations

from typing import Any

import numpy as np
from sysopt_gym import Problem, World
from sysopt_gym.core.contracts import Objective, Verdict
from sysopt_gym.core.problem import Defaults

from .instance import PARAMETERS, SETS, SETTINGS, Items, generate, load_file, with_settings
from .validate import validate


class Knapsack(Problem[Items]):
    """Pick items whose weights fit, so that their values add up to the most."""

    family = "knapsack"
    env_id = "sysopt/Knapsack-v0"
    env_version = "1"
    title = "Pick items within a weight"
    instance_type = Items
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("knapsack:test",),
        contenders=("agent", "exact", "greedy"),
        budget_s=0.2,
        always=("random", "greedy"),
        baseline="greedy",
    )
    pictures = "sysopt_knapsack.pictures:pictures"

    load_file = staticmethod(load_file)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)

    def objective(self, items: Items) -> Objective:
        """Name the value of what is picked."""
        return Objective("value", "maximize", "coins")

    def validate(self, items: Items, actions: np.ndarray, world: World) -> Verdict:
        """Add up the picked items."""
        return validate(items, actions)

    def warm_up_instance(self) -> Items:
        """Make a problem of four items."""
        return generate({"items": "4"}, 0)

    def describe(self, items: Items) -> dict[str, Any]:
        """List facts for `data info` and the report."""
        return {"items": len(items.value), "capacity (kg)": items.capacity}

    def export_plan(self, items: Items, actions: np.ndarray) -> list[dict[str, Any]]:
        """List the picked items."""
        return [
            {"item": item, "value": int(items.value[item]), "weight": int(items.weight[item])}
            for item in actions.tolist()
        ]


PROBLEM = Knapsack()
