"""A plan in the form of a training framework: where each sequence of the file runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...core.errors import SolutionError
from ...datasets.sequence_parallelism.instance import TrainingBatch
from .dynamics import (
    GROUPS,
    ILLEGAL,
    KIND,
    MICRO_BATCH,
    State,
    Table,
    make_state,
    make_table,
    take,
)
from .groups import groups_limit, kinds_of, order_of


class CarriedOut(NamedTuple):
    """A whole plan that was carried out.

    Attributes:
        table: the kinds of groups.
        states: of each step, at its end.
        groups: int64 [K]; number of each sequence's group in its step, in the order of the file.
    """

    table: Table
    states: list[State]
    groups: np.ndarray


def carried_out(batch: TrainingBatch, actions: np.ndarray) -> CarriedOut:
    """Carry out a whole plan.

    Raises:
        SolutionError: an action is not legal where it stands, or there is not one a sequence.
    """
    kinds, order = kinds_of(batch), order_of(batch)
    table, limit = make_table(kinds), groups_limit(batch)
    states = [make_state(limit, len(kinds.devices)) for _ in range(batch.n_steps)]
    plan = np.asarray(actions, np.int64).ravel()
    groups = np.full(len(order), -1)
    for sequence, action in zip(order.tolist(), plan.tolist(), strict=False):
        state = states[batch.step[sequence]]
        if take(table, state, int(batch.lengths[sequence]), action) == ILLEGAL:
            break
        groups[sequence] = action if action < limit else state.counts[GROUPS] - 1
    if len(plan) != len(order) or (groups < 0).any():
        raise SolutionError(
            f"{batch.name}: the plan is not legal to its end, so there is no plan to export; "
            "`sysopt-gym validate` says what it breaks"
        )
    return CarriedOut(table, states, groups)


def export_plan(batch: TrainingBatch, actions: np.ndarray) -> list[dict[str, Any]]:
    """One row a sequence, in the order of the file.

    Columns: sequence (from 0), tokens, step, micro_batch (of the step), group (of the step),
    device_class, devices (of the group).

    Raises:
        SolutionError: the plan is not legal.
    """
    kinds, done = kinds_of(batch), carried_out(batch, actions)
    rows = []
    for sequence, group in enumerate(done.groups.tolist()):
        step = int(batch.step[sequence])
        row = done.states[step].groups[group]
        rows.append(
            {
                "sequence": sequence,
                "tokens": int(batch.lengths[sequence]),
                "step": step,
                "micro_batch": int(row[MICRO_BATCH]),
                "group": group,
                "device_class": batch.class_names[kinds.device_class[row[KIND]]],
                "devices": int(kinds.degree[row[KIND]]),
            }
        )
    return rows
