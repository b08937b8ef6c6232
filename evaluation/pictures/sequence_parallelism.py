"""Draw the report's pictures of sequence parallelism: groups over time, and memory of devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.sequence_parallelism.instance import MIB_PER_GIB, TrainingBatch, state_memory
from ...envs.sequence_parallelism.dynamics import (
    CLASS,
    DEGREE,
    GROUPS,
    MICRO_BATCHES,
    State,
    Table,
)
from ...envs.sequence_parallelism.plan import carried_out
from ...envs.sequence_parallelism.render import color_of
from .common import DPI, RULE, best_per_contender, drawable, largest_readable, plain, png

READABLE_SEQUENCES = 1024
MOST_CHARTS = 2
MOST_CURVES = 8


class _Bars(NamedTuple):
    """The groups of a plan's first step as bars.

    Attributes:
        begin: float64 [n]; ms at which each group's micro-batch begins.
        time: float64 [n]; ms that it takes.
        low: int64 [n]; the first of its devices.
        degree: int64 [n]; how many it has.
        ends: float64 [m]; ms at which each micro-batch ends.
        gib: float64 [n]; memory of each of its devices that is in use, model states included.
    """

    begin: np.ndarray
    time: np.ndarray
    low: np.ndarray
    degree: np.ndarray
    ends: np.ndarray
    gib: np.ndarray


def pictures(
    rows: Sequence[Row], instances: Mapping[str, TrainingBatch], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw one batch of a comparison, the largest that is readable; of several steps the first.

    Args:
        rows: rows of results; infeasible plans are left out.
        instances: instance hash -> batch with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        The groups over time of the best plan and of the worst, and the memory in use of each
        contender's plan; none if no plan is feasible.
    """
    feasible = drawable(rows, instances)
    if not feasible:
        return []
    batches = {row.instance_hash: instances[row.instance_hash] for row in feasible}
    batch = largest_readable(batches.values(), lambda one: len(one.lengths), READABLE_SEQUENCES)
    ranked = best_per_contender([row for row in feasible if batches[row.instance_hash] is batch])
    plays = []
    for row in ranked:
        done = carried_out(batch, np.asarray(row.actions, np.int64))
        plays.append((row, _bars(batch, done.table, done.states[0])))
    chosen = [plays[0], plays[-1]][: min(MOST_CHARTS, len(plays))]
    longest = max(float(bars.ends[-1]) for _, bars in chosen)
    charts = [_chart(batch, row, bars, longest) for row, bars in chosen]
    return [*charts, _memory(batch, plays, colors)]


def _bars(batch: TrainingBatch, table: Table, state: State) -> _Bars:
    """Lay the groups of a step below each other, in each micro-batch by class of devices."""
    count, micro_batches = int(state.counts[GROUPS]), int(state.counts[MICRO_BATCHES])
    kind, micro, tokens = state.groups[:count].T
    degree, device_class = table.sizes[DEGREE, kind], table.sizes[CLASS, kind]
    ends = state.longest[:micro_batches].cumsum()
    firsts = np.concatenate([[0], table.devices.cumsum()[:-1]])
    low = np.zeros(count, np.int64)
    used = np.zeros((micro_batches, len(firsts)), np.int64)
    for group in np.lexsort((-state.times[:count], -degree)).tolist():
        at = micro[group], device_class[group]
        low[group] = firsts[device_class[group]] + used[at]
        used[at] += degree[group]
    per_device = tokens / degree * batch.token_memory + state_memory(batch)
    begin = (ends - state.longest[:micro_batches])[micro]
    return _Bars(begin, state.times[:count], low, degree, ends, per_device / MIB_PER_GIB)


def _chart(batch: TrainingBatch, row: Row, bars: _Bars, longest: float) -> Picture:
    """Draw the groups of a plan over time."""
    devices = int(batch.class_devices.sum())
    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    shades = [np.array(color_of(degree)) / 255 for degree in bars.degree.tolist()]
    axes.barh(
        bars.low, bars.time, bars.degree, bars.begin, align="edge", color=shades,
        edgecolor="white", linewidth=0.6,
    )  # fmt: skip
    for end in bars.ends.tolist():
        axes.axvline(end, color="#333c48", linewidth=0.8)
    for border in batch.class_devices.cumsum()[:-1].tolist():
        axes.axhline(border, color="#333c48", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, longest * 1.01)
    axes.set_ylim(devices, 0)
    axes.set_facecolor(RULE)
    axes.set_xlabel("time (ms)")
    axes.set_ylabel("devices")
    told = [
        Patch(color=np.array(color_of(degree)) / 255, label=f"{degree}")
        for degree in np.unique(bars.degree).tolist()
    ]
    axes.legend(handles=told, title="devices of a group", fontsize=8, ncols=len(told),
                loc="upper center", bbox_to_anchor=(0.5, -0.14))  # fmt: skip
    busy = float((bars.time * bars.degree).sum() / (devices * bars.ends[-1]))
    return Picture(
        f"{batch.name}: groups over time under {row.contender}'s plan, {row.objective:.0f} ms",
        "Each bar is a group: as high as it has devices, as long as it takes. Upright lines end "
        "micro-batches; gray is idle. Where the batch has several steps, the first is drawn.",
        png(figure),
        (row.instance_hash,),
        f"{len(bars.ends)} micro-batches with {len(bars.time)} groups; the devices are busy "
        f"{busy:.1%} of the time.",
    )


def _memory(
    batch: TrainingBatch, plays: Sequence[tuple[Row, _Bars]], colors: Mapping[str, str]
) -> Picture:
    """Draw how full the devices are, one line per contender."""
    figure = Figure(figsize=(10, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    told = []
    for row, bars in plays[:MOST_CURVES]:
        fullest = np.argsort(-bars.gib)
        share = np.concatenate([[0], bars.degree[fullest].cumsum()])
        share = share / (int(batch.class_devices.sum()) * len(bars.ends))
        axes.stairs(
            bars.gib[fullest], share, baseline=None, color=colors[row.contender],
            label=row.contender, linewidth=1.6,
        )  # fmt: skip
        told.append(f"{row.contender} {float(bars.gib.max()):.1f} GiB")
    for name, memory in zip(batch.class_names, batch.class_memory.tolist(), strict=True):
        axes.axhline(memory / MIB_PER_GIB, color="#D00000", linewidth=1.0)
        axes.annotate(f"memory of {name}", (0.995, memory / MIB_PER_GIB), fontsize=8,
                      ha="right", va="bottom")  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, float(batch.class_memory.max()) / MIB_PER_GIB * 1.1)
    axes.set_xlabel("part of the devices over all micro-batches, the fullest first")
    axes.set_ylabel("memory in use (GiB)")
    axes.legend(fontsize=8)
    plain(axes)
    return Picture(
        f"{batch.name}: memory of the devices under each plan",
        "What each group's devices hold, model states and activations, over the devices of all "
        "micro-batches; a line that ends early leaves devices without a group.",
        png(figure),
        (plays[0][0].instance_hash,),
        f"The fullest device holds: {'; '.join(told)}.",
    )
