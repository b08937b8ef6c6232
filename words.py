"""How the command line reads its words, and reports notes and errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from .core.errors import SysOptError
from .core.notes import told_to

INTERRUPTED, REFUSED = 130, 2
DEFAULT = "default"  # stands for the values of a list option that may have none
LIST_OPTIONS = ("--instances", "--contenders", "--set", "--then-compare")


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
        return super().parse_args(ctx, expand_lists(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; report errors of this library in one message and an exit code."""
        try:
            with told_to(write_note):
                return super().invoke(ctx)
        except SysOptError as error:
            typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
            typer.echo(str(error), err=True)
            raise typer.Exit(REFUSED) from error
        except KeyboardInterrupt as error:
            hint = "; finished cells are kept, add --resume to go on"
            typer.echo(f"\ninterrupted{hint if 'compare' in sys.argv else ''}", err=True)
            raise typer.Exit(INTERRUPTED) from error


def write_note(message: str) -> None:
    """Write a note to the standard error.

    Args:
        message: the note.
    """
    typer.echo(f"note: {message}", err=True)


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
