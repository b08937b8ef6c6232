"""Read a cluster from two tables, one of hosts and one of VMs, in a folder or a zip.

    hosts.csv: host, cpu, memory_mb [, nodes, status, rack]
    vms.csv:   vm, host, cpu, memory_mb [, node, type, movable, keep_apart]

A host's CPU and memory are those of the whole host, shared evenly by its `nodes` (1). A VM's are
those of the whole VM, shared evenly by the NUMA nodes in `node` ("0", or "0+1"; 0 on a host of one
node), or of each part ("8+4"). VMs of one `keep_apart` name are kept on different hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import InstanceError
from ...core.files import files_in
from ..files import UserFile, read_file
from ..host_lists import (
    HOST_COLUMNS,
    HOSTS_NEEDED,
    MAX_CPU,
    MAX_MEM_MB,
    MOST_DIGITS,
    Columns,
    Reading,
    TableRow,
    file_named,
    read_hosts,
)
from ..hosts import MOST_NODES
from ..records import Record
from ..tables import read_table
from .assembly import Group, Guest, assemble
from .instance import Cluster

# The columns of each table, with other names that they may have.
VM_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "vm": ("vm", "vm_id", "instance_id", "instance", "vm_name", "name", "id"),
    "host": ("host", "host_id", "node_id", "pm", "pm_id", "hostname"),
    "cpu": ("cpu", "cpus", "cores", "vcpus"),
    "memory_mb": ("memory_mb", "mem_mb", "memory", "mem", "ram", "ram_mb"),
    "node": ("node", "numa_node", "numa", "nodes"),
    "type": ("type", "instance_type", "flavor", "flavour", "vm_type"),
    "movable": ("movable", "allow_migration", "migratable"),
    "keep_apart": ("keep_apart", "deployment_set", "anti_affinity", "group"),
}
VMS_NEEDED = ("vm", "host", "cpu", "memory_mb")


def is_pair(names: Sequence[str]) -> bool:
    """Whether a folder or zip has a table of hosts and one of VMs, by the names of its files.

    Args:
        names: of the files.
    """
    return None not in (file_named("hosts", names), file_named("vms", names))


def load_pair(path: Path, archive: UserFile | None, reading: Reading) -> Cluster:
    """Read a cluster from hosts.csv and vms.csv.

    Args:
        path: the folder, or the zip.
        archive: the zip, read; None for a folder.
        reading: factors of over-commitment, and what other names of statuses mean.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    names = archive.members() if archive else [one.name for one in files_in(path)]
    tables = {}
    for what in ("hosts", "vms"):
        name = file_named(what, names)
        if name is None:
            raise InstanceError(
                f"{path}: no {what}.csv in it; a cluster is hosts.csv "
                f"({','.join(HOST_COLUMNS)}) and vms.csv ({','.join(VM_COLUMNS)})"
            )
        file = archive.member(name) if archive else read_file(path / name)
        text = file.text("a CSV file in UTF-8")
        tables[what] = read_table(f"{path}/{name}" if archive else str(path / name), text, ())
    hosts = Columns(tables["hosts"], HOST_COLUMNS, HOSTS_NEEDED)
    vms = Columns(tables["vms"], VM_COLUMNS, VMS_NEEDED)
    of_hosts = read_hosts(hosts, reading)
    nodes = {one.name: len(one.nodes) for one in of_hosts}
    guests = _read_vms(vms, nodes)
    apart: dict[str, list[int]] = {}
    for row, name in enumerate(vms.texts("keep_apart")):
        if name:
            apart.setdefault(name, []).append(row)
    groups = [Group(False, rows) for rows in apart.values()]
    return assemble(path.name.split(".")[0], of_hosts, guests, groups, reading)


def _read_vms(columns: Columns, nodes: Mapping[str, int]) -> list[Guest]:
    table = columns.table
    names = table.unique(columns.index("vm"))
    hosts = table.names(columns.index("host"))
    cells = {name: columns.texts(name) for name in VM_COLUMNS}
    guests = []
    for row, (name, host) in enumerate(zip(names, hosts, strict=True)):
        entry = TableRow(table, row)
        where = cells["node"][row]
        if host in nodes and nodes[host] > 1 and not where:
            entry.refuse(f"its host has {nodes[host]} NUMA nodes; name its own in a column 'node'")
        on = _whole_parts(entry, "node", where or "0", 64)
        cpu = _shared(entry, "cpu", cells["cpu"][row], len(on), MAX_CPU)
        memory = _shared(entry, "memory_mb", cells["memory_mb"][row], len(on), MAX_MEM_MB)
        if len(set(on)) < len(on):
            entry.refuse(f"node is {where!r}; the parts of a VM are on different nodes")
        movable = cells["movable"][row]
        guests.append(
            Guest(
                entry,
                name,
                cells["type"][row],
                host,
                list(zip(on, cpu, memory, strict=True)),
                not movable or Record(table.place, f"row {table.rows[row][0]}", movable).flag(),
            )
        )
    return guests


def _shared(entry: TableRow, what: str, cell: str, count: int, high: int) -> list[int]:
    """Return a quantity of each part of a VM: as given, or the whole shared evenly."""
    parts = _whole_parts(entry, what, cell, high)
    if len(parts) == count:
        return parts
    if len(parts) > 1 or parts[0] % count:
        entry.refuse(f"{what} {cell!r} is not for {count} NUMA nodes; give one number for each")
    return [parts[0] // count] * count


def _whole_parts(entry: TableRow, what: str, cell: str, high: int) -> list[int]:
    found: list[int] = []
    for part in cell.split("+"):
        text = part.strip().removesuffix(".0")
        plain = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
        if not plain or int(text) > high or len(found) >= MOST_NODES:
            entry.refuse(
                f"{what} is {cell[:40]!r}, expected whole numbers up to {high} such as 8 or 8+4"
            )
        found.append(int(text))
    return found
