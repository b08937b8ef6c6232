"""What an agent sees: the open groups, and a short list of what may be done with a sequence.

Every number is a ratio between 0 and 1, so that one network serves batches and clusters of any
size. The short list holds, of each micro-batch and kind, one group to join and one to be opened. To
join there is the group that is left with the least time to spare, and where each would make the
micro-batch longer, the one that is done first. Where there are too many, those stay that cost
least: the time by which the step gets longer (of a new micro-batch none, so that one can always be
opened), and the sequence's own device time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numba import njit

from ...datasets.sequence_parallelism.instance import TrainingBatch
from .dynamics import (
    CAPACITY,
    CLASS,
    CONSTANT,
    DEGREE,
    GROUPS,
    KIND,
    MICRO_BATCH,
    MICRO_BATCHES,
    TOKENS,
    State,
    Table,
    added_time,
)
from .groups import Kinds

SHORTLIST = 64


class Seen(IntEnum):
    """Columns of `candidates`."""

    PRESENT = 0  # 1 where the row is a candidate
    JOINS = 1  # 1 where it joins an open group
    NEW = 2  # 1 where it opens a micro-batch
    INCREASE = 3  # ms by which the step gets longer: x / (x + unit)
    SLACK = 4  # ms that its group ends before its micro-batch: x / (x + unit)
    FILL = 5  # tokens of its group, of those that fit
    COST = 6  # device-ms of the sequence on this kind: 1 - the cheapest kind's / this one's
    DEGREE = 7  # devices of its group, of all
    FREE = 8  # devices that its micro-batch has left then, of all
    IDLE = 9  # of the micro-batch's device-ms, those idle then
    LOAD = 10  # tokens of its micro-batch, of those that all devices hold
    LENGTH = 11  # ms that its micro-batch takes then, of two units, at most 1
    LATER = 12  # the micro-batch's idle device-ms: x / (x + least device-ms to come)
    ENDS = 13  # ms that its group takes then, of two units, at most 1
    FIRST = 14  # 1 in the first micro-batch, which has the longest sequences


class Whole(IntEnum):
    """Columns of `globals`."""

    LENGTH = 0  # of the sequence, of the longest in the batch
    CONTEXT = 1  # of the sequence, of the context
    PLACE = 2  # sequences of the step assigned, of all
    REST_TOKENS = 3  # of the sequences to come: x / (x + tokens that all devices hold)
    REST_WORK = 4  # least device-ms of the sequences to come, of all of the step's
    IDLE = 5  # idle device-ms of open micro-batches: x / (x + least device-ms to come)
    OPEN = 6  # micro-batches: x / (x + 1)
    NEEDED = 7  # least number of micro-batches: x / (x + 1)
    SPENT = 8  # ms of the step so far: x / (x + its least time)
    FIXED = 9  # ms that each micro-batch takes besides, of the unit
    OWN = 10  # least device-ms of the sequence: x / (x + those to come)
    SPARE = 11  # 1/2 + idle device-ms less those to come, of all sequences' least, from 0 to 1


TINY = 1e-300
N_SEEN, N_WHOLE = len(Seen), len(Whole)
# Columns of Course.rows.
AT_LENGTH, AT_LEAST, AT_TOKENS, AT_WORK, AT_PLACE = range(5)
# Entries of Course.facts.
UNIT, HELD, DEVICES, CONTEXT, LONGEST, BOUND, NEEDED, ALL_WORK = range(8)


class Course(NamedTuple):
    """The sequences of a step in the order of assignment, and what is known of the whole step.

    Attributes:
        rows: float64 [k, 5]; tokens, least device-ms, tokens and least device-ms of those after it,
            and the share of sequences before it.
        facts: float64 [8]; ms that a micro-batch takes if nothing is idle (the unit), tokens that
            all devices hold, devices, context, longest sequence, least ms of the step, least number
            of micro-batches, least device-ms of all sequences.
    """

    rows: np.ndarray
    facts: np.ndarray


def course_of(batch: TrainingBatch, kinds: Kinds, rows: np.ndarray) -> Course:
    """Return the course of a step.

    Args:
        batch: the instance.
        kinds: its kinds of groups.
        rows: the step's sequences in the order of assignment, int64 [k].
    """
    lengths = batch.lengths[rows].astype(np.float64)
    wide = lengths[:, None]
    work = kinds.degree * (kinds.quadratic * wide**2 + kinds.linear * wide)
    least = np.where(wide <= kinds.capacity, work, np.inf).min(axis=1)
    devices = float(kinds.devices.sum())
    per_device = [
        (kinds.capacity[kinds.device_class == row] / kinds.degree[kinds.device_class == row]).max()
        for row in np.unique(kinds.device_class)
    ]
    held = float((np.array(per_device) * kinds.devices[np.unique(kinds.device_class)]).sum())
    needed = np.ceil(lengths.sum() / held)
    fixed = float(kinds.constant.min())
    bound = least.sum() / devices + needed * fixed
    later = np.stack([lengths.sum() - lengths.cumsum(), least.sum() - least.cumsum()], axis=1)
    place = np.arange(len(rows)) / len(rows)
    return Course(
        np.column_stack([lengths, least, later.clip(0.0), place]),
        np.array(
            [
                bound / needed,
                held,
                devices,
                batch.context,
                lengths.max(),
                bound,
                needed,
                least.sum(),
            ]
        ),
    )


@njit(cache=True)
def share(x: float, unit: float) -> float:
    """Return x / (x + unit), 0 for 0."""
    return x / (x + unit) if x > 0.0 else 0.0


@njit(cache=True)
def joins_of(table: Table, state: State, length: int, join: np.ndarray, sums: np.ndarray) -> None:
    """Find the group that a sequence would join, and add up what micro-batches hold.

    Args:
        table: the kinds of groups.
        state: of the step.
        length: of the sequence, tokens.
        join: gets the group of each micro-batch and kind, -1 for none, int64 [m, G].
        sums: gets each micro-batch's device-ms in use and tokens, float64 [m, 2].
    """
    join[:], sums[:] = -1, 0.0
    for group in range(state.counts[GROUPS]):
        kind, micro = state.groups[group, KIND], state.groups[group, MICRO_BATCH]
        tokens, time = state.groups[group, TOKENS], state.times[group]
        sums[micro, 0] += table.sizes[DEGREE, kind] * time
        sums[micro, 1] += tokens
        if tokens + length > table.sizes[CAPACITY, kind]:
            continue
        best = join[micro, kind]
        if best >= 0:
            held, until = state.times[best], state.longest[micro] - added_time(table, kind, length)
            if (time <= held or time > until) and (time >= held or held <= until):
                continue
        join[micro, kind] = group


@njit(cache=True)
def observe(
    table: Table,
    state: State,
    course: Course,
    place: int,
    actions: np.ndarray,
    candidates: np.ndarray,
    whole: np.ndarray,
) -> int:
    """Look at the step before a sequence is assigned.

    Args:
        table: the kinds of groups.
        state: of the step.
        course: of the step.
        place: of the sequence in the course.
        actions: gets the action of each candidate, int64 [n].
        candidates: gets their features, columns Seen, float32 [n, 15].
        whole: gets the features of the whole, columns Whole, float32 [12].

    Returns:
        Number of candidates, n at most.
    """
    limit, kinds, most = len(state.groups), table.costs.shape[1], len(actions)
    opened, facts = state.counts[MICRO_BATCHES], course.facts
    length, least = int(course.rows[place, AT_LENGTH]), course.rows[place, AT_LEAST]
    later, unit, devices = course.rows[place, AT_WORK], facts[UNIT], facts[DEVICES]
    micro_batches = min(opened + 1, limit)
    join, sums = np.empty((opened + 1, kinds), np.int64), np.empty((opened + 1, 2))
    joins_of(table, state, length, join, sums)
    found, keys = 0, np.empty(most)
    idle = spent = 0.0
    candidates[:] = 0.0
    for micro in range(micro_batches):
        free = table.devices if micro == opened else state.free[micro]
        longest = 0.0 if micro == opened else state.longest[micro]
        idle += max(0.0, devices * longest - sums[micro, 0])
        spent += longest
        for both in range(2 * kinds):
            kind, joins = both // 2, both % 2
            own, degree = added_time(table, kind, length), table.sizes[DEGREE, kind]
            capacity, group = table.sizes[CAPACITY, kind], join[micro, kind]
            if joins:
                if group < 0:
                    continue
                tokens, time, action = state.groups[group, TOKENS], state.times[group], group
            else:
                if length > capacity or degree > free[table.sizes[CLASS, kind]]:
                    continue
                tokens, time = 0, table.costs[CONSTANT, kind]
                action = limit + micro * kinds + kind
            ends = max(longest, time + own)
            key = own * degree / devices + (ends - longest if micro < opened else 0.0)
            at = found
            if found == most:  # the costliest makes room
                at = int(keys.argmax())
                if key >= keys[at]:
                    continue
            else:
                found += 1
            busy = sums[micro, 0] + degree * (own if joins else time + own)
            keys[at], actions[at], row = key, action, candidates[at]
            row[Seen.PRESENT] = 1.0
            row[Seen.JOINS] = joins
            row[Seen.NEW] = micro == opened
            row[Seen.INCREASE] = share(ends - longest, unit)
            row[Seen.SLACK] = share(ends - time - own, unit)
            row[Seen.FILL] = (tokens + length) / capacity
            row[Seen.COST] = 1.0 - min(1.0, least / max(own * degree, TINY))
            row[Seen.DEGREE] = degree / devices
            row[Seen.FREE] = (free.sum() - (0 if joins else degree)) / devices
            row[Seen.IDLE] = 1.0 - min(1.0, busy / max(devices * ends, TINY))
            row[Seen.LOAD] = min(1.0, (sums[micro, 1] + length) / facts[HELD])
            row[Seen.LENGTH] = min(1.0, 0.5 * ends / max(unit, TINY))
            row[Seen.ENDS] = min(1.0, 0.5 * (time + own) / max(unit, TINY))
            row[Seen.FIRST] = micro == 0
            row[Seen.LATER] = share(devices * ends - busy, later)
    whole[Whole.LENGTH] = length / facts[LONGEST]
    whole[Whole.CONTEXT] = length / facts[CONTEXT]
    whole[Whole.PLACE] = course.rows[place, AT_PLACE]
    whole[Whole.REST_TOKENS] = share(course.rows[place, AT_TOKENS], facts[HELD])
    whole[Whole.REST_WORK] = later / max(facts[ALL_WORK], TINY)
    whole[Whole.IDLE] = share(idle, later)
    whole[Whole.OPEN] = share(opened, 1.0)
    whole[Whole.NEEDED] = share(facts[NEEDED], 1.0)
    whole[Whole.SPENT] = share(spent, facts[BOUND])
    whole[Whole.FIXED] = min(1.0, table.costs[CONSTANT, 0] / max(unit, TINY))
    whole[Whole.OWN] = share(least, later)
    spare = idle + max(0.0, facts[NEEDED] - opened) * devices * (unit - table.costs[CONSTANT, 0])
    spare = 0.5 + (spare - least - later) / max(facts[ALL_WORK], TINY)
    whole[Whole.SPARE] = min(1.0, max(0.0, spare))
    return found


def observation_space(limit: int, actions: int, short: bool) -> spaces.Dict:
    """Return the space of observations; the environment's docstring says what they hold.

    Args:
        limit: largest number of sequences of a step, L.
        actions: number of actions of form groups, A.
        short: whether actions are rows of the short list.
    """
    parts: dict[str, spaces.Space[Any]] = {
        "candidates": spaces.Box(0.0, 1.0, (SHORTLIST, N_SEEN), np.float32),
        "globals": spaces.Box(0.0, 1.0, (N_WHOLE,), np.float32),
    }
    if short:
        return spaces.Dict(parts | {"action_mask": spaces.MultiBinary(SHORTLIST)})
    return spaces.Dict(
        parts
        | {
            "candidate_actions": spaces.Box(-1, actions - 1, (SHORTLIST,), np.int32),
            "groups": spaces.Box(0.0, 1.0, (limit, 5), np.float32),
            "action_mask": spaces.MultiBinary(actions),
        }
    )


def group_rows(table: Table, state: State, course: Course, limit: int) -> np.ndarray:
    """Describe the open groups in the order of their numbers.

    Args:
        table: the kinds of groups.
        state: of the step.
        course: of the step.
        limit: rows, at least the groups that may be opened.

    Returns:
        float32 [limit, 5]: 1 for a group that is open; its devices, of all; its tokens, of those
        that fit; its ms, x / (x + unit); its micro-batch, of those that may be opened.
    """
    rows = np.zeros((limit, 5), np.float32)
    count = int(state.counts[GROUPS])
    kind, micro, tokens = state.groups[:count].T
    times = state.times[:count]
    rows[:count, 0] = 1.0
    rows[:count, 1] = table.sizes[DEGREE, kind] / course.facts[DEVICES]
    rows[:count, 2] = tokens / table.sizes[CAPACITY, kind]
    rows[:count, 3] = times / np.maximum(times + course.facts[UNIT], TINY)
    rows[:count, 4] = micro / limit
    return rows
