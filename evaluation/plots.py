"""Draw the report's plots as SVG text: gaps against seconds, and anytime curves."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .statistics import Standing, anytime, mean, per_instance, time_grid
from .table import Scored
from .table import gap as gap_between

# Okabe and Ito's colors without yellow, then ten that differ from them and from each other by at
# least 0.11 in OKLab, among them one dark green and one olive.
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255",
    "#0B4A22", "#8F9400", "#A040F0", "#5A1E00", "#222222", "#F0325A", "#2A3CE0", "#B0A8A0",
)  # fmt: skip
MARKERS = "osD^vPX*<>phH8d"
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.2)))  # of contenders, by their colors
LABEL_WIDTH = 0.15  # share of the axis that is left free for labels
SIZE = (9.2, 4.1)  # of a plot, inches
APART = 12.0  # least distance of two marks, points
# A gap's axis is linear up to this many %, below which no gap decides, and logarithmic above.
LINEAR_TO = 0.1
GAPS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # that have a tick, %; then powers of ten
ORACLE = " (oracle)"  # suffix of oracles' labels, which come last in a legend
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#333c48",
    "xtick.color": "#5a6472",
    "ytick.color": "#5a6472",
    "axes.grid": True,
    "grid.color": "#e6e9ee",
    "svg.hashsalt": "sysopt-gym",
    "svg.fonttype": "none",
}


def colors(names: Sequence[str], shown: Collection[str]) -> dict[str, str]:
    """Choose a color for each contender, the same in every report if possible.

    It is the palette's entry at the contender's index among all names; if another contender has
    that, the first free entry; if none is free, its own entry again.

    Args:
        names: all contenders of the family, in the registry's order.
        shown: the contenders that need a color.

    Returns:
        Contender -> color.
    """
    chosen: dict[str, str] = {}
    for place, name in enumerate(names):
        if name in shown:
            own = PALETTE[place % len(PALETTE)]
            free = [color for color in (own, *PALETTE) if color not in chosen.values()]
            chosen[name] = free[0] if free else own
    return chosen


def anytime_plot(
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str], budget_s: float
) -> str:
    """Draw the mean gap to the best plan against seconds (log), one step curve per contender.

    Oracles are left out, since their seconds do not count.

    Args:
        rows: rows of one family and one objective.
        lines: their standings, in the order of the legend.
        color: contender -> color.
        budget_s: the budget in seconds, a dashed line.

    Returns:
        An <svg> element.
    """
    pyplot = load_pyplot()
    grid = time_grid(rows)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
        drawn = [np.zeros(1)]
        for place, line in enumerate(lines):
            runs = [row for row in rows if row.contender == line.contender and row.curve]
            if not runs or line.role == "oracle":
                continue
            gap = 100 * anytime(runs, grid)
            begun = grid >= min(row.curve[0][0] for row in runs) / 1.05
            ended = grid <= max(max(row.wall_s or 0.0, budget_s) for row in runs)
            shown = begun & ended
            axes.plot(
                grid[shown], gap[shown], drawstyle="steps-post", label=line.contender, lw=1.9,
                color=color[line.contender], ls=_dash(color[line.contender]), alpha=0.95,
                marker=_marker(line, lines), ms=6, markevery=(2 * place % 9, 30),
            )  # fmt: skip
            drawn.append(gap[shown & np.isfinite(gap)])
        _mark_budget(axes, budget_s)
        axes.set_xscale("log")
        _plain_seconds(axes)
        _gap_axis(axes, np.concatenate(drawn))
        axes.set_xlabel("seconds since the instance was given")
        _legend(axes)
        return as_svg(figure)


def cost_plot(
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str], budget_s: float
) -> str:
    """Draw the mean gap to the best plan with its interval against median wall seconds (log).

    Each contender is a mark; a mark that would lie on another is moved sideways, with a line to its
    seconds. Oracles are dashed lines, since their seconds do not count.

    Args:
        rows: rows of one family and one objective.
        lines: their standings, in the order of the legend.
        color: contender -> color.
        budget_s: the budget in seconds, a dashed line.

    Returns:
        An <svg> element.
    """
    pyplot = load_pyplot()
    gaps = {line.contender: gap for line in lines if line.wall_s and (gap := _gap(rows, line))}
    shown = [line for line in lines if line.contender in gaps]
    ends = np.array([gaps[line.contender] for line in shown] or [(0.0, 0.0, 0.0)])
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
        axes.set_xscale("log")
        nothing = _gap_of_nothing(rows)
        _gap_axis(axes, np.append(ends, [] if nothing is None else nothing))
        _mark_budget(axes, budget_s)
        rivals = [line for line in shown if line.role != "oracle"]
        seconds = [line.wall_s or budget_s for line in rivals]
        low, high = min([budget_s, *seconds]) / 1.5, max([budget_s, *seconds]) * 1.5
        axes.set_xlim(low * (low / high) ** LABEL_WIDTH, high)
        middles = [gaps[line.contender][0] for line in rivals]
        moved = _apart(axes, np.array([seconds, middles]).T)
        for line, true, x in zip(rivals, seconds, moved, strict=True):
            middle, least, most = gaps[line.contender]
            style: dict[str, Any] = {"color": color[line.contender], "zorder": 3}
            axes.errorbar(
                x, middle, yerr=[[max(middle - least, 0.0)], [max(most - middle, 0.0)]],
                fmt=_marker(line, lines), ms=8, capsize=3, lw=1.2,
                label=f"{line.contender}  {middle:{'.2g' if middle < 99.5 else '.0f'}} %", **style,
            )  # fmt: skip
            axes.plot([true, x], [middle, middle], lw=0.8, **style)
        for line in shown:
            if line.role == "oracle":
                middle, least, most = gaps[line.contender]
                name = f"{line.contender}{ORACLE}"
                shade = color[line.contender]
                axes.axhline(middle, color=shade, lw=1.6, ls=(0, (5, 2)), label=name)
                axes.axhspan(least, most, color=shade, alpha=0.08, lw=0)
        if nothing is not None:
            axes.axhline(nothing, color="#8a94a3", lw=1, ls=":")
            axes.annotate(
                "doing nothing", (0.0, nothing), xycoords=("axes fraction", "data"),
                xytext=(4, 3), textcoords="offset points", color="#5a6472",
            )  # fmt: skip
        _plain_seconds(axes)
        axes.set_xlabel("median wall seconds a plan")
        _legend(axes)
        return as_svg(figure)


def _gap(rows: Sequence[Scored], line: Standing) -> tuple[float, float, float] | None:
    """Return a contender's mean gap to the best plan and the interval's ends, in %, or None."""
    own = [row for row in rows if row.contender == line.contender]
    found = per_instance(own, lambda row: row.gap_to_best).values()
    gaps = [value for value in found if not np.isnan(value)]
    if not gaps:
        return None
    gap = mean(gaps)
    low, high = (gap.value if end is None else end for end in (gap.low, gap.high))
    return 100 * gap.value, 100 * low, 100 * high


def _gap_of_nothing(rows: Sequence[Scored]) -> float | None:
    """Return the null plan's mean gap to the best plan in %, or None."""
    worlds = {row.world: row for row in rows if row.best is not None}.values()
    gaps = [gap_between(row.null_objective, row.best or 0.0, row.sign) for row in worlds]
    found = float(np.mean(gaps)) if gaps else np.nan
    return None if np.isnan(found) else 100 * found


def _gap_axis(axes: Any, gaps: np.ndarray) -> None:
    """Make the upright axis one of gaps in %: logarithmic, with room for all of them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = float(np.min(gaps, initial=0.0)), float(np.max(gaps, initial=LINEAR_TO))
    axes.set_yscale("symlog", linthresh=LINEAR_TO, linscale=0.5)
    axes.set_ylim(min(-0.25 * LINEAR_TO, 1.5 * low), 1.5 * high)
    powers = [10.0**power for power in range(3, 13)]
    ticks = [tick for tick in (*GAPS, *powers) if tick <= 1.5 * high]
    ticks += [-tick for tick in (*GAPS[1:], *powers) if tick <= -1.5 * low]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(f"mean gap to the best plan, %\n(logarithmic above {LINEAR_TO:g} %)")


def _apart(axes: Any, places: np.ndarray) -> list[float]:
    """Move marks sideways until each is APART points from all others.

    Args:
        axes: whose scales and limits are set.
        places: float64 [n, 2], marks in data; the first keep their places.

    Returns:
        The marks' new x, in data.
    """
    if not len(places):
        return []
    # The plot's inside is about so large; the rest is letters.
    size = 72 * np.array(SIZE) * (0.7, 0.8)
    scales = axes.transScale + axes.transLimits
    points = scales.transform(places) * size
    for at, point in enumerate(points):
        sideways = point + np.array([[step, 0.0] for step in _steps(4 * len(points))])
        away = np.linalg.norm(sideways[:, None] - points[None, :at], axis=-1) >= APART
        inside = (sideways[:, 0] > 0.0) & (sideways[:, 0] < size[0])
        free = np.flatnonzero(away.all(axis=1) & inside)
        points[at] = sideways[free[0] if len(free) else 0]
    return [float(x) for x in scales.inverted().transform(points / size)[:, 0]]


def _steps(count: int) -> list[float]:
    """Return distances to try, points: 0, then ever farther to the right and to the left."""
    return [0.0] + [way * APART * step / 2 for step in range(1, count) for way in (1, -1)]


def _mark_budget(axes: Any, budget_s: float) -> None:
    axes.axvline(budget_s, color="#333c48", lw=1, ls=(0, (4, 3)))
    axes.annotate(
        f"budget {budget_s:g} s", (budget_s, 1.0), xycoords=("data", "axes fraction"),
        xytext=(-4, -2), textcoords="offset points", ha="right", va="top", color="#333c48",
    )  # fmt: skip


def _legend(axes: Any) -> None:
    found = zip(*axes.get_legend_handles_labels(), strict=True)
    entries = sorted(found, key=lambda entry: str(entry[1]).endswith(ORACLE))
    if entries:
        handles, labels = zip(*entries, strict=True)
        axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _marker(line: Standing, lines: Sequence[Standing]) -> str:
    names = sorted(other.contender for other in lines)
    return MARKERS[names.index(line.contender) % len(MARKERS)]


def _dash(color: str) -> Any:
    """Return the line style of a color, so that no two lines differ in color alone by little."""
    return DASHES[PALETTE.index(color) % len(DASHES)] if color in PALETTE else DASHES[0]


def _plain_seconds(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def load_pyplot() -> Any:
    """Import matplotlib without a window."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["text.parse_math"] = False  # dollars in names are no formulas
    from matplotlib import pyplot

    return pyplot


def as_svg(figure: Any) -> str:
    """Convert a figure to an <svg> element that scales with the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    load_pyplot().close(figure)
    text = stream.getvalue()
    return text[text.index("<svg") :]
