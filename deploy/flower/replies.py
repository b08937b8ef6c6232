"""Clients' answers to a training message: what they must hold, and what of them is averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ...core.errors import MissingDependencyError, SettingError
from . import MISSING
from .arrays import Layout

try:
    from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
except ImportError as missing:
    raise MissingDependencyError(MISSING) from missing

METRICS = ("lr", "train_loss", "gradient_norm")
SAME = 1e-6  # relative tolerance; a client may store its rate in float32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client has returned.

    Attributes:
        client: its node.
        content: the message's content.
        arrays: the model that it trained.
        metrics: its metrics.
        weight: how much it counts in means.
        loss, gradient_norm: at its first local step.
    """

    client: int
    content: RecordDict
    arrays: Mapping[str, Array]
    metrics: MetricRecord
    weight: float
    loss: float
    gradient_norm: float

    def split(self, layout: Layout) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return its weights, [P], and its other arrays by name; see Layout.split.

        Raises:
            SettingError: an array is of no type that can be averaged.
        """
        try:
            return layout.split(self.arrays)
        except SettingError as error:
            raise SettingError(f"client {self.client}: {error}") from error

    def finite(
        self, trained: np.ndarray, others: Mapping[str, np.ndarray], sent: Mapping[str, np.ndarray]
    ) -> bool:
        """Whether everything in it is finite.

        Args:
            trained: its weights, [P].
            others: its other arrays, by name.
            sent: these as they were sent; what is infinite there may stay so.
        """
        return bool(
            math.isfinite(self.loss)
            and math.isfinite(self.gradient_norm)
            and np.isfinite(trained).all()
            and all((np.isfinite(a) | (a == sent[name])).all() for name, a in others.items())
        )


def read_answer(message: Message, layout: Layout, beta: float, count: str | None) -> Answer:
    """Read a client's message.

    Args:
        message: without an error.
        layout: of the model.
        beta: the rate it was sent.
        count: metric that it is weighted by; None for a weight of 1.

    Raises:
        SettingError: it holds another model, lacks a metric, or used another rate.
    """
    node = message.metadata.src_node_id
    client = f"client {node}"
    # The content's own `array_records` would keep it alive until Python collects cycles.
    records = [part for part in message.content.values() if isinstance(part, ArrayRecord)]
    told = [part for part in message.content.values() if isinstance(part, MetricRecord)]
    if len(records) != 1 or len(told) != 1:
        raise SettingError(
            f"{client} returned {len(records)} array records and {len(told)} metric records; let "
            "it return one of each"
        )
    arrays, metrics = records[0], told[0]
    wanted = METRICS if count is None else (*METRICS, count)
    lacking = [name for name in wanted if not isinstance(metrics.get(name), int | float)]
    if lacking:
        raise SettingError(
            f"{client} reports no {', '.join(lacking)}; let it put {', '.join(wanted)} into its "
            "metrics: the rate used, loss and norm of the gradient at its first local step"
            + ("" if count is None else ", and the number of rows that it trained on")
        )
    numbers = {name: float(cast(float, metrics[name])) for name in wanted}
    if not abs(numbers["lr"] - beta) <= SAME * beta:
        raise SettingError(
            f"{client} used the rate {numbers['lr']:g} and was sent {beta:g}; let it read "
            'config["lr"] in every round'
        )
    weight = 1.0 if count is None else numbers[count]
    if not (math.isfinite(weight) and weight >= 0):
        raise SettingError(f"{client} reports {count} {weight:g}; let it count its rows")
    difference = layout.difference(arrays)
    if difference:
        raise SettingError(
            f"{client} returned another model, {difference}; let it return the arrays that it was "
            "sent, trained"
        )
    return Answer(
        node, message.content, arrays, metrics, weight,
        numbers["train_loss"], numbers["gradient_norm"],
    )  # fmt: skip


def alike_metrics(answers: Sequence[Answer], count: str, whole: bool) -> list[RecordDict]:
    """Return the answers' contents with the metrics that all of them have, as Flower's means need.

    Args:
        answers: at least one.
        count: metric that Flower weights by; set to the weight of the answer.
        whole: whether the contents hold the arrays too; Flower's own mean keeps what it is given
            alive for a while.
    """
    shared = set.intersection(*({*map(_kind, answer.metrics.items())} for answer in answers))
    contents = []
    for answer in answers:
        name = next(key for key, part in answer.content.items() if part is answer.metrics)
        kept = {
            key: value for key, value in answer.metrics.items() if _kind((key, value)) in shared
        }
        kept[count] = answer.weight or 1.0
        others = answer.content if whole else {}
        contents.append(RecordDict({**others, name: MetricRecord(kept)}))
    return contents


def _kind(item: tuple[str, object]) -> tuple[str, int]:
    """Return a metric's name and the length of its list, -1 for a single number."""
    name, value = item
    return name, len(value) if isinstance(value, list) else -1
