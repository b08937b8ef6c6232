"""Read Google's cluster traces: events of tasks (2011, without a header) or instances (2019).

    2011 task_events:     13 columns in a fixed order, times in microseconds
    2019 instance_events: time, type, collection_id, instance_index, resource_request.cpus,
                          resource_request.memory

A task is there from SCHEDULE to EVICT, FAIL, FINISH, KILL or LOST, and a request each time that it
is scheduled. CPU and memory are fractions of the largest machine's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..columns import plain
from ..files import UserFile
from ..numerals import number
from ..shares import rounded_down, whole_parts
from ..stays import MB_PER_GB, HostType, Stays
from ..tables import Table, read_table
from .recorded import Recorded

MICRO_S = 1e6
MACHINE = HostType("machine", 64, 256)
AFTER = 2**62  # microseconds; later times mean "after the trace"
# The columns that are read, by what they hold; names in the spelling of `plain`.
NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "timestamp"),
    "type": ("type", "eventtype", "instanceeventstype", "event"),
    "job": ("collectionid", "jobid"),
    "task": ("instanceindex", "taskindex"),
    "cpu": ("resourcerequestcpus", "cpurequest", "cpus", "requestcpus",
            "resourcerequestforcpucores"),
    "memory": ("resourcerequestmemory", "memoryrequest", "memory", "requestmemory",
               "resourcerequestforram"),
}  # fmt: skip
RECORD = "resourcerequest"  # both in one cell, as {'cpus': 0.01, 'memory': 0.002}
OF_2011 = {"time": 0, "job": 2, "task": 3, "type": 5, "cpu": 9, "memory": 10}
WIDTH_2011 = 13
# Events that begin a stay, end it, or change nothing here, by name; numbers differ by version.
NAMED = ("SUBMIT", "SCHEDULE", "EVICT", "FAIL", "FINISH", "KILL", "LOST", "UPDATE_PENDING",
         "UPDATE_RUNNING", "QUEUE", "ENABLE")  # fmt: skip
TYPES_2011 = NAMED[:9]
TYPES_2019 = ("SUBMIT", "QUEUE", "ENABLE", "SCHEDULE", "EVICT", "FAIL", "FINISH", "KILL", "LOST",
              "UPDATE_PENDING", "UPDATE_RUNNING")  # fmt: skip
ENDS = frozenset({"EVICT", "FAIL", "FINISH", "KILL", "LOST"})


def is_google(columns: Sequence[str]) -> bool:
    """Whether a header is that of a table of Google's events.

    Args:
        columns: the header's cells.
    """
    names = {plain(name) for name in columns}
    has = {what: bool(names & set(known)) for what, known in NAMES.items()}
    sized = (has["cpu"] and has["memory"]) or RECORD in names
    return has["time"] and has["type"] and has["job"] and has["task"] and sized


def is_task_events(line: str) -> bool:
    """Whether a first line is a row of the 2011 trace, which has no header.

    Args:
        line: the line.
    """
    cells = line.strip().split(",")
    numeric = all(number(cells[at]) is not None for at in (0, 2, 3, 5) if at < len(cells))
    return len(cells) == WIDTH_2011 and numeric


def google_trace(file: UserFile) -> Recorded:
    """Read a table of events.

    Args:
        file: with a header, or of 2011.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    place, text = str(file.path), file.text("a CSV file")
    at: dict[str, int] = {}
    types: Sequence[str] = TYPES_2019
    if is_task_events(text.partition("\n")[0]):
        header = [f"column{column + 1}" for column in range(WIDTH_2011)]
        for what, column in OF_2011.items():
            header[column] = what
        table = read_table(place, ",".join(header) + "\n" + text, OF_2011)
        # The header is no line of the file.
        table = replace(table, rows=[(line - 1, cells) for line, cells in table.rows])
        at, types = dict(OF_2011), TYPES_2011
    else:
        table = read_table(place, text, ())
        names = [plain(name) for name in table.columns]
        for what, known in NAMES.items():
            found = [one for one in known if one in names]
            if found:
                at[what] = names.index(found[0])
        if "cpu" not in at or "memory" not in at:
            table, at = _split(table, names.index(RECORD), at)
        if "jobid" in names:
            types = TYPES_2011
    return _recorded(file, table, at, types)


def _split(table: Table, record: int, at: dict[str, int]) -> tuple[Table, dict[str, int]]:
    """Return a table whose cells of requests, such as {'cpus': 1, 'memory': 2}, are two columns."""
    rows = []
    for row, (line, cells) in enumerate(table.rows):
        values = {"cpus": "", "memory": ""}
        if cells[record] not in ("", "None", "null"):
            try:
                found = json.loads(cells[record].replace("'", '"').replace("None", "null"))
                values |= {key: str(found[key]) for key in values if found.get(key) is not None}
            except (ValueError, AttributeError, RecursionError):
                table.refuse(
                    row, record,
                    f"is {cells[record][:40]!r}, expected {{'cpus': 0.01, 'memory': 0.002}}",
                )  # fmt: skip
        rows.append((line, [*cells, values["cpus"], values["memory"]]))
    width = len(table.columns)
    columns = (*table.columns, "cpus", "memory")
    found_at = at | {"cpu": width, "memory": width + 1}
    return Table(table.place, columns, rows, table.separator), found_at


def _recorded(
    file: UserFile, table: Table, at: Mapping[str, int], types: Sequence[str]
) -> Recorded:
    when = table.reals(at["time"], -1e18, 1e19)
    events = _event_names(table, at["type"], types)
    cpu = table.reals(at["cpu"], 0.0, 1.0, empty=math.nan)
    memory = table.reals(at["memory"], 0.0, 1.0, empty=math.nan)
    jobs, tasks = table.names(at["job"]), table.texts(at["task"])
    order = np.argsort(when, kind="stable")
    if (np.diff(order) < 0).any():
        note(f"{table.place}: its rows are not in order of time; sorted")
    running: dict[str, int] = {}
    size: dict[str, tuple[float, float]] = {}
    rows: list[int] = []
    ends: list[int] = []
    asked: list[tuple[float, float]] = []
    unknown = twice = 0
    for row in order.tolist():
        name, event = f"{jobs[row]}-{tasks[row]}", events[row]
        if not (math.isnan(cpu[row]) or math.isnan(memory[row])) and name not in running:
            size[name] = (float(cpu[row]), float(memory[row]))
        if event == "SCHEDULE":
            if name in running:
                twice += 1  # an exit is missing; it goes on
            elif name not in size:
                unknown += 1
            else:
                running[name] = len(rows)
                rows.append(row)
                ends.append(-1)
                asked.append(size[name])
        elif event in ENDS and name in running:
            ends[running.pop(name)] = row
    for count, what in ((unknown, "without a request of CPU and memory left out"),
                        (twice, "of tasks that run already left out")):  # fmt: skip
        if count:
            note(f"{table.place}: {count} SCHEDULE event{'s' * (count > 1)} {what}")
    if not rows:
        raise InstanceError(f"{table.place}: no SCHEDULE event; there is nothing to place")
    made, left = np.array(rows, np.int64), np.array(ends, np.int64)
    lines = np.array([line for line, _ in table.rows] + [0], np.int64)
    names = [f"{jobs[row]}-{tasks[row]}" for row in rows]
    sizes = np.array(asked)
    units, per_core = whole_parts(sizes[:, 0], MACHINE.cores)
    mem = rounded_down(sizes[:, 1], MACHINE.memory_gb * MB_PER_GB)
    gone = (left >= 0) & (when[left] < AFTER)
    stays = Stays(
        names,
        when[made] / MICRO_S,
        np.where(gone, when[left] / MICRO_S, math.inf),
        units,
        mem,
        [f"{c:.6g}x{m:.6g}" for c, m in sizes.tolist()],
        lines[made],
        np.where(gone, lines[left], 0),
    )
    return Recorded(table.place, file.stem, stays, per_core, MACHINE)


def _event_names(table: Table, column: int, types: Sequence[str]) -> list[str]:
    """Return the name of each row's event, which may be given as a name or a number."""
    by_cell = {str(code): name for code, name in enumerate(types)} | {name: name for name in NAMED}
    cells = [cell.upper() for cell in table.texts(column)]
    for row, cell in enumerate(cells):
        if cell not in by_cell:
            table.refuse(
                row, column,
                f"is {cell[:40]!r}, expected an event from 0 to {len(types) - 1} or one of "
                f"{', '.join(types)}",
            )  # fmt: skip
    return [by_cell[cell] for cell in cells]
