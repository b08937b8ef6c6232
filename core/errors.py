"""Exceptions of this library; every message names the place and what to do about it."""


class SysOptError(Exception):
    """Base of every error this library raises on purpose."""


class InstanceError(SysOptError, ValueError):
    """An instance, or a file that should hold one, is malformed or impossible."""


class UnknownNameError(SysOptError, KeyError):
    """A family, instance set, contender or setting that nobody registered."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0]) if self.args else ""


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
