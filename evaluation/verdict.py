"""The report's verdict: who is first where, a line for each of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .headline import agent_or_solver, interval, lead_of, number, percent, seconds
from .statistics import Standing
from .table import Scored

COLUMNS = (
    "table", "first", "objective, IQM", "next", "better than",
    "gap to bound", "agent or solver", "wall", "failed",
)  # fmt: skip


def verdict(
    rows: Sequence[Scored], lines: Sequence[Standing], baseline: str, color: Mapping[str, str]
) -> dict[str, Any]:
    """Return the line of one table.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders, the best first.
        baseline: name of the contender that the others are compared with.
        color: contender -> color.

    Returns:
        played: on what; first: names with their colors; how: they are first; role: the winner's;
        cells: the other columns, each a text and a second, smaller one, wall seconds with their
        number.
    """
    lead = lead_of(rows, lines)
    count = len({row.instance_hash for row in rows})
    failed = sum(sum(line.failures.values()) for line in lines)
    played = f"{count} instance{'s' * (count > 1)}, {rows[0].budget_s:g} s a plan"
    found: dict[str, Any] = {
        "played": played,
        "first": [{"name": one.contender, "color": color[one.contender]} for one in lead.first],
        "how": lead.how or "no plan counts",
        "role": lead.first[0].role if len(lead.first) == 1 else "",
    }
    if not lead.first:
        return found | {"cells": [("–", "")] * 6 + [(f"{failed} of {len(rows)}", "")]}
    winner, record = lead.first[0], ""
    if lead.record:
        record = " / ".join(map(str, lead.record))
    advice, _ = agent_or_solver(rows, lines)
    return found | {
        "cells": [
            (number(winner.objective.value), interval(winner.objective)),
            (lead.other or "–", record),
            (percent(winner.advantage.value), baseline),
            (percent(winner.gap_to_bound), ""),
            (advice, ""),
            (seconds(winner.wall_s), "", winner.wall_s),
            (f"{failed} of {len(rows)}", ""),
        ]
    }


def overall(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on all tables together.

    Args:
        verdicts: their lines.
    """
    clear = sum(one["how"] == "wins" for one in verdicts)
    agents, solvers = (sum(one["role"] == role for one in verdicts) for role in ("agent", "solver"))
    rest = "" if clear == len(verdicts) else "; elsewhere the first place may be chance, or shared"
    return (
        f"One contender clearly wins in {clear} of {len(verdicts)} tables{rest}. An agent alone is "
        f"first in {agents}, a solver alone in {solvers}."
    )
