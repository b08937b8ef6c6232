"""Small random federations of any model."""

from __future__ import annotations

from typing import Any

import numpy as np
from sysopt_gym.datasets.federated_lr.instance import TEXT, Federation, make_federation


def make_world(model: str = "logistic", seed: int = 0, **changes: Any) -> Federation:
    """Five clients with 6 rows each, 3 of them a round."""
    rng = np.random.default_rng([seed, 0xF5])
    text, shape = model in TEXT, {"cnn": (2, 5, 6), "gru": (4,), "lstm": (4,)}.get(model, (3,))

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        if text:
            letters = rng.integers(0, 4, (count, *shape))
            return letters.astype(np.uint8), (letters + rng.integers(0, 2, letters.shape)) % 4
        labels = rng.integers(0, 4, count)
        spread = rng.normal(size=(count, *shape)) + labels.reshape(-1, *(1,) * len(shape))
        return spread.astype(np.float32), labels

    fields = dict(zip(("inputs", "labels"), rows(30), strict=True), owner=np.arange(30) % 5)
    for kind, count in (("val", 9), ("test", 11)):
        fields[f"{kind}_inputs"], fields[f"{kind}_labels"] = rows(count)
    terms = {"classes": 4, "width": 0 if model == "logistic" else 3, "participants": 3,
             "local_steps": 4, "batch_size": 6, "rounds": 5, "beta": 0.1}  # fmt: skip
    return make_federation(f"world-{model}-{seed}", **(fields | terms | {"model": model} | changes))
