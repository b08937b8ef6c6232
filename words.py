"""How the command line reads its words, and reports notes and errors."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from .core.errors import SysOptError
from .core.notes import told_to
from .core.printable import printable

INTERRUPTED, TERMINATED, REFUSED = 130, 128 + signal.SIGTERM, 2
# Command -> what becomes of its work when it is stopped.
KEPT = {
    "compare": "; finished cells are kept, add --resume to go on",
    "train": "; the run is kept up to its last checkpoint, add --resume to go on",
}
DEFAULT = "default"  # stands for the values of a list option that may have none
LIST_OPTIONS = ("--instances", "--contenders", "--set", "--merge", "--then-compare")


def expand_lists(arguments: list[str]) -> list[str]:
    """Repeat a list option before each of its values.

    `--contenders a b` becomes `--contenders a --contenders b`. A list ends at the next option; for
    --set also at the first text without "=", for --then-compare at the first with one.
    --then-compare without values gets DEFAULT. "--" ends the expansion.

    Args:
        arguments: the command's arguments.
    """
    expanded: list[str] = []
    option = ""
    taken = 0
    for at, argument in enumerate(arguments):
        ends = argument.startswith("-") and argument != "-"
        if option == "--then-compare" and (ends or "=" in argument):
            expanded += [] if taken else [DEFAULT]
            option = ""
        if argument == "--":
            return expanded + arguments[at:]
        if ends:
            option, taken = (argument, 0) if argument in LIST_OPTIONS else ("", 0)
            expanded.append(argument)
            continue
        if option and taken and option == "--set" and "=" not in argument:
            option = ""
        if option and taken:
            expanded.append(option)
        taken += 1
        expanded.append(argument)
    return expanded + [DEFAULT] * (option == "--then-compare" and not taken)


class Commands(TyperGroup):
    """The top-level command group: accepts list options, reports our errors without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expand list options, then parse as in the base class.

        Args:
            ctx: the click context.
            args: the command's arguments.
        """
        try:
            nul = b"\0" in os.fsencode("".join(args))
        except UnicodeEncodeError:
            nul = True
        if nul:  # never from a shell
            raise typer.BadParameter("an argument holds a character that no name can have")
        return super().parse_args(ctx, expand_lists(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; report errors of this library in one message and an exit code."""
        try:
            with told_to(write_note), _stopped_by_sigterm():
                return super().invoke(ctx)
        except SysOptError as error:
            typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
            tell(str(error), err=True, keep="\n")
            raise typer.Exit(REFUSED) from error
        except (KeyboardInterrupt, SystemExit) as error:
            # Ray has SIGTERM raise SystemExit in a process that it was started in.
            if isinstance(error, SystemExit) and error.code != signal.SIGTERM:
                raise
            terminated = not isinstance(error, KeyboardInterrupt) or isinstance(error, _Terminated)
            how = "ended by SIGTERM" if terminated else "interrupted"
            typer.echo(f"\n{how}{KEPT.get(ctx.invoked_subcommand, '')}", err=True)
            raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from error


class _Terminated(KeyboardInterrupt):
    """SIGTERM came, as if the user had pressed Ctrl-C."""


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Have SIGTERM stop the block as Ctrl-C does: workers end, the terminal is put right."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # some send it twice, to be sure
        raise _Terminated

    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def write_note(message: str) -> None:
    """Write a note to the standard error.

    Args:
        message: the note.
    """
    tell(f"note: {message}", err=True, keep="\n")


def tell(text: str, err: bool = False, keep: str = "") -> None:
    r"""Write a line in which others' texts may stand: they move no cursor, and begin no line.

    Args:
        text: the line.
        err: whether to write it to the standard error.
        keep: what is written as it is all the same, such as "\n" of messages of several lines.
    """
    typer.echo(printable(text, keep), err=err)


def print_table(table: Any) -> None:
    """Print a table of rich's.

    Args:
        table: the table.
    """
    from rich.console import Console

    Console().print(table)


def screen_width() -> int:
    """Return the columns of the screen; 80 where there is none."""
    from rich.console import Console

    return Console().width


def print_json(record: Any) -> None:
    """Print a record as one JSON document, the only thing on the standard output.

    Args:
        record: of texts, numbers, lists and mappings.
    """
    from .core.results import plain

    typer.echo(json.dumps(plain(record), indent=1))


def import_words(words: list[str]) -> tuple[str | None, Path, list[str]]:
    """Split the arguments of `data import`.

    Args:
        words: the arguments.

    Returns:
        The family, None if it is not named; the file; the settings as "key=value" texts.

    Raises:
        typer.BadParameter: no file, or more than one.
    """
    names, pairs = [], []
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            key, given, value = word[2:].partition("=")
            pairs.append(f"{key}={value if given else next(rest, '')}")
        else:
            names.append(word)
    if len(names) not in (1, 2):
        raise typer.BadParameter(f"give one file, with or without its family; got {names}")
    return names[0] if len(names) == 2 else None, Path(names[-1]), pairs
