"""The environment sysopt/SequenceParallelism-v0: a thin shell over the compiled dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ...core.errors import IllegalActionError, InstanceError
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ..actions import LegalDiscrete
from ..base import FamilyEnv, Observation
from .dynamics import (
    GROUPS,
    ILLEGAL,
    MICRO_BATCHES,
    State,
    Table,
    copy_state,
    make_state,
    make_table,
    mark,
    take,
)
from .groups import groups_limit, kinds_of, order_of
from .objective import work_bound
from .observation import (
    N_SEEN,
    N_WHOLE,
    SHORTLIST,
    Course,
    course_of,
    group_rows,
    observation_space,
    observe,
)
from .render import frame


class _Start(NamedTuple):
    """What all episodes of a batch have in common."""

    table: Table
    courses: tuple[Course, ...]
    limit: int
    bound: float


class Look(NamedTuple):
    """The short list, with the action of form groups of each row (-1 for none), and what is seen of
    the whole; see `observation.observe`.
    """

    actions: np.ndarray
    candidates: np.ndarray
    whole: np.ndarray


class SequenceParallelismEnv(FamilyEnv[TrainingBatch]):
    """Assign a training step's sequences to groups of devices (FlexSP, ASPLOS 2025).

    ## Description
    The sequences of a training step are cut into micro-batches, which run one after the other. In a
    micro-batch the devices form groups that run beside each other; the `d` devices of a group share
    each of its sequences (Ulysses-style sequence parallelism of degree d). A group of few devices
    wastes little on communication, but holds few tokens. A micro-batch takes as long as its slowest
    group, a step the sum over its micro-batches. Sequences are assigned one by one, longest first.

    ## Action space
    Form "groups" (default): `Discrete(A)`, A = L_max + L_max * G_max. With L the instance's largest
    number of sequences of a step and G its kinds of groups: `a < L` joins the group of this number,
    counted from 0 in the order in which the step's groups were opened; `L + micro_batch * G + kind`
    opens a group of this kind there, in an open micro-batch or the next new one. `action_mask` is
    exact: an action masked in is always taken, one masked out raises IllegalActionError. At the end
    the mask holds action 0, which no step takes. The space's own `sample()` draws a legal action.

    Form "shortlist": `Discrete(64)`, the rows of `candidates`. Of the other actions there is none,
    but the list is never empty, and no row of it leads to a dead end.

    ## Observation space
    A flat Dict of float32 in 0..1, actions and the mask; every observation has arrays of its own.

    | key | shape, dtype | meaning |
    |---|---|---|
    | candidates | [64, 15] float32 | a short list of actions for the sequence, columns
    `observation.Seen` |
    | candidate_actions | [64] int32 | form groups: the action of each, -1 in rows that are none |
    | globals | [12] float32 | the sequence and the step, columns `observation.Whole` |
    | groups | [L_max, 5] float32 | form groups: the step's groups, `observation.group_rows` |
    | action_mask | [A] int8 | 1 for legal actions; form shortlist: [64] |

    ## Rewards
    Minus the ms by which the step gets longer, as a part of a lower bound of the whole time
    (`objective.work_bound`). The score itself is `info["objective"]` (ms of the steps so far, lower
    is better), beside `info["feasible"]` (True once every sequence is assigned),
    `info["sequences"]`, `info["groups"]` and `info["micro_batches"]` (of the present step).

    ## Starting state
    The batch in `reset(options={"instance": batch})`, else one of the set, drawn by the
    environment's generator. Nothing is assigned.

    ## Episode end
    Terminated when every sequence is assigned. There is no dead end, as a new micro-batch can be
    opened at any time. Never truncated.

    ## Arguments
    instances: a set's name, a file's path, or batches. form: "groups" or "shortlist". settings: as
        `--set`, by name, e.g. {"devices": "32"}. render_mode: "rgb_array" or "human" (needs
        matplotlib).

    ## Version history
    v0, version 1: first version.
    """

    family = "sequence_parallelism"
    forms: ClassVar[tuple[str, ...]] = ("groups", "shortlist")

    def __init__(
        self,
        instances: str | Path | TrainingBatch | Sequence[TrainingBatch] = "small:train",
        form: Literal["groups", "shortlist"] = "groups",
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(instances, settings, render_mode, form)
        self.limit = max(groups_limit(batch) for batch in self.instances)
        kinds = max(len(kinds_of(batch).degree) for batch in self.instances)
        self.n_actions = self.limit * (1 + kinds)
        short = form == "shortlist"
        self.action_space: LegalDiscrete = LegalDiscrete(SHORTLIST if short else self.n_actions)
        self.action_space.belong_to(self._draw_legal)
        self.observation_space = observation_space(self.limit, self.n_actions, short)

    def _begin(self, instance: TrainingBatch, seed: int | None, options: Mapping[str, Any]) -> None:
        self._start: _Start = self.start_of(instance)
        table, _, limit, _ = self._start
        if limit > self.limit or limit * (1 + table.costs.shape[1]) > self.n_actions:
            raise InstanceError(
                f"{instance.name}: {limit} sequences in a step and {table.costs.shape[1]} kinds of "
                f"groups; this environment has room for {self.limit} and {self.n_actions} actions: "
                "make it with this instance"
            )
        self.batch = instance
        self._state = make_state(limit, len(table.devices))
        self._step = self._place = self._assigned = 0
        self._before = self._now = 0.0
        self._looked: Look | None = None

    def _play(self, action: Any) -> tuple[float, bool]:
        start = self._start
        if self._over:
            raise IllegalActionError(f"{self.batch.name}: the episode is over; call reset")
        course, chosen = start.courses[self._step], int(action)
        if self.form == "shortlist":
            listed = self.look().actions
            chosen = int(listed[chosen]) if 0 <= chosen < SHORTLIST else -1
        length = int(course.rows[self._place, 0])
        longer = take(start.table, self._state, length, chosen)
        if longer == ILLEGAL:
            raise IllegalActionError(
                f"{self.batch.name}: action {action} is not legal for sequence {self._place} of "
                f"step {self._step}, of {length} tokens; choose among those of "
                'observation["action_mask"]'
            )
        self._now += longer
        self._place += 1
        self._assigned += 1
        self._looked = None
        if self._place == len(course.rows) and self._step + 1 < len(start.courses):
            self._step, self._place = self._step + 1, 0
            self._before, self._now = self._before + self._now, 0.0
            self._state = make_state(start.limit, len(start.table.devices))
        return -longer / start.bound, self._over

    @property
    def _over(self) -> bool:
        return self._assigned == len(self.batch.lengths)

    @property
    def table(self) -> Table:
        """The kinds of groups."""
        return self._start.table

    @property
    def state(self) -> State:
        """A copy of the present step's groups."""
        return copy_state(self._state)

    def look(self) -> Look:
        """Return what is seen of the present sequence; nothing is listed after the end."""
        if self._looked is None:
            table, courses, *_ = self._start
            look = Look(
                np.full(SHORTLIST, -1),
                np.zeros((SHORTLIST, N_SEEN), np.float32),
                np.zeros(N_WHOLE, np.float32),
            )
            if not self._over:
                count = observe(table, self._state, courses[self._step], self._place, *look)
                look.actions[count:] = -1
            self._looked = look
        return self._looked

    def _observation(self) -> Observation:
        look = self.look()
        seen = {"candidates": look.candidates.copy(), "globals": look.whole.copy()}
        if self.form == "shortlist":
            return seen | {"action_mask": self._mask()}
        table, courses, *_ = self._start
        return seen | {
            "candidate_actions": look.actions.astype(np.int32),
            "groups": group_rows(table, self._state, courses[self._step], self.limit),
            "action_mask": self._mask(),
        }

    def _info(self) -> dict[str, Any]:
        counts = self._state.counts.tolist()
        return {
            "objective": self._before + self._now,
            "feasible": self._over,
            "sequences": self._assigned,
            "groups": counts[GROUPS],
            "micro_batches": counts[MICRO_BATCHES],
        }

    def _action_masks(self) -> np.ndarray:
        return self._mask().astype(np.bool_)

    def _frame(self) -> np.ndarray:
        return frame(self._start.table, self._state)

    def _own_episode(self) -> None:
        self._state = copy_state(self._state)

    def _make_start(self, instance: TrainingBatch) -> _Start:
        kinds, order = kinds_of(instance), order_of(instance)
        ends = np.cumsum(np.bincount(instance.step))[:-1]
        courses = tuple(course_of(instance, kinds, rows) for rows in np.split(order, ends))
        bound = work_bound(instance, kinds)
        return _Start(make_table(kinds), courses, groups_limit(instance), max(bound, 1e-9))

    def _mask(self) -> np.ndarray:
        """Mask the legal actions, int8 [A]; after the end action 0 alone."""
        mask = np.zeros(int(self.action_space.n), np.int8)
        start = self._start
        if self._over:
            mask[0] = 1
        elif self.form == "shortlist":
            mask[:] = self.look().actions >= 0
        else:
            length = int(start.courses[self._step].rows[self._place, 0])
            mark(start.table, self._state, length, mask)
        return mask

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        if seed is None:
            return rng.choice(np.flatnonzero(self._mask())) if self._begun else np.int64(0)
        start = self.start_of(self._drawn_after(seed)[0])
        if self.form == "shortlist":
            return np.int64(0)
        mask = np.zeros(self.n_actions, np.int8)
        state = make_state(start.limit, len(start.table.devices))
        mark(start.table, state, int(start.courses[0].rows[0, 0]), mask)
        return rng.choice(np.flatnonzero(mask))
