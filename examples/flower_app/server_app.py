"""A server whose learning rates a controller sets, round by round."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from client_app import FEATURES, loss_and_gradient, rows
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from sysopt_gym import load_contender
from sysopt_gym.core.contender_arguments import name_contender
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.strategy import controller_strategy

app = ServerApp()
HELD = rows(99)  # rows that the server itself holds, by which controllers go


def validate(arrays: ArrayRecord) -> tuple[float, float]:
    """Return loss and accuracy on the server's own rows."""
    inputs, labels = HELD
    weights = arrays["weights"].numpy()
    loss, _ = loss_and_gradient(weights, inputs, labels)
    return loss, float(np.mean((inputs @ weights[:-1] + weights[-1] > 0) == labels))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train under the controller of the run's configuration."""
    config = context.run_config
    terms = Terms(
        rounds=int(config["rounds"]),
        clients=int(config["clients"]),
        participants=int(config["clients"]),
        local_steps=int(config["local-steps"]),
        batch_size=int(config["batch-size"]),
        alpha=float(config["alpha"]),
        beta=float(config["beta"]),
    )
    name = name_contender("federated_lr", str(config["controller"]))
    controller = load_contender("federated_lr", name).object()
    strategy = controller_strategy(controller, terms, validate, fraction_evaluate=0.0)
    result = strategy.start(grid, ArrayRecord({"weights": Array(np.zeros(FEATURES + 1))}))
    last = validate(result.arrays)
    print(f"{name}: loss {last[0]:.4f}, accuracy {last[1]:.3f} after {terms.rounds} rounds")
    if config["notes"]:
        told = {round_: dict(m) for round_, m in result.train_metrics_clientapp.items()}
        record = {"process": os.getpid(), "history": strategy.server.history, "metrics": told,
                  "last": last}  # fmt: skip
        folder = Path(str(config["notes"]))
        (folder / "server.part").write_text(json.dumps(record))  # whole when it is there
        (folder / "server.part").rename(folder / "server.json")
