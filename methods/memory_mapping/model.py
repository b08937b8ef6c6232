"""The game relaxed to a mixed-integer program, for its bound and for wishes.

The model has what is in fast memory when, what must have been copied or written back before, the
idle time that copies take, and the bytes held at once. It leaves out the addresses in fast memory,
and that copies take the latest idle time there is. Every plan of the game is a point of the model
with the plan's time as its cost; so the model's bound holds for all plans, even if its own point
cannot be played.

Of loops it knows that a buffer which stays in fast memory, or is copied in before a loop, takes its
room throughout the loop; that a copy in every trip takes its time in every trip; and that all trips
find a buffer where the first one does. Times are of all executions.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from ...envs.memory_mapping.dynamics import RESERVE, Static
from ...envs.memory_mapping.rings import NONE, carrying, entered
from ...envs.memory_mapping.static import CARRIED, CHANGED, FIRST, LAST
from ...envs.memory_mapping.stays import previous_uses
from ..highs import MixedIntegerProgram
from .windows import Key, Window, find_windows, last_writes

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
        held: for each instruction, the share of fast memory that one unit of a column holds then,
            by column.
        buffers: of what buffer a column of `held` is, by column.
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
    held: list[dict[int, float]] = field(default_factory=list)
    buffers: dict[int, int] = field(default_factory=dict)

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
        takes: time of all of it, ps.
    """

    first: int  # group
    columns: list[int]
    takes: int

    def by(self, group: int) -> int | None:
        """Return the column at the end of a group; None before the first."""
        if group < self.first or not self.columns:
            return None
        return self.columns[min(group - self.first, len(self.columns) - 1)]


Loop = tuple[int, int, int]  # first and last instruction of a body, and a buffer


def build(static: Static) -> Model:
    """Build the relaxation of a program's game; see the module for what is left out."""
    model = Model(ps=max(1.0, static.all_slow / UNITS))
    count, instrs = len(static.dec_instr), len(static.instr_slow)
    before = previous_uses(static)
    reserve = static.dead_end == RESERVE
    x = [model.column(whole=True) for _ in range(count)]
    stay = [model.column(whole=True) if before[d] >= 0 else -1 for d in range(count)]
    model.in_fast = np.array(x)
    written = last_writes(static, before)
    windows = find_windows(static, before, written, reserve)
    total = sum(window.last - window.first for window in windows.values())
    group = max(1, -(-total // MOST_PARTS))
    parts = {}
    for key, window in windows.items():
        first, last = window.first, window.last
        spans = range(first // group, (last - 1) // group + 1) if last > first else range(0)
        columns = [model.column() for _ in spans]
        parts[key] = _Parts(first // group, columns, window.takes)
        for early, late in pairwise(columns):
            model.at_most({early: 1.0, late: -1.0}, 0.0)
    held = _held_columns(model, static)
    through = _loop_rows(model, static, before, x, stay, held, reserve)
    _residence_rows(model, static, before, x, stay, parts, windows, held)
    if not reserve:
        _write_back_rows(model, static, before, written, x, stay, parts, group, through)
    _time_rows(model, static, x, parts, group, instrs, through)
    _capacity_rows(model, static, before, x, stay, parts, group, reserve, held)
    return model


def _loop_of(static: Static, ring: int, d: int) -> Loop:
    first, last = static.rings[ring, FIRST], static.rings[ring, LAST]
    return int(first), int(last), int(static.dec_buffer[d])


def _held_columns(model: Model, static: Static) -> dict[Loop, int]:
    """Append a column for each loop that carries a buffer: whether fast memory has it throughout.

    What is there throughout a loop is there throughout the loops inside it.
    """
    held: dict[Loop, int] = {}
    inside: set[tuple[int, int]] = set()
    for d in range(len(static.dec_instr)):
        outer = -1
        for ring in range(static.dec_ring[d], static.dec_ring[d + 1]):
            if not static.rings[ring, CARRIED]:
                continue
            loop = _loop_of(static, ring, d)
            if loop not in held:
                held[loop] = model.column(whole=True)
            if outer >= 0 and (outer, held[loop]) not in inside:
                inside.add((outer, held[loop]))
                model.at_most({outer: 1.0, held[loop]: -1.0}, 0.0)
            outer = held[loop]
    return held


def _loop_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    x: list[int],
    stay: list[int],
    held: dict[Loop, int],
    reserve: bool,
) -> dict[int, int]:
    """Require that a buffer which is in fast memory when a loop begins stays there throughout it,
    with all uses if the loop changes it; and that other fast writes in the loop go to slow memory.

    Returns:
        The columns of fast writes that go to slow memory, too, by decision.
    """
    through: dict[int, int] = {}
    for d in range(len(before)):
        outer, own = int(static.dec_ring[d]), int(static.dec_ring[d + 1])
        since = int(static.dec_instr[before[d]]) if before[d] >= 0 else -1
        ring = int(carrying(static.rings, outer, own, since))
        if ring != NONE and static.dec_makes[d]:
            model.at_most({x[d]: 1.0, held[_loop_of(static, ring, d)]: -1.0}, 0.0)
        elif ring != NONE and before[d] >= 0:
            model.at_most({stay[d]: 1.0, held[_loop_of(static, ring, d)]: -1.0}, 0.0)
        carried = [r for r in range(outer, own) if static.rings[r, CARRIED]]
        for r in carried:
            if static.rings[r, CHANGED]:
                model.at_most({held[_loop_of(static, r, d)]: 1.0, x[d]: -1.0}, 0.0)
        if carried and static.dec_writes[d] and not reserve:
            through[d] = model.column(whole=True)
            model.at_most({through[d]: 1.0, x[d]: -1.0}, 0.0)
            loop = held[_loop_of(static, carried[0], d)]
            model.at_most({x[d]: 1.0, loop: -1.0, through[d]: -1.0}, 0.0)
    return through


def _residence_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    x: list[int],
    stay: list[int],
    parts: dict[Key, _Parts],
    windows: dict[Key, Window],
    held: dict[Loop, int],
) -> None:
    """Require that a use in fast memory stayed there since the one before, or was copied; what is
    copied in before a loop is there throughout it.
    """
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
        copied = {}
        for key in _copy_keys(parts, d):
            columns = parts[key].columns
            if not columns:
                continue
            copied[columns[-1]] = 1.0
            row[columns[-1]] = -1.0
            if windows[key].ring != NONE:
                loop = _loop_of(static, windows[key].ring, d)
                model.at_most({columns[-1]: 1.0, held[loop]: -1.0}, 0.0)
        if copied and before[d] >= 0:
            model.at_most(copied | {stay[d]: 1.0}, 1.0)
        model.at_most(row, 0.0)


def _copy_keys(parts: dict[Key, _Parts], d: int) -> list[Key]:
    """Return the keys of decision d's copies."""
    keys: list[Key] = []
    while ("in", d, len(keys)) in parts:
        keys.append(("in", d, len(keys)))
    return keys


def _write_back_rows(
    model: Model,
    static: Static,
    before: np.ndarray,
    written: np.ndarray,
    x: list[int],
    stay: list[int],
    parts: dict[Key, _Parts],
    group: int,
    through: dict[int, int],
) -> None:
    """Require write-backs before data that only fast memory has is used from slow memory or copied.

    What is not yet written back of an output at the end is stall time.
    """
    for d in range(len(before)):
        write = int(written[d])
        if write < 0:
            continue
        wrote, limit = int(static.dec_instr[write]), int(static.dec_instr[d])
        ring = int(entered(static.rings, static.dec_ring[d], static.dec_ring[d + 1], wrote))
        if ring != NONE:
            limit = int(static.rings[ring, FIRST])
        done = parts["out", write, 0].by((limit - 1) // group)
        for column in (x[d], stay[d]):
            row = {x[write]: 1.0, column: -1.0}
            if write in through:
                row[through[write]] = -1.0
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
            if d in through:
                row[through[d]] = -left
            done = parts["out", d, 0].by(last // group)
            if done is not None:
                row[done] = -left
            model.at_most(row, 0.0)


def _time_rows(
    model: Model,
    static: Static,
    x: list[int],
    parts: dict[Key, _Parts],
    group: int,
    instrs: int,
    doubled: dict[int, int],
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
        extra = {
            doubled[d]: static.dec_through[d] / model.ps for d in own if d in doubled
        }  # slow memory's time of what is written to it, too
        lowest = slow + sum(min(0.0, fast[d] - less[d]) for d in own)
        highest = slow + sum(max(0.0, fast[d] - less[d]) for d in own) + sum(extra.values())
        if highest <= compute:
            model.constant += compute
        else:
            time = model.column(cost=1.0, lower=compute, upper=max(compute, highest))
            model.at_most({time: -1.0} | {x[d]: fast[d] - less[d] for d in own} | extra, -slow)
        # Idle is the larger of compute - slow and fast; a binary says which.
        free = model.column(upper=np.inf)
        idle[instr // group][free] = 1.0
        over = {free: 1.0} | {x[d]: -less[d] for d in own} | extra
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
            most_slow = slow - sum(min(0.0, v) for v in less.values()) + sum(extra.values())
            over[bound] = -max(0.0, most_fast - (compute - most_slow))
            under[bound] = max(0.0, compute - least_slow)
            model.at_most(over, compute - slow)
            model.at_most(under, under[bound])
            # Of the time itself, what slow memory does not need; this holds without the binary.
            spent = {free: 1.0, time: -1.0} | {x[d]: -less[d] for d in own} | extra
            model.at_most(spent, -slow)
    used: dict[int, dict[int, float]] = defaultdict(dict)
    for part in parts.values():
        takes = part.takes / model.ps
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
    throughout: dict[Loop, int],
) -> None:
    """Limit the bytes held during each instruction to fast memory.

    Where loops carry buffers, two limits hold: of what the uses alone tell, and with what is there
    throughout loops in place of the uses of these buffers.
    """
    instrs = len(static.instr_slow)
    carried: list[dict[int, int]] = [{} for _ in range(instrs)]  # column by buffer
    for loop in sorted(throughout, key=lambda loop: loop[0] - loop[1]):  # inner loops last
        for at in range(loop[0], loop[1] + 1):
            carried[at][loop[2]] = throughout[loop]
    held: list[dict[int, float]] = [defaultdict(float) for _ in range(instrs)]
    looped: list[dict[int, float]] = [defaultdict(float) for _ in range(instrs)]

    def hold(at: int, buffer: int, column: int | None, part: float) -> None:
        if column is not None:
            model.buffers[column] = buffer
            held[at][column] += part
            if buffer not in carried[at]:
                looped[at][column] += part

    for d in range(len(before)):
        buffer, instr = int(static.dec_buffer[d]), int(static.dec_instr[d])
        size = static.buf_size[buffer] / static.capacity
        lasting = bool(static.buf_at_end[buffer]) and not reserve
        if static.dec_makes[d]:
            hold(instr, buffer, x[d], size)
        else:
            if before[d] >= 0:
                hold(instr, buffer, stay[d], size)
                previous = int(before[d])
                gap = x[previous] if static.dec_writes[previous] and not lasting else stay[d]
                for at in range(int(static.dec_instr[previous]) + 1, instr):
                    hold(at, buffer, gap, size)
            for key in _copy_keys(parts, d):
                part = parts[key]
                if part.columns:
                    hold(instr, buffer, part.columns[-1], size)
                for at in range(part.first * group, instr):
                    hold(at, buffer, part.by((at + 1) // group - 1), size)
        if lasting and static.dec_writes[d] and static.dec_next[d] == len(before):
            for at in range(instr + 1, instrs):
                hold(at, buffer, x[d], size)
                hold(at, buffer, parts["out", d, 0].by(at // group), -size)
    model.held = list(held)
    for at, terms in enumerate(looped):
        for buffer, column in carried[at].items():
            terms[column] += static.buf_size[buffer] / static.capacity
    for at, terms in enumerate(held):
        for row in (terms, looped[at]) if carried[at] else (terms,):
            if sum(max(0.0, share) for share in row.values()) > 1.0:
                model.at_most(dict(row), 1.0)
