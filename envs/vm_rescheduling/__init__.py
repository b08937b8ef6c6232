"""VM rescheduling: the environment after VMR2L (EuroSys 2025) and its independent validator."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/VMRescheduling-v0",
    env=f"{__name__}.env:VMReschedulingEnv",
    vector_env=f"{__name__}.vector_env:VMReschedulingVectorEnv",
)
