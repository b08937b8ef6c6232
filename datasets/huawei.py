"""Read a Huawei-East-1 event trace (VMAgent): creations and deletions, one a row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.notes import note
from .files import read_file
from .stays import MB_PER_GB, MILLI, HostType, Stays
from .tables import Table, read_table

HUAWEI_COLUMNS = ("vmid", "cpu", "memory", "time", "type")
HUAWEI_HOST = HostType("host", 88, 360)
MAX_TIME = 1e15
ADVICE = "give a part of the trace"


def read_huawei(path: Path) -> Stays:
    """Read a Huawei-East-1 trace; times are in seconds.

    The file may be a window cut out of a longer trace: a VM that is deleted but never created ran
    before the window and until then. Of the events at one time exits come first. Rows may stand in
    any order of time.

    Args:
        path: CSV with the columns vmid, cpu (cores), memory (GB), time (seconds), type (0 create, 1
            delete).

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    table = read_table(
        str(path), read_file(path, ADVICE).text("a CSV file in UTF-8"), HUAWEI_COLUMNS
    )
    vm_ids = table.names("vmid")
    cpu = np.rint(table.reals("cpu", 0, 10**6) * MILLI).astype(np.int64)
    mem = np.rint(table.reals("memory", 0, 10**9) * MB_PER_GB).astype(np.int64)
    when = table.reals("time", -MAX_TIME, MAX_TIME)
    stays = _paired(table, vm_ids, when, table.wholes("type", 0, 1) == 1)
    made = np.array([stay.row for stay in stays], np.int64)
    lines = np.array([line for line, _ in table.rows] + [0], np.int64)
    return Stays(
        [vm_ids[row] for row in made],
        np.array([stay.start for stay in stays]),
        np.array([stay.end for stay in stays]),
        cpu[made],
        mem[made],
        [f"{cpu[row] / MILLI:g}U{mem[row] / MB_PER_GB:g}G" for row in made],
        lines[made],
        lines[[stay.exit_row for stay in stays]],
    )


class _Stay(NamedTuple):
    """A VM's time in a trace.

    Attributes:
        row: the row that says what it needs.
        exit_row: the row of its exit, -1 for none.
        start, end: seconds; infinity if it is still there at the end.
    """

    row: int
    exit_row: int
    start: float
    end: float


def _paired(table: Table, vm_ids: list[str], when: np.ndarray, deletes: np.ndarray) -> list[_Stay]:
    """Pair creations with deletions.

    Args:
        table: the trace, for error messages.
        vm_ids: name of the VM of each row.
        when: float64 [rows]; time of each row.
        deletes: bool [rows]; whether the row is a deletion.

    Returns:
        The stays in order of their creation; those without length are there too.
    """
    running: dict[str, int] = {}
    gone: set[str] = set()
    found: list[_Stay] = []
    order = np.argsort(when, kind="stable")
    if (np.diff(order) < 0).any():
        note(f"{table.place}: its rows are not in order of time; sorted")
    for rows in np.split(order, np.flatnonzero(np.diff(when[order])) + 1):
        of_vm: dict[str, tuple[list[int], list[int]]] = {}
        for row in rows.tolist():
            of_vm.setdefault(vm_ids[row], ([], []))[int(deletes[row])].append(row)
        now = float(when[rows[0]])
        for name, (creations, exits) in of_vm.items():
            if exits and name in running:
                row = running.pop(name)
                found.append(_Stay(row, exits.pop(0), float(when[row]), now))
                gone.add(name)
            elif exits and name not in gone and not (creations and creations[0] < exits[0]):
                row = exits.pop(0)
                found.append(_Stay(row, row, -math.inf, now))
                gone.add(name)
            # What is created and deleted at this time has no length.
            paired = min(len(creations), len(exits))
            found += [
                _Stay(row, exit_row, now, now)
                for row, exit_row in zip(creations, exits, strict=False)
            ]
            gone |= {name} if paired else set()
            if exits[paired:]:
                table.refuse(
                    exits[paired], "vmid", f"VM {name!r} is deleted again; remove this row"
                )
            for row in creations[paired:]:
                if name in running:
                    line = table.rows[running[name]][0]
                    table.refuse(row, "vmid", f"VM {name!r} runs already, since row {line}")
                running[name] = row
    found += [_Stay(row, -1, float(when[row]), math.inf) for row in running.values()]
    early = sum(stay.start == -math.inf for stay in found)
    if early:
        verb = "is" if early == 1 else "are"
        note(
            f"{table.place}: {early} VM{'s' * (early > 1)} {verb} deleted but never created; taken "
            "as there from the start"
        )
    return sorted(found, key=lambda stay: (stay.start, stay.row))
