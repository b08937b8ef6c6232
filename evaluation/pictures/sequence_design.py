"""Draw the report's pictures of sequence design."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from ...core.contracts import Picture
from ...core.results import Row
from ...datasets.sequence_design.equality import distinct
from ...datasets.sequence_design.instance import DesignTask
from ...datasets.sequence_design.landscapes import open_oracle
from ...envs.sequence_design.proxy import reference_proxy
from ...envs.sequence_design.render import letter_colors
from ...envs.sequence_design.validate import curves, diversity, judged_batch
from .common import DPI, best_per_contender, drawable, plain, png

MOST_TASKS = 4
BY_ROUND = ("best", "median")  # columns of the validator, with @round1 and so on
MOST_LOGOS = 3
MOST_POSITIONS = 64  # longest sequence whose logo is readable
WIDTH, PANEL_HEIGHT = 10.0, 4.2  # inches


class Run(NamedTuple):
    """A run's batch with the proxy's and the oracle's scores.

    Attributes:
        name: name of the contender.
        color: its color in the rest of the report.
        batch: int8 [B, L]; its different designs in the order of the plan, then padding.
        uniques: number of its different designs, at least one.
        believed: float64 [B]; scores predicted by the task's proxy, normalized.
        scores: float64 [B]; the oracle's scores, normalized.
        by_round: float64 [R, 2]; best and median score of what was handed in until the end of each
            round; [0, 2] in tasks of one round.
    """

    name: str
    color: str
    batch: np.ndarray
    uniques: int
    believed: np.ndarray
    scores: np.ndarray
    by_round: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The different designs, int8 [uniques, L]."""
        return self.batch[: self.uniques]


class Group(NamedTuple):
    """The runs on a task.

    Attributes:
        task: the task.
        hash: its content hash, as played.
        runs: all runs.
        best: the best run of each contender, the best contender first.
    """

    task: DesignTask
    hash: str
    runs: list[Run]
    best: list[Run]


def pictures(
    rows: Sequence[Row], instances: Mapping[str, DesignTask], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw at most four tasks of a comparison, those of exact oracles first.

    Args:
        rows: rows of results; plans that are infeasible or without designs are left out.
        instances: instance hash -> task with its settings applied.
        colors: contender -> its color in the rest of the report.

    Returns:
        Best and median score of the first k designs, where there are several rounds those by round,
        proxy against oracle, and diversity against score, a panel per task; and logos of the best
        batches. None if no plan is left.
    """
    feasible = drawable(rows, instances)
    keys = dict.fromkeys(row.instance_hash for row in feasible)
    groups: list[Group] = []
    for key in sorted(keys, key=lambda key: instances[key].estimated):
        own = [row for row in feasible if row.instance_hash == key]
        group = _group(instances[key], own, colors)
        if group.runs and len(groups) < MOST_TASKS:
            groups.append(group)
    if not groups:
        return []
    logos = max(1, MOST_LOGOS // len(groups))
    return [
        _curves(groups, "Best", 0),
        _curves(groups, "Median", 1),
        *_rounds([group for group in groups if group.task.rounds > 1]),
        _scatter(groups),
        _spread(groups),
        *(_logo(group, run) for group in groups for run in group.best[:logos]),
    ]


def _group(task: DesignTask, rows: Sequence[Row], colors: Mapping[str, str]) -> Group:
    """Return the runs with designs; the oracle scores each different design once."""
    judged = [judged_batch(task, np.asarray(row.actions, np.int64)) for row in rows]
    batches = np.concatenate([batch for batch, _ in judged])
    first, group = distinct(batches)
    oracle = open_oracle(task)
    low, high = float(task.scores.min()), float(task.scores.max())
    means, _ = reference_proxy(task).predict(batches[first])
    believed = oracle.normalized(low + means * (high - low))
    scores = np.nan_to_num(oracle.normalized(oracle.score(batches[first])))
    shape = len(rows), task.designs_asked
    believed_of, scores_of = believed[group].reshape(shape), scores[group].reshape(shape)
    runs = {
        (row.contender, row.seed): Run(
            row.contender,
            colors[row.contender],
            batch,
            uniques,
            believed_of[at],
            scores_of[at],
            _by_round(task, row),
        )
        for at, (row, (batch, uniques)) in enumerate(zip(rows, judged, strict=True))
        if uniques
    }
    best = best_per_contender(row for row in rows if (row.contender, row.seed) in runs)
    return Group(
        task,
        rows[0].instance_hash,
        list(runs.values()),
        [runs[row.contender, row.seed] for row in best],
    )


def _by_round(task: DesignTask, row: Row) -> np.ndarray:
    """Return what the validator said of each round; see Run."""
    if task.rounds == 1:
        return np.zeros((0, 2))
    numbers = range(1, task.rounds + 1)
    return np.array([[row.detail[f"{what}@round{r}"] for what in BY_ROUND] for r in numbers])


def _hashes(groups: Sequence[Group]) -> tuple[str, ...]:
    return tuple(group.hash for group in groups)


def _told(groups: Sequence[Group], tell: Callable[[Run], str]) -> str:
    """Say something of each contender's best run, task by task."""
    return " ".join(
        f"{group.task.name}: {'; '.join(f'{run.name} {tell(run)}' for run in group.best)}."
        for group in groups
    )


def _kind(task: DesignTask) -> str:
    return "estimated score" if task.estimated else "score"


def _panels(groups: Sequence[Group], draw: Callable[[Any, Group], None]) -> bytes:
    """Draw a panel for each task, two in a row, and one legend of all contenders."""
    columns = min(2, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * lines), dpi=DPI, layout="constrained")
    handles: dict[str, Any] = {}
    for at, group in enumerate(groups, start=1):
        axes = figure.add_subplot(lines, columns, at)
        draw(axes, group)
        axes.set_title(group.task.name, fontsize=10)
        plain(axes)
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        list(handles.values()), list(handles), loc="outside right upper", frameon=False, fontsize=9
    )
    return png(figure)


def _curves(groups: Sequence[Group], what: str, which: int) -> Picture:
    """Draw one of the two curves that the validator's `curves` returns: 0 best, 1 median."""

    def draw(axes: Any, group: Group) -> None:
        k = np.arange(1, group.task.designs_asked + 1)
        for best in group.best:
            own = [curves(run.scores)[which] for run in group.runs if run.name == best.name]
            axes.plot(k, np.mean(own, axis=0), color=best.color, lw=1.8, label=best.name)
            axes.fill_between(
                k, np.min(own, axis=0), np.max(own, axis=0), color=best.color, alpha=0.15, lw=0
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("k, designs that may be made")
        axes.set_ylabel(f"{what.lower()} {_kind(group.task)} of the first k")

    return Picture(
        f"{what} of the first k designs",
        "What a contender would have got, had it been allowed the first k of its designs, in the "
        "order it handed them in. Lines are means over seeds, bands reach from the worst seed to "
        "the best.",
        _panels(groups, draw),
        _hashes(groups),
        f"{what} of all designs. "
        + _told(groups, lambda run: f"{float(curves(run.scores)[which][-1]):.3g}"),
    )


def _rounds(groups: Sequence[Group]) -> list[Picture]:
    """Draw best and median by round; none if no task has several rounds."""
    if not groups:
        return []

    def draw(axes: Any, group: Group) -> None:
        rounds = np.arange(1, group.task.rounds + 1)
        for best in group.best:
            own = np.array([run.by_round for run in group.runs if run.name == best.name])
            for which, style in enumerate((":", "-")):
                axes.plot(
                    rounds, own[..., which].mean(axis=0), style, color=best.color, lw=1.8,
                    marker="o", ms=4, label=best.name if style == "-" else None,
                )  # fmt: skip
        axes.set_xticks(rounds)
        axes.set_xlabel("rounds measured")
        axes.set_ylabel(f"{_kind(group.task)} of all designs until then")

    return [
        Picture(
            "Best and median by round",
            "Of all designs measured until the end of a round: the median (lines) and the best "
            "(dotted), means over seeds. Where lines rise, later batches are better than the first "
            "ones: the contender has learned from what was measured.",
            _panels(groups, draw),
            _hashes(groups),
            "Median after the first round and the last. "
            + _told(groups, lambda run: f"{run.by_round[0, 1]:.3g} to {run.by_round[-1, 1]:.3g}"),
        )
    ]


def _scatter(groups: Sequence[Group]) -> Picture:
    def draw(axes: Any, group: Group) -> None:
        for run in group.best:
            own = slice(run.uniques)
            axes.scatter(
                run.believed[own], run.scores[own], s=12, alpha=0.6, color=run.color, label=run.name
            )
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="#999999", linewidth=1, linestyle="--")
        axes.set_xlabel("what the task's own proxy expects")
        axes.set_ylabel(f"oracle's {_kind(group.task)}")

    return Picture(
        "The proxy against the oracle",
        "A point is a design of the contender's best run. Below the dashed line the proxy was too "
        "optimistic; where a cloud does not rise to the right, the proxy no longer tells good "
        "designs from bad ones.",
        _panels(groups, draw),
        _hashes(groups),
        "Means of what the proxy expects and what the oracle says. "
        + _told(
            groups,
            lambda run: (
                f"{run.believed[: run.uniques].mean():.3g} and "
                f"{run.scores[: run.uniques].mean():.3g}"
            ),
        ),
    )


def _spread(groups: Sequence[Group]) -> Picture:
    def draw(axes: Any, group: Group) -> None:
        for run in group.best:
            place = diversity(run.own), float(np.median(run.scores))
            axes.scatter(*place, s=60, color=run.color, label=run.name)
            if run.uniques < group.task.designs_asked:
                axes.annotate(
                    f"{run.uniques}", place, xytext=(5, 4), textcoords="offset points", fontsize=8
                )
        axes.set_xlabel("mean number of letters two designs differ in")
        axes.set_ylabel(f"median {_kind(group.task)}")

    return Picture(
        "Diversity against score",
        "The batch of each contender's best run; a number beside it says how many different "
        "designs it holds where these are too few. Up is better; of two batches as high as each "
        "other, the one further right hedges more.",
        _panels(groups, draw),
        _hashes(groups),
        "Letters that designs differ in, and median score. "
        + _told(groups, lambda run: f"{diversity(run.own):.3g}, {np.median(run.scores):.3g}"),
    )


def _logo(group: Group, run: Run) -> Picture:
    """Draw stacks of letters, each letter as high as its share of the position's information."""
    task, common = group.task, ""
    length = min(task.length, MOST_POSITIONS)
    figure = Figure(figsize=(WIDTH, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    colors, font = letter_colors(task.letters) / 255.0, FontProperties(weight="bold")
    for place in range(length):
        counts = np.bincount(run.own[:, place], minlength=task.letters)
        common += task.alphabet[int(counts.argmax())]
        shares = counts / counts.sum()
        entropy = -sum(share * np.log2(share) for share in shares if share > 0)
        bits, base = np.log2(task.letters) - entropy, 0.0
        for letter in np.argsort(shares, kind="stable"):
            height = float(shares[letter] * bits)
            if height < 0.02:
                continue
            outline = TextPath((0, 0), task.alphabet[letter], size=1, prop=font)
            box = outline.get_extents()
            fit = (
                Affine2D()
                .translate(-box.x0, -box.y0)
                .scale(0.9 / box.width, height / box.height)
                .translate(place + 0.55, base)
            )
            axes.add_patch(PathPatch(fit.transform_path(outline), color=colors[letter], lw=0))
            base += height
    axes.set_xlim(0.5, length + 0.5)
    axes.set_ylim(0, np.log2(task.letters))
    axes.set_xlabel("position")
    axes.set_ylabel("bits")
    cut = f", first {length} of {task.length} positions" if length < task.length else ""
    return Picture(
        f"{task.name}: what {run.name} handed in{cut}",
        f"Sequence logo of {run.uniques} different designs: a stack's height says how much "
        "the designs agree at a position, a letter's height its share.",
        png(figure),
        (group.hash,),
        f"The most frequent letters are {common}.",
    )
