"""Draw the plots of a training report as SVG text: learning curves, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.printable import labels
from .plots import PALETTE, STYLE, as_svg, load_pyplot
from .training_curves import AXIS_LABELS, Axis, Curve

WIDTH, HEIGHT = 10.4, 3.5  # inches of a plot over both axes
FEW_POINTS = 40  # up to so many, each point of a curve has a mark
SOFT, INK = "#8a94a3", "#333c48"
BESIDE_LEVELS = "#111827", "#8a94a3", "#4b5563"  # curves where the levels have the palette's colors
PARTS = (
    "planning", "sampling", "sampling: environment", "sampling: network", "sampling: search",
    "reanalysis", "replay buffer", "learning", "weights", "validation", "rest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot of learning curves over both axes.

    Attributes:
        y_label: what the curves show, with unit and direction.
        curves: axis -> curves over it.
        levels: name -> height of a horizontal line.
        best: axis -> the point of the exported network, or of several.
        colors: level -> color.
    """

    y_label: str
    curves: Mapping[Axis, Sequence[Curve]]
    levels: Mapping[str, float]
    best: Mapping[Axis, Sequence[tuple[float, float]]]
    colors: Mapping[str, str]


def learning_plot(panels: Sequence[Panel]) -> str:
    """Draw panels one below the other, over the first axis on the left, the second on the right.

    Args:
        panels: at least one.

    Returns:
        An <svg> element.
    """
    pyplot = load_pyplot()
    count = len(panels)
    with pyplot.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            count, 2, figsize=(WIDTH, HEIGHT if count == 1 else 0.5 + 1.6 * count),
            layout="constrained", sharex="col", sharey="row", squeeze=False,
        )  # fmt: skip
        for row, panel in zip(grid, panels, strict=True):
            for axes, axis in zip(row, panel.curves, strict=True):
                _draw(axes, panel, axis)
                if panel is panels[-1]:
                    axes.set_xlabel(AXIS_LABELS[axis])
            row[0].set_ylabel(panel.y_label)
            handles, labels = row[1].get_legend_handles_labels()
            if len(labels) > 1 or panel.levels:
                row[1].legend(
                    handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5),
                    frameon=False, fontsize=8.5,
                )  # fmt: skip
        return as_svg(figure)


def _draw(axes: Any, panel: Panel, axis: Axis) -> None:
    shown = panel.curves[axis]
    shades = BESIDE_LEVELS if panel.levels else PALETTE
    for color, curve in zip(_cycle(shades, len(shown)), shown, strict=True):
        mark = "o" if len(curve.x) <= FEW_POINTS else None
        axes.plot(
            curve.x,
            curve.y,
            color=color,
            lw=1.8,
            marker=mark,
            ms=3.5,
            label=_label(curve.label),
            zorder=3,
        )
        if (curve.low != curve.high).any():
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, lw=0)
    top = _top(shown, panel.levels)
    for name, level in panel.levels.items():
        beyond = " (above)" if level > top else ""
        axes.plot(
            [], [], color=panel.colors.get(name, SOFT), lw=1.2, ls=(0, (4, 2)),
            label=f"{_label(name)}  {level:.4g}{beyond}",
        )  # fmt: skip
        if not beyond:
            axes.axhline(level, color=panel.colors.get(name, SOFT), lw=1.2, ls=(0, (4, 2)))
    points = panel.best.get(axis, ())
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(
            x, y, ls="", marker="*", ms=13, mfc="#ffd23f", mec=INK, mew=0.9, zorder=4,
            label="exported",
        )  # fmt: skip


def _label(name: str) -> str:
    return labels([name])[name]


def _top(shown: Sequence[Curve], levels: Mapping[str, float]) -> float:
    """Return the height up to which levels are drawn: one far above would flatten the curves."""
    highest = max((float(curve.high.max()) for curve in shown), default=0.0)
    lowest = min([*levels.values(), *(float(curve.low.min()) for curve in shown)], default=0.0)
    return highest + 0.3 * (highest - lowest)


def _cycle(shades: Sequence[str], count: int) -> list[str]:
    return [shades[number % len(shades)] for number in range(count)]


def time_plot(bars: Mapping[str, Mapping[str, float]]) -> str:
    """Draw where the time went, one bar per stage of a run.

    Args:
        bars: name of the bar -> part -> wall seconds.

    Returns:
        An <svg> element.
    """
    pyplot = load_pyplot()
    known = [part for part in PARTS if any(part in bar for bar in bars.values())]
    others = [part for bar in bars.values() for part in bar if part not in PARTS]
    parts = [*known, *dict.fromkeys(others)]
    with pyplot.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure, axes = pyplot.subplots(
            figsize=(WIDTH, 1.25 + 0.42 * len(bars)), layout="constrained"
        )
        names = list(bars)
        left = [0.0] * len(names)
        for color, part in zip(_cycle(PALETTE, len(parts)), parts, strict=True):
            seconds = [bars[name].get(part, 0.0) for name in names]
            shade = "#d5dae1" if part == "rest" else color
            axes.barh(names, seconds, left=left, height=0.6, color=shade, label=part)
            left = [start + more for start, more in zip(left, seconds, strict=True)]
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.set_xlabel("wall seconds")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5)
        return as_svg(figure)
