"""The packing sub-problem: buffers with fixed lifetimes, one offset each.

Reads minimalloc's CSV (google/minimalloc): id, lower, upper, size; a solution adds offset.
Lifetimes are half-open.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import read_bytes

HEADER = "id,lower,upper,size"
MAX_NUMBER = 2**60


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """A packing problem of n buffers.

    Attributes:
        name: of the file.
        ids: n names.
        lower, upper: int64 [n]; the buffer is alive at lower <= t < upper.
        size: int64 [n].
        capacity: the height to stay within, 0 where the file's name gives none.
    """

    name: str
    ids: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    size: np.ndarray
    capacity: int

    @property
    def peak_load(self) -> int:
        """The most alive at once, a bound on the height."""
        times = np.concatenate([self.upper, self.lower])  # ends before starts at equal times
        change = np.concatenate([-self.size, self.size])
        return int(change[np.argsort(times, kind="stable")].cumsum().max(initial=0))


def load_packing(path: Path) -> Packing:
    """The packing problem in a minimalloc CSV; NAME.CAPACITY.csv names the capacity.

    Raises:
        InstanceError: names the file, the row and the column.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        lines = list(csv.reader(text.splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InstanceError(f"{path}: cannot be read as CSV ({error})") from error
    columns = [cell.strip().lower() for cell in lines[0]] if lines else []
    for column in HEADER.split(","):
        if column not in columns:
            raise InstanceError(f"{path}: row 1: the column {column!r} is missing")
    ids: list[str] = []
    numbers: list[list[int]] = []
    for row, cells in enumerate(lines[1:], start=2):
        if not cells:
            continue
        if len(cells) != len(columns):
            raise InstanceError(
                f"{path}: row {row}: has {len(cells)} columns, the header has {len(columns)}; the "
                "file may be cut off here, copy it again"
            )
        of = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        for column in ("lower", "upper", "size"):
            if not of[column].isdecimal() or int(of[column]) > MAX_NUMBER:
                raise InstanceError(
                    f"{path}: row {row}, column {column!r}: is {of[column]!r}, expected a whole "
                    "number from 0"
                )
        if of["id"] in ids:
            raise InstanceError(f"{path}: row {row}, column 'id': {of['id']!r} stands twice")
        ids.append(of["id"])
        numbers.append([int(of[column]) for column in ("lower", "upper", "size")])
        if numbers[-1][0] >= numbers[-1][1]:
            raise InstanceError(f"{path}: row {row}: lower must be less than upper")
    if not ids:
        raise InstanceError(f"{path}: has a header but no rows; there is nothing to pack")
    table = np.array(numbers, np.int64)
    stated = re.search(r"\.(\d+)\.csv$", path.name)
    return Packing(
        name=path.name.removesuffix(".csv"),
        ids=tuple(ids),
        lower=table[:, 0].copy(),
        upper=table[:, 1].copy(),
        size=table[:, 2].copy(),
        capacity=int(stated[1]) if stated else 0,
    )


def packing_faults(packing: Packing, offsets: np.ndarray, capacity: int) -> list[str]:
    """What is wrong with the offsets: one sentence a fault, empty if they are a packing."""
    faults = []
    if offsets.shape != packing.size.shape:
        return [f"{len(offsets)} offsets for {len(packing.ids)} buffers"]
    for row, name in enumerate(packing.ids):
        low, top = int(offsets[row]), int(offsets[row] + packing.size[row])
        if low < 0 or top > capacity:
            faults.append(f"{name}: lies at {low}..{top}, beyond 0..{capacity}")
        for other in range(row):
            together = (
                packing.lower[row] < packing.upper[other]
                and packing.lower[other] < packing.upper[row]
            )
            other_low = int(offsets[other])
            if together and low < other_low + packing.size[other] and other_low < top:
                faults.append(f"{name} and {packing.ids[other]} overlap")
    return faults
