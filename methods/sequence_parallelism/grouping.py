"""A step's sequences with their times in each kind of group, and plans as groups of sequences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.groups import Kinds, groups_limit, kinds_of, order_of


class Work(NamedTuple):
    """K sequences of a step, longest first, and the G kinds of groups they may run in.

    Attributes:
        lengths: int64 [K]; tokens, not increasing.
        times: float64 [K, G]; ms that a sequence takes in a group, without the group's constant;
            infinite where it does not fit.
        degree, device_class, capacity: int64 [G]; of the kinds.
        constant: float64 [G]; ms of a group besides its sequences.
        devices: int64 [C]; devices of each class.
    """

    lengths: np.ndarray
    times: np.ndarray
    degree: np.ndarray
    device_class: np.ndarray
    capacity: np.ndarray
    constant: np.ndarray
    devices: np.ndarray


class Grouping(NamedTuple):
    """A plan of a step: P groups, none of them empty.

    Attributes:
        group: int64 [K]; group of each sequence, in the order of `Work`.
        kind: int64 [P]; kind of each group.
        micro_batch: int64 [P]; micro-batch of each group, from 0 on without gaps.
    """

    group: np.ndarray
    kind: np.ndarray
    micro_batch: np.ndarray


def work_of(kinds: Kinds, lengths: np.ndarray) -> Work:
    """Return what planning a step needs.

    Args:
        kinds: G kinds of groups.
        lengths: int64 [K]; the step's sequences, longest first.
    """
    tokens = lengths[:, None].astype(np.float64)
    times = (kinds.quadratic * tokens + kinds.linear) * tokens
    times[lengths[:, None] > kinds.capacity] = np.inf
    return Work(
        lengths, times, kinds.degree, kinds.device_class, kinds.capacity, kinds.constant,
        kinds.devices,
    )  # fmt: skip


def steps_of(instance: TrainingBatch) -> list[Work]:
    """Return each step's sequences, longest first, with their times.

    Args:
        instance: the batch, of one step or several.
    """
    order, kinds = order_of(instance), kinds_of(instance)
    ends = np.cumsum(np.bincount(instance.step))
    return [work_of(kinds, instance.lengths[part]) for part in np.split(order, ends[:-1])]


def compact(group: np.ndarray, kind: np.ndarray, batch: np.ndarray) -> Grouping:
    """Return a plan without the groups that hold nothing.

    Args:
        group: int64 [K]; each sequence's group.
        kind: int64 [P]; the groups' kinds.
        batch: int64 [P]; the groups' micro-batches.
    """
    held, group = np.unique(group, return_inverse=True)
    _, numbers = np.unique(batch[held], return_inverse=True)
    return Grouping(group.astype(np.int64), kind[held], numbers.astype(np.int64))


def group_times(work: Work, plan: Grouping) -> np.ndarray:
    """Return the ms that each group takes, float64 [P].

    Args:
        work: the step.
        plan: its groups.
    """
    taken = work.times[np.arange(len(plan.group)), plan.kind[plan.group]]
    times: np.ndarray = work.constant[plan.kind] + np.bincount(plan.group, taken, len(plan.kind))
    return times


def step_time(work: Work, plan: Grouping) -> float:
    """Return the ms that a step takes: the sum over micro-batches of their slowest groups.

    Args:
        work: the step.
        plan: its groups.
    """
    slowest = np.zeros(plan.micro_batch.max() + 1)
    np.maximum.at(slowest, plan.micro_batch, group_times(work, plan))
    return float(slowest.sum())


def actions_of(plan: Grouping, kinds: int, limit: int) -> np.ndarray:
    """Return the actions that play a plan of one step, int64 [K].

    Groups and micro-batches are numbered in the order in which they are opened.

    Args:
        plan: the groups.
        kinds: number of kinds of groups, G.
        limit: actions below it name groups.
    """
    opened = _first(plan.group, len(plan.kind))
    rank = _rank(opened)
    actions: np.ndarray = rank[plan.group]
    firsts = np.sort(opened)
    places = plan.group[firsts]
    batch = plan.micro_batch[places]
    number = _rank(_first(batch, int(batch.max()) + 1))[batch]
    actions[firsts] = limit + number * kinds + plan.kind[places]
    return actions


def _first(numbers: np.ndarray, many: int) -> np.ndarray:
    """Return where each of `many` numbers is met first, int64 [many]; none is missing."""
    first = np.zeros(many, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # of several the last one written stays
    return first


def _rank(x: np.ndarray) -> np.ndarray:
    """Return the place of each entry in rising order, int64 [len(x)]."""
    rank = np.zeros(len(x), np.int64)
    rank[np.argsort(x)] = np.arange(len(x))
    return rank


def joined_actions(instance: TrainingBatch, plans: list[Grouping]) -> np.ndarray:
    """Return the actions that play the plans of all steps, int64 [K].

    Args:
        instance: the batch.
        plans: one a step.
    """
    limit, kinds = groups_limit(instance), len(kinds_of(instance).degree)
    return np.concatenate([actions_of(plan, kinds, limit) for plan in plans])
