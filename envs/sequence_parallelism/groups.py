"""The kinds of groups that a batch's devices can form, what they cost, and the order of play."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch, device_tokens


class Kinds(NamedTuple):
    """G kinds of groups: a degree on a class of devices, by class, then by degree.

    A group takes constant + sum of (quadratic s^2 + linear s) over the lengths s of its sequences.

    Attributes:
        degree: int64 [G]; devices that a group takes.
        device_class: int64 [G]; the class that they are of.
        quadratic: float64 [G]; ms / token^2.
        linear: float64 [G]; ms / token, computation and all-to-all.
        constant: float64 [G]; ms.
        capacity: int64 [G]; tokens that fit a group.
        devices: int64 [C]; devices of each class.
    """

    degree: np.ndarray
    device_class: np.ndarray
    quadratic: np.ndarray
    linear: np.ndarray
    constant: np.ndarray
    capacity: np.ndarray
    devices: np.ndarray


def kinds_of(batch: TrainingBatch) -> Kinds:
    """Return the kinds of groups; a degree beyond the devices of a class is none."""
    fits = batch.degrees[None, :] <= batch.class_devices[:, None]
    device_class, row = np.nonzero(fits)
    degree = batch.degrees[row]
    shared = degree * batch.class_speed[device_class]
    moved = batch.traffic / (degree * batch.bandwidth[device_class, row])
    return Kinds(
        degree=degree,
        device_class=device_class.astype(np.int64),
        quadratic=batch.quadratic / shared,
        linear=batch.linear / shared + np.where(degree > 1, moved, 0.0),
        constant=np.full(len(degree), batch.fixed_ms),
        capacity=degree * device_tokens(batch)[device_class],
        devices=batch.class_devices.copy(),
    )


def order_of(batch: TrainingBatch) -> np.ndarray:
    """Return the sequences in the order of assignment, int64 [K].

    Step by step, longest first; equal ones in the order of the file.
    """
    order: np.ndarray = np.lexsort((-batch.lengths, batch.step)).astype(np.int64)
    return order


def groups_limit(batch: TrainingBatch) -> int:
    """Return the largest number of sequences of a step: numbers below it name groups in actions."""
    return int(np.bincount(batch.step).max())
