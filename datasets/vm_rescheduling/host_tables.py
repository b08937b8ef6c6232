"""Read a cluster from two tables, one of hosts and one of VMs, in a folder or a zip.

    hosts.csv: host, cpu, memory_mb [, nodes, status, rack]
    vms.csv:   vm, host, cpu, memory_mb [, node, type, movable, keep_apart]

A host's CPU and memory are those of the whole host, shared evenly by its `nodes` (1). A VM's are
those of the whole VM, shared evenly by the NUMA nodes in `node` ("0", or "0+1"; 0 on a host of one
node), or of each part ("8+4"). VMs of one `keep_apart` name are kept on different hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...core.errors import InstanceError
from ...core.files import files_in
from ..files import UserFile, listed, read_file
from ..records import Record
from ..tables import Table, read_table
from .assembly import MAX_CPU, MAX_MEM_MB, Group, Guest, Host, Reading, assemble
from .instance import ACTIVE, MOST_NODES, STATUS_NAMES, Cluster

# The columns of each table, with other names that they may have.
HOST_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "host": ("host", "host_id", "node_id", "pm", "pm_id", "hostname", "name", "id"),
    "cpu": ("cpu", "cpus", "cores", "vcpus", "node_cpu", "total_cpu"),
    "memory_mb": ("memory_mb", "mem_mb", "memory", "mem", "ram", "ram_mb", "node_mem_mb"),
    "nodes": ("nodes", "numa_nodes", "numa", "sockets"),
    "status": ("status", "state"),
    "rack": ("rack", "rack_id"),
}
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
NEEDED = {"hosts.csv": ("host", "cpu", "memory_mb"), "vms.csv": ("vm", "host", "cpu", "memory_mb")}
ENDINGS = (".csv", ".csv.gz", ".tsv", ".txt")
MOST_DIGITS = 18  # of a number that 64 bits hold


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table, which errors name."""

    table: Table
    row: int

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError naming file and row.

        Args:
            why: what is wrong, and what to do about it.
        """
        line = self.table.rows[self.row][0]
        raise InstanceError(f"{self.table.place}: row {line}: {why}")


def is_pair(names: Sequence[str]) -> bool:
    """Whether a folder or zip has a table of hosts and one of VMs, by the names of its files.

    Args:
        names: of the files.
    """
    return None not in (_named("hosts", names), _named("vms", names))


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
        name = _named(what, names)
        if name is None:
            raise InstanceError(
                f"{path}: no {what}.csv in it; a cluster is hosts.csv "
                f"({','.join(HOST_COLUMNS)}) and vms.csv ({','.join(VM_COLUMNS)})"
            )
        file = archive.member(name) if archive else read_file(path / name)
        text = file.text("a CSV file in UTF-8")
        tables[what] = read_table(f"{path}/{name}" if archive else str(path / name), text, ())
    hosts = _Columns(tables["hosts"], HOST_COLUMNS, NEEDED["hosts.csv"])
    vms = _Columns(tables["vms"], VM_COLUMNS, NEEDED["vms.csv"])
    of_hosts = _read_hosts(hosts, reading)
    nodes = {one.name: len(one.nodes) for one in of_hosts}
    guests = _read_vms(vms, nodes)
    apart: dict[str, list[int]] = {}
    for row, name in enumerate(vms.texts("keep_apart")):
        if name:
            apart.setdefault(name, []).append(row)
    groups = [Group(False, rows) for rows in apart.values()]
    return assemble(path.name.split(".")[0], of_hosts, guests, groups, reading)


class _Columns:
    """A table by our names of its columns."""

    def __init__(
        self, table: Table, known: Mapping[str, tuple[str, ...]], needed: Sequence[str]
    ) -> None:
        self.table = table
        self.at = {
            name: next((table.columns.index(one) for one in names if one in table.columns), None)
            for name, names in known.items()
        }
        missing = [name for name in needed if self.at[name] is None]
        if missing:
            raise InstanceError(
                f"{table.place}: row 1: {listed('column', missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing; the first line must name "
                f"{', '.join(known)}, it has {','.join(table.columns)[:80]!r}"
            )

    def index(self, name: str) -> int:
        """Return the place of a column that the table has."""
        at = self.at[name]
        assert at is not None
        return at

    def texts(self, name: str) -> list[str]:
        """Return a column's cells, empty ones where there is no such column."""
        if self.at[name] is None:
            return [""] * len(self.table.rows)
        return self.table.texts(self.index(name))


def _read_hosts(columns: _Columns, reading: Reading) -> list[Host]:
    table = columns.table
    names = table.unique(columns.index("host"))
    cpu = table.wholes(columns.index("cpu"), 1, MAX_CPU).tolist()
    memory = table.wholes(columns.index("memory_mb"), 0, MAX_MEM_MB).tolist()
    counts = columns.texts("nodes")
    hosts = []
    for row, (name, word, rack) in enumerate(
        zip(names, columns.texts("status"), columns.texts("rack"), strict=True)
    ):
        entry = _Row(table, row)
        plain = counts[row].isdecimal() and len(counts[row]) <= MOST_DIGITS
        if counts[row] and not (plain and 0 < int(counts[row]) <= MOST_NODES):
            entry.refuse(
                f"nodes is {counts[row][:40]!r}, expected a whole number from 1 to {MOST_NODES}"
            )
        count = int(counts[row] or 1)
        if cpu[row] % count or memory[row] % count:
            entry.refuse(
                f"{cpu[row]} cores and {memory[row]} MB cannot be shared evenly by {count} NUMA "
                "nodes; correct them, or give a JSON snapshot with each node's own"
            )
        status = reading.status(word) if word else ACTIVE
        if status is None:
            entry.refuse(
                f"status is {word!r}, expected one of {', '.join(STATUS_NAMES)}; say what it means "
                f"by --set status_names={word}:DISABLED (lets VMs out, none in)"
            )
        share = (cpu[row] // count, memory[row] // count)
        hosts.append(Host(entry, name, status, rack, [share] * count))
    return hosts


def _read_vms(columns: _Columns, nodes: Mapping[str, int]) -> list[Guest]:
    table = columns.table
    names = table.unique(columns.index("vm"))
    hosts = table.names(columns.index("host"))
    cells = {name: columns.texts(name) for name in VM_COLUMNS}
    guests = []
    for row, (name, host) in enumerate(zip(names, hosts, strict=True)):
        entry = _Row(table, row)
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


def _shared(entry: _Row, what: str, cell: str, count: int, high: int) -> list[int]:
    """Return a quantity of each part of a VM: as given, or the whole shared evenly."""
    parts = _whole_parts(entry, what, cell, high)
    if len(parts) == count:
        return parts
    if len(parts) > 1 or parts[0] % count:
        entry.refuse(f"{what} {cell!r} is not for {count} NUMA nodes; give one number for each")
    return [parts[0] // count] * count


def _whole_parts(entry: _Row, what: str, cell: str, high: int) -> list[int]:
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


def _named(what: str, names: Sequence[str]) -> str | None:
    """Return the file of a table, such as hosts.csv or cluster/vms.csv.gz."""
    fitting = [
        name
        for name in names
        if name.rsplit("/", 1)[-1].lower() in [what + ending for ending in ENDINGS]
    ]
    return fitting[0] if len(fitting) == 1 else None
