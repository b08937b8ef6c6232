"""The commands `data ...`: look at instances, import your own files, generate new ones."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .core.errors import SettingError
from .options import Family, InstanceArgument, Json, Out, Settings, Trust
from .words import import_words, print_json, print_table, screen_width, tell

data_app = typer.Typer(
    no_args_is_help=True, help="Look at instances, import your own files, generate new ones."
)


@data_app.command("info")
def data_info(
    family: Family,
    instance: InstanceArgument,
    settings: Settings = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Describe an instance, or each instance of a set.

    Example: `sysopt-gym data info vm_rescheduling lookalike:test`
    """
    from .evaluation.catalog import load
    from .evaluation.records import described
    from .evaluation.screens import facts

    problem, instances, _ = load(family, instance, settings or [])
    if json:
        print_json(described(problem, instances))
        return
    print_table(facts(problem, instances, screen_width()))


@data_app.command("import", context_settings={"ignore_unknown_options": True})
def data_import(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FAMILY] FILE [--SETTING VALUE]...",
            help="your file; its family where several could read it; settings of the instance",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="where to write (default: FILE's name with .npz)")
    ] = None,
    settings: Settings = None,
    trust: Trust = False,
) -> None:
    """Convert your own file into instances, and describe them.

    The result can be given wherever a set's name or a file is expected.

    Example: `sysopt-gym data import vm_rescheduling snapshot.json --out mine.npz`

    `sysopt-gym data import program.hlo.txt --hardware tpu-like --capacity 8MiB`
    """
    from .evaluation.catalog import import_file, save
    from .evaluation.screens import facts

    family, file, pairs = import_words(words)
    problem, instances = import_file(family, file, [*pairs, *(settings or [])])
    if out is None:
        out = Path(file.name.partition(".")[0] + (".npz" if len(instances) == 1 else ".zip"))
    save(instances, out)
    print_table(facts(problem, instances, screen_width()))
    tell(f"{out}: {len(instances)} instance{'s' * (len(instances) != 1)} of {problem.family}")


@data_app.command("template")
def data_template(
    family: Family,
    out: Annotated[
        Path | None, typer.Option("--out", help="where to write (default: a name of the family's)")
    ] = None,
) -> None:
    """Write a small valid file to start your own from, and say what each field of it means.

    Example: `sysopt-gym data template vm_rescheduling --out mine.json`
    """
    from .core.files import write_bytes
    from .core.registry import load_problem

    found = load_problem(family).template()
    if found is None:
        raise SettingError(f"{family} has no template; docs/{family}.md says what files it reads")
    path = out or Path(found.name)
    if path.exists():
        raise SettingError(f"{path}: is there already; give another name with --out")
    write_bytes(path, found.text.encode())
    width = shutil.get_terminal_size().columns
    for name, meaning in found.fields.items():
        tell(textwrap.fill(f"{name}: {meaning}", width, subsequent_indent="    "), keep="\n")
    tell(f"\n{path}: change it, and try", keep="\n")
    for command in (f"data info {family} {{file}}", found.command):
        tell("  sysopt-gym " + command.format(file=path))


@data_app.command("generate")
def data_generate(
    family: Family,
    out: Out,
    count: Annotated[int, typer.Option(help="number of instances")] = 1,
    seed: Annotated[int, typer.Option(help="seed of the first instance; each next adds 1")] = 0,
    settings: Settings = None,
) -> None:
    """Generate instances; --set gives the generator's parameters and the instances' settings.

    Example: `sysopt-gym data generate vm_rescheduling --count 4 --seed 1 --set pms=24 mnl=8 --out
    four.zip`
    """
    from .core.registry import load_problem
    from .evaluation.catalog import generate, save

    save(generate(load_problem(family), count, seed, settings or []), out)
    tell(f"{out}: {count} instance{'s' * (count != 1)} of {family}")


@data_app.command("record")
def data_record(
    family: Family,
    contender: Annotated[
        str,
        typer.Option(
            "--with",
            help="whose plans: a solver or agent",
            autocompletion=completion.contenders,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder for the episodes")],
    instances: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET|FILE ...",
            help="default: those of compare",
            autocompletion=completion.instances,
        ),
    ] = None,
    budget: Annotated[float | None, typer.Option(help="wall-clock seconds per plan")] = None,
    seeds: Annotated[int, typer.Option(help="runs on each instance")] = 1,
    format_: Annotated[
        str, typer.Option("--format", help="rllib (for BC, MARWIL) or minari")
    ] = "rllib",
    settings: Settings = None,
    trust: Trust = False,
) -> None:
    """Record a contender's plans as episodes of the environment, for offline learning.

    Example: `sysopt-gym data record vm_rescheduling --instances small:train --with columns --out
    episodes`
    """
    from .core.contender_arguments import name_contender
    from .core.folder_lock import sole_writer
    from .core.registry import load_problem
    from .evaluation import catalog, recording
    from .evaluation.looking import look
    from .evaluation.screens import recorded_lines

    kind, problem = recording.check_format(format_), load_problem(family)
    names = instances or problem.defaults.instances
    found = [one for named in names for one in catalog.load(family, named, settings or [])[1]]
    name = name_contender(family, contender, look)
    limit = catalog.check_budget(budget or problem.defaults.budget_s)
    with sole_writer(out, "another --out"):
        recording.check_free(kind, problem, name, out)
        episodes = recording.record(problem, found, name, limit, catalog.check_seeds(seeds))
        written = recording.write(kind, episodes, problem, found, name, out)
    for line in recorded_lines(episodes, written):
        tell(line)
