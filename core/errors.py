"""Exceptions of this library; every message names the place and what to do about it."""

import re

MOST_CHARACTERS = 4000  # of a message; what a file holds must not flood the terminal
# Halves of characters, which no encoding takes, and codes that control the terminal.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text that any terminal and any file takes; file names may hold anything.

    Args:
        text: the text; a long one loses its middle.
    """
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]} [...] {text[-half:]}"
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class SysOptError(Exception):
    """Base of every error this library raises on purpose; its message can always be printed."""

    def __str__(self) -> str:
        return printable(str(self.args[0])) if self.args else ""


class InstanceError(SysOptError, ValueError):
    """An instance, or a file that should hold one, is malformed or impossible."""


class UnknownNameError(SysOptError, KeyError):
    """A family, instance set, contender or setting that nobody registered."""


class SettingError(SysOptError, ValueError):
    """A setting, budget or configuration value that cannot be used."""


class IllegalActionError(SysOptError, ValueError):
    """An action that the observation's mask rules out."""


class SolutionError(SysOptError, ValueError):
    """A solution file that is malformed or belongs to another instance."""


class CheckpointError(SysOptError, ValueError):
    """A checkpoint that is missing, damaged or made for another environment version."""


class TrainingError(SysOptError, RuntimeError):
    """Training cannot go on: a thread or process of the learning library has died."""


class MissingDependencyError(SysOptError, ImportError):
    """An optional package is not installed."""


class OutputError(SysOptError, OSError):
    """A result cannot be written where it was asked for, or does not belong to what is there."""


class RegistryError(SysOptError, ValueError):
    """A family or contender that cannot be registered."""
