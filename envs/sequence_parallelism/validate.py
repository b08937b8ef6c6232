"""The independent validator: the groups of a plan put together again, and their time added up.

It shares no code with the dynamics: plain Python over the instance's fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.sequence_parallelism.instance import TrainingBatch

MAX_VIOLATIONS = 20


@dataclass(slots=True)
class _Group:
    """A group of devices: the sequences it was given, by their number in the file."""

    step: int
    micro_batch: int
    device_class: int
    degree: int
    bandwidth: float
    sequences: list[int] = field(default_factory=list)


def validate(batch: TrainingBatch, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    It is feasible if every sequence is in one group, groups are opened in order, no micro-batch
    uses more devices of a class than there are, and no group holds more tokens than fit.

    Args:
        batch: the instance.
        actions: the plan, int64 [K]: an action for each sequence, step by step, longest first.
        world: not used; nothing is random.

    Returns:
        The time of the steps in ms (NaN where a plan is no plan), one sentence per broken
        constraint, and the detail: groups, micro_batches, idle_share (of all devices' time),
        all_to_all_share (of the groups' time).
    """
    plan = np.asarray(actions)
    if plan.ndim != 1 or (plan.size and plan.dtype.kind not in "iu"):
        shape = f"shape {plan.shape}, dtype {plan.dtype}"
        return _no_plan(f"a plan is whole numbers in one row; it has {shape}")
    lengths, steps = batch.lengths.tolist(), batch.step.tolist()
    if len(plan) != len(lengths):
        return _no_plan(f"the plan has {len(plan)} actions for {len(lengths)} sequences")
    groups: list[_Group] = []
    wrong = _opened(batch, plan.tolist(), lengths, steps, groups)
    if wrong:
        return _no_plan(wrong)
    found = _overfull(batch, groups, lengths) + _short_of_devices(batch, groups)
    if found:
        return Verdict(math.nan, False, tuple(found[:MAX_VIOLATIONS]))
    return _timed(batch, groups, lengths)


def _opened(
    batch: TrainingBatch,
    plan: Sequence[int],
    lengths: list[int],
    steps: list[int],
    groups: list[_Group],
) -> str:
    """Read the groups off a plan into `groups`; return what makes it none, or nothing."""
    kinds = [
        (row, degree, float(batch.bandwidth[row, column]))
        for row, devices in enumerate(batch.class_devices.tolist())
        for column, degree in enumerate(batch.degrees.tolist())
        if degree <= devices
    ]
    limit = max(steps.count(step) for step in set(steps))
    # The sequences of a step, the longest first; Python's sort keeps the file's order among equals.
    order = sorted(range(len(lengths)), key=lambda row: (steps[row], -lengths[row]))
    first, opened, present = 0, 0, -1
    for place, (row, action) in enumerate(zip(order, plan, strict=True)):
        if steps[row] != present:
            first, opened, present = len(groups), 0, steps[row]
        if 0 <= action < limit:
            if first + action >= len(groups):
                return (
                    f"action {place}: sequence {row} joins group {action} of step {present}, of "
                    f"which {len(groups) - first} are open"
                )
            groups[first + action].sequences.append(row)
            continue
        micro_batch, kind = divmod(action - limit, len(kinds))
        if action < 0 or micro_batch > opened or micro_batch >= limit:
            return (
                f"action {place}: {action} opens no micro-batch of step {present}, which has "
                f"{opened}"
            )
        opened = max(opened, micro_batch + 1)
        groups.append(_Group(present, micro_batch, *kinds[kind], sequences=[row]))
    return ""


def _overfull(batch: TrainingBatch, groups: list[_Group], lengths: list[int]) -> list[str]:
    """Say which groups hold more tokens than fit."""
    devices = sum(batch.class_devices.tolist())
    states = batch.parameters * 16 * 1024 / devices
    found = []
    for number, group in enumerate(groups):
        left = float(batch.class_memory[group.device_class]) - states
        room = group.degree * math.floor(left / batch.token_memory)
        tokens = sum(lengths[row] for row in group.sequences)
        if tokens > room:
            found.append(
                f"step {group.step}, micro-batch {group.micro_batch}: group {number} of "
                f"{group.degree} devices holds {tokens} tokens, {room} fit"
            )
    return found


def _short_of_devices(batch: TrainingBatch, groups: list[_Group]) -> list[str]:
    """Say which micro-batches use more devices of a class than there are."""
    used: dict[tuple[int, int, int], int] = {}
    for group in groups:
        key = group.step, group.micro_batch, group.device_class
        used[key] = used.get(key, 0) + group.degree
    return [
        f"step {step}, micro-batch {micro_batch}: its groups take {count} devices of class "
        f"{batch.class_names[row]!r}, there are {batch.class_devices[row]}"
        for (step, micro_batch, row), count in used.items()
        if count > batch.class_devices[row]
    ]


def _timed(batch: TrainingBatch, groups: list[_Group], lengths: list[int]) -> Verdict:
    """Add up the time of a feasible plan."""
    longest: dict[tuple[int, int], float] = {}
    busy = moving = working = 0.0
    for group in groups:
        speed = group.degree * float(batch.class_speed[group.device_class])
        sizes = [lengths[row] for row in group.sequences]
        compute = math.fsum(batch.quadratic * s * s + batch.linear * s for s in sizes) / speed
        moved = 0.0
        if group.degree > 1:
            moved = batch.traffic * sum(sizes) / (group.degree * group.bandwidth)
        time = compute + moved + batch.fixed_ms
        key = group.step, group.micro_batch
        longest[key] = max(longest.get(key, 0.0), time)
        busy += group.degree * time
        moving += moved
        working += time
    total = math.fsum(longest.values())
    devices = sum(batch.class_devices.tolist())
    detail = {
        "groups": float(len(groups)),
        "micro_batches": float(len(longest)),
        "idle_share": 1.0 - busy / (devices * total) if total else 0.0,
        "all_to_all_share": moving / working if working else 0.0,
    }
    return Verdict(total, True, (), detail)


def _no_plan(why: str) -> Verdict:
    return Verdict(math.nan, False, (why,))
