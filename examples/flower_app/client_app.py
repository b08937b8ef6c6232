"""A client that trains at the rate it is sent. Put your own rows and model in the first half."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

FEATURES, ROWS = 8, 200
app = ClientApp()


def rows(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs [200, 8] and labels [200], 0 or 1, of a client: made up by its number."""
    rng = np.random.default_rng(part)
    labels = rng.integers(0, 2, ROWS)
    return rng.normal(size=(ROWS, FEATURES)) + 0.7 * labels[:, None], labels


def loss_and_gradient(
    weights: np.ndarray, inputs: np.ndarray, labels: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy at weights [9], the last being the bias, and its gradient."""
    extended = np.column_stack([inputs, np.ones(len(inputs))])
    z = extended @ weights
    error = 1 / (1 + np.exp(-z)) - labels
    return float(np.mean(np.logaddexp(0, z) - labels * z)), extended.T @ error / len(labels)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train for a round: `lr`, `local_steps` and `batch_size` are what the controller ordered."""
    config = message.content["config"]
    client, turn = int(context.node_config["partition-id"]), int(config["server-round"])
    inputs, labels = rows(client)
    rng = np.random.default_rng([client, turn])
    sent = message.content["arrays"]["weights"].numpy()
    weights, gradients, losses = sent.copy(), [], []
    for _ in range(config["local_steps"]):
        some = rng.choice(len(labels), config["batch_size"], replace=False)
        loss, gradient = loss_and_gradient(weights, inputs[some], labels[some])
        weights -= config["lr"] * gradient
        losses.append(loss)
        gradients.append(gradient)
    metrics = {
        "num-examples": len(labels),
        "lr": config["lr"],  # the rate that it used
        "train_loss": losses[0],  # at the first local step
        "gradient_norm": float(np.linalg.norm(gradients[0])),
    }
    if context.run_config["notes"]:
        # Of the rate from what was done, not from what was said.
        lr = float(np.linalg.norm(weights - sent) / np.linalg.norm(sum(gradients)))
        note = {"client": client, "round": turn, "process": os.getpid(), "lr": lr,
                "steps": len(losses), "batch_size": config["batch_size"],
                "local_rule": config["local_rule"]}  # fmt: skip
        folder = Path(str(context.run_config["notes"]))
        (folder / f"client-{client}-{turn}.json").write_text(json.dumps(note))
    arrays = ArrayRecord({"weights": Array(weights)})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
    return Message(content, reply_to=message)
