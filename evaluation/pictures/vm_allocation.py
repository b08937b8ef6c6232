"""Draw the report's pictures of VM allocation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from PIL import Image, ImageDraw, ImageFont

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.hosts import FRAGMENT_CORES
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.render import frame
from .allocation_figures import (
    Contender,
    Course,
    Figure,
    Group,
    best_two,
    bound_of,
    choose,
    courses,
    follow,
    group,
    hours,
    moments,
)
from .common import INK, RULE, plain, png

MOST_GROUPS = 4
WIDTH, DPI = 10.0, 110  # inches, dots per inch
DASHES = ("-", ":", "-.")  # line styles of contenders that share a color
READABLE = 0.6  # share of full color above which dark letters cannot be read
MOST_CELLS = 45  # of a map of hosts, on each side
READABLE_PMS = 400  # most hosts for which single VMs are drawn
DAY_H, FRAMES, FRAME_MS = 24.0, 49, 220
FRAME_SIZE, CAPTION, LETTERS = (440, 300), 24, 14  # pixels
COLORS = 32  # of the animation
COLUMNS = (
    ("CPU in use, % of all", Figure.USED),
    ("fragment rate, % of free CPU", Figure.FRAGMENTS),
    ("empty hosts, %", Figure.EMPTY),
)


def pictures(
    rows: Sequence[Row], instances: Mapping[str, DataCenter], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw a comparison, with at most the four data centers or tasks that have most runs.

    Args:
        rows: rows of results; failed runs are left out.
        instances: instance hash -> data center with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        The rejected share over time, what else changes over time, what is rejected by flavor, the
        hosts by their free cores, and an animation of a day; none if no run is feasible.
    """
    groups = group(rows, instances)
    played = []
    for one in groups[:MOST_GROUPS]:
        contenders = choose(one, colors)
        found = courses(one, contenders, instances)
        if found:
            played.append((one, [each for each in contenders if each.name in found], found))
    if not played:
        return []
    several = (
        f" Drawn are {len(played)} of {len(groups)} tasks." if len(played) < len(groups) else ""
    )
    one, contenders, found = played[0]
    return [
        _rejected(played, several),
        _over_time(played),
        _by_flavor(one, contenders, found),
        _host_map(one, best_two(contenders), found),
        *_animation(one, best_two(contenders), instances),
    ]


Played = tuple[Group, list[Contender], dict[str, list[Course]]]


def _styles(contenders: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    """Return how each contender's lines are drawn; dashes mark oracles and equal colors."""
    styles: dict[str, dict[str, Any]] = {}
    for one in contenders:
        taken = sum(held["color"] == one.color for held in styles.values())
        dash: Any = (0, (5, 2)) if one.role == "oracle" else DASHES[taken % len(DASHES)]
        styles[one.name] = {"color": one.color, "ls": dash, "lw": 1.7}
    return styles


def _rejected(played: Sequence[Played], several: str) -> Picture:
    figure = Drawing(figsize=(WIDTH, 0.4 + 3.3 * len(played)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(played), 1, squeeze=False)[:, 0]
    worlds, told = [], []
    for (one, contenders, found), axes in zip(played, panels, strict=True):
        styles, top = _styles(contenders), 0.0
        x = hours(one.center)
        for each in contenders:
            table = np.array([course.figures[:, Figure.REJECTED] for course in found[each.name]])
            _band(axes, x, table, styles[each.name])
            # The first hours, of which little has been asked for, may be far above the rest.
            later = table[:, len(x) // 6 :]
            top = max(top, float(np.nanpercentile(later, 95))) if np.isfinite(later).any() else top
        axes.set_ylim(0.0, 1.15 * max(top, 0.1))
        axes.set_ylabel("rejected, % of core-hours asked for", fontsize=9)
        lines = [Line2D([], [], **styles[each.name]) for each in contenders]
        labels = [f"{_label(each)}  {_mean_of(found[each.name]):.2f} %" for each in contenders]
        bound = bound_of(one)
        if bound is not None:
            lines.append(axes.axhline(bound, color=INK, lw=1.2, ls=":"))
            labels.append(f"proven bound  {bound:.2f} %")
        axes.legend(
            lines, labels,
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9,
        )  # fmt: skip
        _clock(axes, one)
        axes.set_title(one.name, fontsize=10, loc="left")
        told.append(f"{one.name}: {'; '.join(labels)}.")
        worlds.append(max(len(courses) for courses in found.values()))
    panels[-1].set_xlabel("hours", fontsize=9)
    return Picture(
        "Rejected core-hours over time",
        "Of the core-hours asked for until then, with the whole stay of each request up to the "
        "horizon. The numbers are what runs are ranked by; a line that ends early is of a plan "
        "whose seconds were spent, after which all counts as rejected. Lines are means over worlds "
        f"({', '.join(map(str, worlds))}), bands reach from the lower quartile to the upper. Each "
        "contender met the same requests; dashed is an oracle, dotted the mean of what was proven "
        f"to be rejected at least, by the horizon.{several}",
        png(figure),
        result=" ".join(told),
    )


def _mean_of(found: Sequence[Course]) -> float:
    return float(np.mean([course.objective for course in found]))


def _label(one: Contender) -> str:
    return one.name if one.role == "solver" else f"{one.name} ({one.role})"


def _over_time(played: Sequence[Played]) -> Picture:
    """Draw CPU in use, fragment rate, empty hosts and what is stranded, a row for each group."""
    stranded = Figure.STRANDED_MEMORY
    if any(
        (course.figures[:, Figure.STRANDED_CORES] > 0).any()
        for _, _, found in played
        for each in found.values()
        for course in each
    ):
        stranded = Figure.STRANDED_CORES
    what = "cores" if stranded == Figure.STRANDED_CORES else "memory"
    columns = (*COLUMNS, (f"stranded {what}, % of all", stranded))
    figure = Drawing(figsize=(WIDTH, 0.6 + 2.5 * len(played)), dpi=DPI, layout="constrained")
    legend: dict[str, Line2D] = {}
    told = []
    parts = figure.subfigures(len(played), 1, squeeze=False)[:, 0]
    for (one, contenders, found), part in zip(played, parts, strict=True):
        part.suptitle(one.name, fontsize=10, x=0.01, ha="left")
        styles = _styles(contenders)
        used = [f"{_label(each)} {_mean(found[each.name], Figure.USED)}" for each in contenders]
        told.append(f"CPU in use, {one.name}: {'; '.join(used)}.")
        for axes, (title, column) in zip(part.subplots(1, len(columns)), columns, strict=True):
            for each in contenders:
                table = np.array([course.figures[:, column] for course in found[each.name]])
                _band(axes, hours(one.center), table, styles[each.name])
                legend.setdefault(_label(each), Line2D([], [], **styles[each.name]))
            axes.set_title(title, fontsize=8.5, color=INK)
            axes.set_xlabel("hours", fontsize=8)
            _clock(axes, one)
    figure.legend(
        list(legend.values()), list(legend), loc="outside lower center", ncols=5, frameon=False,
        fontsize=9, handlelength=2.6,
    )  # fmt: skip
    none = " (here no core is)" if what == "memory" else ""
    return Picture(
        "The data center over time",
        "Means over worlds, with quartiles. The fragment rate is the share of free cores that make "
        "no 16-core slot of a NUMA node. Cores or memory are stranded where no flavor of one node "
        f"fits any more{none}. More CPU in use at a lower rejected share means that requests were "
        "let in; empty hosts are what an operator could switch off or give to large VMs.",
        png(figure),
        result=" ".join(told),
    )


def _mean(found: Sequence[Course], column: int) -> str:
    return f"{np.nanmean([course.figures[:, column] for course in found]):.1f} %"


def _clock(axes: Any, one: Group) -> None:
    """Prepare an axis of hours, with the warm-up in grey."""
    axes.set_xlim(0.0, one.center.horizon_h)
    if one.center.warm_up_h:
        axes.axvspan(0.0, one.center.warm_up_h, color="#f0f2f5", lw=0)
    axes.tick_params(labelsize=8)
    plain(axes)


def _band(axes: Any, x: np.ndarray, table: np.ndarray, style: Mapping[str, Any]) -> None:
    """Draw mean and quartiles of worlds, float64 [n, len(x)], as long as all are played."""
    some = np.isfinite(table).all(axis=0)
    low, high = np.percentile(table[:, some], (25, 75), axis=0)
    axes.plot(x[some], table[:, some].mean(axis=0), **style)
    axes.fill_between(x[some], low, high, color=style["color"], alpha=0.12, lw=0)


def _by_flavor(
    one: Group, contenders: Sequence[Contender], found: Mapping[str, list[Course]]
) -> Picture:
    """Draw a table of the rejected % of each flavor's core-hours, the largest flavors last."""
    center = one.center
    sums = {
        each.name: np.sum([(course.asked, course.rejected) for course in found[each.name]], axis=0)
        for each in contenders
    }
    asked = sums[contenders[0].name][0]
    order = [k for k in np.argsort(center.flavor_total, kind="stable") if asked[k] > 0]
    table = 100.0 * np.array([both[1][order] / both[0][order].clip(1) for both in sums.values()])
    figure = Drawing(figsize=(WIDTH, 1.2 + 0.32 * len(contenders)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    most = max(1.0, float(table.max()))
    axes.imshow(table, cmap="OrRd", norm=PowerNorm(0.5, 0.0, most), aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        strong = (value / most) ** 0.5 > READABLE
        axes.text(
            column, row, f"{value:.1f}" if value < 99.95 else "100", ha="center", va="center",
            fontsize=8, color="white" if strong else INK,
        )  # fmt: skip
    axes.set_yticks(range(len(contenders)), [_label(each) for each in contenders], fontsize=9)
    unit = center.cpu_per_core
    names = [
        f"{center.flavor_cpu[k] / unit:g}"
        + (" + " + f"{center.flavor_cpu[k] / unit:g}") * int(center.flavor_nodes[k] == 2)
        + f"\n{100 * asked[k] / asked.sum():.0f} %"
        for k in order
    ]
    axes.set_xticks(range(len(order)), names, fontsize=8)
    axes.set_xlabel(
        "cores of a VM (on both NUMA nodes: a + b); share of the core-hours", fontsize=9
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return Picture(
        "What is rejected, by flavor",
        f"{one.name}: rejected % of the core-hours that each flavor asked for, all worlds "
        "together. Large VMs are turned away first, as the free cores lie scattered; a policy "
        "that keeps room for them pays with small ones.",
        png(figure),
        result="Of the largest flavor are rejected: "
        + "; ".join(
            f"{_label(each)} {value:.1f} %"
            for each, value in zip(contenders, table[:, -1], strict=True)
        )
        + ".",
    )


def _host_map(
    one: Group, players: Sequence[Contender], found: Mapping[str, list[Course]]
) -> Picture:
    """Draw how many hosts have how many free cores on their two nodes, at first and at last."""
    center = one.center
    cores = -(-int(center.numa_cpu.max()) // center.cpu_per_core)
    step = -(-(cores + 1) // MOST_CELLS)
    side = cores // step + 1
    maps = np.zeros((len(players), 2, side, side))
    slots = np.zeros((len(players), 2))
    for at, each in enumerate(players):
        for course in found[each.name]:
            free = np.sort(course.free // center.cpu_per_core, axis=2) // step
            for when in (0, 1):
                np.add.at(maps[at, when], (free[when, :, 0], free[when, :, 1]), 1.0)
                whole = course.free[when] // (FRAGMENT_CORES * center.cpu_per_core)
                slots[at, when] += whole.sum() / len(found[each.name])
        maps[at] /= len(found[each.name])
    figure = Drawing(figsize=(WIDTH, 4.3 * len(players)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(players), 2, squeeze=False)
    norm = PowerNorm(0.4, 0.0, max(1.0, float(maps.max())))
    image = None
    for (at, when), axes in np.ndenumerate(panels):
        some = np.where(maps[at, when] > 0, maps[at, when], np.nan)
        edges = (-step / 2, side * step - step / 2)
        image = axes.imshow(
            some, origin="lower", cmap="viridis_r", norm=norm, extent=(*edges, *edges)
        )
        for slot in range(FRAGMENT_CORES, cores + 1, FRAGMENT_CORES):
            axes.axvline(slot - 0.5, color=INK, lw=0.6, ls=":")
            axes.axhline(slot - 0.5, color=INK, lw=0.6, ls=":")
        axes.set_facecolor("#f7f8fa")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_title(
            f"{_label(players[at])}, {('before', 'after')[when]}: "
            f"{slots[at, when]:.0f} free 16-core slots", fontsize=10, loc="left",
        )  # fmt: skip
        axes.set_ylabel("free cores, the fuller node", fontsize=8)
        axes.set_xlabel("free cores, the other node", fontsize=8)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, fraction=0.025, pad=0.01)
        bar.set_label("hosts, mean over worlds", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return Picture(
        "Hosts by their free cores, before and after",
        f"{one.name}: before is when the VMs of the start have been placed, after is the "
        "horizon. The corner below on the left holds full hosts, the one above on the right empty "
        "ones. Past a dotted line a node has one more whole 16-core slot: hosts just past lines "
        "waste little, those just before them most.",
        png(figure),
        result="Free 16-core slots, before and after: "
        + "; ".join(
            f"{_label(each)} {first:.0f} and {last:.0f}"
            for each, (first, last) in zip(players, slots, strict=True)
        )
        + ".",
    )


def _animation(
    one: Group, players: Sequence[Contender], instances: Mapping[str, DataCenter]
) -> list[Picture]:
    """Draw the last day of a world, the best agent beside the best solver; none of many hosts."""
    if one.center.n_pms > READABLE_PMS:
        return []
    runs = {(row.instance_hash, row.seed, row.contender): row for row in one.rows}
    names = [each.name for each in players]
    worlds = sorted({key[:2] for key in runs})
    world = next((key for key in worlds if all((*key, name) in runs for name in names)), None)
    if world is None:
        return []
    center = instances[world[0]]
    times = moments(center, max(0.0, center.horizon_h - DAY_H), FRAMES)
    films = [
        [
            frame(static, state, FRAME_SIZE)
            for static, state in follow(center, runs[*world, name], times)
        ]
        for name in names
    ]
    stills = [_still(images, players) for images in zip(*films, strict=True)]
    palette = stills[-1].quantize(COLORS)
    some = [still.quantize(palette=palette, dither=Image.Dither.NONE) for still in stills]
    stream = io.BytesIO()
    some[0].save(stream, "GIF", save_all=True, append_images=some[1:], duration=FRAME_MS, loop=0)
    return [
        Picture(
            "A day in the data center",
            f"{center.name}, a world that both met: each host is a pair of bars, a bar for each "
            "NUMA node, with its VMs from the bottom up (darker is larger), then whole free "
            "16-core slots in green and other free cores in orange. T is the hour, R the rejected "
            "% so far, S the migrations.",
            stream.getvalue(),
            (world[0],),
            "Rejected in the whole world: "
            + "; ".join(f"{name} {runs[*world, name].objective:.2f} %" for name in names)
            + ".",
        )
    ]


def _still(images: Sequence[np.ndarray], players: Sequence[Contender]) -> Image.Image:
    """Put the images of a moment side by side, each under its contender's name."""
    width, height = FRAME_SIZE
    still = Image.new("RGB", (width * len(images), height + CAPTION), "white")
    draw = ImageDraw.Draw(still)
    for at, (image, each) in enumerate(zip(images, players, strict=True)):
        draw.text((at * width + 6, 4), _label(each), INK, ImageFont.load_default(LETTERS))
        still.paste(Image.fromarray(image), (at * width, CAPTION))
        if at:
            draw.line([(at * width, 0), (at * width, height + CAPTION)], RULE, 2)
    return still
