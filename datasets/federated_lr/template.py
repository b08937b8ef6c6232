"""A small valid table of clients' rows, with every column explained."""

from __future__ import annotations

import random

from ...core.problem import Template

CLIENTS, ROWS = 8, 30
FIELDS = {
    "client": "The client that owns the row, a name or number. Without such a column rows are "
    "shared out at random (settings clients, skew).",
    "age": "A feature: a number of any unit (features are scaled by the training rows), or a text, "
    "of which each becomes a feature. There may be any number of columns like this.",
    "pressure": "Another feature.",
    "ward": "Another feature, of texts.",
    "label": "needed. The row's class, a whole number or a text; at least two classes.",
}


def template() -> Template:
    """Return rows to start one's own from: hospitals whose patients are ill or not."""
    draw = random.Random(0)
    rows = [",".join(FIELDS)]
    for client in range(CLIENTS):
        for _ in range(ROWS):
            ill = draw.random() < 0.3 + 0.05 * client
            age, pressure = draw.gauss(50 + 12 * ill, 10), draw.gauss(120 + 15 * ill, 8)
            label, ward = ("ill", "east") if ill else ("well", draw.choice(("east", "west")))
            rows.append(f"hospital-{client},{age:.0f},{pressure:.0f},{ward},{label}")
    command = "solve federated_lr {file} --with fedadam --budget 30 --set rounds=20 --out run.json"
    return Template("clients.csv", "\n".join(rows) + "\n", FIELDS, command)
