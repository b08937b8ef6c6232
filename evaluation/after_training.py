"""Compare the policy of a training run with the family's default contenders."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..agents.checkpoints import read_card
from ..agents.run_folder import POLICY
from ..core.errors import SettingError
from ..core.notes import note
from ..core.problem import Problem
from ..core.registry import contender_names, load_problem
from ..core.sources import find_instances
from .comparison import Request

OUT = "compare"  # folder of the comparison, in the run's


def request_after(run: Path, arguments: Sequence[str]) -> Request:
    """Return the comparison that a run ends in.

    The policy's name in the table is that of the run's folder, or "mine" if a contender has it.

    Args:
        run: the run's folder, with its policy.
        arguments: instances to play; empty for the family's default ones, less those that the
            policy was trained on.

    Raises:
        SettingError: the policy was trained on all of the family's default instances.
        CheckpointError: the run's policy cannot be read.
        SysOptError: the instances cannot be read.
    """
    card = read_card(run / POLICY)
    problem = load_problem(card.family)
    seen = set(card.trained_on)
    if arguments:
        for argument in arguments:
            if not _unseen(problem, argument, seen):
                note(f"{argument}: the policy was trained on all of it; this says little of others")
        instances = list(arguments)
    else:
        defaults = problem.defaults.instances
        instances = [one for argument in defaults for one in _unseen(problem, argument, seen)]
    if not instances:
        raise SettingError(
            f"{run}: trained on all default instances of {card.family}; name others behind "
            "--then-compare"
        )
    name = run.absolute().name
    if name in contender_names(card.family):
        name = "mine"
    contenders = [f"{name}={run / 'policy'}", *problem.defaults.contenders]
    words = ["sysopt-gym", "compare", card.family, "--instances", *instances]
    words += ["--contenders", *contenders, "--out", str(run / OUT)]
    request = Request([card.family], instances, contenders)
    return dataclasses.replace(request, command=shlex.join(words))


def _unseen(problem: Problem[Any], argument: str, seen: set[str]) -> list[str]:
    """Return the argument if none of its instances was seen, else its members that were not."""
    found = find_instances(problem, argument, {})
    new = [problem.contender_view(one).content_hash not in seen for one in found]
    if all(new) or len(new) == 1:
        return [argument] if all(new) else []
    if argument.partition("/")[0] not in problem.sets:
        return [argument] if any(new) else []
    return [f"{argument}/{number}" for number, is_new in enumerate(new) if is_new]
