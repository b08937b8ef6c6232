"""A small valid batch in JSON with every field explained: sixteen sequences on eight devices."""

from __future__ import annotations

import json

from ...core.problem import Template
from .loaders import JSON_FORMAT
from .models import MODELS

FIELDS = {
    "format": "needed. The format's name and version.",
    "name": "The batch's name. Default: the file's.",
    "lengths": "needed. Tokens of each sequence. They are rounded up to a multiple of 128.",
    "context": "The longest sequence, tokens; longer ones are left out. Default: 196608.",
    "degrees": "Devices that a group may have, rising. Default: 1, 2, 4, 8, 16, 32, 64.",
    "devices[].class": "needed. Name of a class of devices, unique. Default: 64 A100.",
    "devices[].count": "needed. Devices of the class.",
    "devices[].memory_gib": "needed. Memory of a device that training may use, GiB.",
    "devices[].speed": "Speed of computation, in parts of the device measured. Default: 1.",
    "devices[].bandwidth": "needed. All-to-all bandwidth of groups of each degree, MiB/ms; a "
    "group of one device uses none.",
    "model.name": "The model's name. Default: custom.",
    "model.parameters": "needed. Parameters, billions; their states are spread over all devices.",
    "model.token_memory_mib": "needed. Memory of a token's activations, MiB.",
    "model.quadratic_ms": "needed. Computation by a sequence's squared length, ms.",
    "model.linear_ms": "needed. Computation by a sequence's length, ms.",
    "model.traffic_mib": "needed. What a token's all-to-all moves, MiB.",
    "model.fixed_ms": "needed. What each group takes besides, ms.",
}
LENGTHS = (
    19000, 9100, 6400, 5200, 3100, 2800, 2100, 1500, 1300, 900, 800, 640, 500, 410, 300, 120,
)  # fmt: skip


def template() -> Template:
    """Return a batch to start one's own from.

    Its key "explained" (which readers pass over) says what each field is.
    """
    model = MODELS["7B"]
    document = {
        "explained": FIELDS,
        "format": JSON_FORMAT,
        "name": "sixteen",
        "lengths": list(LENGTHS),
        "context": 32768,
        "degrees": [1, 2, 4, 8],
        "devices": [
            {
                "class": "A100",
                "count": 8,
                "memory_gib": 30,
                "speed": 1.0,
                "bandwidth": [119.54, 119.54, 104.07, 96.5],
            }
        ],
        "model": {
            "name": "GPT-7B",
            "parameters": 7.1174,
            "token_memory_mib": model.token_memory_16,
            "quadratic_ms": model.quadratic,
            "linear_ms": model.linear,
            "traffic_mib": model.traffic,
            "fixed_ms": model.fixed_ms,
        },
    }
    command = "solve sequence_parallelism {file} --with greedy --budget 1 --out plan.json"
    return Template("batch.json", json.dumps(document, indent=1) + "\n", FIELDS, command)
