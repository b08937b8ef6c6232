"""Sequence parallelism: a training step's sequences in groups of devices, and its validator."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/SequenceParallelism-v0",
    env=f"{__name__}.env:SequenceParallelismEnv",
)
