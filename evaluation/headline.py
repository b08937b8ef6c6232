"""Write the report's first paragraph: who wins, by how much, how sure, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np

from ..core.results import Row, Status
from .prose import literal
from .statistics import Estimate, Standing, anytime, paired_difference, paired_record
from .table import Scored

Named = TypeVar("Named", Scored, Standing)

ROUGH_BELOW = 10
LEAD_RATIO = 2.0
LEAD_GAP = 0.005


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
    if _all_failed(winner):
        return ["No contender returned a plan that counts; the reasons are listed under the table."]
    count = len({row.instance_hash for row in rows})
    sentences = [_who_wins(rows, lines, count), _by_rank(lines, count)]
    sentences.append(_against_baseline(winner, baseline, count))
    sentences.append(_distance(winner, first.is_live))
    sentences += [_hindsight(rows, winner, oracle) for oracle in oracles]
    sentences.append(_agent_or_solver(rows, lines))
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


def _who_wins(rows: Sequence[Scored], lines: Sequence[Standing], count: int) -> str:
    winner, first = lines[0], rows[0]
    level = [line for line in lines[1:] if _level(rows, winner.contender, line.contender)]
    names = ", ".join(f"**{line.contender}**" for line in [winner, *level])
    score = f"{first.objective_name.replace('_', ' ')} {number(winner.objective.value)}"
    score += f" {interval(winner.objective)}" if winner.objective.has_interval else ""
    what = f"under {first.budget_s:g} s a plan on {_instances(count)}: {score} ({better(first)})"
    if level:
        return f"{names} share the first place {what}."
    rest = [line for line in lines[1:] if not _all_failed(line)]
    if not rest:
        return f"{names} wins {what}; nobody else returned a plan that counts."
    lead, clear = _how_sure(rows, winner.contender, rest[0].contender)
    return f"{names} {'wins' if clear else 'comes first'} {what}. {lead}"


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
    lead = paired_difference(rows, first, second)
    if lead is None or abs(lead.value) > 1e-9:
        return False
    return all(abs(edge or 0.0) <= 1e-9 for edge in (lead.low, lead.high))


def _how_sure(rows: Sequence[Scored], winner: str, other: str) -> tuple[str, bool]:
    """Return how far the winner leads the other, and whether the interval excludes 0."""
    lead = paired_difference(rows, winner, other)
    if lead is None:
        return f"It was not played on the same instances as {other}.", False
    better, level, worse = paired_record(rows, winner, other)
    record = f"better on {better}, level on {level}, worse on {worse}"
    if lead.low is None or lead.high is None:
        by = f"ahead of the next, {other}, by {number(lead.value)}"
        return f"It is {by}; one instance has no interval and says little about others.", False
    count = better + level + worse
    rough = f", a rough one with {count} instances" if count < ROUGH_BELOW else ""
    lies = f"95 % interval of the lead {interval(lead)}{rough}"
    if lead.low > 0:
        by = f"ahead of the next, {other}, by {number(lead.value)} ({record}; {lies})"
        return f"It is {by}.", True
    return f"The next, {other}, is close ({record}; {lies}): take it as a tie.", False


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


def _agent_or_solver(rows: Sequence[Scored], lines: Sequence[Standing]) -> str:
    """Return whether to train an agent or to run a solver, as far as the rows can tell."""
    agents = [line for line in lines if line.role == "agent" and not _all_failed(line)]
    others = [line for line in lines if line.role != "agent" and not _all_failed(line)]
    question = "Train an agent or run a solver?"
    if not agents:
        took_part = any(line.role == "agent" for line in lines)
        why = "No agent returned a plan that counts" if took_part else "No agent took part"
        return f"{question} {why}, so this comparison cannot say."
    if not others:
        return f"{question} No solver returned a plan that counts, so this comparison cannot say."
    agent, solver = agents[0], others[0]
    lead = paired_difference(rows, agent.contender, solver.contender)
    if lead is None:
        return f"{question} {agent.contender} and {solver.contender} share no instance."
    pair = (
        f"The best agent, {agent.contender}, gets {number(agent.objective.value)} in "
        f"{seconds(agent.wall_s)}; the best solver, {solver.contender}, "
        f"{number(solver.objective.value)} in {seconds(solver.wall_s)}"
    )
    if abs(lead.value) <= 1e-9 and not (lead.has_interval and (lead.low or lead.high)):
        advice = "they are level: choose by seconds and by what is easier to run"
    elif lead.low is None or lead.high is None:
        ahead = agent if lead.value > 0 else solver
        advice = f"here {ahead.contender} is ahead, but one instance does not decide it"
    elif lead.low > 0:
        advice = f"**use {agent.contender}** (its training is not in these seconds)"
    elif lead.high < 0:
        advice = f"**run {solver.contender}**: no training to pay for, and the better plan"
    else:
        advice = "the interval includes 0, so quality does not decide it: choose by seconds"
    return f"{question} {pair}; {advice}."


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
