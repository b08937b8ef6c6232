"""Read public VM traces into clusters: Huawei-East-1, Azure Packing 2020, openb's pair.

None of them has NUMA nodes, so every host has one node; CPU is counted in millicores.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from pathlib import Path
from time import thread_time
from typing import NamedTuple

import numpy as np

from ...core.errors import InstanceError
from ...core.files import MEGABYTE, opened
from ...core.notes import note
from ..files import read_file
from ..tables import Table, header_of, read_table
from .instance import Cluster
from .openb import NODE_COLUMNS, POD_COLUMNS, load_openb, pair_of
from .replay import MB_PER_GB, MILLI, HostType, Stays, snapshot

__all__ = ["SQLITE_MAGIC", "load_azure", "load_csv", "load_huawei", "load_openb"]

SQLITE_MAGIC = b"SQLite format 3\0"
HUAWEI_COLUMNS = ("vmid", "cpu", "memory", "time", "type")
HUAWEI_HOST = HostType("host", 88, 360)
AZURE_HOST = HostType("machine", 64, 256)
AZURE_HOSTS = 280
AZURE_COLUMNS = {
    "vm": ("vmId", "vmTypeId", "starttime", "endtime"),
    "vmType": ("vmTypeId", "machineId", "core", "memory"),
}
MAX_TIME = 1e15
SLACK = 1e-6  # of a unit: what floating point may take from a whole number
MOST_PARTS, FINE = 20_000, 10**6  # parts of a machine
MOST_VMS = 10_000_000  # of an Azure trace
MOST_SECONDS, STEPS = 30, 100_000  # of CPU, looked at after so many steps of sqlite
ADVICE = "give a part of the trace"


def load_csv(path: Path, text: str) -> Cluster:
    """Read the cluster in a CSV trace, whose format its header tells.

    The other file of an openb pair is looked for in the same folder.

    Args:
        path: the file.
        text: its content.

    Raises:
        InstanceError: the header is of no known trace, or the trace is malformed.
    """
    columns = set(header_of(text.partition("\n")[0]))
    if set(HUAWEI_COLUMNS) <= columns:
        return load_huawei(path)
    # A list that lacks a column is passed to its own reader, which then names the column.
    if "sn" in columns:
        return load_openb(path, pair_of(path, POD_COLUMNS))
    if {"name", "cpu_milli"} <= columns:
        return load_openb(pair_of(path, NODE_COLUMNS), path)
    raise InstanceError(
        f"{path}: row 1: the columns {', '.join(sorted(columns))} are of no known trace; expected "
        f"a Huawei-East-1 trace ({','.join(HUAWEI_COLUMNS)}) or an openb node list "
        f"({','.join(NODE_COLUMNS)}) or pod list"
    )


def load_huawei(
    path: Path, time: float | None = None, host: HostType = HUAWEI_HOST, hosts: int | None = None
) -> Cluster:
    """Read a Huawei-East-1 trace (VMAgent) into the cluster at one time.

    The file may be a window cut out of a longer trace: a VM that is deleted but never created ran
    before the window and until then. Of the events at one time exits come first; a VM that is
    created and deleted at one time never runs, and is left out.

    Args:
        path: CSV with the columns vmid, cpu (cores), memory (GB), time (seconds), type (0 create, 1
            delete).
        time: time of the snapshot in seconds; None for the time with the most running VMs.
        host: the type of every host; the trace has none.
        hosts: number of hosts; None to add one whenever none has room.

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
    kinds = [f"{cpu[row] / MILLI:g}U{mem[row] / MB_PER_GB:g}G" for row in made]
    return snapshot(
        str(path),
        Stays(
            [vm_ids[row] for row in made],
            np.array([stay.start for stay in stays]),
            np.array([stay.end for stay in stays]),
            cpu[made],
            mem[made],
            kinds,
        ),
        host,
        time,
        hosts,
    )


class _Stay(NamedTuple):
    """A VM's time in a trace.

    Attributes:
        row: the row that says what it needs.
        start, end: seconds; infinity if it is still there at the end.
    """

    row: int
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
    for rows in np.split(order, np.flatnonzero(np.diff(when[order])) + 1):
        of_vm: dict[str, tuple[list[int], list[int]]] = {}
        for row in rows.tolist():
            of_vm.setdefault(vm_ids[row], ([], []))[int(deletes[row])].append(row)
        now = float(when[rows[0]])
        for name, (creations, exits) in of_vm.items():
            if exits and name in running:
                row = running.pop(name)
                found.append(_Stay(row, float(when[row]), now))
                gone.add(name)
                exits.pop(0)
            elif exits and name not in gone and not (creations and creations[0] < exits[0]):
                found.append(_Stay(exits.pop(0), -math.inf, now))
                gone.add(name)
            # What is created and deleted at this time has no length.
            paired = min(len(creations), len(exits))
            found += [_Stay(row, now, now) for row in creations[:paired]]
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
    found += [_Stay(row, float(when[row]), math.inf) for row in running.values()]
    early = sum(stay.start == -math.inf for stay in found)
    if early:
        verb = "is" if early == 1 else "are"
        note(
            f"{table.place}: {early} VM{'s' * (early > 1)} {verb} deleted but never created; taken "
            "as there from the start"
        )
    return sorted(found, key=lambda stay: (stay.start, stay.row))


def load_azure(
    path: Path,
    time: float | None = None,
    host: HostType = AZURE_HOST,
    hosts: int | None = AZURE_HOSTS,
    machine: int | None = None,
) -> Cluster:
    """Read an Azure Packing 2020 trace into the cluster at one time.

    The trace is of a whole zone and has no hosts: each VM type needs fractions of each machine type
    it can run on. One machine type is taken here, of the size in `host`, and VMs that cannot run on
    it are left out.

    Args:
        path: sqlite file with the tables vm and vmType.
        time: time of the snapshot in days; None for the time with the most running VMs.
        host: size of a whole machine; the trace gives no absolute sizes.
        hosts: number of machines; VMs that find no room are left out, as if the rest of the zone
            ran them. None: as many machines as all VMs need.
        machine: machineId; None for the one that the most requests can run on.

    Raises:
        InstanceError: names file, table, row, column and remedy.
    """
    try:
        base = _opened(path)
        try:
            _bound(base)
            for table in AZURE_COLUMNS:
                _check_columns(path, base, table)
            stays, per_core = _stays(path, base, _shares(path, base, machine), host)
        finally:
            base.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if "interrupted" in str(error):
            raise InstanceError(
                f"{path}: its tables took more than {MOST_SECONDS} s to read; write the rows of "
                "fewer VMs into a new file"
            ) from error
        raise InstanceError(f"{path}: damaged sqlite file ({error}); copy it again") from error
    return snapshot(str(path), stays, host, time, hosts, per_core)


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


def _check_columns(path: Path, base: sqlite3.Connection, table: str) -> None:
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
    missing = [column for column in AZURE_COLUMNS[table] if column not in known]
    if missing:
        raise InstanceError(f"{path}: table {table}: the column {missing[0]!r} is missing")
    if base.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
        raise InstanceError(f"{path}: table {table} has no rows; there is nothing to reschedule")


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
) -> tuple[Stays, int]:
    """Return the requests that the machine can run, and the units of CPU in a core.

    They are read row by row: a trace has millions.
    """
    cpu, per_core = _whole_parts(np.array([cores for cores, _ in shares.values()]), host.cores)
    memory = _rounded_down(
        np.array([part for _, part in shares.values()]), host.memory_gb * MB_PER_GB
    )
    at = {kind: row for row, kind in enumerate(shares)}
    labels = [str(kind) for kind in shares]
    names: list[str] = []
    rows, values = array("q"), array("d")
    for vm, kind, start, end in base.execute("SELECT vmId, vmTypeId, starttime, endtime FROM vm"):
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


def _whole_parts(shares: np.ndarray, cores: float) -> tuple[np.ndarray, int]:
    """Express fractions of a machine's cores as whole units of CPU.

    The unit is chosen so that the fractions are whole, for instance 1/3000 core for 1/96 of 64
    cores; so a machine that the trace fills is full here. Where no unit does that, fractions are
    rounded down to millionths of a machine, and never need more than a machine has.

    Args:
        shares: float64 [K]; fractions.
        cores: of the machine.

    Returns:
        CPU of each, int64 [K], and the units in a core.
    """
    parts = _denominator(shares)
    count = np.rint(shares * parts) if parts else np.floor(shares * FINE + SLACK)
    finer = (parts or FINE) // math.gcd(parts or FINE, round(cores * MILLI))
    unit = round(cores * MILLI) * finer // (parts or FINE)
    return count.astype(np.int64) * unit, MILLI * finer


def _rounded_down(shares: np.ndarray, total: float) -> np.ndarray:
    """Return fractions of a whole, rounded down to whole numbers, int64 [K].

    Args:
        shares: float64 [K]; fractions.
        total: the whole.
    """
    parts = _denominator(shares)
    exact = np.rint(shares * parts) / parts if parts else shares
    return np.floor(exact * total + SLACK).astype(np.int64)


def _denominator(shares: np.ndarray) -> int:
    """Return the least common denominator of fractions; 0 if none up to MOST_PARTS is one.

    A trace that gives 1/96 as 0.0104167 means 1/96: what all fractions have in decimals says how
    exact they are.

    Args:
        shares: float64 [K]; fractions.
    """
    different = np.unique(shares)
    if len(different) > MOST_PARTS:  # more than there are fractions with small denominators
        return 0
    decimals = (d for d in range(4, 7) if (np.abs(different - different.round(d)) < 1e-12).all())
    slack = 0.501 * 10.0 ** -next(decimals, 6)
    for parts in range(1, MOST_PARTS + 1):
        scaled = different * parts
        if (np.abs(scaled - np.rint(scaled)) <= min(slack * parts, 0.1)).all():
            return parts
    return 0


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
