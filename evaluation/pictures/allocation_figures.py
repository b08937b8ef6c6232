"""Compute the numbers in the pictures of VM allocation: worlds played again, moment by moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from ...core.results import Row
from ...datasets.hosts import FRAGMENT_CORES
from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from ...envs.vm_allocation.dynamics import (
    CLOCK_S,
    NO_ONE,
    OVER,
    PHASE,
    PLACE,
    REQUEST,
    State,
    Static,
)
from ...envs.vm_allocation.objective import rejected_so_far
from ...envs.vm_allocation.packed import begin, play, state_in, static_in
from ...methods.vm_allocation.playing import packed_world

MOST_SHOWN, MOST_AGENTS = 8, 3  # contenders in a picture; the best agents that are always in it
MOST_WORLDS = 24  # pairs of an instance and a seed that each contender is replayed in
MOST_DECISIONS = 3_000_000  # of all replays of a group; some 300,000 a second
MOMENTS = 145  # at which a world is looked at
BOUND_ALONE = "fluid"  # an oracle whose plan is another contender's

Figure = IntEnum(
    "Figure",
    (
        "REJECTED",  # % of the core-hours asked for so far
        "USED",  # % of the CPU of all hosts
        "FRAGMENTS",  # % of the free CPU that make no 16-core slot
        "EMPTY",  # % of the hosts
        "STRANDED_CORES",  # % of all CPU that are free where no flavor fits on the node
        "STRANDED_MEMORY",  # likewise
    ),
    start=0,
)


class Contender(NamedTuple):
    """A contender as it is drawn.

    Attributes:
        name: name of the contender.
        color: its color in the rest of the report.
        role: agent, solver or oracle.
    """

    name: str
    color: str
    role: str


class Group(NamedTuple):
    """Runs on data centers that differ in nothing but the stream that their worlds are drawn from.

    Attributes:
        name: common part of the instances' names, and the task.
        center: one of the data centers.
        rows: the feasible runs.
    """

    name: str
    center: DataCenter
    rows: list[Row]


class Course(NamedTuple):
    """A world under one contender's plan.

    Attributes:
        objective: rejected % of the core-hours asked for, by the judge.
        figures: float64 [MOMENTS, 6], by Figure; NaN once the plan has ended before the horizon.
        asked: CPU times seconds asked for, by flavor, float64 [K].
        rejected: those that were rejected, float64 [K].
        free: free CPU of the hosts' nodes once the start's VMs are there, and at the end,
            int64 [2, P, 2].
    """

    objective: float
    figures: np.ndarray
    asked: np.ndarray
    rejected: np.ndarray
    free: np.ndarray


def group(rows: Sequence[Row], instances: Mapping[str, DataCenter]) -> list[Group]:
    """Group the feasible rows by data center and task; those with most runs come first.

    Args:
        rows: rows of results; those of other instances are left out.
        instances: instance hash -> data center with its settings applied.
    """
    found: dict[str, list[Row]] = {}
    keys = {
        key: str(dataclasses.replace(one, name="any", stream=0).content_hash)
        for key, one in instances.items()
    }
    for row in rows:
        if row.feasible and row.instance_hash in keys:
            found.setdefault(keys[row.instance_hash], []).append(row)
    groups = []
    for own in found.values():
        members = [instances[key] for key in dict.fromkeys(row.instance_hash for row in own)]
        groups.append(Group(_name(members), members[0], own))
    return sorted(groups, key=lambda each: -len(each.rows))


def _name(members: Sequence[DataCenter]) -> str:
    names = [one.name for one in members]
    heads = {name.rpartition("/")[0] for name in names}
    if len(names) == 1:
        common = names[0]
    else:
        common = heads.pop() if len(heads) == 1 and "" not in heads else f"{names[0]} and its like"
    one = members[0]
    moves = f", {one.moves_per_hour} migrations an hour" if one.moves_per_hour else ""
    told = "" if one.lifetimes == "hidden" else f", lifetimes told: {one.lifetimes}"
    return f"{common} ({one.n_pms} PMs, {one.horizon_h:g} h{moves}{told})"


def choose(one: Group, colors: Mapping[str, str]) -> list[Contender]:
    """Choose the contenders to draw: an oracle, the best agents, the best of the others.

    Args:
        one: the group.
        colors: contender -> color.

    Returns:
        The contenders by their mean score, the best first, an oracle last.
    """
    scores: dict[str, list[float]] = {}
    roles: dict[str, str] = {}
    for row in one.rows:
        scores.setdefault(row.contender, []).append(row.sign * row.scored_objective)
        roles[row.contender] = row.role
    ranked = sorted(scores, key=lambda name: float(np.mean(scores[name])))
    oracles = [name for name in ranked if roles[name] == "oracle" and name != BOUND_ALONE][:1]
    agents = [name for name in ranked if roles[name] == "agent"][:MOST_AGENTS]
    rest = [name for name in ranked if roles[name] == "solver"]
    kept = {*agents, *rest[: MOST_SHOWN - len(agents) - len(oracles)]}
    shown = [name for name in ranked if name in kept] + oracles
    return [Contender(name, colors[name], roles[name]) for name in shown]


def best_two(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the best agent and the best solver, as far as there are any.

    Args:
        contenders: the best first.
    """
    found = [
        next((one for one in contenders if one.role == role), None) for role in ("agent", "solver")
    ]
    return [one for one in found if one is not None]


def bound_of(one: Group) -> float | None:
    """Return the mean over worlds of the best bound that was proven; None unless all have one.

    Args:
        one: the group.
    """
    bounds: dict[tuple[str, int], float] = {}
    for row in one.rows:
        key = row.instance_hash, row.seed
        proven = -np.inf if row.bound is None else row.bound
        bounds[key] = max(bounds.get(key, -np.inf), proven)
    found = float(np.mean(list(bounds.values())))
    return found if np.isfinite(found) else None


def courses(
    one: Group, contenders: Sequence[Contender], instances: Mapping[str, DataCenter]
) -> dict[str, list[Course]]:
    """Replay worlds, evenly chosen among those that were played.

    Args:
        one: the group.
        contenders: whose runs are replayed.
        instances: instance hash -> data center.

    Returns:
        Contender -> a course for each world that it has a feasible run in, in the same order;
        none at all if a single world is too much work.
    """
    names = [contender.name for contender in contenders]
    pairs = sorted({(row.instance_hash, row.seed) for row in one.rows})
    afford = int(MOST_DECISIONS / (1.0 + _decisions(one.center) * len(names)))
    count = min(len(pairs), MOST_WORLDS, afford)
    chosen = {pairs[at] for at in np.linspace(0, len(pairs) - 1, count).round().astype(int)}
    found: dict[str, list[Course]] = {}
    for row in sorted(one.rows, key=lambda row: (row.instance_hash, row.seed)):
        if row.contender in names and (row.instance_hash, row.seed) in chosen:
            found.setdefault(row.contender, []).append(course(instances[row.instance_hash], row))
    return found


def _decisions(center: DataCenter) -> float:
    """Estimate a world's decisions; plans stay on the disk until they are asked for."""
    traced = len(center.request_flavor)
    return (traced or center.expected_requests) + 2.0 * center.moves_per_hour * center.horizon_h


def hours(center: DataCenter) -> np.ndarray:
    """Return the moments at which a world is looked at, float64 [MOMENTS], in hours."""
    return np.asarray(moments(center, 0.0, MOMENTS) / HOUR_S)


def moments(center: DataCenter, first_h: float, count: int) -> np.ndarray:
    """Return evenly spaced moments, int64 [count], in seconds.

    Args:
        center: the data center.
        first_h: hour of the first one; one second later at 0, when the start's VMs have been
            placed.
        count: how many.
    """
    first = max(1.0, first_h * HOUR_S)
    return np.linspace(first, center.horizon_s, count).round().astype(np.int64)


def course(center: DataCenter, row: Row) -> Course:
    """Replay a run.

    Args:
        center: the data center that it was played on.
        row: a feasible run.
    """
    trace = requests_of(center, row.world_seed)
    placed = np.zeros(len(trace.flavor), np.bool_)
    figures, free = [], []
    times = moments(center, 0.0, MOMENTS)
    for at, (_, state) in enumerate(follow(center, row, times, placed)):
        is_played = state.numbers[PHASE] == OVER or state.numbers[CLOCK_S] >= times[at]
        figures.append(_figures(center, state) if is_played else [np.nan] * len(Figure))
        free.append(state.free_cpu.copy())
    counts = (trace.arrive_s >= center.warm_up_h * HOUR_S) & (trace.arrive_s < center.horizon_s)
    counts[: trace.starts] = False
    seconds = np.minimum(trace.exit_s, center.horizon_s) - trace.arrive_s
    worth = np.where(counts, center.flavor_total[trace.flavor] * seconds, 0)
    asked, rejected = (
        np.bincount(trace.flavor, some, len(center.flavor_names))
        for some in (worth, np.where(placed, 0, worth))
    )
    return Course(row.objective, np.array(figures), asked, rejected, np.array([free[0], free[-1]]))


def follow(
    center: DataCenter, row: Row, times: np.ndarray, placed: np.ndarray | None = None
) -> Iterator[tuple[Static, State]]:
    """Replay a run, and yield the world at moments: at the first decision that is not before.

    Args:
        center: the data center that it was played on.
        row: a feasible run.
        times: seconds, rising.
        placed: bool [R], in which requests that are placed are noted; None for no notes.

    Yields:
        The world and its state, as views that change with the replay.
    """
    packed = packed_world(center, row.world_seed)
    begin(packed)
    static, state = static_in(packed), state_in(packed)
    numbers, at, ahead = state.numbers, 0, times.tolist()
    for action in row.actions:
        while at < len(ahead) and numbers[CLOCK_S] >= ahead[at]:
            yield static, state
            at += 1
        if placed is not None and numbers[PHASE] == PLACE:
            placed[numbers[REQUEST]] = True
        play(packed, int(action))
    for _ in ahead[at:]:
        yield static, state


def _figures(center: DataCenter, state: State) -> list[float]:
    """Return the figures of a moment, by Figure."""
    cpu, mem, one = state.free_cpu, state.free_mem, center.flavor_nodes == 1
    all_cpu, all_mem = center.numa_cpu.sum(), max(1, center.numa_mem.sum())
    stranded = np.ones(cpu.shape, np.bool_)
    for needs in zip(center.flavor_cpu[one], center.flavor_mem[one], strict=True):
        stranded &= (cpu < needs[0]) | (mem < needs[1])
    fragments = (cpu % (FRAGMENT_CORES * center.cpu_per_core)).sum()
    parts = (
        1.0 - cpu.sum() / all_cpu,
        fragments / max(1, cpu.sum()),
        (state.first == NO_ONE).mean(),
        cpu[stranded].sum() / all_cpu,
        mem[stranded].sum() / all_mem,
    )
    return [float(rejected_so_far(state.numbers)), *(100.0 * float(part) for part in parts)]
