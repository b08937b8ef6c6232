"""Draw the report's pictures of federated training: curves, rates, gains over FedAvg, rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.federated_lr.instance import Federation
from .common import INK, RULE, plain, png
from .federated_figures import (
    FEDAVG,
    MOST_WORK,
    Contender,
    Grid,
    Group,
    axes_of_grid,
    choose,
    courses,
    gains,
    group,
    played,
    rates,
    rounds_to_fedavg,
    worlds,
)

MOST_GROUPS = 4
WIDTH, DPI = 10.0, 110  # inches, dots per inch
PANEL, LINE = 2.7, 0.25  # heights of a panel and of a contender's line, inches
GRIDS_ABREAST = 4
LEAST_SPAN, WIDE = 4.0, 50.0  # least factor of a logarithmic axis; factor above which it is wide
MARGIN, LOWEST = 1.1, 1e-9  # factor beyond the data at both ends; least share of the largest
DASHES = ("-", ":", "-.")  # line styles of contenders that share a color
STRONGEST = 90  # percentile of the gains that has the full color
LEAST_SCALE = 2.0  # fewest points of accuracy at full color
READABLE = 0.65  # share of full color above which dark letters cannot be read
SOFT = "#5a6472"


def pictures(
    rows: Sequence[Row], instances: Mapping[str, Federation], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw a comparison, with at most the four data sets that have most instances.

    Args:
        rows: rows of results; failed runs count only in the picture of rounds.
        instances: instance hash -> federation with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        Validation accuracy and loss over the rounds, the rates chosen, for each grid of initial
        rates the gains over FedAvg, and the rounds to FedAvg's accuracy. None if no run is left.
    """
    groups = [one for one in group(rows, instances) if any(map(played, one.rows))]
    if not groups:
        return []
    contenders = choose(groups, colors)
    style = _styles(contenders)
    shown = groups[:MOST_GROUPS]
    grids = [(one, gains(one, contenders)) for one in shown if axes_of_grid(one)]
    return [
        *_curves(shown, len(groups), contenders, style),
        _rates(shown, contenders, style),
        *(_gains(one, found) for one, found in grids if len(found) > 1),
        _rounds(groups, colors),
    ]


def _styles(contenders: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    """Return how each contender's lines are drawn; dashes mark oracles and equal colors."""
    styles: dict[str, dict[str, Any]] = {}
    for one in contenders:
        taken = sum(held["color"] == one.color for held in styles.values())
        dash: Any = (0, (5, 2)) if one.oracle else DASHES[taken % len(DASHES)]
        styles[one.name] = {"color": one.color, "ls": dash, "lw": 1.7}
    return styles


def _label(one: Contender) -> str:
    return f"{one.name} (oracle)" if one.oracle else one.name


def _curves(
    shown: Sequence[Group],
    count: int,
    contenders: Sequence[Contender],
    style: Mapping[str, Mapping[str, Any]],
) -> list[Picture]:
    """Draw accuracy and loss, a row of panels per data set; none if replays take too long."""
    share = MOST_WORK / len(shown)
    chosen = [(one, worlds(one, len(contenders), share)) for one in shown]
    drawn = [(one, some) for one, some in chosen if some]
    if not drawn:
        return []
    figure, panels = _panels([one for one, _ in drawn], 2)
    told, ended = [], []
    for (one, some), (left, right) in zip(drawn, panels, strict=True):
        found = courses(one, contenders, some)
        x = np.arange(one.federation.rounds + 1)
        ends = [f"{name} {np.median(each[:, -1, 1]):.3f}" for name, each in found.items()]
        ended.append(f"{one.name}: {'; '.join(ends)}.")
        for name, course in found.items():
            _band(left, x, course[..., 1], style[name])
            _band(right, x, course[..., 0], style[name])
        left.set_ylabel("validation accuracy")
        right.set_ylabel("validation loss")
        _log_scale(right)
        runs = len({(row.instance_hash, row.seed) for row in one.rows if played(row)})
        told.append(f"{len(some)} of {runs} of {one.name}")
    _legend(figure, contenders, style)
    sets = f" Drawn are {len(drawn)} of {count} data sets." if len(drawn) < count else ""
    return [
        Picture(
            "Accuracy and loss over the rounds",
            "As the environment reports them, of the validation rows. Lines are medians over pairs "
            f"of an instance and a seed ({', '.join(told)}, evenly chosen), bands reach from the "
            "lower quartile to the upper. Dashed is an oracle, which chose its rates in hindsight; "
            f"a run that diverged stays at accuracy 0.{sets}",
            png(figure),
            result=f"Median accuracy after the last round, {' '.join(ended)}",
        )
    ]


def _rates(
    shown: Sequence[Group],
    contenders: Sequence[Contender],
    style: Mapping[str, Mapping[str, Any]],
) -> Picture:
    figure, panels = _panels(shown, 3)
    for one, line in zip(shown, panels, strict=True):
        x = np.arange(1, one.federation.rounds + 1)
        for contender in contenders:
            table = rates(one, contender)
            for at, axes in enumerate(line):
                _band(axes, x, table[..., at], style[contender.name])
        for axes, what in zip(
            line, ("alpha, server", "beta, clients", "alpha x beta"), strict=True
        ):
            _log_scale(axes)
            axes.set_ylabel(what)
    _legend(figure, contenders, style)
    return Picture(
        "The learning rates chosen",
        "Round t's update is made by clients at beta and applied at alpha. Lines are medians over "
        "all instances and seeds, bands reach from the lower quartile to the upper. These are the "
        "rates of the orders: adaptive server rules (fedadam and its like) divide by what they "
        "have seen, so that their alpha is no multiple of FedAvg's, and local rules (fedhyper_cl, "
        "hypergradient) move on from beta in each client, or do without it.",
        png(figure),
        result="Alpha and beta of the first round and the last: "
        + "; ".join(f"{_label(each)} {_ends(rates(shown[0], each))}" for each in contenders)
        + ".",
    )


def _ends(table: np.ndarray) -> str:
    """Say the median alpha and beta of the first and last round, of rates float64 [n, T, 3]."""
    table = table[np.isfinite(table).all(axis=(1, 2))]
    if not len(table):
        return "none that ended"
    first, last = (np.median(table[:, at, :2], axis=0) for at in (0, -1))
    return f"{first[0]:.3g} and {first[1]:.3g}, then {last[0]:.3g} and {last[1]:.3g}"


def _gains(one: Group, grids: Sequence[Grid]) -> Picture:
    """Draw FedAvg's accuracy, then a heat map of gains for each contender."""
    ticks = axes_of_grid(one)
    assert ticks is not None
    lines = -(-len(grids) // GRIDS_ABREAST)
    figure = Figure(figsize=(WIDTH, 0.4 + 2.35 * lines), dpi=DPI, layout="constrained")
    panels = figure.subplots(lines, GRIDS_ABREAST, squeeze=False, sharex=True, sharey=True)
    strength = np.abs(np.concatenate([grid.gains.ravel() for grid in grids[1:]]))
    most = max(LEAST_SCALE, float(np.nanpercentile(strength, STRONGEST)))
    image = None
    for axes, grid in zip(panels.flat, grids, strict=False):
        plain = grid.contender.name == FEDAVG
        if plain:
            axes.imshow(grid.gains, cmap="Greys", vmin=0, vmax=200, aspect="auto")
        else:
            image = axes.imshow(grid.gains, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        axes.set_facecolor(RULE)  # color of cells without runs
        for (row, column), value in np.ndenumerate(grid.gains):
            strong = not plain and abs(value) > READABLE * most
            axes.text(
                column, row, _points(value, plain), ha="center", va="center", fontsize=7,
                color="white" if strong else INK,
            )  # fmt: skip
        title = f"{FEDAVG}: accuracy, %" if plain else _label(grid.contender)
        axes.set_title(title, fontsize=9)
        for axis, places in ((axes.xaxis, ticks[1]), (axes.yaxis, ticks[0])):
            axis.set_ticks(range(len(places)), [f"{rate:g}" for rate in places], fontsize=7)
    for axes in panels.flat[len(grids) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("initial beta", fontsize=8)
    for axes in panels.flat[max(0, len(grids) - GRIDS_ABREAST) : len(grids)]:
        axes.set_xlabel("initial alpha", fontsize=8)
        axes.tick_params(labelbottom=True)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, extend="both", fraction=0.025, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("points above FedAvg", fontsize=8)
    final = one.federation.objective == "final_accuracy"
    what = "final test accuracy" if final else "test accuracy, mean over the rounds"
    return Picture(
        f"{one.name}: gain over FedAvg by initial rates",
        f"Grey: FedAvg's {what}, in percent. The others: points above FedAvg's in the same cell, "
        "means over the seeds (blue better, red worse; the full color stands for the strongest "
        "tenth; empty where no run counts). Rows are initial client rates, columns initial server "
        "rates, as in FedHyper's figure. An oracle's gain is what hindsight would have brought.",
        png(figure),
        result="Mean points above FedAvg: "
        + "; ".join(f"{_label(each.contender)} {np.nanmean(each.gains):+.1f}" for each in grids[1:])
        + ".",
    )


def _points(value: float, plain: bool) -> str:
    """Format a number with one decimal, signed if it is a difference; NaN as an empty text."""
    if np.isnan(value):
        return ""
    return f"{abs(value):.1f}" if plain or abs(value) < 0.05 else f"{value:+.1f}"


def _rounds(groups: Sequence[Group], colors: Mapping[str, str]) -> Picture:
    """Draw the speed-ups to FedAvg's final accuracy, a line per contender, a panel per data set."""
    panels: list[tuple[str, Sequence[Group]]] = []
    if len(groups) > 1:
        panels.append((f"all {len(groups)} data sets", groups))
    panels += [(one.name, [one]) for one in groups if len(groups) == 1 or len(one.rates) > 1]
    panels = panels[: MOST_GROUPS + 1]
    every = rounds_to_fedavg(groups, colors)
    order = [each.contender for each in every]
    height = 1.1 + LINE * len(order)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    for axes, (title, some) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        found = {each.contender.name: each for each in rounds_to_fedavg(some, colors)}
        top = max(2.0, *(each.high for each in found.values()))
        axes.set_xscale("log")
        axes.set_xlim(0.75, top * 1.15)
        axes.axvspan(0.75, 1.0, color="#f5f7fa", lw=0)
        for y, contender in enumerate(order):
            each = found.get(contender.name)
            if each is None:
                continue
            ends = [max(part, 0.86) for part in (each.low, each.high)]
            axes.plot(ends, [y, y], color=contender.color, lw=2.2, alpha=0.45)
            fill = "white" if contender.oracle else contender.color
            axes.plot(
                max(each.middle, 0.86), y, "o", ms=6, color=contender.color, markerfacecolor=fill
            )
            speed = f"{each.middle:.1f}x" if each.middle else "never"
            axes.annotate(
                f"{speed}  ({each.reached:.0%})", (1.02, y), xycoords=("axes fraction", "data"),
                va="center", fontsize=8, color=INK, annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(range(len(order)), [_label(one) for one in order], fontsize=8)
        axes.set_ylim(len(order) - 0.4, -0.6)
        steps = [step for step in (1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 1000) if step <= top]
        axes.set_xticks(steps, [f"{step:g}" for step in steps], fontsize=8)
        axes.minorticks_off()
        axes.annotate(
            "never", (0.865, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
            fontsize=7, color=SOFT,
        )  # fmt: skip
        axes.set_title(title, fontsize=9, pad=12)
        axes.set_xlabel("all rounds over rounds needed", fontsize=8)
        plain(axes)
        axes.tick_params(axis="y", length=0)
    return Picture(
        "Rounds to FedAvg's final accuracy",
        "How many times fewer rounds a contender needs to reach, for the first time, the test "
        "accuracy that FedAvg ends with in the same world: medians over instances and seeds, with "
        "quartiles; in brackets the share of runs that get there at all. FedAvg itself gets there "
        "early where its accuracy no longer grows. A hollow mark is an oracle's. Where FedAvg "
        "diverges it ends with 0, which the first round reaches.",
        png(figure),
        result="Times fewer rounds, and share of runs that get there: "
        + "; ".join(
            f"{_label(each.contender)} {each.middle:.1f}, {each.reached:.0%}" for each in every
        )
        + ".",
    )


def _panels(groups: Sequence[Group], abreast: int) -> tuple[Any, Any]:
    """Make a row of panels for each group, under its name."""
    figure = Figure(figsize=(WIDTH, 0.7 + PANEL * len(groups)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(groups), abreast, squeeze=False)
    for one, line in zip(groups, panels, strict=True):
        line[0].set_title(one.name, fontsize=10, loc="left")
        for axes in line:
            axes.set_xlabel("round", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.margins(x=0.01)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            plain(axes)
    return figure, panels


def _log_scale(axes: Any) -> None:
    """Make an axis logarithmic, over at least a factor LEAST_SPAN, with plain numbers at ticks."""
    _, high = axes.dataLim.intervaly
    low = max(axes.dataLim.intervaly[0], LOWEST * high)  # a loss may be 0
    spread = max(MARGIN, (LEAST_SPAN * low / high) ** 0.5)
    axes.set_ylim(low / spread, high * spread)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > WIDE * low else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _band(axes: Any, x: np.ndarray, table: np.ndarray, style: Mapping[str, Any]) -> None:
    """Draw median and quartiles of runs, float64 [n, len(x)], ignoring NaN."""
    some = np.isfinite(table).any(axis=0)
    if not len(table) or not some.any():
        return
    low, middle, high = np.nanpercentile(table[:, some], (25, 50, 75), axis=0)
    axes.plot(x[some], middle, **style)
    axes.fill_between(x[some], low, high, color=style["color"], alpha=0.1, lw=0)


def _legend(
    figure: Any, contenders: Sequence[Contender], style: Mapping[str, Mapping[str, Any]]
) -> None:
    lines = [Line2D([], [], **style[one.name]) for one in contenders]
    figure.legend(
        lines, [_label(one) for one in contenders], loc="outside lower center", ncols=4,
        frameon=False, fontsize=9, handlelength=2.6,
    )  # fmt: skip
