"""Read public VM traces into clusters: Huawei-East-1, Azure Packing 2020, openb's pair.

None of them has NUMA nodes, so every host has one node; CPU is counted in millicores.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ..files import read_file
from ..tables import header_of, read_table
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
    cpu = np.rint(table.reals("cpu", 0.001, 10**6) * MILLI).astype(np.int64)
    mem = np.rint(table.reals("memory", 0, 10**9) * MB_PER_GB).astype(np.int64)
    when, deletes = table.reals("time", 0, MAX_TIME), table.wholes("type", 0, 1)
    end = np.full(len(vm_ids), math.inf)
    running: dict[str, int] = {}
    for row in np.argsort(when, kind="stable").tolist():
        name = vm_ids[row]
        if deletes[row]:
            if name not in running:
                table.refuse(
                    row, "vmid", f"VM {name!r} is deleted but does not run; add its creation"
                )
            end[running.pop(name)] = when[row]
        else:
            if name in running:
                line = table.rows[running[name]][0]
                table.refuse(row, "vmid", f"VM {name!r} runs already, since row {line}")
            running[name] = row
    made = np.flatnonzero(deletes == 0)
    kinds = [f"{cpu[row] / MILLI:g}U{mem[row] / MB_PER_GB:g}G" for row in made]
    stays = Stays([vm_ids[row] for row in made], when[made], end[made], cpu[made], mem[made], kinds)
    return snapshot(str(path), stays, host, time, hosts)


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
        # immutable: a trace may lie in a folder where sqlite cannot write its lock
        base = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            for table in AZURE_COLUMNS:
                _check_columns(path, base, table)
            stays = _stays(path, base, _shares(path, base, machine), host)
        finally:
            base.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise InstanceError(f"{path}: damaged sqlite file ({error}); copy it again") from error
    return snapshot(str(path), stays, host, time, hosts)


def _check_columns(path: Path, base: sqlite3.Connection, table: str) -> None:
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
) -> Stays:
    """Return the requests that the machine can run, read row by row: a trace has millions."""
    kinds = {kind: str(kind) for kind in shares}
    names: list[str] = []
    kind_of: list[str] = []
    values = array("d")
    for vm, kind, start, end in base.execute("SELECT vmId, vmTypeId, starttime, endtime FROM vm"):
        if kind not in shares:
            continue
        begin = _number(path, "vm", vm, "starttime", start, -MAX_TIME, MAX_TIME)
        stop = math.inf
        if end is not None:
            stop = _number(path, "vm", vm, "endtime", end, begin, MAX_TIME)
        names.append(str(vm))
        kind_of.append(kinds[kind])
        values.extend((begin, stop, *shares[kind]))
    table = np.array(values, np.float64).reshape(-1, 4)
    return Stays(
        names,
        table[:, 0],
        table[:, 1],
        np.maximum(np.rint(table[:, 2] * host.cores * MILLI), 1).astype(np.int64),
        np.rint(table[:, 3] * host.memory_gb * MB_PER_GB).astype(np.int64),
        kind_of,
    )


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
