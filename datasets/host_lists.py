"""Read tables of hosts: columns by what people call them, statuses by what platforms say.

    hosts.csv: host, cpu, memory_mb [, nodes, status, rack]

A host's CPU and memory are those of the whole host, shared evenly by its `nodes` (1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from ..core.errors import InstanceError
from .files import listed
from .hosts import ACTIVE, MOST_NODES, STATUS_NAMES
from .tables import Table

MAX_CPU, MAX_MEM_MB = 10**9, 10**12
# Words of other platforms for a host's status. DISABLED hosts let VMs out and none in.
STATUS_WORDS: Mapping[str, tuple[str, ...]] = {
    "ACTIVE": ("active", "enabled", "up", "ready", "online", "available", "running", "normal"),
    "DISABLED": (
        "disabled", "maintenance", "in_maintenance", "draining", "drain", "drained", "cordoned",
        "evacuating", "locked", "reserved", "schedulingdisabled", "unschedulable",
    ),
    "OUTAGE": (
        "outage", "down", "offline", "error", "failed", "fault", "dead", "unreachable", "notready",
        "disconnected",
    ),
}  # fmt: skip


class Entry(Protocol):
    """A host or VM in a file, which errors can name."""

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError naming file and place.

        Args:
            why: what is wrong, and what to do about it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read, from the settings of that name.

    Attributes:
        overcommit: factors of CPU and memory that hosts are sold by; None for those in the file.
        status_names: status (ACTIVE, DISABLED, OUTAGE) of each other name, in lower case.
    """

    overcommit: tuple[float, float] | None = None
    status_names: Mapping[str, str] = field(default_factory=dict)

    def status(self, word: str) -> int | None:
        """Return the status that a word means, None if it is not known.

        Args:
            word: of the file.
        """
        key = word.strip().lower()
        if key in self.status_names:
            return STATUS_NAMES.index(self.status_names[key])
        plain = key.replace("-", "_").replace(" ", "_")
        known = (name for name, words in STATUS_WORDS.items() if plain in words)
        return next((STATUS_NAMES.index(name) for name in known), None)


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a file.

    Attributes:
        entry: where it stands.
        name: its id.
        status: ACTIVE, DISABLED or OUTAGE, as in instance.py.
        rack: name of its rack.
        nodes: CPU (cores) and memory (MB) of each NUMA node.
        sold_by: factors of CPU and memory in the file, 1 if it has none.
    """

    entry: Entry
    name: str
    status: int
    rack: str
    nodes: Sequence[tuple[int, int]]
    sold_by: tuple[float, float] = (1.0, 1.0)


# Columns, with other names that they may have.
HOST_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "host": ("host", "host_id", "node_id", "pm", "pm_id", "hostname", "name", "id"),
    "cpu": ("cpu", "cpus", "cores", "vcpus", "node_cpu", "total_cpu"),
    "memory_mb": ("memory_mb", "mem_mb", "memory", "mem", "ram", "ram_mb", "node_mem_mb"),
    "nodes": ("nodes", "numa_nodes", "numa", "sockets"),
    "status": ("status", "state"),
    "rack": ("rack", "rack_id"),
}
HOSTS_NEEDED = ("host", "cpu", "memory_mb")
ENDINGS = (".csv", ".csv.gz", ".tsv", ".txt")
MOST_DIGITS = 18  # of a number that 64 bits hold
RENAMED = "say what it means by --set status_names={word}:DISABLED (lets VMs out, none in)"


@dataclass(frozen=True, slots=True)
class TableRow:
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


class Columns:
    """A table by our names of its columns."""

    def __init__(
        self, table: Table, known: Mapping[str, tuple[str, ...]], needed: Sequence[str]
    ) -> None:
        """Find the columns.

        Args:
            table: the table.
            known: names that a column may have, by our name of it.
            needed: columns that must be there, by our names.

        Raises:
            InstanceError: columns are missing; names all that are.
        """
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
        """Return the place of a column that the table has.

        Args:
            name: our name of it.
        """
        at = self.at[name]
        assert at is not None
        return at

    def texts(self, name: str) -> list[str]:
        """Return a column's cells, empty ones where there is no such column.

        Args:
            name: our name of it.
        """
        if self.at[name] is None:
            return [""] * len(self.table.rows)
        return self.table.texts(self.index(name))


def read_hosts(columns: Columns, reading: Reading, advice: str = RENAMED) -> list[Host]:
    """Read a table of hosts.

    Args:
        columns: the table, by the names in HOST_COLUMNS.
        reading: what other names of statuses mean.
        advice: what to do about a status that is not known, with {word} in the place of it.

    Raises:
        InstanceError: names file, row and remedy.
    """
    table = columns.table
    names = table.unique(columns.index("host"))
    cpu = table.wholes(columns.index("cpu"), 1, MAX_CPU).tolist()
    memory = table.wholes(columns.index("memory_mb"), 0, MAX_MEM_MB).tolist()
    counts = columns.texts("nodes")
    hosts = []
    for row, (name, word, rack) in enumerate(
        zip(names, columns.texts("status"), columns.texts("rack"), strict=True)
    ):
        entry = TableRow(table, row)
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
                f"status is {word!r}, expected one of {', '.join(STATUS_NAMES)}; "
                + advice.format(word=word)
            )
        share = (cpu[row] // count, memory[row] // count)
        hosts.append(Host(entry, name, status, rack, [share] * count))
    return hosts


def file_named(what: str, names: Sequence[str]) -> str | None:
    """Return the file of a table, such as hosts.csv or cluster/vms.csv.gz; None if there is none.

    Args:
        what: its name without the ending ("hosts").
        names: of the files.
    """
    fitting = [
        name
        for name in names
        if name.rsplit("/", 1)[-1].lower() in [what + ending for ending in ENDINGS]
    ]
    return fitting[0] if len(fitting) == 1 else None
