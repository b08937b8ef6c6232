"""The family's section of the report: how much of each item's kind the contenders pick."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from sysopt_gym.core.contracts import Picture
from sysopt_gym.core.results import Row

from .instance import Items


def pictures(
    rows: Sequence[Row], instances: Mapping[str, Items], colors: Mapping[str, str]
) -> list[Picture]:
    """Draw value against weight of what each contender picked.

    Args:
        rows: all runs of the family in the report.
        instances: the problems, by content hash.
        colors: of each contender, by name.
    """
    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel="weight (kg)", ylabel="value (coins)")
    for contender, color in colors.items():
        mine = [row for row in rows if row.contender == contender and not row.failed]
        picked = [(instances[row.instance_hash], item) for row in mine for item in row.actions]
        axes.scatter(
            [items.weight[item] for items, item in picked],
            [items.value[item] for items, item in picked],
            s=12, color=color, label=contender, alpha=0.5,
        )  # fmt: skip
    axes.legend(fontsize=8)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return [Picture("Picked items", "Up and to the left is better.", png.getvalue())]
