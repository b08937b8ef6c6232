"""Draw the report's pictures of memory mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import (
    COPY_START,
    EVICT_END,
    OFFSET,
    STALL,
    State,
    Static,
)
from ...envs.memory_mapping.objective import speedup
from ...envs.memory_mapping.plan import carried_out, copied_before
from ...envs.memory_mapping.ranges import all_ranges
from ...envs.memory_mapping.render import BUFFER_COLORS, COPY_COLOR, IDLE_COLOR, OWN_COLOR
from .common import DPI, best_per_contender, drawable, largest_readable, png

READABLE_DECISIONS = 700
READABLE_INSTRUCTIONS = 1000  # with more of them, buffers are drawn without edges
MOST_WRITE_BACKS = 1000  # that are marked
MOST_TIMELINES = 2
MOST_CURVES = 7


class _Played(NamedTuple):
    """A plan that has been carried out.

    Attributes:
        row: its row of results.
        static: the program.
        state: memory at its end.
    """

    row: Row
    static: Static
    state: State


def pictures(
    rows: Sequence[Row], instances: Mapping[str, Program], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw one program of a comparison, the largest that is readable.

    Args:
        rows: rows of results; infeasible plans are left out.
        instances: instance hash -> program with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        The address-time pictures of the best plan and of the worst, and where along the program
        each contender's plan saves time; none if no plan is feasible.
    """
    feasible = drawable(rows, instances)
    if not feasible:
        return []
    programs = {row.instance_hash: instances[row.instance_hash] for row in feasible}
    program = largest_readable(programs.values(), lambda one: one.n_decisions, READABLE_DECISIONS)
    own = [row for row in feasible if programs[row.instance_hash] is program]
    ranked = best_per_contender(own)
    plays = [
        _Played(row, *carried_out(program, np.asarray(row.actions, np.int64))) for row in ranked
    ]
    chosen = [plays[0], plays[-1]][: min(MOST_TIMELINES, len(plays))]
    return [*(_timeline(program, played) for played in chosen), _savings(program, plays, colors)]


def _rgb(color: tuple[int, int, int]) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _timeline(program: Program, played: _Played) -> Picture:
    """Draw buffers over logical time and, below, what slow memory does in each instruction."""
    static, state = played.static, played.state
    instrs = len(static.instr_slow)
    figure = Figure(figsize=(10, 6.2), dpi=DPI, layout="constrained")
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    mib = 2**20
    offset, above, start, end, buffer = all_ranges(state.rects, state.counts)
    corners = [[start, offset], [start, above], [end + 1, above], [end + 1, offset]]
    top.add_collection(
        PolyCollection(
            list(np.array(corners).transpose(2, 0, 1) / (1, mib)),
            facecolors=np.array(BUFFER_COLORS)[buffer % len(BUFFER_COLORS)] / 255,
            edgecolors="white",
            linewidths=0.5 if instrs <= READABLE_INSTRUCTIONS else 0.0,
        )
    )
    copies = np.flatnonzero(state.moves[:, COPY_START] >= 0)
    begun, height = state.moves[copies, COPY_START], state.moves[copies, OFFSET] / mib
    done = [copied_before(static, state, copy) for copy in copies.tolist()]
    top.hlines(height, begun, done, color=_rgb(COPY_COLOR), linewidth=2)
    written_back = state.moves[:, EVICT_END]
    for instr in np.unique(written_back[written_back >= 0])[:MOST_WRITE_BACKS].tolist():
        low.axvline(instr + 0.5, color="#999999", linewidth=0.4)
    times = np.maximum(static.instr_compute, state.slow + state.fast) / 1e6
    edges = np.arange(instrs + 1)
    own, booked = state.slow / 1e6, state.booked / 1e6
    for name, height, base, color in (
        ("idle", times, 0.0, IDLE_COLOR),
        ("operands", own, 0.0, OWN_COLOR),
        ("copies", own + booked, own, COPY_COLOR),
    ):
        low.stairs(height, edges, baseline=base, fill=True, color=_rgb(color), label=name)
    stall = int(state.scalars[STALL]) / 1e6
    if stall:
        low.bar([instrs], [stall], 1.0, align="edge", color="#D00000", label="stall at the end")
    top.set_xlim(0, instrs + 1)
    top.set_ylim(0, static.capacity / mib)
    top.set_ylabel("address in fast memory (MiB)")
    low.set_ylabel("time (us)")
    low.set_xlabel("instruction, in program order")
    low.legend(fontsize=8, ncols=4, loc="upper right")
    name, value = played.row.contender, speedup(static, state)
    return Picture(
        f"{program.name}: fast memory under {name}'s plan, {value:.3f} times as fast as all slow",
        "Each rectangle is a buffer in fast memory over the instructions it is held for; an orange "
        "line at its bottom is the copy into it, hidden under earlier instructions. Below, slow "
        "memory's time in each instruction: its own operands, copies, and idle time; thin gray "
        "lines are ends of write-backs.",
        png(figure),
        (played.row.instance_hash,),
        f"{len(copies)} copies into fast memory; slow memory idles for "
        f"{float((times - own - booked).clip(0.0).sum()):.4g} of {float(times.sum()):.4g} us.",
    )


def _savings(program: Program, plays: Sequence[_Played], colors: Mapping[str, str]) -> Picture:
    """Draw the time saved up to each instruction, one line per contender."""
    figure = Figure(figsize=(10, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    told = []
    for played in plays[:MOST_CURVES]:
        static, state = played.static, played.state
        before = np.maximum(static.instr_compute, static.instr_slow)
        after = np.maximum(static.instr_compute, state.slow + state.fast)
        saved = np.concatenate([[0], np.cumsum(before - after)]) / 1e6
        saved[-1] -= int(state.scalars[STALL]) / 1e6
        name = played.row.contender
        told.append(f"{name} {saved[-1]:.4g} us")
        axes.plot(saved, color=colors[name], label=name, linewidth=1.6)
    axes.set_xlabel("instruction, in program order")
    axes.set_ylabel("time saved so far (us)")
    axes.legend(fontsize=8)
    axes.margins(x=0.01)
    return Picture(
        f"{program.name}: where along the program each plan saves its time",
        "Time saved against all-slow up to each instruction; a drop at the end is the stall for "
        "outputs written back late. Lines that part show where plans decide otherwise.",
        png(figure),
        (plays[0].row.instance_hash,),
        f"Saved at the end: {'; '.join(told)}.",
    )
