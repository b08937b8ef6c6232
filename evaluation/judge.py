"""The judge: replays actions in the environment, validates them independently, and compares.

World seeds are made here and nowhere else; a contender never sees them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from ..core.contracts import World
from ..core.errors import IllegalActionError
from ..core.play import make_environment
from ..core.problem import Problem
from ..core.solution import Incumbent

TOLERANCE = 1e-9
CURVE_POINTS = 40


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge finds in a plan.

    Attributes:
        objective: NaN where the plan is infeasible or the judges disagree.
        feasible: both the environment and the validator accept the plan.
        agree: the environment and the validator say the same.
        violations: one sentence a broken constraint, or how the judges disagree.
        detail: further figures of the family.
    """

    objective: float
    feasible: bool
    agree: bool = True
    violations: tuple[str, ...] = ()
    detail: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Replay:
    """What the environment says: objective and feasibility, and the reason where it refused an
    action.
    """

    objective: float
    feasible: bool
    refused: str = ""
    broken: str = ""


def world_seed(instance_hash: str, seed: int) -> int:
    """Seed of whatever the world draws, the same for every contender on the instance and seed
    index.
    """
    digest = hashlib.sha256(f"world/{instance_hash}/{seed}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def judge(problem: Problem[Any], instance: Any, actions: np.ndarray, world: World) -> Judgement:
    """Replays the actions in the environment, then has the validator recompute the objective from
    scratch.

    Args:
        problem: the family.
        instance: as the contender got it.
        actions: one row an environment step; none is the plan that does nothing.
        world: its seed, and the seconds spent before the first action.
    """
    replay = _replay(problem, instance, actions, world)
    verdict = problem.validate(instance, actions, world)
    detail = dict(verdict.detail or {})
    if replay.broken:
        return Judgement(math.nan, False, False, (replay.broken,), detail)
    if replay.feasible != verdict.feasible:
        why = replay.refused or "; ".join(verdict.violations) or "no reason given"
        said = ("accepts", "rejects") if replay.feasible else ("rejects", "accepts")
        text = f"the environment {said[0]} the plan and the validator {said[1]} it: {why}"
        return Judgement(math.nan, False, False, (text,), detail)
    if not verdict.feasible:
        reasons = verdict.violations or (replay.refused or "infeasible",)
        return Judgement(math.nan, False, True, tuple(reasons), detail)
    expected = verdict.objective if verdict.replayed is None else verdict.replayed
    if not abs(replay.objective - expected) <= TOLERANCE:
        text = f"the environment says {replay.objective!r}, the validator {expected!r}"
        return Judgement(math.nan, False, False, (text,), detail)
    return Judgement(verdict.objective, True, True, (), detail)


_nothing: dict[tuple[str, str, World], float] = {}


def doing_nothing(problem: Problem[Any], instance: Any, world: World) -> float:
    """Objective of the family's plan of doing nothing; NaN where that is not feasible. Judged once
    in a process for every contender in that world.
    """
    key = problem.family, instance.content_hash, world
    if key not in _nothing:
        _nothing[key] = judge(problem, instance, problem.null_plan(instance), world).objective
    return _nothing[key]


def anytime_curve(
    problem: Problem[Any],
    instance: Any,
    incumbents: Sequence[Incumbent],
    seed: int,
    wall_s: float,
    final: float = math.nan,
) -> list[tuple[float, float]]:
    """Objective of the plan in hand at moments of the search, by the validator.

    The moments are those of at most CURVE_POINTS incumbents, evenly chosen, the last one always.
    Where the world moves on, a plan in hand loses worth, so there are as many more in between, up
    to `wall_s`; each plan is judged in the world as it is at that moment. Infeasible plans are left
    out.

    Returns:
        (seconds, objective) pairs in the order of seconds.
    """
    if not incumbents:
        return []
    count = min(CURVE_POINTS, len(incumbents))
    chosen = np.unique(np.linspace(0, len(incumbents) - 1, count).round().astype(int))
    held = np.array([incumbents[int(index)].seconds for index in chosen])
    moments = held
    if problem.is_live(instance):
        first = max(float(held[0]), 1e-4)
        moments = np.union1d(held, np.geomspace(first, max(wall_s, first), CURVE_POINTS))
    curve = []
    for moment in moments:
        index = int(chosen[max(int(np.searchsorted(held, moment, side="right")) - 1, 0)])
        if index == len(incumbents) - 1 and not math.isnan(final):
            curve.append((float(moment), final))
            continue
        verdict = problem.validate(instance, incumbents[index].actions, World(seed, float(moment)))
        if verdict.feasible:
            curve.append((float(moment), float(verdict.objective)))
    return curve


def as_action(row: Any) -> Any:
    """One row of a plan as the environment takes it: an int, or an int64 array."""
    return int(row) if np.ndim(row) == 0 else np.asarray(row)


def _replay(problem: Problem[Any], instance: Any, actions: np.ndarray, world: World) -> _Replay:
    step = 0
    env: gymnasium.Env[Any, Any] | None = None
    try:
        env = make_environment(problem, instance)
        _, info = env.reset(
            seed=world.seed, options={"instance": instance, "elapsed_s": world.elapsed_s}
        )
        ended = False
        for step, row in enumerate(actions, start=1):
            if ended:
                if problem.is_live(instance):
                    break
                return _Replay(
                    math.nan, False, f"step {step}: the episode ended after {step - 1} steps"
                )
            _, _, terminated, truncated, info = env.step(as_action(row))
            ended = bool(terminated or truncated)
        return _Replay(float(info["objective"]), bool(info["feasible"]))
    except IllegalActionError as error:
        return _Replay(math.nan, False, f"step {step}: {error}")
    except Exception as error:
        text = f"step {step}: the environment raised {type(error).__name__}: {error}"
        return _Replay(math.nan, False, text, broken=text)
    finally:
        if env is not None:
            env.close()  # type: ignore[no-untyped-call]
