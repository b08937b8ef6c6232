"""The help of `train`: its options, and then configurations and their keys, each with its default.

The keys are read from the source of the dataclasses that a configuration is parsed into; torch and
ray, which these need, are not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from .completion import configuration_lines

if TYPE_CHECKING:
    from rich.table import Table

CONFIGURATION = "agents.configuration"
# Section of a configuration -> the class that it is parsed into.
SECTIONS = {
    "": "TrainingConfig",
    "imitation.": "ImitationConfig",
    "STAGE.": "ReinforcementConfig",
    "sweep.": "SweepConfig",
}
ELSEWHERE = ("imitation", "reinforcement", "sweep")  # keys that are sections


class TrainCommand(TyperCommand):
    """The command `train`, whose help lists configurations and their keys."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, see click."""
        from .words import print_table

        super().format_help(ctx, formatter)
        for table in help_tables():
            print_table(table)


def help_tables() -> list[Table]:
    """Return tables of the shipped configurations and of the keys of any."""
    from .evaluation.screens import plain_table

    configurations = [list(pair) for pair in configuration_lines().items()]
    return [
        plain_table("Configurations", ["name", "what it trains"], configurations, ["name"]),
        plain_table(
            f"Keys, as KEY=VALUE; STAGE is one of {', '.join(stages())}",
            ["key", "default", "what it means"],
            [list(row) for row in keys()],
            ["key"],
        ),
    ]


def stages() -> list[str]:
    """Return the names of the stages that follow imitation: RLlib's algorithms."""
    from .core.lookup import PACKAGE
    from .core.source_text import keys_of

    return keys_of(f"{PACKAGE}.agents.algorithms:ALGORITHMS")


def keys() -> list[tuple[str, str, str]]:
    """Return the keys of a configuration, dotted, with their defaults and meanings."""
    from .core.lookup import PACKAGE
    from .core.source_text import fields_of

    return [
        (prefix + name, default, about)
        for prefix, made in SECTIONS.items()
        for name, default, about in fields_of(f"{PACKAGE}.{CONFIGURATION}:{made}")
        if prefix or name not in ELSEWHERE
    ]
