"""Memory mapping: the mallocGame after mallocMuZero (2023) and its independent validator."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/MallocGame-v0",
    env=f"{__name__}.env:MallocGameEnv",
    vector_env=f"{__name__}.vector_env:MallocGameVectorEnv",
)
