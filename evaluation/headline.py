"""Write the report's first paragraph: who wins, by how much, how sure, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np

from ..core.results import Row, Status
from .prose import literal
from .statistics import (
    Estimate,
    Standing,
    anytime,
    paired_difference,
    paired_record,
    paired_value,
)
from .table import Scored

Named = TypeVar("Named", Scored, Standing)

ROUGH_BELOW = 10
LEAD_RATIO = 2.0
LEAD_GAP = 0.005


@dataclass(frozen=True, slots=True)
class Lead:
    """Who is first, and how sure that is.

    Attributes:
        first: the winner and those that did as well on every instance; empty if no plan counts.
        how: "wins", "comes first" or "share the first place".
        other: the next contender whose plans count; empty if there is none.
        record: instances on which the winner is better, equal and worse than the next; None if
            they share none.
        by: how far the winner is ahead of the next, in the objective's unit; None likewise.
    """

    first: list[Standing]
    how: str = ""
    other: str = ""
    record: tuple[int, int, int] | None = None
    by: Estimate | None = None


def number(value: float | None) -> str:
    """Format a number with four significant digits; NaN and None as a dash."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.4g}"


def percent(value: float | None) -> str:
    """Format a fraction in percent with one decimal; NaN and None as a dash."""
    if value is None or np.isnan(value):
        return "–"
    return f"{100 * value + 0.0:.1f} %".replace("-0.0 %", "0.0 %")


def seconds(value: float | None) -> str:
    """Format seconds with two decimals, below 0.1 s as milliseconds; None as a dash."""
    if value is None:
        return "–"
    return f"{1000 * value:.2g} ms" if value < 0.1 else f"{value:.2f} s"


def interval(estimate: Estimate, form: str = "number") -> str:
    """Format a 95 % interval in brackets; empty if there is none.

    Args:
        estimate: a value with its interval.
        form: "number", or "percent" for a fraction.
    """
    if estimate.low is None or estimate.high is None:
        return ""
    show = percent if form == "percent" else number
    return f"[{show(estimate.low)}, {show(estimate.high)}]"


def better(row: Row) -> str:
    """Return a phrase that says which way the objective improves."""
    return "lower is better" if row.direction == "minimize" else "higher is better"


def headline(rows: Sequence[Scored], lines: Sequence[Standing], baseline: str) -> list[str]:
    """Return the sentences that answer the reader's first questions, one per bullet of the report.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders.
        baseline: name of the contender that the others are compared with.
    """
    rows, lines, baseline = _named_literally(rows), _named_literally(lines), literal(baseline)
    lines, oracles = (
        [line for line in lines if (line.role == "oracle") == wanted] for wanted in (False, True)
    )
    winner, first = lines[0], rows[0]
    lead = lead_of(rows, lines)
    if not lead.first:
        return ["No contender returned a plan that counts; the reasons are listed under the table."]
    count = len({row.instance_hash for row in rows})
    sentences = [_who_wins(rows, lead, count), _by_rank(lines, count)]
    sentences.append(_against_baseline(winner, baseline, count))
    sentences.append(_distance(winner, first.is_live))
    sentences += [_hindsight(rows, winner, oracle) for oracle in oracles]
    sentences.append(agent_or_solver(rows, lines)[1])
    failing = [line for line in lines if line.failures]
    if failing:
        names = "; ".join(
            f"{line.contender} ({_failures(line.failures)} of {line.runs})" for line in failing
        )
        sentences.append(f"Runs that count as doing nothing: {names}.")
    return [sentence for sentence in sentences if sentence]


def _named_literally(ones: Sequence[Named]) -> list[Named]:
    """Return rows or standings whose contender is written as in a sentence."""
    return [replace(one, contender=literal(one.contender)) for one in ones]


def _all_failed(line: Standing) -> bool:
    return sum(line.failures.values()) == line.runs


def _failures(failures: Mapping[Status, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(failures.items()))


def _instances(count: int) -> str:
    return "the one instance" if count == 1 else f"{count} instances"


def lead_of(rows: Sequence[Scored], lines: Sequence[Standing]) -> Lead:
    """Return who is first, and how sure that is.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders, the best first; oracles are left out.
    """
    lines = [line for line in lines if line.role != "oracle"]
    if not lines or _all_failed(lines[0]):
        return Lead([])
    winner = lines[0]
    level = [line for line in lines[1:] if _level(rows, winner.contender, line.contender)]
    if level:
        return Lead([winner, *level], "share the first place")
    rest = [line.contender for line in lines[1:] if not _all_failed(line)]
    if not rest:
        return Lead([winner], "wins")
    by = paired_difference(rows, winner.contender, rest[0])
    if by is None:
        return Lead([winner], "comes first", rest[0])
    record = paired_record(rows, winner.contender, rest[0])
    clear = by.low is not None and by.low > 0
    return Lead([winner], "wins" if clear else "comes first", rest[0], record, by)


def _who_wins(rows: Sequence[Scored], lead: Lead, count: int) -> str:
    winner, row = lead.first[0], rows[0]
    names = ", ".join(f"**{line.contender}**" for line in lead.first)
    score = f"{row.objective_name.replace('_', ' ')} {number(winner.objective.value)}"
    score += f" {interval(winner.objective)}" if winner.objective.has_interval else ""
    what = f"under {row.budget_s:g} s a plan on {_instances(count)}: {score} ({better(row)})"
    if len(lead.first) > 1:
        return f"{names} {lead.how} {what}."
    if not lead.other:
        return f"{names} {lead.how} {what}; nobody else returned a plan that counts."
    return f"{names} {lead.how} {what}. {_how_sure(lead)}"


def _by_rank(lines: Sequence[Standing], count: int) -> str:
    """Return who has the best average rank; empty for one instance or one contender."""
    if count < 2 or len(lines) < 2:
        return ""
    best = min(line.rank.value for line in lines)
    names = [line.contender for line in lines if line.rank.value <= best + 1e-9]
    rank = next(line.rank for line in lines if line.contender == names[0])
    lies = f" [{rank.low:.1f}, {rank.high:.1f}]" if rank.has_interval else ""
    first = f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} first"
    return f"By average rank over the instances {first}: {best:.1f}{lies} among {len(lines)}."


def _level(rows: Sequence[Scored], first: str, second: str) -> bool:
    """Whether two contenders did equally well on every instance."""
    if abs(paired_value(rows, first, second)) > 1e-9:
        return False
    lead = paired_difference(rows, first, second)
    return lead is not None and all(abs(edge or 0.0) <= 1e-9 for edge in (lead.low, lead.high))


def _how_sure(lead: Lead) -> str:
    """Return how far the winner leads the next, and how sure that is."""
    if lead.by is None or lead.record is None:
        return f"It was not played on the same instances as {lead.other}."
    better, level, worse = lead.record
    record = f"better on {better}, level on {level}, worse on {worse}"
    if not lead.by.has_interval:
        by = f"ahead of the next, {lead.other}, by {number(lead.by.value)}"
        return f"It is {by}; one instance has no interval and says little about others."
    count = better + level + worse
    rough = f", a rough one with {count} instances" if count < ROUGH_BELOW else ""
    lies = f"95 % interval of the lead {interval(lead.by)}{rough}"
    if lead.how == "wins":
        return (
            f"It is ahead of the next, {lead.other}, by {number(lead.by.value)} ({record}; {lies})."
        )
    if lead.by.high is not None and lead.by.high < 0:  # first by the mean gap, which failures make
        return f"The next, {lead.other}, does better on most instances ({record}; {lies})."
    return f"The next, {lead.other}, is close ({record}; {lies}): take it as a tie."


def _against_baseline(winner: Standing, baseline: str, count: int) -> str:
    if winner.contender == baseline:
        return f"The winner is the baseline itself, {baseline}."
    if np.isnan(winner.advantage.value):
        return ""
    better = f"{percent(winner.advantage.value)} better than the baseline {baseline}"
    sure = f" {interval(winner.advantage, 'percent')}" if winner.advantage.has_interval else ""
    record = f"{winner.wins} won, {winner.ties} tied, {winner.losses} lost"
    return f"{winner.contender} is {better}{sure} (paired per instance: {record} of {count})."


def _distance(winner: Standing, is_live: bool) -> str:
    cost = f"It takes {seconds(winner.wall_s)} a plan, {seconds(winner.cpu_s)} of CPU (medians)"
    cost += f", after {seconds(winner.setup_s)} of loading and compiling that is not on the clock."
    if is_live:
        return f"The world moves on while a plan is made, so no bound holds. {cost}"
    if winner.gap_to_bound is None:
        return f"No contender proved a bound. {cost}"
    if abs(winner.gap_to_bound) < 5e-7:
        return f"It reaches the proven bound: no plan is better. {cost}"
    return f"It is {percent(winner.gap_to_bound)} from the tightest proven bound. {cost}"


def _hindsight(rows: Sequence[Scored], winner: Standing, oracle: Standing) -> str:
    """Return how far the winner is from an oracle, which knows the world in advance."""
    lead = paired_difference(rows, winner.contender, oracle.contender)
    if lead is None or _all_failed(oracle):
        return ""
    way = "ahead of it"
    if lead.value < 0:
        way, low, high = "behind it", lead.high, lead.low
        lead = Estimate(-lead.value, None if low is None else -low, None if high is None else -high)
    return (
        f"Out of competition: the oracle {oracle.contender}, which plans with what only the judge "
        f"knows, gets {number(oracle.objective.value)}; {winner.contender} is "
        f"{number(lead.value)} {way} {interval(lead)}".rstrip()
        + "."
    )


def agent_or_solver(rows: Sequence[Scored], lines: Sequence[Standing]) -> tuple[str, str]:
    """Return whether to train an agent or to run a solver, as far as the rows can tell.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders, the best first; oracles are left out.

    Returns:
        The advice in a few words, and a sentence.
    """
    lines = [line for line in lines if line.role != "oracle"]
    agents = [line for line in lines if line.role == "agent" and not _all_failed(line)]
    others = [line for line in lines if line.role != "agent" and not _all_failed(line)]
    question = "Train an agent or run a solver?"
    if not agents:
        took_part = any(line.role == "agent" for line in lines)
        why = "No agent returned a plan that counts" if took_part else "No agent took part"
        return why.lower(), f"{question} {why}, so this comparison cannot say."
    if not others:
        why = "No solver returned a plan that counts"
        return why.lower(), f"{question} {why}, so this comparison cannot say."
    agent, solver = agents[0], others[0]
    lead = paired_difference(rows, agent.contender, solver.contender)
    if lead is None:
        why = f"{agent.contender} and {solver.contender} share no instance"
        return why, f"{question} {why}."
    pair = (
        f"The best agent, {agent.contender}, gets {number(agent.objective.value)} in "
        f"{seconds(agent.wall_s)}; the best solver, {solver.contender}, "
        f"{number(solver.objective.value)} in {seconds(solver.wall_s)}"
    )
    if abs(lead.value) <= 1e-9 and not (lead.has_interval and (lead.low or lead.high)):
        short = "level"
        advice = "they are level: choose by seconds and by what is easier to run"
    elif lead.low is None or lead.high is None:
        ahead = agent if lead.value > 0 else solver
        short = "one instance does not decide it"
        advice = f"here {ahead.contender} is ahead, but one instance does not decide it"
    elif lead.low > 0:
        short = f"use {agent.contender}"
        advice = f"**{short}** (its training is not in these seconds)"
    elif lead.high < 0:
        short = f"run {solver.contender}"
        advice = f"**{short}**: no training to pay for, and the better plan"
    else:
        short = "too close to call"
        advice = "the interval includes 0, so quality does not decide it: choose by seconds"
    return short, f"{question} {pair}; {advice}."


def leaders(rows: Sequence[Scored], names: Sequence[str], grid: np.ndarray, budget_s: float) -> str:
    """Return who would lead under smaller budgets: "until 0.1 s ha, then milp".

    Args:
        rows: rows of one family and one objective.
        names: the contenders to consider.
        grid: float64 [T], seconds at which they are compared.
        budget_s: the budget; later seconds are left out.

    Returns:
        One sentence; empty if one contender leads at all times.
    """
    grid = grid[grid <= budget_s]
    curves = np.array(
        [anytime([row for row in rows if row.contender == name], grid) for name in names]
    )
    if not len(grid) or np.isnan(curves).all():
        return ""
    order = np.where(np.isnan(curves), np.inf, curves)
    ahead = order.argmin(axis=0)
    moving = order.min(axis=0) < order.max(axis=0) - 1e-9
    if not moving.any():
        return ""
    start = int(moving.argmax())
    spans: list[tuple[int, float]] = []
    for at in range(start, len(grid)):
        # The leader changes only if the other one is clearly ahead.
        if not spans or order[spans[-1][0], at] > order[ahead[at], at] + LEAD_GAP:
            spans.append((int(ahead[at]), float(grid[at])))
    ends = [began for _, began in spans[1:]] + [float(grid[-1])]
    kept = [
        (who, end)
        for (who, began), end in zip(spans, ends, strict=True)
        if end >= LEAD_RATIO * began or end == ends[-1]
    ]
    # Adjacent intervals with the same leader are merged.
    changes = [pair for pair, after in pairwise(kept) if pair[0] != after[0]]
    if not changes:
        return ""
    names = [literal(name) for name in names]
    parts = [f"until {seconds(end)} {names[who]}" for who, end in changes]
    return (
        f"Stopped earlier, the best plans are held {', '.join(parts)}, then {names[kept[-1][0]]}."
    )
