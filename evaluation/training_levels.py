"""Measure a family's solvers on a run's validation set, as levels beside its learning curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..agents.recipe import JudgedFigure, load_recipe
from ..core.budget import Budget
from ..core.contracts import World
from ..core.documents import read_json
from ..core.files import write_bytes
from ..core.problem import Problem
from ..core.registry import contender_names, load_problem
from ..core.results import Row
from ..core.sources import find_instances
from .cells import Entry, Folder
from .comparison import run_facts
from .report import write_report
from .runner import Plan, play
from .training_curves import Training

SOLVERS = "solvers"  # folder of the comparison, in the folder of the training
LEVELS = "levels.json"


def judged_figure(training: Training) -> JudgedFigure | None:
    """Return the figure of validation that solvers' plans have too, None if there is none."""
    config = training.config
    return load_recipe(config["family"], config.get("recipe", "")).judged


def play_solvers(training: Training, quiet: bool = False) -> None:
    """Play the family's default solvers on the first validation set, under its default budget.

    They play once: what lies in the folder of the training from before is not played again.

    Args:
        training: the training.
        quiet: whether to hide the progress bar.

    Raises:
        SysOptError: see `runner.play` and `write_report`.
    """
    problem = load_problem(training.config["family"])
    solvers = contender_names(problem.family, role="solver")
    wanted = [*problem.defaults.contenders, *problem.defaults.always, problem.defaults.baseline]
    entries = [
        Entry(problem.family, instance, {})
        for instance in find_instances(problem, training.config["validation"][0], {})
    ]
    plan = Plan(
        entries,
        {problem.family: list(dict.fromkeys(name for name in wanted if name in solvers))},
        {problem.family: Budget(problem.defaults.budget_s)},
        [0],
        nonce="",
    )
    folder = Folder(training.folder / SOLVERS)
    facts = run_facts(plan, f"sysopt-gym report {training.folder}", None)
    with folder.held():
        begun = bool(folder.rows())
        play(plan, folder, begun, quiet, lambda: folder.write_run(facts))
        write_report(folder)


def solver_levels(training: Training) -> dict[str, float]:
    """Return the level of each solver that has played, in the figure of `judged_figure`.

    Returns:
        Solver -> mean of the figure over the instances of the first validation set, the best first;
        empty if no solver has played, or the recipe's score has no such figure.
    """
    figure, folder = judged_figure(training), Folder(training.folder / SOLVERS)
    if figure is None:
        return {}
    problem = load_problem(training.config["family"])
    known = _known(folder)
    found: dict[str, list[float]] = {}
    fresh: dict[str, float] = {}
    for key, row in folder.rows().items():
        if row.env_version != problem.env_version:
            return {}
        if figure.objective in ("", row.objective_name):
            value = known[key] if key in known else figure.of(_reported(problem, folder, row))
            found.setdefault(row.contender, []).append(value)
            fresh[key] = value
    if fresh != known:
        write_bytes(folder.path / LEVELS, json.dumps(fresh, indent=1).encode())
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return dict(sorted(means.items(), key=lambda level: level[1]))


def _known(folder: Folder) -> Mapping[str, float]:
    """Return the figures of rows that were computed before, by the row's key."""
    try:
        found = read_json(folder.path / LEVELS)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _reported(problem: Problem[Any], folder: Folder, row: Row) -> float:
    """Return what the environment reports at the end of a plan, which need not be what is judged:
    a federation's validation rows, not its test rows. A failed run counts as doing nothing.
    """
    instance = folder.instance(row)
    plan = problem.null_plan(instance) if row.failed else row.actions
    world = World(row.world_seed, row.wall_s or 0.0)
    verdict = problem.validate(instance, np.asarray(plan, dtype=np.int64), world)
    return float(verdict.objective if verdict.replayed is None else verdict.replayed)
