"""Settings a user may put on a federation, and how they are read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import choice, real, whole
from .concepts import draw_changes
from .instance import CURVE, IMAGE, MODELS, MOST, OBJECTIVES, TEXT, Federation
from .partition import SKEW, partition

IID = "iid"
SKEW_RANGE = (1e-3, 1e3)
WIDTHS = {"mlp": 32, "cnn": 8, "gru": 32, "lstm": 32}  # default width of each model
MOST_CLIENTS = 1_000_000
MOST_CHANGES = 100

# How a user's table is read; nothing that can be changed in a federation.
READING: Mapping[str, Setting] = {
    "label_column": Setting("label, target, ...", "column of the classes, by name or place from 1"),
    "client_column": Setting(
        "client, client_id, user, ...", "column of the clients, likewise; none if there are none"
    ),
}
SETTINGS: Mapping[str, Setting] = {
    "alpha": Setting("1", "initial rate of the server (0.001 to 100)"),
    "beta": Setting("0.05", "initial rate of the clients (1e-6 to 10)"),
    "rounds": Setting("50", "server updates (1 to 10000)"),
    "participants": Setting("10", "clients that train in a round"),
    "local_steps": Setting("5", "steps of each participant a round (1 to 10000)"),
    "batch": Setting("16", "rows of a step (1 to 100000)"),
    "model": Setting("logistic", f"what is trained: {', '.join(MODELS[:-1])}"),
    "width": Setting("32 (cnn 8)", "hidden units, or channels of cnn"),
    "clients": Setting("as they are", "number of clients; partitions the training rows anew"),
    "skew": Setting(
        f"{SKEW:g}, of text iid",
        "of a new partition: iid, or the parameter of Dirichlet (0.001 to 1000)",
    ),
    "drift": Setting("0", "log-odds by which clients come and go over the rounds (0 to 100)"),
    "label_drift": Setting("0", "times that labels change meaning over the rounds (0 to 100)"),
    "stragglers": Setting("0", "probability that a participant ends early (0 to 1)"),
    "noise": Setting("0", "share of the training labels replaced by others (0 to 1)"),
    "objective": Setting(OBJECTIVES[0], f"what counts: {', '.join(OBJECTIVES)}"),
    "target": Setting("0", "test accuracy to reach, of objective rounds_to_target"),
    **READING,
}
_WHOLE = {"rounds": "rounds", "participants": "participants", "local_steps": "local_steps",
          "batch": "batch_size", "width": "width"}  # fmt: skip
_REAL = ("alpha", "beta", "drift", "stragglers", "target")
OF_CURVES = ("alpha", "beta", "rounds", "objective", "target")


def with_settings(federation: Federation, values: Mapping[str, str]) -> Federation:
    """Return a federation with settings applied all at once, so that their order does not matter.

    A new partition, label noise and changes of labels are drawn with a seed derived from the
    training labels, so that the same settings give the same federation.

    Args:
        federation: any federation, sealed or not.
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: a value cannot be read or does not suit the data.
        InstanceError: a value is impossible, or there are fewer rows than clients.
    """
    reading = next((key for key in values if key in READING), None)
    if reading:
        raise SettingError(
            f"{reading}={values[reading]!r}: says how a table is read, and "
            f"{federation.name} is none"
        )
    if federation.model == CURVE:
        odd = [key for key in values if key not in OF_CURVES]
        if odd:
            raise SettingError(
                f"{odd[0]}={values[odd[0]]!r}: {federation.name} is a learning curve without data; "
                f"it can be given {', '.join(OF_CURVES)}"
            )
    changes: dict[str, Any] = {
        field: whole(values, key, MOST[field]) for key, field in _WHOLE.items() if key in values
    }
    changes |= {key: real(values, key) for key in _REAL if key in values}
    if "objective" in values:
        changes["objective"] = choice(values, "objective", OBJECTIVES)
    if "model" in values:
        changes |= {"model": _model(federation, values)} | changes
        changes.setdefault("width", _width(changes["model"], federation.width))
    seed = _seed(federation.labels)
    if "clients" in values or "skew" in values:
        changes["owner"] = _owner(federation, values, np.random.default_rng([seed, 0xC11E]))
    if "noise" in values:
        rng = np.random.default_rng([seed, 0x2015E])
        changes["labels"] = _noisy(federation, real(values, "noise", (0.0, 1.0)), rng)
    if "label_drift" in values:
        count = whole(values, "label_drift", MOST_CHANGES, 0)
        changes |= draw_changes(count, federation.classes, np.random.default_rng([seed, 0xD21F7]))
    return dataclasses.replace(federation, **changes) if changes else federation


def _model(federation: Federation, values: Mapping[str, str]) -> str:
    model = choice(values, "model", MODELS[:-1])
    text = federation.model in TEXT
    if (model in TEXT) != text:
        fit, have = (TEXT, "text") if text else (MODELS[:3], "numbers")
        raise SettingError(
            f"model={model!r}: the rows of {federation.name} are {have}; give one of "
            f"{', '.join(fit)}"
        )
    if model in IMAGE and federation.inputs.ndim != 4:
        raise SettingError(
            f"model={model!r} needs images [N, channels, height, width]; the rows of "
            f"{federation.name} are flat, {federation.inputs.shape[1]} features: give mlp, or load "
            "the image file itself"
        )
    return model


def _width(model: str, present: int) -> int:
    return 0 if model not in WIDTHS else present or WIDTHS[model]


def _seed(labels: np.ndarray) -> int:
    return int.from_bytes(hashlib.sha256(labels.tobytes()).digest()[:8], "big")


def _owner(
    federation: Federation, values: Mapping[str, str], rng: np.random.Generator
) -> np.ndarray:
    clients = federation.clients
    if "clients" in values:
        clients = whole(values, "clients", MOST_CLIENTS, 1)
    if "skew" in values:
        skew = None if values["skew"] == IID else _skew(values)
    else:
        skew = None if federation.model in TEXT else SKEW
    return partition(federation.name, federation.labels, clients, skew, rng)


def _skew(values: Mapping[str, str]) -> float:
    try:
        return real(values, "skew", SKEW_RANGE)
    except SettingError as error:
        raise SettingError(f"{error}, or {IID}") from error


def _noisy(federation: Federation, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the training labels, a share of which is replaced by other classes drawn evenly."""
    labels = federation.labels.copy()
    flat = labels.reshape(-1)
    hit = rng.choice(flat.size, round(share * flat.size), replace=False)
    flat[hit] = (flat[hit] + rng.integers(1, federation.classes, len(hit))) % federation.classes
    return labels
