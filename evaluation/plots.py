"""Draw the report's plots as SVG text: anytime curves, and objective against seconds."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .headline import better
from .statistics import Standing, anytime, time_grid
from .table import Scored

# Okabe and Ito's colors without yellow, then Tol's muted ones: told apart by color-blind readers.
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255",
    "#117733", "#999933", "#AA4499", "#44AA99", "#661100", "#444444", "#88CCEE", "#888888",
)  # fmt: skip
MARKERS = "osD^vPX*<>phH8d"
LABEL_WIDTH = 0.15  # share of the axis that is left free for labels
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
        figure, axes = pyplot.subplots(figsize=(9.2, 4.1), layout="constrained")
        top = 0.0
        for line in lines:
            runs = [row for row in rows if row.contender == line.contender and row.curve]
            if not runs or line.role == "oracle":
                continue
            gap = 100 * anytime(runs, grid)
            begun = grid >= min(row.curve[0][0] for row in runs) / 1.05
            ended = grid <= max(max(row.wall_s or 0.0, budget_s) for row in runs)
            shown = begun & ended
            axes.step(
                grid[shown], gap[shown], where="post", label=line.contender, lw=1.9,
                color=color[line.contender], alpha=0.95,
            )  # fmt: skip
            mark = np.flatnonzero(shown)[:1]
            axes.plot(
                grid[mark], gap[mark], marker=_marker(line, lines), color=color[line.contender]
            )
            top = max(top, float(np.nanmax(gap[shown], initial=0.0)))
        axes.axvline(budget_s, color="#333c48", lw=1, ls=(0, (4, 3)))
        axes.annotate(
            f"budget {budget_s:g} s", (budget_s, 1.0), xycoords=("data", "axes fraction"),
            xytext=(-4, -2), textcoords="offset points", ha="right", va="top", color="#333c48",
        )  # fmt: skip
        axes.set_xscale("log")
        _plain_seconds(axes)
        axes.set_ylim(bottom=min(0.0, -0.02 * top), top=1.06 * top or 1.0)
        axes.set_xlabel("seconds since the instance was given")
        axes.set_ylabel("mean gap to the best plan, %")
        _legend(axes)
        return as_svg(figure)


def cost_plot(
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str], budget_s: float
) -> str:
    """Draw the IQM objective with its interval against median wall seconds (log).

    Each contender is a mark; oracles are dashed lines, since their seconds do not count.

    Args:
        rows: rows of one family and one objective.
        lines: their standings, in the order of the legend.
        color: contender -> color.
        budget_s: the budget in seconds, a dashed line.

    Returns:
        An <svg> element.
    """
    pyplot = load_pyplot()
    first = rows[0]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9.2, 4.1), layout="constrained")
        shown = [line for line in lines if line.wall_s and not np.isnan(line.objective.value)]
        for line in shown:
            value = line.objective.value
            low = value if line.objective.low is None else line.objective.low
            high = value if line.objective.high is None else line.objective.high
            if line.role == "oracle":
                axes.axhline(
                    value, color=color[line.contender], lw=1.6, ls=(0, (5, 2)),
                    label=f"{line.contender}{ORACLE}",
                )  # fmt: skip
                axes.axhspan(low, high, color=color[line.contender], alpha=0.08, lw=0)
                continue
            axes.errorbar(
                line.wall_s, value, yerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]],
                fmt=_marker(line, lines), ms=8, color=color[line.contender], capsize=3, lw=1.2,
                label=line.contender, zorder=3,
            )  # fmt: skip
        nothing = float(np.mean([row.null_objective for row in rows]))
        if not np.isnan(nothing):
            axes.axhline(nothing, color="#8a94a3", lw=1, ls=":")
            axes.annotate(
                "doing nothing", (0.0, nothing), xycoords=("axes fraction", "data"),
                xytext=(4, 3), textcoords="offset points", color="#5a6472",
            )  # fmt: skip
        axes.axvline(budget_s, color="#333c48", lw=1, ls=(0, (4, 3)))
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(low * (low / high) ** LABEL_WIDTH)
        _plain_seconds(axes)
        axes.set_xlabel("median wall seconds a plan")
        unit = f", {first.unit}" if first.unit else ""
        axes.set_ylabel(f"{first.objective_name.replace('_', ' ')}{unit}\n({better(first)})")
        _legend(axes)
        return as_svg(figure)


def _legend(axes: Any) -> None:
    found = zip(*axes.get_legend_handles_labels(), strict=True)
    entries = sorted(found, key=lambda entry: str(entry[1]).endswith(ORACLE))
    if entries:
        handles, labels = zip(*entries, strict=True)
        axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _marker(line: Standing, lines: Sequence[Standing]) -> str:
    names = sorted(other.contender for other in lines)
    return MARKERS[names.index(line.contender) % len(MARKERS)]


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
