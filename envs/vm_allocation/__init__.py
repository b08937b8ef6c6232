"""VM allocation: a data center over days, in which VMs come and go, and its validator."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/VMAllocation-v0",
    env=f"{__name__}.env:VMAllocationEnv",
    vector_env=f"{__name__}.vector_env:VMAllocationVectorEnv",
)
