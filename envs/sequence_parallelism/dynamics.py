"""The mechanics of a training step, compiled: sequences join groups, or open one.

A step's groups are numbered in the order in which they were opened, its micro-batches likewise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .groups import Kinds

# Rows of Table.costs and of Table.sizes.
QUADRATIC, LINEAR, CONSTANT = range(3)
DEGREE, CLASS, CAPACITY = range(3)
# Columns of State.groups, and entries of State.counts.
KIND, MICRO_BATCH, TOKENS = range(3)
GROUPS, MICRO_BATCHES = range(2)
ILLEGAL = -1.0


class Table(NamedTuple):
    """The kinds of groups as compiled code reads them.

    Attributes:
        costs: float64 [3, G]; ms / token^2, ms / token, ms.
        sizes: int64 [3, G]; devices, their class, tokens that fit.
        devices: int64 [C].
    """

    costs: np.ndarray
    sizes: np.ndarray
    devices: np.ndarray


class State(NamedTuple):
    """The groups of the step that is being assigned; L is the largest number of its sequences.

    Attributes:
        groups: int64 [L, 3]; kind, micro-batch and tokens of each.
        times: float64 [L]; ms that each group takes.
        free: int64 [L, C]; devices of each class that a micro-batch has left.
        longest: float64 [L]; ms that each micro-batch takes, its slowest group's.
        counts: int64 [2]; groups and micro-batches that have been opened.
    """

    groups: np.ndarray
    times: np.ndarray
    free: np.ndarray
    longest: np.ndarray
    counts: np.ndarray


def make_table(kinds: Kinds) -> Table:
    """Return the kinds of groups for compiled code."""
    costs = np.stack([kinds.quadratic, kinds.linear, kinds.constant])
    sizes = np.stack([kinds.degree, kinds.device_class, kinds.capacity])
    return Table(costs, sizes, kinds.devices)


def make_state(limit: int, classes: int) -> State:
    """Return the state before anything is assigned.

    Args:
        limit: largest number of sequences of a step, L.
        classes: classes of devices, C.
    """
    return State(
        np.zeros((limit, 3), np.int64),
        np.zeros(limit),
        np.zeros((limit, classes), np.int64),
        np.zeros(limit),
        np.zeros(2, np.int64),
    )


def copy_state(state: State) -> State:
    """Return a state of its own."""
    return State(*(part.copy() for part in state))


@njit(cache=True)
def added_time(table: Table, kind: int, length: int) -> float:
    """Return the ms that a sequence adds to a group of a kind."""
    return float(
        table.costs[QUADRATIC, kind] * length * length + table.costs[LINEAR, kind] * length
    )


@njit(cache=True)
def take(table: Table, state: State, length: int, action: int) -> float:
    """Put a sequence where an action says, if that is legal.

    Args:
        table: the kinds of groups.
        state: of the step; changed.
        length: of the sequence, tokens.
        action: below L the group to join, else L + micro-batch * G + kind of the group to open.

    Returns:
        The ms by which the step gets longer; ILLEGAL if the action is not legal, and nothing has
        changed.
    """
    limit, kinds = len(state.groups), table.costs.shape[1]
    if action < 0:
        return ILLEGAL
    if action < limit:
        group = action
        if group >= state.counts[GROUPS]:
            return ILLEGAL
        kind, micro = state.groups[group, KIND], state.groups[group, MICRO_BATCH]
        if state.groups[group, TOKENS] + length > table.sizes[CAPACITY, kind]:
            return ILLEGAL
        state.times[group] += added_time(table, kind, length)
    else:
        micro, kind = divmod(action - limit, kinds)
        opened = state.counts[MICRO_BATCHES]
        if micro > opened or micro >= limit or length > table.sizes[CAPACITY, kind]:
            return ILLEGAL
        if micro == opened:
            state.free[micro] = table.devices
            state.longest[micro] = 0.0
            state.counts[MICRO_BATCHES] += 1
        device_class = table.sizes[CLASS, kind]
        if table.sizes[DEGREE, kind] > state.free[micro, device_class]:
            return ILLEGAL  # never of a new micro-batch, as no kind takes more than there are
        state.free[micro, device_class] -= table.sizes[DEGREE, kind]
        group = state.counts[GROUPS]
        state.counts[GROUPS] += 1
        state.groups[group, KIND] = kind
        state.groups[group, MICRO_BATCH] = micro
        state.groups[group, TOKENS] = 0
        state.times[group] = table.costs[CONSTANT, kind] + added_time(table, kind, length)
    state.groups[group, TOKENS] += length
    longer = max(0.0, state.times[group] - state.longest[micro])
    state.longest[micro] += longer
    return float(longer)


@njit(cache=True)
def mark(table: Table, state: State, length: int, mask: np.ndarray) -> None:
    """Mark the legal actions for a sequence.

    Args:
        table: the kinds of groups.
        state: of the step.
        length: of the sequence, tokens.
        mask: gets 1 for each legal action, else 0; int8 [A], A at least L + L * G.
    """
    limit, kinds = len(state.groups), table.costs.shape[1]
    mask[:] = 0
    for group in range(state.counts[GROUPS]):
        room = table.sizes[CAPACITY, state.groups[group, KIND]] - state.groups[group, TOKENS]
        mask[group] = length <= room
    opened = state.counts[MICRO_BATCHES]
    for micro in range(min(opened + 1, limit)):
        for kind in range(kinds):
            free = table.devices[table.sizes[CLASS, kind]]
            if micro < opened:
                free = state.free[micro, table.sizes[CLASS, kind]]
            if table.sizes[DEGREE, kind] <= free and length <= table.sizes[CAPACITY, kind]:
                mask[limit + micro * kinds + kind] = 1
