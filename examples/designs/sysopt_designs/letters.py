"""A report section: how often each letter stands at each place of a contender's designs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sysopt_gym.core.contracts import Picture
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.sequence_design.instance import DesignTask


def pictures(
    rows: Sequence[Row], instances: Mapping[str, DesignTask], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw letter frequencies of the first task's designs, one panel for each contender.

    Args:
        rows: all runs of the family in the report.
        instances: the tasks, by content hash.
        colors: of each contender, by name.
    """
    task = instances[rows[0].instance_hash]
    plans = {
        row.contender: np.array(row.actions).reshape(-1, task.length)
        for row in rows
        if row.instance_hash == task.content_hash and not row.failed
    }
    figure = Figure(figsize=(6.0, 0.5 + 1.1 * max(1, len(plans))), layout="constrained")
    panels = figure.subplots(max(1, len(plans)), squeeze=False)[:, 0]
    for axes, (contender, designs) in zip(panels, plans.items(), strict=False):
        counts = (designs[:, :, None] == np.arange(task.letters)).mean(axis=0)
        axes.imshow(counts.T, aspect="auto", vmin=0.0, vmax=1.0, cmap="Blues")
        axes.set_yticks(range(task.letters), task.alphabet)
        axes.set_title(contender, fontsize=8, color=colors[contender])
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    caption = "A column is a place of the design; the darker a letter, the more designs have it."
    title = f"Letters of the designs for {task.name}"
    return [Picture(title, caption, png.getvalue(), (task.content_hash,))]
