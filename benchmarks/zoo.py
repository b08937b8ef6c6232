"""Score the shipped policies beside the solvers, and write the page of the zoo.

    python -m sysopt_gym.benchmarks.zoo                          # the page, from agents/scores.json
    python -m sysopt_gym.benchmarks.zoo --play vm_rescheduling   # plays what is missing, then both
    python -m sysopt_gym.benchmarks.zoo --play all --out runs/zoo

--play compares a family's policies with solvers on sets that no policy was trained or chosen on,
one contender at a time, and goes on where it stopped. Scores are made of the judge's rows alone.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any

from ..agents.checkpoints import SHIPPED
from ..core.files import write_bytes
from ..core.lookup import check_name
from ..core.registry import load_problem
from ..core.sources import find_instances
from ..evaluation import runner, zoo
from ..evaluation.cells import Folder
from ..evaluation.comparison import Request, make_plan, run_facts
from ..evaluation.report import BUSY_BELOW
from ..evaluation.statistics import (
    Estimate,
    Standing,
    estimate,
    paired_difference,
    paired_record,
    per_instance,
    standings,
    win_tie_loss,
)
from ..evaluation.table import Scored, score

PAGE = Path(__file__).resolve().parents[1] / "docs" / "zoo.md"
KEPT = "processor", "cores", "memory_gib", "load_at_start", "commit"  # of a run's conditions


@dataclass(frozen=True, slots=True)
class Scoring:
    """What policies of a family are played on, and against.

    Attributes:
        family: name of the family.
        sets: instances, as `compare` takes them; those of one argument are scored together.
        policies: "POLICY.PLAYER", or the name of an agent whose weights are no policy's folder.
        solvers: what they are compared with.
        budget_s: wall-clock seconds of a plan.
        seeds: runs on each instance.
    """

    family: str
    sets: tuple[str, ...]
    policies: tuple[str, ...]
    solvers: tuple[str, ...]
    budget_s: float
    seeds: int = 1

    @property
    def folder(self) -> str:
        """Name of its folder of rows."""
        return "".join(c if c.isalnum() else "-" for c in f"{self.family}-{self.sets[0]}")

    @property
    def contenders(self) -> list[str]:
        """All contenders, as `compare` takes them: a policy's folder with its player and a name."""
        parts = [(name, *name.partition(".")) for name in self.policies]
        agents = [
            f"{name}={player}@{SHIPPED / policy}" if player else name
            for name, policy, _, player in parts
        ]
        return [*agents, *self.solvers]


DESIGNERS = "ga", "coms", "gradient_ascent", "cma_es", "random", "offline_best"
SCORINGS = (
    Scoring(
        "vm_rescheduling",
        ("small:test", "lookalike:test", "constrained:test", "rates:test"),
        ("vm_rescheduling_prices.agent", "vm_rescheduling_ppo.ppo"),
        ("columns", "milp", "local_search", "beam", "pop", "greedy", "ha", "random"),
        budget_s=1.0,
    ),
    Scoring(
        "memory_mapping",
        ("small:test", "synthetic:test"),
        (
            "memory_mapping_alphazero.agent", "memory_mapping_alphazero.alphazero",
            "memory_mapping_ppo.ppo", "memory_mapping_reader.reader",
        ),
        ("portfolio", "local_search", "threshold", "xla_msa", "greedy", "random"),
        budget_s=1.0,
    ),
    # A policy here is of one task, that of its name; training never asks the task's oracle.
    Scoring(
        "sequence_design",
        ("ehrlich:small/0",),
        (
            "sequence_design_ppo_small.agent", "sequence_design_ppo_small.ppo",
            "sequence_design_alphazero_small.alphazero",
        ),
        DESIGNERS,
        budget_s=10.0,
        seeds=3,
    ),
    Scoring(
        "sequence_design",
        ("ehrlich:medium/0",),
        (
            "sequence_design_ppo_medium.agent", "sequence_design_ppo_medium.ppo",
            "sequence_design_alphazero_medium.alphazero",
        ),
        DESIGNERS,
        budget_s=10.0,
        seeds=3,
    ),
    Scoring(
        "federated_lr",
        ("small:test",),
        (
            "federated_lr_agent.agent", "federated_lr_ppo.ppo",
            "federated_lr_alphazero.alphazero_policy", "federated_lr_choice.choice",
        ),
        (
            "fedhyper_full_cosine", "fedhyper_g", "fedadam", "fedadam_constant", "fedexp", "cosine",
            "fedavg", "random",
        ),
        budget_s=300.0,
    ),
    Scoring(
        "vm_allocation",
        ("days:test",),
        ("agent", "potential", "vm_allocation_ppo.ppo"),
        ("slots_tuned", "slots", "lava", "best_fit", "first_fit", "random"),
        budget_s=300.0,
    ),
    Scoring(
        "sequence_parallelism",
        ("wiki-192k:test", "crawl-192k:test"),
        ("sequence_parallelism_limits.agent", "sequence_parallelism_ppo.ppo"),
        ("local_search", "flexsp", "greedy", "single_degree", "ulysses", "random"),
        budget_s=1.0,
    ),
)  # fmt: skip


def main() -> None:
    """Read the command line, play what is asked for, and write scores and page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--play", nargs="+", default=[], help="families, or all")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the rows")
    parsed = parser.parse_args()
    there = list(dict.fromkeys(scoring.family for scoring in SCORINGS))
    for family in there if parsed.play == ["all"] else parsed.play:
        check_name(family, there, "family with shipped policies")
        tables = [play(scoring, parsed.out) for scoring in SCORINGS if scoring.family == family]
        scores = zoo.read_scores() | {family: tables}
        ordered = {name: scores[name] for name in there if name in scores}
        write_bytes(zoo.SCORES, (json.dumps(ordered, indent=1) + "\n").encode())
    PAGE.write_text(zoo.page(), encoding="utf-8")


def play(scoring: Scoring, out: Path) -> dict[str, Any]:
    """Play what is missing of a comparison, and return its scores; a report is not written.

    Args:
        scoring: what to play.
        out: parent of the folders of rows.
    """
    command = f"python -m sysopt_gym.benchmarks.zoo --play {scoring.family}"
    request = Request(
        (scoring.family,), scoring.sets, scoring.contenders, scoring.budget_s,
        seeds=scoring.seeds, command=command,
    )  # fmt: skip
    plan, folder = make_plan(request), Folder(out / scoring.folder)
    facts = run_facts(plan, request.command, None)
    with folder.held():
        runner.play(plan, folder, resume=True, ready=lambda: folder.write_run(facts))
    return table_of(scoring, folder)


def table_of(scoring: Scoring, folder: Folder) -> dict[str, Any]:
    """Return the scores of a comparison's policies, set by set, from its rows.

    Args:
        scoring: what was played.
        folder: of the rows.
    """
    problem, (rows, _) = load_problem(scoring.family), score(folder.rows().values())
    made = folder.read_run()
    conditions = made.get("conditions", {})
    scores: list[dict[str, Any]] = []
    left_out, late = {}, {}
    for argument in scoring.sets:
        hashes = {one.content_hash for one in find_instances(problem, argument, {})}
        of_set = [row for row in rows if row.instance_hash in hashes]
        if why := _starved(of_set):
            left_out[argument] = why
            continue
        if found := Counter(row.contender for row in of_set if row.late):
            late[argument] = dict(found)
        lines = standings(of_set, scoring.solvers[0])
        best = next(line for line in lines if line.role == "solver")
        scores += [_score(argument, of_set, name, best, lines) for name in scoring.policies]
    shares = _shares(rows)
    return {
        "sets": list(scoring.sets),
        "objective": rows[0].objective_name,
        "direction": rows[0].direction,
        "unit": rows[0].unit,
        "budget_s": scoring.budget_s,
        "seeds": scoring.seeds,
        "solvers": list(scoring.solvers),
        "env_version": rows[0].env_version,
        "started": made.get("started", ""),
        "timing": rows[0].timing,
        "conditions": {name: conditions[name] for name in KEPT if name in conditions},
        "versions": dict(rows[0].versions),
        "core_share": median(shares) if shares else None,
        "left_out": left_out,
        "late": late,
        "scores": scores,
    }


def _starved(rows: Sequence[Scored]) -> str:
    """Return how contenders were kept from their budgets; "" where they were not."""
    shares = _shares(rows)
    if shares and median(shares) < BUSY_BELOW:
        return f"the median run that used its budget got {median(shares):.0%} of a core"
    return ""


def _shares(rows: Sequence[Scored]) -> list[float]:
    """Return what part of a core runs got that used half of their budget or more.

    The others would have ended as they did with a core of their own.
    """
    return [
        row.cpu_s / row.wall_s
        for row in rows
        if row.cpu_s is not None and row.wall_s and row.wall_s > row.budget_s / 2
    ]


def _score(
    argument: str,
    rows: Sequence[Scored],
    name: str,
    best: Standing,
    lines: Sequence[Standing],
) -> dict[str, Any]:
    """Return a policy's score on a set, beside that of the best solver there."""
    (own,) = (line for line in lines if line.contender == name)
    policy, _, player = name.partition(".")
    runs = [row for row in rows if row.contender == name]
    better, record, over = _paired(rows, name, best.contender)
    return {
        "set": argument,
        "policy": policy if player else "",
        "player": player or name,
        "hash": runs[0].provenance.get("hash", ""),
        "instances": len({row.instance_hash for row in runs}),
        "over": over,
        "objective": _figures(_estimate(runs)),
        "gap_to_best": own.gap_to_best,
        "wall_s": own.wall_s,
        "cpu_s": own.cpu_s,
        "failed": sum(own.failures.values()),
        "best_solver": best.contender,
        "solver_objective": _figures(
            _estimate([row for row in rows if row.contender == best.contender])
        ),
        "solver_wall_s": best.wall_s,
        "solver_cpu_s": best.cpu_s,
        "better_by": _figures(better),
        "won_tied_lost": list(record),
    }


def _figures(found: Estimate) -> list[float | None]:
    """Return a value and the ends of its interval, as JSON takes them."""
    return [None if one is None or isnan(one) else one for one in astuple(found)]


def _estimate(runs: Sequence[Scored]) -> Estimate:
    """Return the IQM over instances; over the runs of a single one."""
    means = list(per_instance(runs).values())
    return estimate(means if len(means) > 1 else [row.scored_objective for row in runs])


def _paired(
    rows: Sequence[Scored], first: str, second: str
) -> tuple[Estimate, tuple[int, int, int], str]:
    """Return how far the first is ahead, its wins, ties and losses, and over what.

    That is over instances; of a single one over its seeds, in pairs of equal seeds.
    """
    if len({row.instance_hash for row in rows}) > 1:
        found = paired_difference(rows, first, second)
        return found or Estimate(nan), paired_record(rows, first, second), "instances"
    ours, theirs = (
        {row.seed: row.scored_objective for row in rows if row.contender == name}
        for name in (first, second)
    )
    both, sign = [seed for seed in ours if seed in theirs], rows[0].sign
    pair = [ours[seed] for seed in both], [theirs[seed] for seed in both]
    ahead = [sign * (other - own) for own, other in zip(*pair, strict=True)]
    return estimate(ahead), win_tie_loss(*pair, sign), "seeds"


if __name__ == "__main__":
    main()
