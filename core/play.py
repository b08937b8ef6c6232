"""Environments of instances, and policies played on them."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np

from .budget import Budget
from .contracts import Kind, Policy
from .problem import Problem
from .solution import Solution


def is_policy(kind: Kind, contender: Any) -> bool:
    """Whether a contender plays closed loop: a policy's constructor, or an agent of that form."""
    return kind == "policy" or hasattr(contender, "act")


def shown_to(problem: Problem[Any], kind: Kind, instance: Any) -> Any:
    """What of an instance a contender of the kind is given; an oracle gets all of it."""
    return instance if kind == "oracle" else problem.contender_view(instance)


def make_environment(problem: Problem[Any], instance: Any) -> gymnasium.Env[Any, Any]:
    """The family's environment in the form that plans are made of, with room for the instance."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="gymnasium")
        return gymnasium.make(
            problem.env_id,
            instances=(instance,),
            disable_env_checker=True,
            **problem.env_arguments,
        )


def play_policy(
    problem: Problem[Any], policy: Policy, instance: Any, budget: Budget, seed: int, world_seed: int
) -> Solution:
    """Plays an episode closed loop, until it ends or the budget does.

    Args:
        problem: the family.
        policy: is reset first, with what it is told of the instance.
        instance: as contenders are shown it.
        budget: of the episode.
        seed: the policy's.
        world_seed: the environment's.
    """
    clock = budget.start()
    env = make_environment(problem, instance)
    try:
        policy.reset(problem.policy_view(instance), budget, seed)
        observation, info = env.reset(seed=world_seed, options={"instance": instance})
        actions: list[Any] = []
        ended = False
        while not ended and not clock.expired:
            action = policy.act(observation, info)
            observation, _, terminated, truncated, info = env.step(action)
            actions.append(action)
            ended = bool(terminated or truncated)
        return clock.solution(np.asarray(actions, dtype=np.int64))
    finally:
        env.close()  # type: ignore[no-untyped-call]
