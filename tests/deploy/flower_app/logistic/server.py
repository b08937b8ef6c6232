"""A server whose rates follow a fixed plan, and which writes down what the controller was told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.strategy import controller_strategy
from sysopt_gym.envs.federated_lr.orders import order

from .model import FEATURES, loss_and_gradient, rows

TERMS = Terms(
    rounds=3, clients=2, participants=2, local_steps=4, batch_size=32, alpha=1.0, beta=0.5
)
# Alpha and beta, step by step.
PLAN = [(1.0, 0.5), (1.5, 0.2), (0.5, 0.8), (1.0, 0.1)]

app = ServerApp()


class Planned:
    """Plays PLAN."""

    def reset(self, terms, budget, seed):
        """Nothing to remember."""

    def act(self, observation, info):
        """The order of the step."""
        return order(*PLAN[info["step"]])


def validate(arrays: ArrayRecord) -> tuple[float, float]:
    """Loss and accuracy on the server's own rows."""
    inputs, labels = rows(99)
    weights = arrays["weights"].numpy()
    loss, _ = loss_and_gradient(weights, inputs, labels)
    return loss, float(np.mean((inputs @ weights[:-1] + weights[-1] > 0) == labels))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run, whose record is there in full or not at all."""
    strategy = controller_strategy(Planned(), TERMS, validate, fraction_evaluate=0.0)
    first = ArrayRecord({"weights": Array(np.zeros(FEATURES + 1))})
    result = strategy.start(grid, first)
    record = {
        "process": os.getpid(),
        "history": strategy.server.history,
        "metrics": {k: dict(m) for k, m in result.train_metrics_clientapp.items()},
        "last": validate(result.arrays),
    }
    place = Path(str(context.run_config["notes"]))
    (place / "server.part").write_text(json.dumps(record))
    (place / "server.part").rename(place / "server.json")
