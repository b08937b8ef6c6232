"""Read packing problems: buffers with fixed lifetimes that need one offset each.

The format is minimalloc's CSV (google/minimalloc): id, lower, upper, size and, if there is need of
them, alignment, gaps and offset; a solution adds offset. Lifetimes are half-open.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..files import listed, read_file
from ..tables import Table, header_of, read_table

HEADER = "id,lower,upper,size"
# minimalloc's other names of the columns. `end` is the last time alive, also in the gaps beside it.
OTHER_NAMES = {
    "buffer": "id", "buffer_id": "id", "start": "lower", "begin": "lower", "end": "upper",
}  # fmt: skip
OPTIONAL = ("alignment", "gaps", "offset")
MAX_NUMBER = 2**60
FREE = -1  # offset of a buffer that may lie anywhere
GAP = re.compile(r"(-?\d{1,18})-(-?\d{1,18})(?:@(\d{1,18}):(\d{1,18}))?")


class Gap(NamedTuple):
    """A time within a buffer's life in which it needs none or only a part of its bytes.

    Attributes:
        buffer: row of the buffer.
        lower: first time of the gap.
        upper: first time after it.
        low: first byte still needed, counted from the buffer's offset.
        high: first byte after these; equal to `low` if none is needed.
    """

    buffer: int
    lower: int
    upper: int
    low: int = 0
    high: int = 0


class Pieces(NamedTuple):
    """The lives of the buffers divided at their gaps; P pieces in order of `lower`.

    Attributes:
        buffer: int64 [P]; row of the buffer.
        lower: int64 [P]; first time of the piece.
        upper: int64 [P]; first time after it.
        low: int64 [P]; first byte needed, counted from the buffer's offset.
        high: int64 [P]; first byte after these.
    """

    buffer: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """A packing problem of n buffers.

    Attributes:
        name: name of the file, without .csv.
        ids: n names.
        lower: int64 [n]; first time at which each buffer is alive.
        upper: int64 [n]; first time after its life: it is alive at lower <= t < upper.
        size: int64 [n]; bytes.
        capacity: largest allowed height, bytes; 0 if the file's name gives none.
        alignment: int64 [n]; each offset is a multiple of it, bytes. Not given: 1 each.
        offset: int64 [n]; where the buffer has to lie, bytes, or FREE. Not given: all are free.
        gaps: in order of buffers, then of time; those of one buffer do not overlap.
    """

    name: str
    ids: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    size: np.ndarray
    capacity: int
    alignment: np.ndarray = field(default_factory=_none)
    offset: np.ndarray = field(default_factory=_none)
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, usual in (("alignment", 1), ("offset", FREE)):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.full(n, usual, np.int64))

    @property
    def pieces(self) -> Pieces:
        """The times at which each buffer needs memory; buffers of size 0 have none."""
        gappy = {gap.buffer for gap in self.gaps}
        whole = np.flatnonzero(self.size)
        if gappy:
            whole = whole[~np.isin(whole, list(gappy))]
        plain = [whole, self.lower[whole], self.upper[whole], 0 * whole, self.size[whole]]
        rows = np.array([*self._divided()], np.int64).reshape(-1, 5)
        columns = np.concatenate([np.array(plain, np.int64), rows.T], axis=1)
        return Pieces(*columns[:, np.argsort(columns[1], kind="stable")])

    def _divided(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the pieces of the buffers with gaps."""
        clock: dict[int, int] = {}  # by buffer, the end of what has been divided
        for buffer, lower, upper, low, high in self.gaps:
            begin, size = clock.get(buffer, int(self.lower[buffer])), int(self.size[buffer])
            if begin < lower and size:
                yield buffer, begin, lower, 0, size
            if low < high:
                yield buffer, lower, upper, low, high
            clock[buffer] = upper
        for buffer, begin in clock.items():
            if begin < self.upper[buffer] and self.size[buffer]:
                yield buffer, begin, int(self.upper[buffer]), 0, int(self.size[buffer])

    @property
    def peak_load(self) -> int:
        """The most bytes needed at once, a lower bound on the height."""
        pieces = self.pieces
        # At equal times, ends come before starts.
        times = np.concatenate([pieces.upper, pieces.lower])
        needed = pieces.high - pieces.low
        change = np.concatenate([-needed, needed])
        return int(change[np.argsort(times, kind="stable")].cumsum().max(initial=0))


def is_packing(text: str) -> bool:
    """Return whether a file's first line names the columns of a packing problem.

    Args:
        text: the file's content.
    """
    names = {OTHER_NAMES.get(name, name) for name in _header(text)}
    return names.issuperset(HEADER.split(","))


def _header(text: str) -> tuple[str, ...]:
    """Return the names in the first line that is not empty or Excel's own."""
    lines = (line for line in io.StringIO(text) if line.strip() and "sep=" not in line.lower())
    return header_of(next(lines, ""))


def load_packing(path: Path) -> Packing:
    """Read the packing problem in a minimalloc CSV.

    Columns may stand in any order, and under minimalloc's other names. Warns of columns that are
    not used.

    Args:
        path: the file; a name like NAME.CAPACITY.csv gives the capacity.

    Raises:
        InstanceError: names the file, the row and the column.
    """
    text = read_file(path).text("a CSV file")
    columns, late = _columns(str(path), _header(text))
    table = read_table(str(path), text, columns.values())
    lower, upper = (
        table.wholes(columns[name], -MAX_NUMBER, MAX_NUMBER) for name in ("lower", "upper")
    )
    upper += late
    wrong = np.flatnonzero(lower >= upper)
    if wrong.size:
        relation = "at most" if late else "less than"
        why = f"{columns['lower']} must be {relation} {columns['upper']}"
        table.refuse(int(wrong[0]), columns["lower"], why)
    stated = re.search(r"\.(\d+)\.csv(\.gz)?$", path.name, re.IGNORECASE)
    if stated and (len(stated[1]) > len(str(MAX_NUMBER)) or int(stated[1]) > MAX_NUMBER):
        raise InstanceError(
            f"{path}: its name gives a capacity of {stated[1][:30]}... bytes, more than "
            f"{MAX_NUMBER}; call it NAME.CAPACITY.csv"
        )
    packing = Packing(
        name=re.sub(r"\.csv(\.gz)?$", "", path.name, flags=re.IGNORECASE),
        ids=tuple(table.unique(columns["id"])),
        lower=lower,
        upper=upper,
        size=table.wholes(columns["size"], 0, MAX_NUMBER),
        capacity=int(stated[1]) if stated else 0,
        alignment=_numbers(table, "alignment", 1, 1),
        offset=_numbers(table, "offset", 0, FREE),
    )
    if (total := float(packing.size.sum(dtype=np.float64))) > MAX_NUMBER:
        raise InstanceError(
            f"{path}: its buffers have {total:.3g} bytes together, more than {MAX_NUMBER}; correct "
            "the column 'size'"
        )
    crooked = np.flatnonzero((packing.offset > 0) & (packing.offset % packing.alignment > 0))
    if crooked.size:
        row = int(crooked[0])
        why = f"is {packing.offset[row]}, not a multiple of the alignment {packing.alignment[row]}"
        table.refuse(row, "offset", why)
    if "gaps" not in table.columns:
        return packing
    gaps = (
        gap
        for row, cell in enumerate(table.texts("gaps"))
        if cell
        for gap in _gaps(table, packing, row, cell, late)
    )
    object.__setattr__(packing, "gaps", tuple(gaps))
    return packing


def _columns(place: str, header: Iterable[str]) -> tuple[dict[str, str], int]:
    """Return the header's names of the needed columns, and 1 if ends are the last time alive."""
    columns: dict[str, str] = {}
    unused = []
    for name in header:
        meaning = OTHER_NAMES.get(name, name)
        if meaning in columns:
            raise InstanceError(
                f"{place}: row 1: the columns {columns[meaning]!r} and {name!r} both say "
                f"{meaning!r}; drop one"
            )
        if meaning in HEADER.split(","):
            columns[meaning] = name
        elif meaning not in OPTIONAL:
            unused.append(name)
    if unused and len(columns) == 4:
        said = f"{place}: {listed('column', unused)} {'is' if len(unused) == 1 else 'are'} not used"
        note(said)
    late = int(columns.get("upper") == "end")
    return {name: columns.get(name, name) for name in HEADER.split(",")}, late


def _numbers(table: Table, column: str, low: int, empty: int) -> np.ndarray:
    """Parse an optional column of integers, int64 [n]; all `empty` without it."""
    if column not in table.columns:
        return np.full(len(table.rows), empty, np.int64)
    given = table.present(column)
    numbers = np.full(len(given), empty, np.int64)
    numbers[given] = table.only(given).wholes(column, low, MAX_NUMBER)
    return numbers


def _gaps(table: Table, packing: Packing, row: int, cell: str, late: int) -> list[Gap]:
    """Parse the gaps of a buffer, such as "3-7 9-12@0:64", within its life."""
    size = int(packing.size[row])
    gaps = []
    for text in cell.split():
        match = GAP.fullmatch(text)
        if match is None:
            why = f"has {text!r}; a gap is FIRST-END, or FIRST-END@LOW:HIGH if it keeps bytes"
            table.refuse(row, "gaps", why)
        lower, upper = int(match[1]), int(match[2]) + late
        low, high = int(match[3] or 0), int(match[4] or 0)
        if lower >= upper:
            table.refuse(row, "gaps", f"{text!r} ends before it begins")
        if not low <= high <= size:
            table.refuse(row, "gaps", f"{text!r} keeps bytes outside 0:{size}, the buffer's own")
        lower, upper = max(lower, int(packing.lower[row])), min(upper, int(packing.upper[row]))
        if lower < upper:
            gaps.append(Gap(row, lower, upper, low, high))
    gaps.sort()
    for first, second in pairwise(gaps):
        if second.lower < first.upper:
            why = f"two gaps have the times from {second.lower} in common; give each time once"
            table.refuse(row, "gaps", why)
    return gaps


def packing_faults(packing: Packing, offsets: np.ndarray, capacity: int) -> list[str]:
    """Return what is wrong with a packing, one sentence per fault; empty if it is valid.

    Args:
        packing: the problem.
        offsets: int64 [n]; lowest byte of each buffer.
        capacity: largest allowed height, bytes.
    """
    faults = []
    if offsets.shape != packing.size.shape:
        return [f"{len(offsets)} offsets for {len(packing.ids)} buffers"]
    rows = zip(packing.ids, offsets.tolist(), packing.size.tolist(), strict=True)
    for row, (name, low, size) in enumerate(rows):
        if low < 0 or low + size > capacity:
            faults.append(f"{name}: lies at {low}..{low + size}, beyond 0..{capacity}")
        if low % int(packing.alignment[row]):
            faults.append(f"{name}: lies at {low}, no multiple of {packing.alignment[row]}")
        if packing.offset[row] not in (FREE, low):
            faults.append(f"{name}: lies at {low}, has to lie at {packing.offset[row]}")
    pieces = packing.pieces
    lows = offsets[pieces.buffer] + pieces.low
    tops = offsets[pieces.buffer] + pieces.high
    # Later pieces that begin before this one ends.
    ends = np.searchsorted(pieces.lower, pieces.upper)
    clashes: set[tuple[int, int]] = set()
    for piece, end in enumerate(ends.tolist()):
        later = slice(piece + 1, end)
        over = (lows[later] < tops[piece]) & (lows[piece] < tops[later])
        one = int(pieces.buffer[piece])
        for other in pieces.buffer[later][over].tolist():
            clashes.add((max(one, other), min(one, other)))
    return faults + [f"{packing.ids[a]} and {packing.ids[b]} overlap" for a, b in sorted(clashes)]
