"""A client that trains the state dict it is sent."""

from __future__ import annotations

import flower_nets as nets
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """A round of SGD on the client's own rows."""
    part = int(context.node_config["partition-id"])
    model, metrics = nets.trained(nets.Together, message, part)
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}
    return Message(RecordDict(content), reply_to=message)
