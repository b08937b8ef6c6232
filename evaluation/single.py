"""Run one contender on one instance, and validate solution files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.budget import Budget
from ..core.contender_arguments import name_contender
from ..core.contracts import World
from ..core.errors import OutputError, SolutionError, SysOptError
from ..core.files import write_bytes
from ..core.problem import Problem
from ..core.provenance import provenance
from ..core.registry import contender_entry
from ..core.results import plain
from ..core.solution import SolutionFile
from ..core.sources import apply_settings
from .judge import Judged, judge, judged, world_seed
from .looking import look
from .process import Limits, Trouble, Worker


@dataclass(frozen=True, slots=True)
class Solved:
    """A contender's judged answer on one instance.

    Attributes:
        file: the solution to be written.
        answer: the judge's result.
        setup_s: seconds of loading and compiling before the instance.
        cpu_s: CPU seconds of its process and of all that it started.
    """

    file: SolutionFile
    answer: Judged
    setup_s: float
    cpu_s: float


class ContenderError(SysOptError, RuntimeError):
    """A contender raised an exception, died or gave no answer."""


def solve(
    problem: Problem[Any],
    instance: Any,
    contender: str,
    budget: Budget,
    seed: int,
    settings: Mapping[str, str],
    limits: Limits | None = None,
    hidden: Sequence[Path] | None = None,
) -> Solved:
    """Run a contender in its own process, and judge its plan.

    Args:
        problem: the family.
        instance: the instance with its settings applied.
        contender: a contender, as core.contender_arguments reads it.
        budget: what the contender may spend.
        seed: seed of the contender.
        settings: settings that were applied to the instance, for the solution file.
        limits: what the contender's process may use; None for one core and most of the memory.
        hidden: files and folders that the contender, which is isolated, does not see; None for one
            that is not isolated.

    Raises:
        SysOptError: there is no such contender, or it cannot play; see `name_contenders`.
        ContenderError: it raised, died or hung.
    """
    look_at = partial(look, isolate=hidden is not None)
    contender = name_contender(problem.family, contender, look_at)
    world = world_seed(instance.content_hash, seed)
    worker = Worker(problem.family, contender, budget, limits, hidden)
    try:
        outcome = worker.play(instance, seed, world)
        setup_s = worker.setup_s
    finally:
        worker.close()
    if isinstance(outcome, Trouble):
        raise ContenderError(
            f"{contender} {outcome.status} on {instance.name}: {outcome.error}; "
            "`sysopt-gym doctor` checks the installation"
        )
    answer = judged(problem, instance, outcome, World(world, outcome.wall_s), budget)
    file = SolutionFile(
        family=problem.family,
        instance=instance.name,
        instance_hash=instance.content_hash,
        contender=contender,
        seed=seed,
        settings=dict(settings),
        actions=np.asarray(outcome.solution.actions).tolist(),
        status=answer.claim,
        bound=answer.bound,
        wall_s=outcome.wall_s,
        extra={
            "env_version": problem.env_version,
            "budget_s": budget.seconds,
            "provenance": provenance(contender_entry(problem.family, contender)),
        },
    )
    return Solved(file, answer, setup_s, outcome.cpu_s)


def load_solution(problem: Problem[Any], path: Path) -> SolutionFile:
    """Read a solution file of the family.

    Args:
        problem: the family.
        path: the solution file.

    Raises:
        SolutionError: the file is malformed, or its solution is of another family.
    """
    file = SolutionFile.load(path)
    _check_fields(file, path)
    if file.family != problem.family:
        raise SolutionError(
            f"{path}: is a solution of {file.family}, not of {problem.family}; name that family "
            "instead"
        )
    return file


def validate(
    problem: Problem[Any],
    instance: Any,
    file: SolutionFile,
    path: Path,
    settings: Mapping[str, str],
) -> dict[str, Any]:
    """Judge a solution on an instance.

    Args:
        problem: the family.
        instance: with the settings that the solution was made with.
        file: the solution.
        path: its file, for error messages.
        settings: further settings to apply, in order to judge the plan under them.

    Returns:
        objective (None if infeasible), feasible, violations, and what was judged.

    Raises:
        SolutionError: the solution is for another instance, or its actions are malformed.
    """
    if instance.content_hash != file.instance_hash:
        raise SolutionError(
            f"{path}: is a solution for {file.instance} (hash {file.instance_hash}), not for "
            f"{instance.name} (hash {instance.content_hash}); give the instance it was made for"
        )
    actions = file.action_array(path)
    played = apply_settings(problem, instance, settings)
    world = World(world_seed(file.instance_hash, file.seed), file.wall_s)
    found = judge(problem, played, actions, world)
    verdict: dict[str, Any] = plain(
        {
            "objective": found.objective,
            "feasible": found.feasible,
            "violations": list(found.violations),
            "objective_name": problem.objective(played).name,
            "direction": problem.objective(played).direction,
            "instance": instance.name,
            "contender": file.contender,
            "agree": found.agree,
            "detail": dict(found.detail),
        }
    )
    return verdict


def _check_fields(file: SolutionFile, path: Path) -> None:
    """Check the types of the fields that the judgement depends on."""
    whole = isinstance(file.seed, int) and not isinstance(file.seed, bool) and file.seed >= 0
    texts = isinstance(file.settings, dict) and all(
        isinstance(value, str) for value in file.settings.values()
    )
    seconds = isinstance(file.wall_s, int | float) and math.isfinite(file.wall_s)
    for good, name, expected in (
        (isinstance(file.family, str), "family", "a text"),
        (isinstance(file.instance_hash, str), "instance_hash", "a text"),
        (whole, "seed", "a whole number of at least 0"),
        (texts, "settings", "an object of texts"),
        (seconds and file.wall_s >= 0, "wall_s", "a number of seconds"),
        (isinstance(file.actions, list), "actions", "a list of whole numbers"),
    ):
        if not good:
            raise SolutionError(f"{path}: field {name!r} must be {expected}")


def check_plan_name(path: Path) -> None:
    """Check the suffix of a plan's file, before any work is done.

    Raises:
        OutputError: neither .csv nor .json.
    """
    if path.suffix not in (".csv", ".json"):
        raise OutputError(f"--plan {path}: end the name in .csv or .json")


def write_plan(problem: Problem[Any], instance: Any, actions: np.ndarray, path: Path) -> None:
    """Write a plan in the operator's form, CSV or JSON by the file's suffix.

    Args:
        problem: the family.
        instance: the instance with its settings applied.
        actions: int64, one row per environment step.
        path: the file.

    Raises:
        SolutionError: the plan cannot be carried out.
        OutputError: another suffix, or the file cannot be written.
    """
    check_plan_name(path)
    steps = problem.export_plan(instance, actions)
    if path.suffix == ".json":
        write_bytes(path, (json.dumps(steps, indent=1) + "\n").encode())
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(steps[0]) if steps else ["step"])
    writer.writeheader()
    writer.writerows(steps)
    write_bytes(path, text.getvalue().encode())
