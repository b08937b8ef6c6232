"""The report's own pictures of sequence design. Uses numpy, plan, validate, landscapes, and
matplotlib inside.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...core.contracts import Picture
from ...datasets.sequence_design.instance import DesignTask
from ...datasets.sequence_design.landscapes import open_oracle
from .plan import designs_of
from .proxy import reference_proxy
from .render import letter_colors
from .validate import diversity

MOST_LOGOS = 3
MOST_POSITIONS = 64  # that a logo can still be read with
DPI = 100
# Okabe and Ito's colours without yellow, told apart by colour-blind readers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")


class _Batch(NamedTuple):
    """A contender's different designs, with what the proxy and the oracle say of them."""

    name: str
    color: str
    designs: np.ndarray
    believed: np.ndarray
    scores: np.ndarray


def pictures(
    rows: Sequence[Mapping[str, Any]], instances: Mapping[str, DesignTask]
) -> list[Picture]:
    """Pictures of the first task of a comparison that has an exact oracle, or of the first.

    Args:
        rows: rows of results; plans that were not feasible are left out.
        instances: by instance hash, settings applied.

    Returns:
        Proxy against oracle, diversity against score, and logos of the best batches; none where no
        plan was feasible.
    """
    feasible = [row for row in rows if row["feasible"] and row["instance_hash"] in instances]
    if not feasible:
        return []
    order = sorted(feasible, key=lambda row: instances[row["instance_hash"]].estimated)
    task = instances[order[0]["instance_hash"]]
    best: dict[str, Mapping[str, Any]] = {}
    for row in feasible:
        if row["instance_hash"] == order[0]["instance_hash"]:
            held = best.get(row["contender"])
            if held is None or row["objective"] > held["objective"]:
                best[row["contender"]] = row
    ranked = sorted(best.values(), key=lambda row: -float(row["objective"]))
    batches = [
        batch for place, row in enumerate(ranked) if (batch := _batch(task, row, place)) is not None
    ]
    if not batches:
        return []
    return [
        _scatter(task, batches),
        _spread(task, batches),
        *(_logo(task, batch) for batch in batches[:MOST_LOGOS]),
    ]


def _batch(task: DesignTask, row: Mapping[str, Any], place: int) -> _Batch | None:
    designs = designs_of(task, np.asarray(row["actions"], np.int64))
    if not len(designs):
        return None
    designs = np.unique(designs, axis=0)
    oracle = open_oracle(task)
    low, high = float(task.scores.min()), float(task.scores.max())
    means, _ = reference_proxy(task).predict(designs)
    return _Batch(
        str(row["contender"]),
        str(row.get("colour") or PALETTE[place % len(PALETTE)]),
        designs,
        oracle.normalized(low + means * (high - low)),
        np.nan_to_num(oracle.normalized(oracle.score(designs))),
    )


def _kind(task: DesignTask) -> str:
    return "estimated score" if task.estimated else "score"


def _scatter(task: DesignTask, batches: Sequence[_Batch]) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), dpi=DPI)
    axes = figure.subplots()
    for batch in batches:
        axes.scatter(
            batch.believed, batch.scores, s=14, alpha=0.6, color=batch.color, label=batch.name
        )
    ends = axes.get_xlim()
    axes.plot(ends, ends, color="#999999", linewidth=1, linestyle="--")
    axes.set_xlabel("what the task's own proxy expects (normalized)")
    axes.set_ylabel(f"oracle's {_kind(task)} (normalized)")
    axes.legend(fontsize=8)
    return Picture(
        f"{task.name}: the proxy against the oracle",
        "A point is a design. Below the dashed line the proxy was too optimistic; where a cloud "
        "does not rise to the right, the proxy no longer tells good designs from bad ones.",
        _png(figure),
    )


def _spread(task: DesignTask, batches: Sequence[_Batch]) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=DPI)
    axes = figure.subplots()
    for batch in batches:
        width, score = diversity(batch.designs), float(np.median(batch.scores))
        label = f"{batch.name} ({len(batch.designs)})"
        axes.scatter([width], [score], s=60, color=batch.color, label=label)
    axes.legend(fontsize=8)
    axes.set_xlabel("diversity: mean number of letters two designs differ in")
    axes.set_ylabel(f"median {_kind(task)} (normalized)")
    return Picture(
        f"{task.name}: diversity against score",
        "Each contender's batch, in brackets its number of different designs. Up is better; of two "
        "batches as high as each other, the one further right hedges more.",
        _png(figure),
    )


def _logo(task: DesignTask, batch: _Batch) -> Picture:
    """Stacks of letters, each as high as its share of its position's information."""
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    length = min(task.length, MOST_POSITIONS)
    figure = Figure(figsize=(max(4.0, 0.32 * length), 2.6), dpi=DPI)
    axes = figure.subplots()
    colors, font = letter_colors(task.letters) / 255.0, FontProperties(weight="bold")
    for place in range(length):
        counts = np.bincount(batch.designs[:, place], minlength=task.letters)
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
        f"{task.name}: what {batch.name} handed in{cut}",
        f"Sequence logo of {len(batch.designs)} different designs: a stack's height says how much "
        "the designs agree at a position, a letter's height its share.",
        _png(figure),
    )


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()
