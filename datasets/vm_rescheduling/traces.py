"""Read public VM traces into clusters: Huawei-East-1, Azure Packing 2020, openb's pair.

None of them has NUMA nodes, so every host has one node; CPU is counted in millicores.
"""

from __future__ import annotations

from pathlib import Path

from ...core.errors import InstanceError
from ..azure import AZURE_HOST, SQLITE_MAGIC, read_azure
from ..huawei import HUAWEI_COLUMNS, HUAWEI_HOST, read_huawei
from ..openb import NODE_COLUMNS, POD_COLUMNS, pair_of
from ..stays import HostType
from ..tables import header_of
from .instance import Cluster
from .openb import load_openb
from .replay import snapshot

__all__ = ["SQLITE_MAGIC", "load_azure", "load_csv", "load_huawei", "load_openb"]

AZURE_HOSTS = 280


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
    return snapshot(str(path), read_huawei(path), host, time, hosts)


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
    stays, per_core = read_azure(path, host, machine)
    return snapshot(str(path), stays, host, time, hosts, per_core)
