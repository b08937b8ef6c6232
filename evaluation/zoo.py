"""The zoo: every shipped policy, what trained it, and its scores beside the best solver's.

What a policy is stands in its card; the scores are in agents/scores.json, which
`python -m sysopt_gym.benchmarks.zoo` makes of the judge's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.contender_arguments import CARD
from ..core.documents import read_json
from ..core.printable import shortened
from .headline import number, percent, seconds
from .listings import Record

AGENTS = Path(__file__).resolve().parents[1] / "agents"
CHECKPOINTS, SCORES = AGENTS / "checkpoints", AGENTS / "scores.json"
LONGEST_COMMAND = 100  # characters of a command on the page and the screen


def read_scores() -> dict[str, Any]:
    """Return the scores: family -> tables, each with its conditions and a list of scores."""
    return dict(read_json(SCORES)) if SCORES.exists() else {}


def policies() -> list[Record]:
    """Return every shipped policy: its card, and its scores, one a set and player."""
    scores = [
        {"budget_s": table["budget_s"], "unit": table["unit"]} | one
        for tables in read_scores().values()
        for table in tables
        for one in table["scores"]
    ]
    return [
        _described(folder) | {"scores": [one for one in scores if one["policy"] == folder.name]}
        for folder in sorted(CHECKPOINTS.iterdir())
        if (folder / CARD).is_file()
    ]


def _described(folder: Path) -> Record:
    """Return what a policy's card says of it."""
    card = read_json(folder / CARD)
    config = card["config"]
    stages = [
        name
        for name, section in config.items()
        if isinstance(section, Mapping)
        and max(section.get("iterations", 0), section.get("epochs", 0)) > 0
    ]
    return {
        "policy": folder.name,
        "family": card["family"],
        "network": card.get("network", ""),
        "width": card["width"],
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "command": card["command"],
        "start": config.get("start", ""),
        "stages": stages,
        "taken_at": card["stage"],
        "steps": card.get("steps", 0),
        "seed": card.get("seed", config.get("seed", 0)),
        "training_sets": _sets(one for name in stages for one in config[name]["instances"]),
        "validation_sets": _sets(config["validation"]),
    }


def _sets(arguments: Iterable[str]) -> dict[str, int]:
    """Return sets by name, with how many of their instances were named; 0 for all.

    A single instance keeps its own name.
    """
    single: dict[str, set[str]] = {}
    whole = []
    for argument in arguments:
        name, _, member = argument.partition("/")
        if member:
            single.setdefault(name, set()).add(argument)
        else:
            whole.append(name)
    found = {
        next(iter(named)) if len(named) == 1 else name: len(named) if len(named) > 1 else 0
        for name, named in single.items()
    }
    return found | dict.fromkeys(whole, 0)


def sets_text(sets: Mapping[str, int]) -> str:
    """Return names of sets in words."""
    return ", ".join(f"{name} ({n})" if n else name for name, n in sets.items()) or "–"


def score_texts(score: Mapping[str, Any]) -> list[str]:
    """Return the cells of a score; see SCORE_COLUMNS."""
    value, low, high = score["better_by"]
    better = "–" if value is None else number(value)
    if low is not None:
        better += f" [{number(low)}, {number(high)}]"
    return [
        score["player"],
        f"{score['set']} ({score['instances']})",
        _estimate(score["objective"]),
        f"{score['best_solver']} {_estimate(score['solver_objective'])}",
        better,
        " / ".join(map(str, score["won_tied_lost"])),
        f"{seconds(score['wall_s'])} / {seconds(score['solver_wall_s'])}",
    ]


SCORE_COLUMNS = (
    "played by", "set (instances)", "objective", "best solver", "better by", "won / tied / lost",
    "seconds, its / solver's",
)  # fmt: skip


def _estimate(figures: Sequence[float | None]) -> str:
    value, low, high = (float("nan") if one is None else one for one in figures)
    return number(value) if low != low else f"{number(value)} [{number(low)}, {number(high)}]"


def size(bytes_: int) -> str:
    """Return a size in kB."""
    return f"{bytes_ / 1000:,.0f} kB"


def steps_text(record: Record) -> str:
    """Return the environment steps of a policy's training, in words where there are none."""
    if record["steps"]:
        return f"{record['steps']:,}"
    return "none" if record["stages"] == ["imitation"] else "not recorded"


HEAD = """# Zoo

Every policy that is shipped: what trained it, from its card, and its scores beside those of the
best solver.

    sysopt-gym zoo                              # the same on the screen; --json for programs
    python -m sysopt_gym.benchmarks.zoo         # writes this page, from agents/scores.json
    python -m sysopt_gym.benchmarks.zoo --play all --out runs/zoo    # plays, and writes both

Scores are of the judge's rows: policies and solvers of one family on the same instances under the
same budget, one at a time. No policy was trained or chosen on a set that it is scored on; those of
sequence_design are of one task each, whose oracle, by which they are scored, training never asks.
An objective is the interquartile mean over instances, *better by* that of the paired differences in
the objective's unit, above 0 where the policy is better, both with their 95 % bootstrap interval;
of one instance alone they are over its seeds. *Best solver* is that of the smallest mean gap on
that very set, chosen after the fact, which favors solvers. Ties and losses stand as they are.

**The clock** is the wall clock of the machine named below each table. A run that was late counts as
doing nothing, as in every comparison; such runs are counted below the table. A set is left out
where those that used their budget got less than 80 % of a core: such rows do not say who is better.
"""


def page() -> str:
    """Return the page as Markdown."""
    scores, found = read_scores(), policies()
    families = dict.fromkeys(one["family"] for one in found)
    return HEAD + "".join(
        _section(family, [one for one in found if one["family"] == family], scores.get(family, []))
        for family in families
    )


def _section(family: str, found: Sequence[Record], tables: Sequence[Mapping[str, Any]]) -> str:
    columns = "policy", "network", "size", "stages", "taken at", "steps", "seed", "trained on"
    rows = [
        [
            f"`{one['policy']}`", f"{one['network']} {one['width']}", size(one["bytes"]),
            ", ".join(one["stages"]), one["taken_at"], steps_text(one), str(one["seed"]),
            sets_text(one["training_sets"]),
        ]
        for one in found
    ]  # fmt: skip
    text = f"\n## {family}\n\n{_markdown(columns, rows)}\n"
    text += "".join(f"    {shortened(one['command'], LONGEST_COMMAND)}\n" for one in found)
    text += "".join(_scores(table) for table in tables)
    scored = {score["policy"] for table in tables for score in table["scores"]}
    missing = [f"`{one['policy']}`" for one in found if one["policy"] not in scored]
    command = f"`python -m sysopt_gym.benchmarks.zoo --play {family}`"
    if missing:
        text += f"\nNot scored yet: {', '.join(missing)} ({command}).\n"
    return text


def _scores(table: Mapping[str, Any]) -> str:
    columns = "policy", *SCORE_COLUMNS
    rows = [[f"`{one['policy'] or one['player']}`", *score_texts(one)] for one in table["scores"]]
    made = table["conditions"]
    unit = f", {table['unit']}" if table["unit"] else ""
    text = f"\n{_markdown(columns, rows)}" if rows else "\n"
    if table["left_out"]:
        told = ", ".join(f"{name} ({why})" for name, why in table["left_out"].items())
        text += f"\nLeft out: {told}.\n"
    for name, runs in table["late"].items():
        told = ", ".join(f"`{contender}` {count}" for contender, count in runs.items())
        text += f"\nLate on {name}: {told}.\n"
    share = table["core_share"]
    got = "no run used half of its budget"
    if share is not None:
        got = f"the median run that used its budget got {percent(share)} of a core"
    return text + (
        f"\n{table['objective'].replace('_', ' ')} ({table['direction']}{unit}); "
        f"{table['budget_s']:g} s a plan, {table['seeds']} seed(s); against "
        f"{', '.join(f'`{name}`' for name in table['solvers'])}. {table['started']}, "
        f"{made.get('processor', '')}, {made.get('cores', '?')} cores, load at start "
        f"{made.get('load_at_start', '?')}; {got}. Commit {made.get('commit', '?')}, "
        f"environment version {table['env_version']}.\n"
    )


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
