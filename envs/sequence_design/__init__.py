"""Offline biological sequence design as a game: build a batch of designs, be judged once."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/SequenceDesign-v0",
    env=f"{__name__}.env:SequenceDesignEnv",
    vector_env=f"{__name__}.vector_env:SequenceDesignVectorEnv",
)
