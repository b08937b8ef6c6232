"""Warm start of the memory-mapping policy from a solver's plans.

A plan has many uses in fast memory that save nothing; a pass over it drops them, so that what is
imitated is what matters. The value learns the savings that were still to come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.contracts import Solver
from ...core.errors import SettingError
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import State, Static, make_state
from ...envs.memory_mapping.env import MallocGameEnv
from ...envs.memory_mapping.static import planning_static
from ...envs.memory_mapping.wishes import play_wishes, wishes_of
from ..batches import Choice
from .network import DecisionPolicy


def lessons(
    network: DecisionPolicy,
    instances: Sequence[Program],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Choice]:
    """Every choice of a solver's plans; see Recipe. States of own play are not used."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose plans are imitated")
    samples: list[Choice] = []
    for program in instances:
        samples += demonstrate(program, _plan(program, solver, budget))
    return samples


def demonstrate(program: Program, plan: np.ndarray) -> list[Choice]:
    """A plan's decisions, where there was a choice."""
    env = MallocGameEnv(program)
    observation, _ = env.reset()
    seen, rewards = [], []
    for action in plan.tolist():
        seen.append(observation)
        observation, reward, _, _, _ = env.step(action)
        rewards.append(reward)
    to_come = np.cumsum(rewards[::-1])[::-1]
    return [
        Choice(observation, action, float(left))
        for observation, action, left in zip(seen, plan.tolist(), to_come, strict=True)
        if observation["action_mask"].sum() > 1
    ]


_PLANS: dict[str, np.ndarray] = {}


def _plan(program: Program, solver: Solver, budget: Budget) -> np.ndarray:
    key = program.content_hash
    if key not in _PLANS:
        static = planning_static(program)
        state = make_state(static)
        tidy(static, state, wishes_of(solver(program, budget, 0).actions))
        _PLANS[key] = state.actions.copy()
    return _PLANS[key]


@njit(cache=True)
def tidy(static: Static, state: State, wishes: np.ndarray) -> None:
    """Takes back, one by one, the wishes that save nothing; the state holds what is left."""
    best = play_wishes(static, state, wishes)
    for d in range(len(wishes)):
        if wishes[d]:
            wishes[d] = 0
            if play_wishes(static, state, wishes) > best:
                wishes[d] = 1
    play_wishes(static, state, wishes)
