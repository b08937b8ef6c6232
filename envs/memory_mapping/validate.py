"""The independent validator: the plan simulated again from the instance and the actions alone.

It shares no code with the dynamics: plain Python over lists and whole numbers, which plays its own
game (`reference_game.py`), audits everything placed and copied once more at the end, and executes
two trips of each loop to see that every use finds the present data (`reference.py`).
"""

from __future__ import annotations

import math

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.memory_mapping.instance import Program
from .reference import Task
from .reference_game import COPY, DROP, NO_COPY, Game, Option

MAX_VIOLATIONS = 20
NAMES = ("copy", "no_copy", "drop")


def validate(program: Program, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    The plan is int64 [D]: Copy, NoCopy or Drop for each decision in program order. It is feasible
    if every action is legal where it stands and nothing is left undecided. At a dead end (dead_end
    backup) the write that led there becomes Drop, and the decisions since are redone.

    Args:
        program: the instance.
        actions: the plan, int64 [D].
        world: not used; nothing about the game is random.

    Returns:
        The speed-up over all-slow (NaN where the plan is infeasible), one sentence per broken
        constraint, and the detail: time_us, all_slow_us, copies, evictions, rewinds, stall_us,
        peak_bytes (of fast memory in use).
    """
    plan = np.asarray(actions)
    if plan.ndim != 1 or (plan.size and plan.dtype.kind not in "iu"):
        shape = f"shape {plan.shape}, dtype {plan.dtype}"
        return Verdict(math.nan, False, (f"a plan is whole numbers in one row; it has {shape}",))
    task = Task.read(program)
    game, rewinds = Game(task), 0
    taken: list[int] = []
    forced: set[int] = set()
    for at, action in enumerate(plan.tolist()):
        if game.position == len(task.uses):
            return _infeasible(f"action {at}: the program is over; nothing may follow")
        legal = game.options(forced)
        if action not in legal:
            return _infeasible(_explain(program, task, game, at, action, legal))
        game.take(action, legal[action])
        taken.append(action)
        redone = taken
        while game.position < len(task.uses) and not game.options(forced):
            if program.dead_end == "terminate":
                return _infeasible(
                    f"action {at} leads to a dead end: for decision {game.position} "
                    "nothing is legal"
                )
            culprit = game.culprit()
            forced.add(culprit)
            rewinds += 1
            redone = redone[:culprit]
            redone += _redo(game, culprit, taken[culprit:], forced)
        taken = redone
    if game.position < len(task.uses):
        return _infeasible(
            f"the plan ends at decision {game.position} of {len(task.uses)}; decide the rest, Drop "
            "is legal wherever slow memory has the data"
        )
    stall = game.write_back_outputs()
    found = game.audit()
    time = sum(game.time(i) for i in range(len(task.compute))) + stall
    all_slow = sum(max(c, s) for c, s in zip(task.compute, task.slow, strict=True))
    if found:
        return Verdict(math.nan, False, tuple(found[:MAX_VIOLATIONS]))
    detail = {
        "time_us": time / 1e6,
        "all_slow_us": all_slow / 1e6,
        "copies": float(taken.count(COPY)),
        "evictions": float(len(game.record.write_backs)),
        "rewinds": float(rewinds),
        "stall_us": stall / 1e6,
        "peak_bytes": float(max((r.offset + r.size for r in game.record.ranges), default=0)),
    }
    return Verdict(all_slow / time if time else 1.0, True, (), detail)


def _redo(game: Game, since: int, actions: list[int], forced: set[int]) -> list[int]:
    """Take back decisions and make them again with Drop forced at some.

    An action that is no longer legal becomes the first legal one of Drop, NoCopy and Copy.

    Args:
        game: the game, which is changed.
        since: position of the first decision that is taken back.
        actions: what was done from there on.
        forced: positions of the decisions at which only Drop is allowed.

    Returns:
        The actions taken from there on; they end early at a position without legal action.
    """
    while game.position > since:
        game.take_back()
    redone: list[int] = []
    for action in actions:
        legal = game.options(forced)
        instead = next((a for a in (action, DROP, NO_COPY, COPY) if a in legal), None)
        if instead is None:
            break
        game.take(instead, legal[instead])
        redone.append(instead)
    return redone


def _infeasible(why: str) -> Verdict:
    return Verdict(math.nan, False, (why,))


def _explain(
    program: Program, task: Task, game: Game, at: int, action: int, legal: dict[int, Option]
) -> str:
    use = task.uses[game.position]
    what = NAMES[action] if action in (COPY, NO_COPY, DROP) else f"{action}, which is no action,"
    return (
        f"action {at}: {what} is not legal for {program.tensor_names[use.buffer]!r} at instruction "
        f"{use.instr} ({program.instr_names[use.instr]}); legal there: "
        + ", ".join(NAMES[one] for one in sorted(legal))
    )
