"""Draw the report's pictures of VM rescheduling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.vm_rescheduling.churn import churned
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ...envs.host_drawing import FRAGMENT_COLOR, HEADER, HOST_LEGEND, SLOT_COLOR
from ...envs.vm_rescheduling.dynamics import (
    FRAGMENT,
    FREE,
    State,
    Static,
    copy_state,
    is_legal,
    make_state,
    make_static,
    move,
)
from ...envs.vm_rescheduling.objective import fragment_rate
from ...envs.vm_rescheduling.render import frame
from .common import DPI, INK, best_per_contender, drawable, largest_readable, plain, png

READABLE_PMS = 400  # most hosts for which single VMs are drawn
FRAME_SIZE = (700, 560)
MOST_CONTENDERS = 12
# Later plans are drawn dashed over earlier ones, so that plans that begin alike can be seen to.
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """A plan that has been carried out.

    Attributes:
        row: its row of results.
        color: the contender's color in the rest of the report.
        cluster: the cluster that the plan met.
        static: that cluster's static arrays.
        before: the state before the plan.
        after: the state after the plan.
        rates: fragment rate before the first move and after each one.
    """

    row: Row
    color: str
    cluster: Cluster
    static: Static
    before: State
    after: State
    rates: list[float]

    @property
    def name(self) -> str:
        """Name of the contender."""
        return self.row.contender


def pictures(
    rows: Sequence[Row], instances: Mapping[str, Cluster], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw one instance of a comparison, the largest that is readable.

    Args:
        rows: rows of results; infeasible plans are left out.
        instances: instance hash -> cluster with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        The cluster before and after the best plan, the fragment rate along each contender's plan,
        and what each plan does to the cores left over; none if no plan is feasible.
    """
    feasible = drawable(rows, instances)
    if not feasible:
        return []
    clusters = {row.instance_hash: instances[row.instance_hash] for row in feasible}
    chosen = largest_readable(clusters.values(), lambda cluster: cluster.n_pms, READABLE_PMS)
    own = [row for row in feasible if row.instance_hash == chosen.content_hash]
    ranked = best_per_contender(own)[:MOST_CONTENDERS]
    plays = [play(chosen, row, colors[row.contender]) for row in ranked]
    place = f"{chosen.name} ({chosen.n_pms} PMs, {chosen.n_vms} VMs)"
    return [_before_after(plays[0], place), _along(plays, place), _left_over(plays, place)]


def play(cluster: Cluster, row: Row, color: str) -> Played:
    """Carry a row's plan out; in live mode on the world that it met, without moves that do not fit.

    Args:
        cluster: the instance.
        row: a row of results on it.
        color: the contender's color.
    """
    where = np.arange(cluster.n_vms)
    limit = cluster.n_vms
    if cluster.mode == "live":
        cluster, where = churned(cluster, row.world_seed, row.wall_s or 0.0)
    static = make_static(cluster)
    state = make_state(cluster, static)
    before, rates = copy_state(state), [float(fragment_rate(state.totals))]
    plies = [int(ply) for ply in row.actions]
    for at in range(0, len(plies) - 1, 2):
        if plies[at] >= limit:
            break
        vm, (pm, node) = int(where[plies[at]]), divmod(plies[at + 1], static.stride)
        if vm >= 0 and is_legal(static, state, vm, pm, node):
            move(static, state, vm, pm, node)
            rates.append(float(fragment_rate(state.totals)))
    return Played(row, color, cluster, static, before, state, rates)


def _before_after(play: Played, place: str) -> Picture:
    width, height = FRAME_SIZE
    gap, band, title = 24, 56, 26
    full = (2 * width + gap, height + band + title)
    figure = Figure(figsize=(full[0] / DPI, full[1] / DPI), dpi=DPI)
    whens = ("before", f"after {len(play.rates) - 1} moves by {play.name}")
    for side, (state, when) in enumerate(zip((play.before, play.after), whens, strict=True)):
        image = frame(play.static, state, play.cluster.numa_cpu, None, FRAME_SIZE)[HEADER:]
        axes = figure.add_axes(
            (
                side * (width + gap) / full[0],
                band / full[1],
                width / full[0],
                (height - HEADER) / full[1],
            )
        )
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(f"{when}: fragment rate {play.rates[-side]:.4f}", fontsize=11, loc="left")
    handles = [Rectangle((0, 0), 1, 1, facecolor=np.array(color) / 255) for _, color in HOST_LEGEND]
    figure.legend(
        handles, [label for label, _ in HOST_LEGEND], loc="lower center", ncol=len(handles),
        frameon=False, fontsize=9, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
    slots = [_whole_slots(play.static, state) for state in (play.before, play.after)]
    return Picture(
        f"Before and after {play.name}'s plan",
        f"{place}: every host is a group of bars, one for each NUMA node, VMs "
        f"from the bottom up, free cores on top. {play.name}, the best here, turns {slots[0]} free "
        f"16-core slots into {slots[1]}: less orange, more green.",
        png(figure),
        (play.row.instance_hash,),
        f"{play.name} takes the fragment rate from {play.rates[0]:.4f} to {play.rates[-1]:.4f} in "
        f"{len(play.rates) - 1} moves.",
    )


def _along(plays: Sequence[Played], place: str) -> Picture:
    figure = Figure(figsize=(9.2, 4.1), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    for rank, play in enumerate(plays):
        axes.plot(
            range(len(play.rates)), play.rates, label=f"{play.name} ({play.rates[-1]:.4f})",
            color=play.color, lw=1.8,
            ls=DASHES[rank % len(DASHES)], zorder=2 + rank, drawstyle="steps-post",
        )  # fmt: skip
        axes.plot(
            len(play.rates) - 1,
            play.rates[-1],
            marker="o",
            ms=5,
            color=play.color,
        )
    axes.set_xlabel("moves made")
    axes.set_ylabel("fragment rate (lower is better)")
    axes.set_xlim(left=0)
    plain(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return Picture(
        "Fragment rate along each plan",
        f"{place}: the fragment rate after every move of each contender's best plan. A plan may "
        "first make things worse, to open a slot later; a line that ends early used fewer moves.",
        png(figure),
        (plays[0].row.instance_hash,),
        "Fragment rate at the end: "
        + "; ".join(
            f"{play.name} {play.rates[-1]:.4f} after {len(play.rates) - 1} moves" for play in plays
        )
        + ".",
    )


def _left_over(plays: Sequence[Played], place: str) -> Picture:
    columns = min(3, len(plays))
    lines = -(-len(plays) // columns)
    figure = Figure(figsize=(9.2, 0.8 + 1.9 * lines), layout="constrained", dpi=DPI)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    cores = np.arange(1, 16)
    orange, green = (np.array(color) / 255 for color in (FRAGMENT_COLOR, SLOT_COLOR))
    told = []
    for axes, play in zip(grid.ravel(), plays, strict=False):
        before, after = (_remainders(play, state) for state in (play.before, play.after))
        told.append(f"{play.name} {before[0]} to {after[0]}")
        axes.bar(cores, after[1:], color=orange, width=0.8, label="after")
        axes.step(
            np.append(cores, 16) - 0.5, np.append(before[1:], before[-1]), where="post",
            color=INK, lw=1.1, label="before",
        )  # fmt: skip
        axes.set_title(
            f"{play.name}: {play.rates[0]:.3f} to {play.rates[-1]:.3f}", fontsize=10, loc="left"
        )
        axes.text(
            0.98, 0.95, f"none left over: {before[0]} to {after[0]}", transform=axes.transAxes,
            ha="right", va="top", fontsize=8.5, bbox={"facecolor": green, "lw": 0, "pad": 2},
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.ravel()[len(plays) :]:
        axes.set_axis_off()
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncol=2, frameon=False
    )
    figure.supxlabel("free cores of a NUMA node left over beside whole 16-core slots", fontsize=10)
    figure.supylabel("NUMA nodes", fontsize=10)
    return Picture(
        "Cores left over on each NUMA node",
        f"{place}: how many NUMA nodes have 1 to 15 free cores beside whole free slots, before "
        "(line) and after (bars) each contender's best plan; in green, the nodes with none left "
        "over. Cores left over sum to the fragment rate in the titles.",
        png(figure),
        (plays[0].row.instance_hash,),
        f"NUMA nodes with none left over, before and after: {'; '.join(told)}.",
    )


def _remainders(play: Played, state: State) -> np.ndarray:
    """Count the NUMA nodes of ACTIVE hosts by whole cores left over, int64 [16]."""
    active = play.static.pm_status == ACTIVE
    exists = play.cluster.numa_cpu[active] > 0
    left = state.free_cpu[active][exists] % play.static.unit
    # Part of a core counts as a whole one, so that only nodes with nothing left over are at 0.
    return np.bincount(np.minimum(-(-left * 16 // play.static.unit), 15), minlength=16)


def _whole_slots(static: Static, state: State) -> int:
    return int(state.totals[FREE] - state.totals[FRAGMENT]) // static.unit
