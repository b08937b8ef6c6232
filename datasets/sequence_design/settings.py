"""Settings a user may put on a design task, and how they are read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from .instance import BATCH_SIZE, START_POOL, DesignTask

DEFAULT_SHARE = "0.5"  # share of the rows, lowest scores first, that contenders see

SETTINGS: Mapping[str, Setting] = {
    "batch": Setting(str(BATCH_SIZE), "designs asked for"),
    "offline": Setting(
        f"{DEFAULT_SHARE} of measured rows, else 1",
        "share of the rows, lowest scores first, that contenders see; 1 to design for real",
    ),
}


def with_settings(task: DesignTask, values: Mapping[str, str]) -> DesignTask:
    """Return a task with settings applied, all at once.

    Args:
        task: any task.
        values: texts by the names in SETTINGS, as given by `--set`. `batch` is the number of
            designs asked for. `offline` is the share of the rows, lowest scores first, that
            contenders see; all rows of a measured landscape are divided again, and the others are
            hidden.

    Raises:
        SettingError: a value cannot be used.
        InstanceError: the settings leave no possible task.
    """
    changes: dict[str, Any] = {}
    if "offline" in values:
        changes |= _divided_rows(task, _share(values["offline"]))
    if "batch" in values:
        text = values["batch"]
        if not text.isdecimal() or int(text) < 1:
            raise SettingError(f"batch={text!r}; give a whole number of designs, at least 1")
        changes["batch_size"] = int(text)
    return dataclasses.replace(task, **changes) if changes else task


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise SettingError(f"offline={text!r}; give a share above 0, up to 1")
    return share


def _divided_rows(task: DesignTask, share: float) -> dict[str, np.ndarray]:
    """Return the task's fields with the given share of its rows, lowest scores first, visible."""
    sequences = np.concatenate([task.sequences, task.hidden_sequences])
    scores = np.concatenate([task.scores, task.hidden_scores])
    order = np.argsort(scores, kind="stable")
    kept, rest = np.split(order, [math.ceil(share * len(order))])
    if not task.estimated:
        rest = rest[:0]
    return {
        "sequences": sequences[kept],
        "scores": scores[kept],
        "starts": np.argsort(-scores[kept], kind="stable")[:START_POOL],
        "hidden_sequences": sequences[rest],
        "hidden_scores": scores[rest],
    }
