"""The judge: replay actions in the environment, validate them independently, and compare both.

World seeds are made only here; contenders never see them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from ..core.budget import Budget
from ..core.contracts import Verdict, World
from ..core.errors import IllegalActionError
from ..core.kept import kept
from ..core.play import as_action, make_environment
from ..core.problem import Problem
from ..core.results import Status
from ..core.solution import Incumbent, Played
from ..core.solution import Status as Claim
from ..envs.base import FamilyEnv
from .process import Outcome

TOLERANCE = 1e-9
PROOF_TOLERANCE = 1e-6  # relative; solvers stop at such a distance from their bound
CURVE_POINTS = 40
MOST_KEPT = 4096  # objectives of null plans
CURVE_ROWS = 200_000  # of plans that are judged for one curve, besides the last one
LATE_FACTOR, LATE_GRACE_S = 1.05, 0.02


@dataclass(frozen=True, slots=True)
class Judgement:
    """Result of judging a plan.

    Attributes:
        objective: in the family's unit; NaN if the plan is infeasible or the judges disagree.
        feasible: whether both the environment and the validator accept the plan.
        agree: whether the environment and the validator come to the same result.
        violations: one sentence for each broken constraint, or on how the judges disagree.
        detail: name -> value of further figures of the family.
    """

    objective: float
    feasible: bool
    agree: bool = True
    violations: tuple[str, ...] = ()
    detail: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """Result of judging a contender's answer: its plan, its seconds and its proof.

    Attributes:
        found: the judgement of the plan.
        status: outcome of the run.
        scored_objective: objective the run is ranked by; that of the null plan if it failed.
        late: whether the contender overran its budget by more than the grace period, or took more
            cores than it was given.
        claim: "optimal" if the contender proved that no plan is better, else "feasible".
        bound: bound on the objective that the contender proved, or None.
        note: what the contender claimed that does not stand; empty if all does.
    """

    found: Judgement
    status: Status
    scored_objective: float
    late: bool
    claim: Claim
    bound: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Replay:
    """Result of replaying a plan in the environment.

    Attributes:
        objective: as the environment reports it after the last action.
        feasible: whether it accepts every action.
        refused: why it refused an action; empty if it did not.
        broken: exception that the environment raised instead; empty if it raised none.
    """

    objective: float
    feasible: bool
    refused: str = ""
    broken: str = ""


def world_seed(instance_hash: str, seed: int, nonce: str = "") -> int:
    """Return the world seed of a run, the same for every contender of a comparison.

    Args:
        instance_hash: content hash of the instance with its settings.
        seed: seed of the contender's run, counted from 0.
        nonce: the comparison's; empty gives worlds that anybody can compute, for plans that are no
            contest: `solve`, recordings, measurements.
    """
    text = f"world/{nonce}/{instance_hash}/{seed}" if nonce else f"world/{instance_hash}/{seed}"
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big")


def is_late(wall_s: float, budget_s: float) -> bool:
    """Whether a contender overran its budget by more than the grace period.

    Args:
        wall_s: wall-clock seconds that it took.
        budget_s: wall-clock seconds that it was given.
    """
    return wall_s > LATE_FACTOR * budget_s + LATE_GRACE_S


def judged(
    problem: Problem[Any], instance: Any, outcome: Outcome, world: World, budget: Budget
) -> Judged:
    """Judge a contender's answer.

    Args:
        problem: the family.
        instance: the whole instance, of which a contender may have seen a part.
        outcome: what the contender returned, and the seconds it took.
        world: the world's seed, and the seconds the contender took.
        budget: the budget the contender was given.
    """
    solution = outcome.solution
    found = judge(problem, instance, np.asarray(solution.actions), world, solution.played)
    late = is_late(outcome.wall_s, budget.seconds) or bool(outcome.excess)
    # A proof holds for the given instance; in a live world the plan meets a changed one.
    live = problem.is_live(instance)
    bound = None if live else solution.bound
    note = "" if live or solution.status == "feasible" else _unproven(found.objective, bound)
    claim: Claim = "feasible" if live or note else solution.status
    status: Status = "late" if late else claim
    if not found.feasible:
        status = "infeasible" if found.agree else "disagreement"
    scored = found.objective
    if late or not found.feasible:
        scored = null_objective(problem, instance, World(world.seed, budget.seconds))
    return Judged(found, status, scored, late, claim, bound, note)


def _unproven(objective: float, bound: float | None) -> str:
    """Return why a plan that is said to be optimal is not proven to be; empty if it is.

    Args:
        objective: of the plan; NaN if it is infeasible.
        bound: that the contender proved, or None.
    """
    if bound is None:
        return "said to be optimal without a bound: not counted as a proof"
    scale = max(1.0, abs(bound))
    if math.isnan(objective) or abs(objective - bound) <= PROOF_TOLERANCE * scale:
        return ""
    return (
        f"said to be optimal with a bound of {bound:.6g}, yet the objective is {objective:.6g}: "
        "not counted as a proof"
    )


def judge(
    problem: Problem[Any],
    instance: Any,
    actions: np.ndarray,
    world: World,
    played: Played | None = None,
) -> Judgement:
    """Replay actions in the environment, and have the validator recompute the objective.

    Args:
        problem: the family.
        instance: the whole instance.
        actions: int64, one row per environment step; no rows are the null plan.
        world: the world's seed, and the seconds spent before the first action.
        played: what the environment reported while a policy played the plan; the replay must report
            the same, except in a live world, which has gone on since. None for a planner.
    """
    replay = _replay(problem, instance, actions, world)
    try:
        verdict = problem.validate(instance, actions, world)
    except Exception as error:
        text = f"the validator raised {type(error).__name__}: {error}"
        return Judgement(math.nan, False, False, (text,))
    detail = dict(verdict.detail or {})
    text = _disagreement(replay, verdict, None if problem.is_live(instance) else played)
    if text:
        return Judgement(math.nan, False, False, (text,), detail)
    if not verdict.feasible:
        reasons = verdict.violations or (replay.refused or "infeasible",)
        return Judgement(math.nan, False, True, tuple(reasons), detail)
    return Judgement(verdict.objective, True, True, (), detail)


def _disagreement(replay: _Replay, verdict: Verdict, played: Played | None) -> str:
    """Return how the replay differs from what it must agree with; empty if it agrees."""
    if replay.broken:
        return replay.broken
    if replay.feasible != verdict.feasible:
        why = replay.refused or "; ".join(verdict.violations) or "no reason given"
        said = ("accepts", "rejects") if replay.feasible else ("rejects", "accepts")
        return f"the environment {said[0]} the plan and the validator {said[1]} it: {why}"
    expected = verdict.objective if verdict.replayed is None else verdict.replayed
    if verdict.feasible and not agree(replay.objective, expected):
        return f"the environment says {replay.objective!r}, the validator {expected!r}"
    if played is None or _same(played, replay):
        return ""
    then, now = (
        f"{one.objective!r} ({'' if one.feasible else 'not '}feasible)" for one in (played, replay)
    )
    return f"the environment said {then} while it was played and {now} when it was replayed"


def _same(played: Played, replay: _Replay) -> bool:
    """Whether a replay agrees with what was reported in play; a NaN objective then was hidden."""
    told, found = played.objective, replay.objective
    return played.feasible == replay.feasible and (math.isnan(told) or agree(told, found))


def agree(one: float, other: float) -> bool:
    """Whether two objectives are the same but for rounding; NaN is like nothing."""
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


_null_objectives: dict[tuple[str, str, World], float] = {}


def null_objective(problem: Problem[Any], instance: Any, world: World) -> float:
    """Return the objective of the family's null plan; NaN if that plan is infeasible.

    The result is cached, so that it is computed once per process for all contenders. A process
    keeps those of the last MOST_KEPT worlds.

    Args:
        problem: the family.
        instance: the whole instance.
        world: the world's seed, and the seconds spent before the first action.
    """

    def compute() -> float:
        return judge(problem, instance, problem.null_plan(instance), world).objective

    key = problem.family, instance.content_hash, world
    return kept(_null_objectives, key, MOST_KEPT, compute)


def anytime_curve(
    problem: Problem[Any],
    instance: Any,
    incumbents: Sequence[Incumbent],
    seed: int,
    wall_s: float,
    final: float = math.nan,
) -> list[tuple[float, float]]:
    """Return the objective of the best plan found by each moment of a search, by the validator.

    The moments are those of at most CURVE_POINTS incumbents, evenly chosen, always with the last
    one; where plans are long, of so few that CURVE_ROWS rows of plans are judged. In a live world a
    plan gets worse with time, so as many further moments, up to `wall_s`, are added, and each plan
    is judged in the world as it is at that moment. Infeasible plans are left out.

    Args:
        problem: the family.
        instance: the whole instance.
        incumbents: the improving plans, in the order of their seconds.
        seed: seed of the world.
        wall_s: wall-clock seconds of the whole run.
        final: objective of the last plan if it is known already; NaN to compute it.

    Returns:
        (seconds, objective) pairs in the order of seconds.
    """
    if not incumbents:
        return []
    longest = max(len(one.actions) for one in incumbents)
    points = max(1, min(CURVE_POINTS, 1 + CURVE_ROWS // max(longest, 1)))
    count = min(points, len(incumbents))
    chosen = np.unique(np.linspace(len(incumbents) - 1, 0, count).round().astype(int))
    held = np.array([incumbents[int(index)].seconds for index in chosen])
    moments = held
    if problem.is_live(instance):
        first = max(float(held[0]), 1e-4)
        moments = np.union1d(held, np.geomspace(first, max(wall_s, first), points))
    at = np.maximum(np.searchsorted(held, moments, side="right") - 1, 0)
    of = chosen[at].tolist()
    known = [index == len(incumbents) - 1 and not math.isnan(final) for index in of]
    asked = [place for place, is_known in enumerate(known) if not is_known]
    verdicts = problem.validate_each(
        instance,
        [incumbents[of[place]].actions for place in asked],
        [World(seed, float(moments[place])) for place in asked],
    )
    found = {
        place: float(verdict.objective)
        for place, verdict in zip(asked, verdicts, strict=True)
        if verdict.feasible
    }
    return [
        (float(moment), found.get(place, final))
        for place, moment in enumerate(moments)
        if known[place] or place in found
    ]


def _replay(problem: Problem[Any], instance: Any, actions: np.ndarray, world: World) -> _Replay:
    step = 0
    env: gymnasium.Env[Any, Any] | None = None
    try:
        env = make_environment(problem, [instance], **problem.replay_arguments)
        options = {"instance": instance}
        if problem.is_live(instance):
            options["elapsed_s"] = world.elapsed_s
        _, info = env.reset(seed=world.seed, options=options)
        plain, ended = env.unwrapped, False
        unseen: FamilyEnv[Any] | None = None  # what an environment with a step of its own is not
        if isinstance(plain, FamilyEnv) and type(plain).step is FamilyEnv.step:
            unseen = plain
        for step, row in enumerate(actions, start=1):
            if ended:
                if problem.is_live(instance):
                    break
                return _Replay(
                    math.nan, False, f"step {step}: the episode ended after {step - 1} steps"
                )
            if unseen is not None:
                _, ended = unseen.advance(as_action(row))
            else:
                _, _, terminated, truncated, info = env.step(as_action(row))
                ended = bool(terminated or truncated)
        if unseen is not None:
            info = unseen.report()
        return _Replay(float(info["objective"]), bool(info["feasible"]))
    except IllegalActionError as error:
        return _Replay(math.nan, False, f"step {step}: {error}")
    except Exception as error:
        text = f"step {step}: the environment raised {type(error).__name__}: {error}"
        return _Replay(math.nan, False, text, broken=text)
    finally:
        if env is not None:
            env.close()  # type: ignore[no-untyped-call]
