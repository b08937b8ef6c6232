"""Dynamics, observations, rewards and the validator of federated training."""

from ...core.registry import Family

FAMILY = Family(
    problem=f"{__name__}.problem:PROBLEM",
    env_id="sysopt/FederatedLR-v0",
    env=f"{__name__}.env:FederatedLREnv",
    vector_env=f"{__name__}.vector_env:FederatedLRVectorEnv",
)
