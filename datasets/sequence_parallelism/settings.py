"""Settings a user may put on a batch: model, cluster and context, and how files are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import cut, whole
from .instance import (
    MIB_PER_GIB,
    MOST_DEVICES,
    MOST_SEQUENCES,
    MOST_TOKENS,
    TrainingBatch,
)
from .models import MODELS, K, bandwidths

LARGEST_DEGREE = 64  # bandwidths beyond it are not known
MARGIN = 128  # tokens by which a sequence must be shorter than the context, as in FlexSP's code

CLUSTER: Mapping[str, Setting] = {
    "model": Setting("7B", f"constants of the cost model: {', '.join(MODELS)}"),
    "devices": Setting("64", "devices; of several classes 32+32"),
    "memory": Setting("30", "GiB of a device that training may use; by class 30+70"),
    "speed": Setting("1", "speed of a device, in parts of an A100; by class 1+2.5"),
    "context": Setting("192K", "longest sequence, tokens; longer ones are left out"),
    "degrees": Setting("powers", "devices of a group: powers (of two), any, or 2+4+8"),
}
READING: Mapping[str, Setting] = {
    "batch": Setting("512", "sequences of a training step; used in reading"),
    "first": Setting("0", "number of the first training step that is read; used in reading"),
    "steps": Setting("1", "training steps that are read; used in reading"),
    "pad": Setting("128", "lengths are rounded up to a multiple of it, 1: as they are; used in "
                   "reading"),
}  # fmt: skip
SETTINGS: Mapping[str, Setting] = {**CLUSTER, **READING}


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """How a file of lengths becomes a batch; see READING."""

    batch: int
    first: int
    steps: int
    pad: int


def read_reading(values: Mapping[str, str]) -> Reading:
    """Read the settings that say how a file is read.

    Args:
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: not a whole number in range.
    """
    texts = {key: values.get(key, setting.default) for key, setting in READING.items()}
    return Reading(
        batch=whole(texts, "batch", MOST_SEQUENCES, 1),
        first=whole(texts, "first", 10**9),
        steps=whole(texts, "steps", 1000, 1),
        pad=whole(texts, "pad", 65_536, 1),
    )


def with_settings(batch: TrainingBatch, values: Mapping[str, str]) -> TrainingBatch:
    """Return a batch with settings replaced; what is not set stays as it is.

    A context leaves out the sequences that are too long for it. Padding and the cutting into steps
    are settled when a file is read.

    Args:
        batch: any batch.
        values: texts by the names in SETTINGS, as given by `--set`.

    Raises:
        SettingError: a value cannot be read.
        InstanceError: a value is impossible for the batch.
    """
    read_reading(values)
    changes: dict[str, Any] = {}
    context = batch.context
    if "context" in values:
        changes["context"] = context = _tokens(values["context"])
    changes |= _devices(batch, values)
    if "degrees" in values:
        changes["degrees"] = _degrees(values["degrees"])
    classes = len(changes.get("class_devices", batch.class_devices))
    if "degrees" in values:
        changes["bandwidth"] = np.tile(bandwidths(changes["degrees"]), (classes, 1))
    elif classes != len(batch.class_devices):
        changes["bandwidth"] = np.repeat(batch.bandwidth[:1], classes, axis=0)
    changes |= _model(batch, values, context, changes)
    if "context" in values:
        lengths, step = fitting(batch, batch.lengths, batch.step, context)
        changes |= {"lengths": lengths, "step": step}
    return dataclasses.replace(batch, **changes)


def fitting(
    batch: TrainingBatch, lengths: np.ndarray, step: np.ndarray, context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `lengths` and `step` without the sequences that are too long for a context.

    Args:
        batch: named in the error message.
        lengths: int64 [K]; padded.
        step: int64 [K]; of each sequence.
        context: tokens.

    Raises:
        InstanceError: nothing is left.
    """
    fits = lengths <= context - MARGIN
    if not fits.any():
        batch.refuse(
            f"every sequence is longer than the context of {context:,} tokens, less {MARGIN}; "
            "give a longer context"
        )
    _, numbers = np.unique(step[fits], return_inverse=True)
    return lengths[fits], numbers.astype(np.int64)


def _devices(batch: TrainingBatch, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of the classes of devices that settings replace."""
    changes: dict[str, Any] = {}
    if "devices" in values:
        counts = np.array(_numbers(values, "devices", 1, MOST_DEVICES), np.int64)
        changes["class_devices"] = counts
        if len(counts) != len(batch.class_devices):
            changes["class_names"] = tuple(f"class {row}" for row in range(len(counts)))
    classes = len(changes.get("class_devices", batch.class_devices))
    limits = {"memory": (0.01, 1e6), "speed": (1e-3, 1e3)}
    for key, (low, high) in limits.items():
        field, unit = f"class_{key}", MIB_PER_GIB if key == "memory" else 1
        known = getattr(batch, field)
        if key in values:
            given = np.array(_numbers(values, key, low, high)) * unit
        elif classes == len(known):
            continue
        else:
            given = known
        if len(given) not in (1, classes):
            raise SettingError(
                f"{key} has {len(given)} values for {classes} classes of devices; give {key}= with "
                "one for all or one for each, such as 1+2"
            )
        changes[field] = np.broadcast_to(given, classes).astype(np.float64)
    return changes


def _model(
    batch: TrainingBatch, values: Mapping[str, str], context: int, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of the cost model that settings replace.

    Of a model with constants of the user's own only the whole can be replaced.
    """
    name = values.get("model", batch.model)
    if "model" in values and name not in MODELS:
        raise SettingError(f"model={cut(name)}; give one of {', '.join(MODELS)}")
    if name not in MODELS or not {"model", "devices", "context"} & set(values):
        return {}
    model = MODELS[name]
    devices = int(changes.get("class_devices", batch.class_devices).sum())
    return {
        "model": name,
        "parameters": model.billions(context),
        "token_memory": model.activations(devices),
        "quadratic": model.quadratic,
        "linear": model.linear,
        "traffic": model.traffic,
        "fixed_ms": model.fixed_ms,
    }


def blank_batch(name: str) -> TrainingBatch:
    """Return a batch of one token on the default cluster, for lengths to be put in.

    Args:
        name: name of the batch.
    """
    model, context = MODELS["7B"], 192 * K
    degrees = 2 ** np.arange(LARGEST_DEGREE.bit_length())
    return TrainingBatch(
        name,
        lengths=np.ones(1, np.int64),
        class_names=("A100",),
        class_devices=np.array([64]),
        class_memory=np.array([30.0 * MIB_PER_GIB]),
        class_speed=np.ones(1),
        degrees=degrees,
        bandwidth=bandwidths(degrees)[None, :],
        model="7B",
        parameters=model.billions(context),
        token_memory=model.activations(64),
        quadratic=model.quadratic,
        linear=model.linear,
        traffic=model.traffic,
        fixed_ms=model.fixed_ms,
        context=context,
    )


def _tokens(text: str) -> int:
    """Read a number of tokens such as 8192 or 192K."""
    thousands = text.strip()[-1:].upper() == "K"
    number = {"context": text.strip()[:-1] if thousands else text}
    most = MOST_TOKENS // (K if thousands else 1)
    try:
        return whole(number, "context", most, 1) * (K if thousands else 1)
    except SettingError:
        raise SettingError(
            f"context={cut(text)}; give a whole number of tokens, such as 8192 or 192K"
        ) from None


def _degrees(text: str) -> np.ndarray:
    if text.strip() == "powers":
        return 2 ** np.arange(LARGEST_DEGREE.bit_length())
    if text.strip() == "any":
        return np.arange(1, LARGEST_DEGREE + 1)
    numbers = _numbers({"degrees": text}, "degrees", 1, LARGEST_DEGREE)
    return np.unique(np.array(numbers, np.int64))


def _numbers(
    values: Mapping[str, str], key: str, low: float, high: float
) -> list[int] | list[float]:
    """Read numbers joined by "+"; whole ones if `low` is whole.

    Raises:
        SettingError: no numbers from `low` to `high`.
    """
    kind = type(low)
    try:
        numbers = [kind(part) for part in values[key].split("+")]
    except (ValueError, OverflowError):
        numbers = []
    if not numbers or len(numbers) > 64 or not all(low <= one <= high for one in numbers):
        what = "whole numbers" if kind is int else "numbers"
        raise SettingError(
            f"{key}={cut(values[key])}; give {what} from {low:g} to {high:g}, joined by + where "
            "there are several"
        )
    return numbers
