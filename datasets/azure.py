"""Read an Azure Packing 2020 trace (sqlite): VM types in fractions of machines, and VMs over days.

The trace is of a whole zone and has no hosts: each VM type needs fractions of each machine type it
can run on. One machine type is taken here, and VMs that cannot run on it are left out.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from pathlib import Path
from time import thread_time

import numpy as np

from ..core.errors import InstanceError
from ..core.files import MEGABYTE, opened
from .files import read_file
from .huawei import ADVICE, MAX_TIME
from .shares import rounded_down, whole_parts
from .stays import MB_PER_GB, HostType, Stays

SQLITE_MAGIC = b"SQLite format 3\0"
AZURE_HOST = HostType("machine", 64, 256)
AZURE_COLUMNS = {
    "vm": ("vmId", "vmTypeId", "starttime", "endtime"),
    "vmType": ("vmTypeId", "machineId", "core", "memory"),
}
MOST_VMS = 10_000_000  # of an Azure trace
MOST_SECONDS, STEPS = 30, 100_000  # of CPU, looked at after so many steps of sqlite


def read_azure(
    path: Path,
    host: HostType = AZURE_HOST,
    machine: int | None = None,
    most_priority: int | None = None,
) -> tuple[Stays, int]:
    """Read an Azure Packing 2020 trace; times are in days, those before the trace negative.

    Args:
        path: sqlite file with the tables vm and vmType.
        host: size of a whole machine; the trace gives no absolute sizes.
        machine: machineId; None for the one that the most requests can run on.
        most_priority: VMs whose `priority` is a larger number are left out, which are the evictable
            ones of 1; None to read all, whether or not there is such a column.

    Returns:
        The stays, and the units of CPU in a core.

    Raises:
        InstanceError: names file, table, row, column and remedy.
    """
    try:
        base = _opened(path)
        try:
            _bound(base)
            for table in AZURE_COLUMNS:
                _check_columns(path, base, table, most_priority is not None)
            return _stays(path, base, _shares(path, base, machine), host, most_priority)
        finally:
            base.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if "interrupted" in str(error):
            raise InstanceError(
                f"{path}: its tables took more than {MOST_SECONDS} s to read; write the rows of "
                "fewer VMs into a new file"
            ) from error
        raise InstanceError(f"{path}: damaged sqlite file ({error}); copy it again") from error


def _opened(path: Path) -> sqlite3.Connection:
    """Open a trace to be read, as it lies on disk or, if it is packed, in memory."""
    with opened(path) as stream:
        packed = stream.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC
    if not packed:
        # immutable: a trace may lie in a folder where sqlite cannot write its lock
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    base = sqlite3.connect(":memory:")
    base.deserialize(read_file(path, ADVICE).data)
    return base


def _bound(base: sqlite3.Connection) -> None:
    """Bound the time of queries and the length of values; the schema of a trace is a stranger's."""
    end = thread_time() + MOST_SECONDS
    base.set_progress_handler(lambda: thread_time() > end, STEPS)
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MEGABYTE)
    base.execute("PRAGMA trusted_schema = OFF")


def _check_columns(path: Path, base: sqlite3.Connection, table: str, with_priority: bool) -> None:
    kind, sql = base.execute(
        "SELECT type, sql FROM sqlite_master WHERE lower(name) = lower(?)", (table,)
    ).fetchone() or ("table", "")
    if kind != "table" or "VIRTUAL" in str(sql).upper().split("(")[0].split():
        raise InstanceError(
            f"{path}: {table!r} is no table with rows of its own; write its rows into one"
        )
    known = {str(row[1]) for row in base.execute(f"PRAGMA table_info({table})")}
    if not known:
        raise InstanceError(
            f"{path}: no table {table!r}; expected an Azure Packing 2020 trace (tables vm and "
            "vmType)"
        )
    needed = AZURE_COLUMNS[table] + (("priority",) if with_priority and table == "vm" else ())
    missing = [column for column in needed if column not in known]
    if missing:
        raise InstanceError(f"{path}: table {table}: the column {missing[0]!r} is missing")
    if base.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
        raise InstanceError(f"{path}: table {table} has no rows; there are no VMs")


def _shares(
    path: Path, base: sqlite3.Connection, machine: int | None
) -> dict[object, tuple[float, float]]:
    """Return CPU and memory of each VM type that runs on the machine, as fractions of it."""
    unknown = base.execute(
        "SELECT vmId, vmTypeId FROM vm WHERE vmTypeId IS NULL OR vmTypeId NOT IN "
        "(SELECT vmTypeId FROM vmType WHERE vmTypeId IS NOT NULL) LIMIT 1"
    ).fetchone()
    if unknown is not None:
        raise InstanceError(
            f"{path}: table vm, vmId {unknown[0]}, column 'vmTypeId': no type {unknown[1]!r} in "
            "vmType; add it or remove the VM"
        )
    wanted = dict(base.execute("SELECT vmTypeId, COUNT(*) FROM vm GROUP BY vmTypeId"))
    types = base.execute("SELECT vmTypeId, machineId, core, memory FROM vmType").fetchall()
    machines: dict[object, int] = {}
    for kind, on, *_ in types:
        machines[on] = machines.get(on, 0) + wanted.get(kind, 0)
    if machine is not None and machine not in machines:
        raise InstanceError(
            f"{path}: table vmType: no machine {machine!r}; there are "
            f"{', '.join(str(on) for on in machines)}"
        )
    chosen = max(machines, key=lambda on: machines[on]) if machine is None else machine
    return {
        kind: (
            _number(path, "vmType", kind, "core", core, 0, 1),
            _number(path, "vmType", kind, "memory", memory, 0, 1),
        )
        for kind, on, core, memory in types
        if on == chosen
    }


def _stays(
    path: Path,
    base: sqlite3.Connection,
    shares: dict[object, tuple[float, float]],
    host: HostType,
    most_priority: int | None,
) -> tuple[Stays, int]:
    """Return the requests that the machine can run, and the units of CPU in a core.

    They are read row by row: a trace has millions.
    """
    cpu, per_core = whole_parts(np.array([cores for cores, _ in shares.values()]), host.cores)
    memory = rounded_down(
        np.array([part for _, part in shares.values()]), host.memory_gb * MB_PER_GB
    )
    at = {kind: row for row, kind in enumerate(shares)}
    labels = [str(kind) for kind in shares]
    names: list[str] = []
    rows, values = array("q"), array("d")
    query = "SELECT vmId, vmTypeId, starttime, endtime FROM vm"
    kept = "" if most_priority is None else f" WHERE priority <= {most_priority:d}"
    for vm, kind, start, end in base.execute(query + kept):
        if kind not in at:
            continue
        if len(names) == MOST_VMS:
            raise InstanceError(f"{path}: table vm has more than {MOST_VMS} VMs; give a part of it")
        begin = _number(path, "vm", vm, "starttime", start, -MAX_TIME, MAX_TIME)
        stop = math.inf
        if end is not None:
            stop = _number(path, "vm", vm, "endtime", end, begin, MAX_TIME)
        names.append(str(vm))
        rows.append(at[kind])
        values.extend((begin, stop))
    table = np.array(values, np.float64).reshape(-1, 2)
    row = np.array(rows, np.int64)
    stays = Stays(
        names, table[:, 0], table[:, 1], cpu[row], memory[row], [labels[at] for at in rows]
    )
    return stays, per_core


def _number(
    path: Path, table: str, key: object, column: str, value: object, low: float, high: float
) -> float:
    fits = isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high
    if not fits:
        identity = "vmTypeId" if table == "vmType" else "vmId"
        raise InstanceError(
            f"{path}: table {table}, {identity} {key}, column {column!r}: is {value!r}, expected a "
            f"number in {low:g}..{high:g}; correct it"
        )
    return float(value)  # type: ignore[arg-type]
