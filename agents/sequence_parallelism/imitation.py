"""Warm start of the policy from a solver's plans."""

from __future__ import annotations

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.dynamics import TOKENS, State
from ...envs.sequence_parallelism.env import Look, SequenceParallelismEnv
from ...envs.sequence_parallelism.groups import groups_limit
from ..batches import Choice, returns
from ..recipe import ImitationPass
from .network import ShortlistPolicy


def lessons(imitation: ImitationPass[ShortlistPolicy, TrainingBatch]) -> list[Choice]:
    """Return the choices of the contender's plans that the short list offers; see Recipe."""
    pad = SequenceParallelismEnv(list(imitation.instances))
    samples: list[Choice] = []
    for batch in imitation.instances:
        samples += demonstrate(pad, batch, imitation.plan(batch), imitation.discount)
    return samples


def demonstrate(
    env: SequenceParallelismEnv, batch: TrainingBatch, plan: np.ndarray, discount: float
) -> list[Choice]:
    """Return a plan's choices, those that the short list offers.

    A choice among the groups of a micro-batch and kind counts as one of the group on the list. The
    samples are in form shortlist, whose actions are the list's rows.

    Args:
        env: with room for the batch.
        batch: the instance.
        plan: int64 [K].
        discount: of the rewards to come.
    """
    env.reset(options={"instance": batch})
    limit = groups_limit(batch)
    seen, rewards = [], []
    for action in plan.tolist():
        seen.append(_listed(env.look(), env.state, action, limit))
        rewards.append(env.advance(action)[0])
    to_come = returns(rewards, discount).tolist()
    return [
        Choice(kept, row, left)
        for (kept, row), left in zip(seen, to_come, strict=True)
        if row >= 0 and kept["action_mask"].sum() > 1
    ]


def _listed(look: Look, state: State, action: int, limit: int) -> tuple[dict[str, np.ndarray], int]:
    """Return an observation in form shortlist, and the list's row of an action or -1."""
    listed = look.actions
    rows = np.flatnonzero(listed == action)
    if not len(rows) and action < limit:
        alike = (state.groups[:, :TOKENS] == state.groups[action, :TOKENS]).all(axis=1)
        joins = (listed >= 0) & (listed < limit)
        rows = np.flatnonzero(joins & alike[np.where(joins, listed, 0)])
    mask = (listed >= 0).astype(np.int8)
    kept = {"candidates": look.candidates, "globals": look.whole, "action_mask": mask}
    return kept, int(rows[0]) if len(rows) else -1
