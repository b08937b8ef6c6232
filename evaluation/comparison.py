"""Run `compare` from the user's request to the report: request -> plan -> rows -> report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..core.contender_arguments import name_contenders
from ..core.instance import Instance
from ..core.lookup import check_name
from ..core.problem import Problem
from ..core.registry import contender_names, is_contender, load_problem
from ..core.sources import apply_settings, find_instances
from . import isolation
from .catalog import (
    check_budget,
    check_families,
    check_nonce,
    check_seeds,
    choose_contenders,
    parse_settings,
    reader_of,
)
from .cells import Entry, Folder
from .conditions import conditions
from .looking import look
from .report import check_installed, write_report
from .runner import Plan, play
from .table import Scored


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks `compare` for; empty values and None stand for the families' defaults.

    Attributes:
        families: names of families; empty for all.
        instances: names of sets, of single instances in sets and of files; or instances themselves.
        contenders: names of contenders, folders of policies, and where functions are; see
            core.contender_arguments.
        budget_s: wall-clock seconds per plan.
        settings: settings of the instances, as "key=value" texts.
        seeds: runs of each contender on each instance, with seeds 0, 1, and so on.
        baseline: the contender that the others are compared with, pair by pair: one of those, or
            the name in tables that one of them has.
        workers: contenders that play at a time; with more than 1, times are less comparable.
        ray: address of a Ray cluster ("local" starts one here), or None.
        nonce: text that world seeds are made with, so that the same worlds are met again; None for
            a new one, which nobody can know beforehand, or that of the folder.
        command: the command that repeats the comparison, for the report.
        quiet: whether to hide the progress bar.
        cores: cores of each contender.
        memory_gib: memory of each contender, in GiB; None for its part of the machine's.
        isolate: whether contenders see nothing but the system, this package and their own files.
    """

    families: Sequence[str] = ()
    instances: Sequence[str | Instance] = ()
    contenders: Sequence[str] = ()
    budget_s: float | None = None
    settings: Sequence[str] = ()
    seeds: int = 1
    baseline: str | None = None
    workers: int = 1
    ray: str | None = None
    nonce: str | None = None
    command: str = ""
    quiet: bool = False
    cores: int = 1
    memory_gib: float | None = None
    isolate: bool = False


def make_plan(request: Request) -> Plan:
    """Convert a request to a plan, and refuse what cannot be played before anything is played.

    With several families, each set, contender or setting applies to the families that know it; a
    policy to the family that its card says.

    Raises:
        UnknownNameError: a name that no family in the request knows.
        CheckpointError: a policy cannot be played here.
        RegistryError: a function cannot be called, or a contender's name is taken.
        InstanceError: a file or set cannot be loaded.
        SettingError: a value cannot be used, several families could read a file, or contenders
            cannot be isolated here.
    """
    hidden = None
    if request.isolate:
        hidden = isolation.hidden_from(one for one in request.instances if isinstance(one, str))
    problems = [load_problem(name) for name in check_families(request.families)]
    _check_settings(problems, request)
    arguments: dict[str, list[str | Instance]]
    arguments = {problem.family: list(problem.defaults.instances) for problem in problems}
    if request.instances:
        arguments = _by_family(problems, request)
    families = [problem.family for problem in problems]
    played = [family for family in families if arguments[family]]
    named = _named(families, played, request)
    problems = [problem for problem in problems if problem.family in played]
    entries: dict[tuple[str, str], Entry] = {}
    contenders, budgets = {}, {}
    for problem in problems:
        pairs = [p for p in request.settings if p.partition("=")[0] in problem.settings]
        given = parse_settings(pairs, problem.settings, f"{problem.family} setting")
        variants = [{**variant, **given} for variant in problem.defaults.variants]
        for at, settings in enumerate(variants):
            if settings in variants[:at]:
                continue
            for instance in (
                one for a in arguments[problem.family] for one in _instances(problem, a, settings)
            ):
                entry = Entry(problem.family, instance, settings)
                entries.setdefault((entry.family, entry.instance_hash), entry)
        names = [named[text] for text in request.contenders]
        names = [name for name in names if is_contender(problem.family, name)]
        baseline = named.get(request.baseline or "")
        if baseline is not None and not is_contender(problem.family, baseline):
            baseline = None
        contenders[problem.family] = choose_contenders(problem, names, baseline)
        seconds = request.budget_s
        budgets[problem.family] = check_budget(
            problem.defaults.budget_s if seconds is None else seconds
        )
    return Plan(
        list(entries.values()),
        contenders,
        budgets,
        check_seeds(request.seeds),
        request.workers,
        request.ray,
        named.get(request.baseline or ""),
        check_nonce(request.nonce),
        request.cores,
        request.memory_gib,
        hidden,
    )


def compare(request: Request, out: Path, resume: bool = False) -> list[Scored]:
    """Play a request, or the rest of it, and write the report.

    Args:
        request: what to play.
        out: folder for the report and the rows.
        resume: whether to continue the comparison in the folder.

    Returns:
        One row per contender, instance and seed, with attributes such as `contender`, `instance`,
        `objective`, `feasible`, `status`, `bound`, `wall_s`, `best` and `gap_to_best`; see
        `core.results.Row` and `table.Scored` for all of them.

    Raises:
        SysOptError: see `make_plan`, `runner.play` and `write_report`.
    """
    check_installed()
    plan = make_plan(request)
    folder = Folder(out)
    facts = run_facts(plan, request.command, plan.baseline)
    # Written before the first cell, so that a comparison that is killed also has it.
    with folder.held():
        play(plan, folder, resume, request.quiet, lambda: folder.write_run(facts))
        return write_report(folder)


def run_facts(plan: Plan, command: str, baseline: str | None) -> dict[str, Any]:
    """Return the facts on how a comparison is made, for its folder.

    Args:
        plan: what is played.
        command: the command that repeats it.
        baseline: contender that the others are compared with; None for the families' own.
    """
    baselines = {}
    for family, names in plan.contenders.items():
        own = load_problem(family).defaults.baseline
        baselines[family] = baseline if baseline in names else own
    now = datetime.datetime.now(datetime.UTC)
    return {
        "command": command,
        "started": now.strftime("%Y-%m-%d %H:%M UTC"),
        "timing": plan.terms.timing,
        "budget_s": {family: budget.seconds for family, budget in plan.budgets.items()},
        "seeds": len(plan.seeds),
        "baseline": baselines,
        "contenders": plan.contenders,
        "instances": [[e.family, e.instance.name, e.instance_hash] for e in plan.entries],
        "conditions": conditions(),
    }


def _check_settings(problems: Sequence[Problem[Any]], request: Request) -> None:
    """Check that every setting is known to at least one of the families."""
    whose = f"{problems[0].family} " if len(problems) == 1 else ""
    settings = {name: "" for problem in problems for name in problem.settings}
    parse_settings(request.settings, settings, f"{whose}setting")


def _named(families: Sequence[str], played: Sequence[str], request: Request) -> dict[str, str]:
    """Return the name of each contender argument, the baseline's among them.

    Args:
        families: names of the request's families.
        played: those of them that have instances.
        request: the request.
    """

    def known(names: Sequence[str]) -> set[str]:
        return {name for family in names for name in contender_names(family)}

    elsewhere, baseline = known(families) - known(played), request.baseline
    texts = [text for text in request.contenders if text not in elsewhere]
    look_at = partial(look, isolate=request.isolate)
    named = name_contenders(played, texts, look_at)
    if baseline and baseline not in elsewhere:
        if baseline in named.values():  # the name by which one of them is known
            named[baseline] = baseline
        else:
            named = name_contenders(played, [*texts, baseline], look_at)
    return {text: text for text in elsewhere} | named


def _instances(
    problem: Problem[Any], argument: str | Instance, settings: Mapping[str, str]
) -> list[Any]:
    if isinstance(argument, str):
        return find_instances(problem, argument, settings)
    return [apply_settings(problem, argument, settings)]


def _by_family(
    problems: Sequence[Problem[Any]], request: Request
) -> dict[str, list[str | Instance]]:
    """Return the instance arguments of each family that can load them."""
    found: dict[str, list[str | Instance]] = {problem.family: [] for problem in problems}
    for argument in request.instances:
        if isinstance(argument, Instance):
            found[check_name(argument.FAMILY, found, "family of this comparison")].append(argument)
            continue
        takers = [p for p in problems if argument.partition("/")[0] in p.sets]
        if not takers:
            alone = len(problems) == 1
            takers = [problems[0] if alone else reader_of(problems, argument, request.settings)]
        for problem in takers:
            found[problem.family].append(argument)
    return found
