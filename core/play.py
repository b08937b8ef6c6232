"""Run contenders: planners once, players closed loop in an environment."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numba.core.event import install_recorder

from .budget import Budget
from .contender_arguments import name_contender
from .contracts import Contender, Policy, Role, World
from .instance import Instance
from .problem import Problem
from .registry import Entry, contender_entry, load_contender, load_problem
from .solution import Incumbent, Played, Solution

# Enough for a search to run all of its code on a warm-up instance.
WARM_UP_S, WARM_UP_EVALUATIONS = 1.0, 1000
LEAST_WARM_UP_S = 0.3  # loading compiled code takes longer than a budget of milliseconds
LOADED_S = 1.5  # in which all compiled code is loaded
MOST_WARM_UPS = 20

_warm: set[tuple[str, Entry]] = set()


@dataclass(frozen=True, slots=True)
class Task:
    """One run of a contender on an instance.

    Attributes:
        instance: the family's instance, whole or as contenders see it.
        budget: the run's limits.
        seed: seed of the contender.
        world_seed: seed of the environment; only oracles are given it.
    """

    instance: Any
    budget: Budget
    seed: int
    world_seed: int


def view(problem: Problem[Any], role: Role, instance: Any) -> Any:
    """Return a contender's view of an instance: oracles get all of it.

    Args:
        problem: the family.
        role: the contender's role.
        instance: whole, or as contenders see it.
    """
    return instance if role == "oracle" else problem.contender_view(instance)


def run(contender: Contender, problem: Problem[Any], task: Task) -> Solution:
    """Run a contender on a task and return its solution.

    Args:
        contender: a contender of any role and form.
        problem: its family.
        task: the instance, the budget and the seeds.

    Raises:
        TypeError: the contender did not return a Solution.
    """
    if contender.form == "player":
        return play_policy(problem, contender.object(), task)
    instance = view(problem, contender.role, task.instance)
    last = World(task.world_seed) if contender.role == "oracle" else task.seed
    solution = contender.object(instance, task.budget, last)
    if not isinstance(solution, Solution):
        raise TypeError(
            f"returned {type(solution).__name__}, not a Solution; end with `return "
            "clock.solution(actions)`, see docs/extending.md"
        )
    return solution


def warm_up(contender: Contender, problem: Problem[Any], seconds: float) -> None:
    """Run a contender on the family's tiny instance until everything is loaded and compiled.

    Args:
        contender: a contender of any role and form.
        problem: its family.
        seconds: wall-clock budget of the runs to come; a run here takes about as many, from
            LEAST_WARM_UP_S to WARM_UP_S at most.
    """
    budget = Budget(min(WARM_UP_S, max(LEAST_WARM_UP_S, seconds)), WARM_UP_EVALUATIONS)
    spent_s = 0.0
    for number in range(MOST_WARM_UPS):
        began = time.perf_counter()
        with install_recorder("numba:compile") as compiled:
            run(contender, problem, Task(problem.warm_up_instance(), budget, 0, 0))
        # A run may leave code out where compiling takes its seconds, the first one also where
        # loading what has been compiled does, and each one that its budget ends.
        run_s = time.perf_counter() - began
        spent_s += run_s
        is_whole = run_s < budget.seconds / 2 or spent_s > LOADED_S
        if number > 0 and is_whole and not compiled.buffer:
            break


def solve(instance: Instance, with_: str, budget_s: float, seed: int = 0) -> Solution:
    """Run a contender on an instance in this process.

    The first call warms the contender up before its clock starts, as `compare` does. The plan is
    not judged here; `Problem.validate` does that.

    Args:
        instance: an instance of any registered family.
        with_: name of one of the family's contenders, a policy's folder, or where a function is;
            see core.contender_arguments.
        budget_s: wall-clock seconds that the contender may spend.
        seed: seed of the contender and, if it plays closed loop, of the world.

    Raises:
        UnknownNameError: no such contender.
        CheckpointError, RegistryError: a policy or a function that cannot play.
        SettingError: the budget is not a positive number of seconds.
        MissingDependencyError: the contender needs a package that is not installed.
    """
    task = Task(instance, Budget(budget_s), seed, seed)
    problem = load_problem(instance.FAMILY)
    name = name_contender(instance.FAMILY, with_)
    contender, entry = load_contender(instance.FAMILY, name), contender_entry(instance.FAMILY, name)
    if (instance.FAMILY, entry) not in _warm:
        warm_up(contender, problem, budget_s)
        _warm.add((instance.FAMILY, entry))
    return run(contender, problem, task)


def make_environment(
    problem: Problem[Any], instances: Sequence[Any], **arguments: Any
) -> gymnasium.Env[Any, Any]:
    """Make the environment whose actions are the rows of a plan.

    Args:
        problem: the family.
        instances: the environment's observation is large enough for all of them.
        **arguments: of the environment, beside `problem.env_arguments`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="gymnasium")
        return gymnasium.make(
            problem.env_id,
            instances=tuple(instances),
            disable_env_checker=True,
            **problem.env_arguments,
            **arguments,
        )


def as_action(row: Any) -> Any:
    """Convert one row of a plan to an action: an int, or an int64 array."""
    return int(row) if np.ndim(row) == 0 else np.asarray(row)


def play_policy(
    problem: Problem[Any],
    policy: Policy,
    task: Task,
    seconds: Callable[[], float] | None = None,
) -> Solution:
    """Play an episode closed loop until it ends or the budget is spent.

    Args:
        problem: the family.
        policy: the player; it is reset first, with its view of the instance.
        task: the whole instance, of which environment and policy keep their views, the episode's
            budget and the seeds.
        seconds: returns the seconds that the policy has taken; by default those since the start of
            this function, with the environment's.

    Returns:
        The actions played, with the objective and feasibility that the environment reported last;
        where the budget ended the episode, those up to the last that a plan may end with.
    """
    clock = task.budget.start()
    taken = seconds or (lambda: clock.elapsed)
    played = problem.environment_view(task.instance)
    shown = problem.policy_view(problem.contender_view(task.instance))
    env = make_environment(problem, [played])
    try:
        policy.reset(shown, task.budget, task.seed)
        observation, info = env.reset(seed=task.world_seed, options={"instance": played})
        actions: list[Any] = []
        end = _reported(info)
        whole, count = end, 0  # the last report of a plan that may end there, and its actions
        ended = False
        while not ended and taken() < task.budget.seconds:
            action = policy.act(observation, info)
            observation, _, terminated, truncated, info = env.step(action)
            actions.append(action)
            ended = bool(terminated or truncated)
            end = _reported(info)
            if end.feasible:
                whole, count = end, len(actions)
        if not ended and whole.feasible:
            # The budget's end may have come between the two plies of a move.
            end = whole
            del actions[count:]
        plan = np.asarray(actions, dtype=np.int64)
        return Solution(plan, incumbents=(Incumbent(taken(), plan),), played=end)
    finally:
        env.close()  # type: ignore[no-untyped-call]


def _reported(info: dict[str, Any]) -> Played:
    return Played(float(info["objective"]), bool(info["feasible"]))
