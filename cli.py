"""The command line: list, data, solve, validate, train, compare, report, bench, zoo, doctor, ..."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion
from .core.errors import SettingError, SysOptError
from .data_commands import data_app
from .options import (
    CONTENDER,
    Cores,
    Families,
    Family,
    InstanceArgument,
    Isolate,
    Json,
    Memory,
    Out,
    Ray,
    Settings,
    Trust,
)
from .train_help import TrainCommand
from .words import DEFAULT, Commands, print_json, print_table, tell, write_note

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # whole instances: megabytes, printed for minutes
    help="Systems-optimization problems: train agents, run solvers, compare them under one judge.",
    epilog="Start with: sysopt-gym list, then sysopt-gym compare --out results",
)  # fmt: skip
app.add_typer(data_app, name="data")


class Listing(StrEnum):
    """The kinds of things that `list` can list."""

    families = "families"
    instances = "instances"
    solvers = "solvers"
    agents = "agents"
    settings = "settings"
    generators = "generators"


def _version(asked: bool) -> None:
    if asked:
        from .core.version import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Systems-optimization problems: train agents, run solvers, compare them under one judge."""


@app.command("list")
def list_(
    what: Annotated[
        Listing | None, typer.Argument(help="default: families, instances, solvers and agents")
    ] = None,
    families: Families = None,
    json: Json = False,
) -> None:
    """List families, instance sets, solvers and agents; settings and parameters of generators.

    A contender's line says what it is and, if something that it needs is not installed, how to
    install it.

    Example: `sysopt-gym list solvers`, `sysopt-gym list settings vm_rescheduling`
    """
    from .evaluation.listings import listed
    from .evaluation.screens import listing

    found = listed(what.value if what else None, families or ())
    if json:
        print_json(found)
        return
    for table in listing(found):
        print_table(table)


@app.command()
def solve(
    family: Family,
    instance: InstanceArgument,
    contender: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="NAME|FOLDER|FILE.py:FUNCTION",
            help=CONTENDER,
            autocompletion=completion.contenders,
        ),
    ],
    budget: Annotated[float, typer.Option(help="wall-clock seconds for the plan")],
    out: Out,
    seed: Annotated[int, typer.Option(help="seed of the contender")] = 0,
    settings: Settings = None,
    plan: Annotated[
        Path | None, typer.Option(help="also write the plan for operators, as .csv or .json")
    ] = None,
    cores: Cores = 1,
    memory: Memory = None,
    isolate: Isolate = False,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Run one contender on one instance, judge its plan and write the solution.

    Example: `sysopt-gym solve vm_rescheduling small:test/0 --with greedy --budget 1 --out
    solution.json`
    """
    import numpy as np

    from .evaluation import catalog, isolation, records, single
    from .evaluation.process import Limits
    from .evaluation.screens import solved_lines

    problem, instances, values = catalog.load(family, instance, settings or [])
    limit = catalog.check_budget(budget)
    first = _first(instances, instance)
    if plan is not None:
        single.check_plan_name(plan)
    limits = Limits.shared(cores, memory, workers=1)
    hidden = isolation.hidden_from([instance]) if isolate else None
    solved = single.solve(
        problem, first, contender, limit, catalog.check_seed(seed), values, limits, hidden
    )
    solved.file.save(out)
    record = records.solved(problem, first, solved)
    for line in () if json else solved_lines(record):
        tell(line)
    if plan is not None:
        single.write_plan(problem, first, np.asarray(solved.file.actions, np.int64), plan)
    if json:
        print_json(record | {"solution": str(out), "plan": None if plan is None else str(plan)})
        return
    if plan is not None:
        tell(f"plan: {plan}")
    tell(f"solution: {out}")


@app.command()
def validate(
    family: Family,
    instance: InstanceArgument,
    solution: Annotated[Path, typer.Argument(help="a solution file that solve wrote")],
    settings: Settings = None,
    trust: Trust = False,
) -> None:
    """Judge a solution and print objective, feasible and violations as JSON.

    The exit code is 1 if the solution is infeasible.

    Example: `sysopt-gym validate vm_rescheduling small:test/0 solution.json`
    """
    from .core.registry import load_problem
    from .core.sources import find_instances
    from .evaluation import catalog, single

    problem = load_problem(family)
    values = catalog.parse_settings(settings or [], problem.settings, f"{family} setting")
    file = single.load_solution(problem, solution)
    instances = find_instances(problem, instance, file.settings)
    verdict = single.validate(problem, _first(instances, instance), file, solution, values)
    print_json(verdict)
    if not verdict["feasible"]:
        raise typer.Exit(1)


@app.command(cls=TrainCommand)
def train(
    config: Annotated[
        str,
        typer.Argument(
            help="a YAML file, or the name of one in configs/; with --resume, also a run's folder",
            autocompletion=completion.configurations,
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the last checkpoint, as it was started")
    ] = False,
    then_compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SET|FILE ...]",
            help="then compare the policy with the family's contenders on these instances; by "
            "default on the family's own, less those trained on",
        ),
    ] = None,
    ray: Ray = None,
    trust: Trust = False,
) -> None:
    """Train an agent from a configuration; configurations and their keys are listed below.

    Example: `sysopt-gym train vm_rescheduling_ppo seed=3`

    `sysopt-gym train vm_rescheduling_ppo out=runs/x start=vm_rescheduling_ppo
    ppo.instances=[eight.zip] validation=[eight.zip] --then-compare four.zip`

    `sysopt-gym train --resume runs/x`
    """
    from .core.lookup import resolve
    from .evaluation.catalog import parse_overrides

    values = parse_overrides(overrides or [])
    policy: Path = resolve(".agents.training:train")(config, values, resume, ray)
    tell(f"policy: {policy}")
    _write_training_page(policy.parent)
    if then_compare is None:
        return
    from .evaluation.after_training import OUT, request_after
    from .evaluation.comparison import compare
    from .evaluation.screens import result_lines

    named = [argument for argument in then_compare if argument != DEFAULT]
    request = request_after(policy.parent, named)
    tell(request.command)
    out = policy.parent / OUT
    for line in result_lines(compare(request, out, resume and out.exists()), out):
        tell(line)


@app.command()
def compare(
    out: Annotated[Path, typer.Option("--out", help="folder for the report and the rows")],
    families: Families = None,
    instances: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET|FILE ...",
            help="instances to play",
            autocompletion=completion.instances,
        ),
    ] = None,
    contenders: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER|FILE.py:FUNCTION ...",
            help=CONTENDER,
            autocompletion=completion.contenders,
        ),
    ] = None,
    budget: Annotated[float | None, typer.Option(help="wall-clock seconds per plan")] = None,
    settings: Settings = None,
    seeds: Annotated[int, typer.Option(help="runs of each contender on each instance")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="continue where it stopped")] = False,
    workers: Annotated[int, typer.Option(help="parallel processes; above 1, times vary more")] = 1,
    ray: Ray = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="compare the others with this one", autocompletion=completion.contenders),
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(help="of an earlier comparison, to meet the same worlds again")
    ] = None,
    cores: Cores = 1,
    memory: Memory = None,
    isolate: Isolate = False,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Play contenders on instances under one budget and one judge, and write the report.

    Example: `sysopt-gym compare vm_rescheduling --instances snapshot.json lookalike:test
    --contenders agent milp --budget 2 --out results`

    `sysopt-gym compare vm_rescheduling --contenders mine=runs/try/policy solve.py:my_solver
    --baseline mine --out results`
    """
    from .evaluation import comparison
    from .evaluation.records import compared
    from .evaluation.screens import result_lines

    request = comparison.Request(
        families or (), instances or (), contenders or (), budget, settings or (), seeds, baseline,
        workers, ray, nonce, shlex.join(["sysopt-gym", *sys.argv[1:]]), cores=cores,
        memory_gib=memory, isolate=isolate,
    )  # fmt: skip
    rows = comparison.compare(request, out, resume)
    if json:
        print_json(compared(rows, out))
        return
    for line in result_lines(rows, out):
        tell(line)


@app.command()
def report(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="folder that compare or train wrote; of --merge, where the report goes"
        ),
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER ...",
            help="judge the rows of these comparisons again, and put them side by side in FOLDER "
            "(default: merged)",
        ),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="first judge all rows again")] = False,
    no_solvers: Annotated[
        bool, typer.Option("--no-solvers", help="of training: do not play the family's solvers")
    ] = False,
) -> None:
    """Write the report of a comparison or of training, from what its folder holds.

    Of a comparison it is made of the rows; with --replay, the exit code is 1 if a row does not
    agree with the judge's new result. Of a training run, of its seeds or of a sweep it has the
    learning curves, beside the family's solvers on the validation set, which play once. A run may
    be under way, or have been killed.

    --merge refuses a row that states what its plan does not give, and rows that do not compare; a
    contender that several folders have is told apart by its folder.

    Example: `sysopt-gym report results --replay`, `sysopt-gym report runs/vm_rescheduling_ppo`,
    `sysopt-gym report --merge mine theirs`
    """
    from .evaluation.cells import Folder
    from .evaluation.replay import replay_all
    from .evaluation.report import write_report
    from .evaluation.screens import replay_lines, result_lines
    from .evaluation.training_curves import is_training

    if merge:
        from .evaluation.merging import merge as merge_folders

        out = folder or Path("merged")
        for line in result_lines(merge_folders(merge, out), out):
            tell(line)
        return
    if folder is None:
        raise SettingError("name the folder that compare or train wrote, e.g. report results")
    if is_training(folder):
        if replay:
            raise SettingError(
                f"--replay is for the rows of a comparison; {folder} holds training, whose policy "
                f"is judged by `sysopt-gym compare --contenders mine={folder}/policy`"
            )
        from .evaluation.training_report import write_training_report

        for line in write_training_report(folder, solvers=not no_solvers):
            tell(line)
        return
    found = replay_all(Folder(folder)) if replay else []
    for line in replay_lines(found):
        tell(line)
    for line in result_lines(write_report(Folder(folder)), folder):
        tell(line)
    if not all(judged.agrees for judged in found):
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="families and benchmarks (default: all)", autocompletion=completion.benchmarks
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Measure speeds beside the stated references.

    Example: `sysopt-gym bench vm_rescheduling --json speeds.json`
    """
    from .evaluation import bench as benchmarks
    from .evaluation.screens import speeds

    found = benchmarks.measure(names or [], lambda line: tell(line, err=True))
    for table in speeds(found):
        print_table(table)
    if json_file is not None:
        benchmarks.write_json(found, json_file)


@app.command("zoo")
def zoo_(
    families: Families = None,
    json: Json = False,
) -> None:
    """List the shipped policies: what trained them, and their scores beside the best solver's.

    Example: `sysopt-gym zoo vm_rescheduling`
    """
    from .evaluation import zoo
    from .evaluation.catalog import check_families
    from .evaluation.screens import zoo_tables

    wanted = check_families(families or ())
    found = [one for one in zoo.policies() if one["family"] in wanted]
    if json:
        print_json({"policies": found})
        return
    for table in zoo_tables(found):
        print_table(table)


@app.command("warm-up")
def warm_up(
    families: Families = None,
    processes: Annotated[
        int | None, typer.Option(help="families at a time; default: one for each core")
    ] = None,
) -> None:
    """Compile what contenders run, ahead of their first use.

    Without it the first run of each contender on a machine takes up to two minutes more.

    Example: `sysopt-gym warm-up vm_rescheduling`
    """
    from .evaluation.warming import warm_up_families

    warm_up_families(families or [], processes)


@app.command()
def doctor(json: Json = False) -> None:
    """Check versions, threads, solver back ends and data, and say how to repair what is wrong.

    Example: `sysopt-gym doctor`
    """
    from .evaluation.doctor import examine
    from .evaluation.records import examined
    from .evaluation.screens import health

    findings = examine()
    if json:
        print_json(examined(findings))
    else:
        print_table(health(findings))
    if any(finding.health == "off" for finding in findings):
        raise typer.Exit(1)


def _write_training_page(folder: Path) -> None:
    """Write the page beside a policy; what has been trained is not lost where it cannot be."""
    from .evaluation.training_report import write_training_report

    try:
        for line in write_training_report(folder, solvers=False):
            tell(line)
    except SysOptError as error:
        write_note(f"no report of the training: {error}")


def _first(instances: list[Any], argument: str) -> Any:
    if len(instances) > 1:
        write_note(
            f"{argument} holds {len(instances)} instances; taking the first, {instances[0].name}"
        )
    return instances[0]


def main() -> None:
    """Run the command line; entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
