"""Read packing problems: buffers with fixed lifetimes that need one offset each.

The format is minimalloc's CSV (google/minimalloc): id, lower, upper, size; a solution adds offset.
Lifetimes are half-open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import read_file
from ..tables import read_table

HEADER = "id,lower,upper,size"
MAX_NUMBER = 2**60


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
    """

    name: str
    ids: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    size: np.ndarray
    capacity: int

    @property
    def peak_load(self) -> int:
        """The most bytes alive at once, a lower bound on the height."""
        times = np.concatenate([self.upper, self.lower])  # at equal times, ends come before starts
        change = np.concatenate([-self.size, self.size])
        return int(change[np.argsort(times, kind="stable")].cumsum().max(initial=0))


def load_packing(path: Path) -> Packing:
    """Read the packing problem in a minimalloc CSV.

    Args:
        path: the file; a name like NAME.CAPACITY.csv gives the capacity.

    Raises:
        InstanceError: names the file, the row and the column.
    """
    table = read_table(str(path), read_file(path).text("a CSV file"), HEADER.split(","))
    lower, upper = (table.wholes(column, 0, MAX_NUMBER) for column in ("lower", "upper"))
    late = np.flatnonzero(lower >= upper)
    if late.size:
        table.refuse(int(late[0]), "lower", "lower must be less than upper")
    stated = re.search(r"\.(\d+)\.csv$", path.name)
    return Packing(
        name=path.name.removesuffix(".csv"),
        ids=tuple(table.unique("id")),
        lower=lower,
        upper=upper,
        size=table.wholes("size", 0, MAX_NUMBER),
        capacity=int(stated[1]) if stated else 0,
    )


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
