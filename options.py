"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion

Family = Annotated[
    str,
    typer.Argument(help="a family, e.g. vm_rescheduling", autocompletion=completion.families),
]
Families = Annotated[
    list[str] | None,
    typer.Argument(help="default: all", autocompletion=completion.families),
]
InstanceArgument = Annotated[
    str,
    typer.Argument(
        help="a set (small:test), one instance of it (small:test/3), or a file",
        autocompletion=completion.instances,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="print one JSON document; see docs/command_line.md")
]
CONTENDER = (
    "a solver or agent; a policy's folder, runs/try/policy or PLAYER@FOLDER; your own function, "
    "solve.py:mine; the name in the table may stand before, mine=runs/try/policy"
)
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE ...",
        help="settings of the instance, e.g. mnl=25",
        autocompletion=completion.settings,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="where to write")]


def _trust(said: bool) -> None:
    from .core.trust import trust_files

    if said:
        trust_files()


Trust = Annotated[
    bool,
    typer.Option("--trust", callback=_trust, help="read files that may run code when read (.pt2)"),
]
Cores = Annotated[int, typer.Option(help="cores of each contender; more CPU time makes it late")]
Memory = Annotated[
    float | None, typer.Option(help="GiB of each contender; default: its part of the machine's")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="work on a Ray cluster; 'local' starts one here"),
]
Isolate = Annotated[
    bool,
    typer.Option(
        "--isolate", help="show contenders their own files and nothing else; see docs/trust.md"
    ),
]
