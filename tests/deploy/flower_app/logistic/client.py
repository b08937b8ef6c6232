"""A client that trains as it is told and writes down what it did."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .model import loss_and_gradient, rows

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """A round of SGD."""
    config = message.content["config"]
    client, turn = int(context.node_config["partition-id"]), int(config["server-round"])
    inputs, labels = rows(client)
    rng = np.random.default_rng([client, turn])
    weights = message.content["arrays"]["weights"].numpy().copy()
    first, lr = weights.copy(), config["lr"]
    seen = []
    for _ in range(config["local_steps"]):
        some = rng.choice(len(labels), config["batch_size"], replace=False)
        loss, gradient = loss_and_gradient(weights, inputs[some], labels[some])
        seen.append((loss, gradient))
        weights -= lr * gradient
    note = {
        "client": client,
        "round": turn,
        "process": os.getpid(),
        "local_rule": config["local_rule"],
        "batch_size": config["batch_size"],
        "steps": len(seen),
        # From what was done, not from what was said.
        "lr": float(np.linalg.norm(weights - first) / np.linalg.norm(sum(g for _, g in seen))),
    }
    place = Path(str(context.run_config["notes"]))
    (place / f"client-{client}-{turn}.json").write_text(json.dumps(note))
    metrics = {
        "num-examples": len(labels),
        "lr": lr,
        "train_loss": seen[0][0],
        "gradient_norm": float(np.linalg.norm(seen[0][1])),
    }
    arrays = ArrayRecord({"weights": Array(weights)})
    return Message(
        RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)}), reply_to=message
    )
