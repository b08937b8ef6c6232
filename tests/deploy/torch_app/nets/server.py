"""A server that trains under FedAdam and writes down what became of the model's arrays."""

from __future__ import annotations

import json
from pathlib import Path

import flower_nets as nets
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.strategy import controller_strategy

TERMS = Terms(
    rounds=2, clients=2, participants=2, local_steps=3, batch_size=24, alpha=1.0, beta=0.2
)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run, whose record is there in full or not at all."""
    controller = load_contender("federated_lr", "fedadam_flower").object()
    validate, first = nets.validation(nets.Together), nets.made(nets.Together).state_dict()
    strategy = controller_strategy(controller, TERMS, validate, fraction_evaluate=0.0)
    result = strategy.start(grid, ArrayRecord(first))
    last = result.arrays.to_torch_state_dict()
    record = {
        "losses": [info["validation_loss"] for info in strategy.server.history],
        "last": validate(result.arrays)[0],
        "rounds": sorted(result.train_metrics_clientapp),
        "changed": [name for name in first if not bool((first[name] == last[name]).all())],
        "kinds": {name: [str(last[name].dtype), list(last[name].shape)] for name in last},
        "batches": int(last["images.layers.1.num_batches_tracked"]),
        "least variance": float(last["images.layers.1.running_var"].min()),
    }
    place = Path(str(context.run_config["notes"]))
    (place / "server.part").write_text(json.dumps(record))
    (place / "server.part").rename(place / "server.json")
