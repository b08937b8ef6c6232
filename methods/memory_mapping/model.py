"""The game relaxed to a mixed-integer program, for its bound and for wishes.

The model has what is in fast memory when, what must have been copied or written back before, the
idle time that copies take, and the bytes held at once. It leaves out the addresses in fast memory,
and that copies take the latest idle time there is. Every plan of the game is a point of the model
with the plan's time as its cost; so the model's bound holds for all plans, even if its own point
cannot be played.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from ...envs.memory_mapping.dynamics import RESERVE, Static
from ...envs.memory_mapping.stays import previous_uses
from ..highs import MixedIntegerProgram

MOST_PARTS = 20_000  # columns of transfers, above which instructions are grouped
UNITS = 1000.0  # units of the model's time in the all-slow time


@dataclass(slots=True)
class Model:
    """A linear or mixed-integer model: minimize cost @ x + constant; columns and rows are appended.

    Attributes:
        cost, lower, upper: one number a column.
        whole: True for binary columns.
        row_upper: one number a row; no row has a lower limit.
        rows: the nonzeros of each row, by column.
        constant: added to the cost.
        ps: picoseconds in one unit of time.
        in_fast: int64 [D]; column of each decision's use of fast memory.
    """

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    rows: list[dict[int, float]] = field(default_factory=list)
    constant: float = 0.0
    ps: float = 1.0
    in_fast: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def column(
        self, cost: float = 0.0, lower: float = 0.0, upper: float = 1.0, whole: bool = False
    ) -> int:
        """Append a column.

        Args:
            cost: cost of one unit.
            lower: smallest value.
            upper: largest value.
            whole: whether it must be a whole number.

        Returns:
            The column's number.
        """
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def at_most(self, terms: dict[int, float], limit: float) -> None:
        """Append the row: sum of terms <= limit.

        Args:
            terms: the factor of each column in the sum, by the column's number.
            limit: upper limit of the row.
        """
        self.rows.append(terms)
        self.row_upper.append(limit)

    def program(self) -> MixedIntegerProgram:
        """Assemble the columns and rows appended so far; the constant is left out."""
        lengths = [len(terms) for terms in self.rows]
        columns = np.array([column for terms in self.rows for column in terms], np.int32)
        values = np.array([value for terms in self.rows for value in terms.values()])
        shape = (len(self.rows), len(self.cost))
        matrix = sp.csr_matrix((values, columns, np.cumsum([0, *lengths])), shape)
        return MixedIntegerProgram(
            cost=np.array(self.cost),
            lower=np.array(self.lower),
            upper=np.array(self.upper),
            matrix=matrix.tocsc(),
            row_lower=np.full(len(self.rows), -np.inf),
            row_upper=np.array(self.row_upper),
            integer=np.array(self.whole, np.bool_),
        )


@dataclass(slots=True)
class _Parts:
    """The columns that say how much of a transfer is done by the end of each group of instructions.

    Attributes:
        first: group that the first column is of.
        columns: one for each group from there on.
    """

    first: int  # group
    columns: list[int]

    def by(self, group: int) -> int | None:
        """Return the column at the end of a group; None before the first."""
        if group < self.first or not self.columns:
            return None
        return self.columns[min(group - self.first, len(self.columns) - 1)]


def build(static: Static) -> Model:
    """Build the relaxation of a program's game; see the module for what is left out."""
    model = Model(ps=max(1.0, static.all_slow / UNITS))
    count, instrs = len(static.dec_instr), len(static.instr_slow)
    before = previous_uses(static)
    reserve = static.dead_end == RESERVE
    x = [model.column(whole=True) for _ in range(count)]
    stay = [model.column(whole=True) if before[d] >= 0 else -1 for d in range(count)]
    model.in_fast = np.array(x)
    written = _last_writes(static, before)
    windows = _windows(static, before, written, reserve)
    group = max(1, -(-sum(last - first for first, last in windows.values()) // MOST_PARTS))
    parts = {}
    for key, (first, last) in windows.items():
        spans = range(first // group, (last - 1) // group + 1) if last > first else range(0)
        columns = [model.column() for _ in spans]
        parts[key] = _Parts(first // group, columns)
        for early, late in pairwise(columns):
            model.at_most({early: 1.0, late: -1.0}, 0.0)
    _residence_rows(model, static, before, x, stay, parts)
    if not reserve:
        _write_back_rows(model, static, before, written, x, stay, parts, group)
    _time_rows(model, static, x, parts, group, instrs)
    _capacity_rows(model, static, before, x, stay, parts, group, reserve)
    return model


def _last_writes(static: Static, before: np.ndarray) -> np.ndarray:
    """Find the buffer's last write before each decision, int64 [D]; -1 for none."""
    written = np.full(len(before), -1, np.int64)
    for d, previous in enumerate(before):
        if previous >= 0:
            written[d] = previous if static.dec_writes[previous] else written[previous]
    return written


Key = tuple[str, int]


def _windows(
    static: Static, before: np.ndarray, written: np.ndarray, reserve: bool
) -> dict[Key, tuple[int, int]]:
    """Find the first and last + 1 instruction of each possible copy ("in") and write-back."""
    windows: dict[Key, tuple[int, int]] = {}
    for d in range(len(before)):
        instr = int(static.dec_instr[d])
        if not static.dec_makes[d]:
            first = int(static.dec_instr[written[d]]) + 1 if written[d] >= 0 else 0
            windows["in", d] = (first, instr)
        if static.dec_writes[d] and not reserve:
            until = int(static.dec_next[d])
            while until < len(before) and not static.dec_writes[until]:
                until = int(static.dec_next[until])
            end = len(static.instr_slow)
            if until < len(before):
                end = int(static.dec_instr[until])
            elif not static.buf_at_end[static.dec_buffer[d]]:
                same = np.flatnonzero(static.dec_buffer == static.dec_buffer[d])
                end = int(static.dec_instr[same[-1]])
            windows["out", d] = (instr + 1, end)
    return windows


def _residence_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    x: list[int],
    stay: list[int],
    parts: dict[Key, _Parts],
) -> None:
    """Require that a use in fast memory stayed there since the one before, or was copied."""
    for d in range(len(before)):
        if static.dec_makes[d]:
            continue
        row = {x[d]: 1.0}
        if before[d] >= 0:
            row[stay[d]] = -1.0
            previous = int(before[d])
            since = {stay[d]: 1.0, x[previous]: -1.0}
            if not static.dec_writes[previous] and stay[previous] >= 0:
                since[stay[previous]] = -1.0
            model.at_most(since, 0.0)
        columns = parts["in", d].columns
        if columns:
            row[columns[-1]] = -1.0
            if before[d] >= 0:
                model.at_most({columns[-1]: 1.0, stay[d]: 1.0}, 1.0)
        model.at_most(row, 0.0)


def _write_back_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    written: np.ndarray,
    x: list[int],
    stay: list[int],
    parts: dict[Key, _Parts],
    group: int,
) -> None:
    """Require write-backs before data that only fast memory has is used from slow memory or copied.

    What is not yet written back of an output at the end is stall time.
    """
    for d in range(len(before)):
        write = int(written[d])
        if write < 0:
            continue
        done = parts["out", write].by((int(static.dec_instr[d]) - 1) // group)
        for column in (x[d], stay[d]):
            row = {x[write]: 1.0, column: -1.0}
            if done is not None:
                row[done] = -1.0
            model.at_most(row, 0.0)
    last = len(static.instr_slow) - 1
    final = {int(static.dec_buffer[d]): int(d) for d in np.flatnonzero(static.dec_writes)}
    for buffer, d in final.items():
        if static.buf_at_end[buffer]:
            left = float(static.buf_copy[buffer] / model.ps)
            stall = model.column(cost=1.0, upper=left)
            row = {x[d]: left, stall: -1.0}
            done = parts["out", d].by(last // group)
            if done is not None:
                row[done] = -left
            model.at_most(row, 0.0)


def _time_rows(
    model: Model, static: Static, x: list[int], parts: dict[Key, _Parts], group: int, instrs: int
) -> None:
    """Set instructions' times, and limit transfers to the idle time of each group."""
    through = static.dec_through if static.dead_end == RESERVE else static.dec_through * 0
    through = through * static.dec_writes
    idle: dict[int, dict[int, float]] = defaultdict(dict)
    spare: dict[int, float] = defaultdict(float)
    for instr in range(instrs):
        own = range(int(static.instr_first[instr]), int(static.instr_first[instr + 1]))
        slow, compute = static.instr_slow[instr] / model.ps, static.instr_compute[instr] / model.ps
        less = {d: (static.dec_slow[d] - through[d]) / model.ps for d in own}
        fast = {d: static.dec_fast[d] / model.ps for d in own}
        lowest = slow + sum(min(0.0, fast[d] - less[d]) for d in own)
        highest = slow + sum(max(0.0, fast[d] - less[d]) for d in own)
        if highest <= compute:
            model.constant += compute
        else:
            time = model.column(cost=1.0, lower=compute, upper=max(compute, highest))
            model.at_most({time: -1.0} | {x[d]: fast[d] - less[d] for d in own}, -slow)
        # Idle is the larger of compute - slow and fast; a binary says which.
        free = model.column(upper=np.inf)
        idle[instr // group][free] = 1.0
        over = {free: 1.0} | {x[d]: -less[d] for d in own}
        under = {free: 1.0} | {x[d]: -fast[d] for d in own}
        if highest <= compute:
            model.at_most(over, compute - slow)
        elif lowest >= compute:
            model.at_most(under, 0.0)
        else:
            bound = model.column(whole=True)
            most_fast, least_slow = (
                sum(fast.values()),
                slow - sum(max(0.0, v) for v in less.values()),
            )
            most_slow = slow - sum(min(0.0, v) for v in less.values())
            over[bound] = -max(0.0, most_fast - (compute - most_slow))
            under[bound] = max(0.0, compute - least_slow)
            model.at_most(over, compute - slow)
            model.at_most(under, under[bound])
    used: dict[int, dict[int, float]] = defaultdict(dict)
    for (_, d), part in parts.items():
        takes = static.buf_copy[static.dec_buffer[d]] / model.ps
        for k, column in enumerate(part.columns):
            used[part.first + k][column] = takes
            if k:
                used[part.first + k][part.columns[k - 1]] = -takes
    for at, terms in used.items():
        model.at_most(terms | {column: -1.0 for column in idle[at]}, spare[at])


def _capacity_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    x: list[int],
    stay: list[int],
    parts: dict[Key, _Parts],
    group: int,
    reserve: bool,
) -> None:
    """Limit the bytes held during each instruction to fast memory."""
    instrs = len(static.instr_slow)
    held: list[dict[int, float]] = [defaultdict(float) for _ in range(instrs)]
    for d in range(len(before)):
        buffer, instr = int(static.dec_buffer[d]), int(static.dec_instr[d])
        size = static.buf_size[buffer] / static.capacity
        lasting = bool(static.buf_at_end[buffer]) and not reserve
        if static.dec_makes[d]:
            held[instr][x[d]] += size
        else:
            if before[d] >= 0:
                held[instr][stay[d]] += size
                previous = int(before[d])
                gap = x[previous] if static.dec_writes[previous] and not lasting else stay[d]
                for at in range(int(static.dec_instr[previous]) + 1, instr):
                    held[at][gap] += size
            part = parts["in", d]
            if part.columns:
                held[instr][part.columns[-1]] += size
            for at in range(part.first * group, instr):
                done = part.by((at + 1) // group - 1)
                if done is not None:
                    held[at][done] += size
        if lasting and static.dec_writes[d] and static.dec_next[d] == len(before):
            for at in range(instr + 1, instrs):
                held[at][x[d]] += size
                done = parts["out", d].by(at // group)
                if done is not None:
                    held[at][done] -= size
    for terms in held:
        if sum(max(0.0, share) for share in terms.values()) > 1.0:
            model.at_most(dict(terms), 1.0)
