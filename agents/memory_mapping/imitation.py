"""Warm start of the memory-mapping policy from a solver's plans.

A plan has many uses in fast memory that save nothing; `tidy` drops them, so that only uses that
save time are imitated. The value learns the savings that were still to come.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import State, Static, make_state
from ...envs.memory_mapping.env import MallocGameEnv
from ...envs.memory_mapping.static import planning_static
from ...methods.memory_mapping.wishes import play_wishes, wishes_of
from ..batches import Choice, returns
from ..recipe import ImitationPass
from .network import DecisionPolicy


def lessons(imitation: ImitationPass[DecisionPolicy, Program]) -> list[Choice]:
    """Return every choice of the contender's plans, after `tidy`; see Recipe."""
    samples: list[Choice] = []
    for program in imitation.instances:
        static = planning_static(program)
        state = make_state(static)
        tidy(static, state, wishes_of(imitation.plan(program)))
        samples += demonstrate(program, state.actions, imitation.discount)
    return samples


def demonstrate(program: Program, plan: np.ndarray, discount: float = 1.0) -> list[Choice]:
    """Return a plan's decisions that had a choice.

    Args:
        program: the instance.
        plan: int64 [D]; the action of every decision.
        discount: of the savings to come.
    """
    env = MallocGameEnv(program)
    observation, _ = env.reset()
    seen, rewards = [], []
    for action in plan.tolist():
        seen.append(observation)
        observation, reward, _, _, _ = env.step(action)
        rewards.append(reward)
    to_come = returns(rewards, discount).tolist()
    return [
        Choice(observation, action, left)
        for observation, action, left in zip(seen, plan.tolist(), to_come, strict=True)
        if observation["action_mask"].sum() > 1
    ]


@njit(cache=True)
def tidy(static: Static, state: State, wishes: np.ndarray) -> None:
    """Take back, one by one, the wishes for fast memory that save no time.

    Args:
        static: the program.
        state: overwritten; its `actions` are then the plan of the wishes that are left.
        wishes: int8 [D]; 1 where fast memory is wished for; overwritten.
    """
    best = play_wishes(static, state, wishes)
    for d in range(len(wishes)):
        if wishes[d]:
            wishes[d] = 0
            if play_wishes(static, state, wishes) > best:
                wishes[d] = 1
    play_wishes(static, state, wishes)
