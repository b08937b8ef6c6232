"""Read a user's own table of VMs: when each arrives and leaves, and what it needs.

    arrival, exit, flavor | cores, memory_mb [, id, set, pinned, host, node, nodes]

An empty exit is a VM that stays, an empty arrival one that was there before. Times are numbers, of
the unit that the column's name says (arrival_h, "exit (min)"), or dates. Hosts may be in hosts.csv
and flavors in flavors.csv beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..columns import Wanted, find_column
from ..files import UserFile
from ..host_lists import HOST_COLUMNS, HOSTS_NEEDED, Columns, Reading, read_hosts
from ..hosts import ACTIVE, MB_PER_CORE, MEDIUM_FLAVORS, NODE_CPU, NODE_MEM_MB
from ..numerals import is_missing, number
from ..records import Record
from ..stays import MB_PER_GB, MILLI, HostType, Stays
from ..tables import Table, read_table
from .own_times import (
    MAX_TIME,
    MEMORY_WORDS,
    SECONDS,
    are_dates,
    moments,
    parted,
    reals,
    refuse_unit,
    unit_of,
)
from .recorded import GivenHost, Recorded

OWN_HOST = HostType("pm", NODE_CPU, NODE_MEM_MB / MB_PER_GB, 2)
MAX_CORES, MAX_MEM_MB = 10**6, 10**12
# What columns may be called, without their units, in the spelling of `plain`.
CALLED: Mapping[str, tuple[str, ...]] = {
    "arrival": ("arrival", "arrive", "arrives", "arrived", "arrivaltime", "start", "starttime",
                "started", "startedat", "create", "created", "createdat", "creationtime", "begin",
                "vmcreated", "timevmcreated"),
    "exit": ("exit", "exits", "exittime", "end", "endtime", "ended", "endedat", "departure",
             "departuretime", "delete", "deleted", "deletedat", "deletiontime", "terminated",
             "terminatedat", "stop", "stopped", "vmdeleted", "timevmdeleted"),
    "lifetime": ("lifetime", "life", "duration", "runtime"),
    "flavor": ("flavor", "flavour", "type", "vmtype", "instancetype", "size", "sku"),
    "cores": ("cores", "cpu", "cpus", "vcpu", "vcpus", "corecount", "vmcorecount", "cpucores"),
    "memory": ("memory", "mem", "ram", "vmmemory"),
    "id": ("id", "vm", "vmid", "name", "vmname", "instanceid", "instance", "uuid"),
    "set": ("set", "deploymentset", "keepapart", "antiaffinity", "group", "deployment",
            "deploymentid"),
    "pinned": ("pinned", "fixed"),
    "movable": ("movable", "migratable", "allowmigration"),
    "host": ("host", "hostid", "hostname", "pm", "pmid", "server"),
    "node": ("node", "numa", "numanode"),
    "nodes": ("nodes", "numanodes", "nodecount"),
}  # fmt: skip
FLAVOR_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "flavor": ("flavor", "flavour", "name", "type", "instance_type"),
    "cores": ("cores", "cpu", "cpus", "vcpus", "vcpu"),
    "memory_mb": ("memory_mb", "mem_mb", "memory", "mem", "ram", "ram_mb"),
}
_MEDIUM = {
    name: (cpu * nodes, cpu * nodes * MB_PER_CORE, nodes) for name, cpu, nodes, _ in MEDIUM_FLAVORS
}


def is_own(columns: Sequence[str]) -> bool:
    """Whether a header has a column of arrivals, or of exits, that this reader knows.

    Args:
        columns: the header's cells.
    """
    return any(parted(name)[0] in CALLED[what] for name in columns for what in ("arrival", "exit"))


def own_trace(
    path: Path,
    file: UserFile,
    beside: Mapping[str, Table],
    times: str,
    named: Mapping[str, str],
) -> Recorded:
    """Read a table of VMs.

    Args:
        path: the file, for messages.
        file: its content.
        beside: the tables "hosts" and "flavors", where there are such.
        times: unit of the times, "dates", or "auto".
        named: names of columns that the user gave, by what they hold, of CALLED.

    Raises:
        InstanceError: names file, row, column and remedy.
        SettingError: a column that was named is not there.
    """
    table = read_table(str(path), file.text("a CSV file"), ())
    at = _columns(table, named)
    arrival, exits = _when(table, at, times)
    cores, memory, nodes, kinds = _sizes(table, at, beside.get("flavors"))
    names = _names(table, at, arrival, exits)
    listed = _listed(beside["hosts"]) if "hosts" in beside else ()
    host_node = np.zeros(0, np.int64)
    if "node" in at:
        host_node = _whole_or(table, at["node"], 0, 1, -1)
    stays = Stays(
        names,
        arrival,
        exits,
        np.rint(cores * MILLI).astype(np.int64),
        np.ceil(memory - 1e-6).astype(np.int64),
        kinds,
        np.array([line for line, _ in table.rows], np.int64),
    )
    return Recorded(
        str(path),
        file.stem,
        stays,
        MILLI,
        OWN_HOST,
        listed=listed,
        nodes=_whole_or(table, at["nodes"], 1, 2, 0) if "nodes" in at else nodes,
        groups=table.texts(at["set"]) if "set" in at else (),
        pinned=_pinned(table, at),
        hosts=table.texts(at["host"]) if "host" in at else (),
        host_node=host_node,
    )


def _columns(table: Table, named: Mapping[str, str]) -> dict[str, int]:
    """Return the index of each column that is there, by what it holds."""
    at: dict[str, int] = {}
    for what, known in CALLED.items():
        if what in named:
            found = find_column(table, Wanted(what, "columns", ()), {"columns": named[what]})
            assert found is not None
            at[what] = found
            continue
        fitting = [
            row
            for row, name in enumerate(table.columns)
            if parted(name)[0] in known and row not in at.values()
        ]
        if len(fitting) > 1:
            names = " or ".join(repr(table.columns[row]) for row in fitting)
            raise InstanceError(
                f"{table.place}: row 1: the {what} may be in {names}; choose one by the setting "
                f"columns={what}:NAME"
            )
        if fitting:
            at[what] = fitting[0]
    has_size = "flavor" in at or "cores" in at
    missing = [
        what
        for what, has in (("arrival", "arrival" in at), ("exit", "exit" in at or "lifetime" in at),
                          ("flavor (or cores and memory)", has_size))
        if not has
    ]  # fmt: skip
    if missing:
        raise InstanceError(
            f"{table.place}: row 1: no column for {' and '.join(missing)}; the first line must "
            "name arrival, exit, and flavor or cores and memory_mb; it has "
            f"{','.join(table.columns)[:80]!r}. Say which is which by the setting columns, such as "
            "columns=arrival:NAME,exit:NAME"
        )
    return at


def _when(table: Table, at: Mapping[str, int], times: str) -> tuple[np.ndarray, np.ndarray]:
    """Return arrivals and exits in seconds; minus infinity and infinity where there is none."""
    arrival = moments(table, at["arrival"], times, -math.inf)
    if "exit" in at:
        kinds = [are_dates(table, at[what], times) for what in ("arrival", "exit")]
        if None not in kinds and kinds[0] != kinds[1]:
            row = next(i for i, cell in enumerate(table.texts(at["exit"])) if not is_missing(cell))
            table.refuse(
                row, at["exit"],
                f"is {table.texts(at['exit'])[row]}: of arrivals and exits, the ones are dates and "
                "the others numbers; give both alike",
            )  # fmt: skip
        exits = moments(table, at["exit"], times, math.inf)
        early = np.flatnonzero(exits < arrival)
        if early.size:
            row = int(early[0])
            told = [table.texts(at[what])[row] for what in ("exit", "arrival")]
            table.refuse(
                row, at["exit"],
                f"is {told[0]}, before the arrival at {told[1]}; correct one of them (an empty "
                "exit is a VM that stays)",
            )  # fmt: skip
        return arrival, exits
    unit = unit_of(table, at["lifetime"], "auto" if times == "dates" else times, "s")
    lives = reals(table, at["lifetime"], -MAX_TIME, math.inf) * SECONDS[unit]
    negative = np.flatnonzero(lives < 0)
    if negative.size:
        row = int(negative[0])
        table.refuse(
            row, at["lifetime"],
            f"is {table.texts(at['lifetime'])[row]}, a negative lifetime; correct it (an empty one "
            "is a VM that stays)",
        )  # fmt: skip
    lost = np.flatnonzero(np.isinf(arrival) & np.isfinite(lives))
    if lost.size:
        table.refuse(int(lost[0]), at["arrival"], "is empty; a lifetime needs an arrival")
    return arrival, arrival + lives


def _sizes(
    table: Table, at: Mapping[str, int], flavors: Table | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return cores, memory in MB and nodes (0: by a rule) of each VM, and the names of flavors."""
    count = len(table.rows)
    kinds = table.texts(at["flavor"]) if "flavor" in at else [""] * count
    nodes = np.zeros(count, np.int64)
    if "cores" in at:
        cores = table.reals(at["cores"], 0.0, MAX_CORES)
        memory = np.zeros(count)
        if "memory" in at:
            word = parted(table.columns[at["memory"]])[1] or table.unit(at["memory"])
            if word and word not in MEMORY_WORDS:
                refuse_unit(table, at["memory"], word, ("MB", "MiB", "GB", "GiB"))
            memory = table.reals(at["memory"], 0.0, MAX_MEM_MB) * MEMORY_WORDS.get(word, 1.0)
            _doubt(table, at["memory"], word, cores, memory)
        else:
            note(f"{table.place}: no column of memory; CPU alone counts")
        sized = [f"{c:g}c{m:g}m" for c, m in zip(cores.tolist(), memory.tolist(), strict=True)]
        return cores, memory, nodes, [kind or size for kind, size in zip(kinds, sized, strict=True)]
    known = dict(_MEDIUM) if flavors is None else _flavors(flavors)
    cores, memory = np.zeros(count), np.zeros(count)
    for row, kind in enumerate(kinds):
        size = known.get(kind) or _spelled(kind)
        if size is None:
            table.refuse(
                row, at["flavor"],
                f"is {kind!r}, a flavor whose size is not known; add columns cores and memory_mb, "
                "or give flavors.csv (flavor,cores,memory_mb) beside the trace"
                if flavors is None else
                f"is {kind!r}, which is not in {Path(flavors.place).name}; add it there",
            )  # fmt: skip
        cores[row], memory[row], nodes[row] = size
    return cores, memory, nodes, kinds


def _doubt(table: Table, column: int, unit: str, cores: np.ndarray, memory: np.ndarray) -> None:
    """Say so where memory without a unit is so little that it may be in GiB."""
    per_core = memory[cores > 0] / cores[cores > 0]
    if unit not in MEMORY_WORDS and per_core.size and 0 < np.median(per_core) < 64:
        note(
            f"{table.place}: column {table.columns[column]!r} is read as MB, "
            f"{np.median(per_core):g} MB a core; call it memory_gib if it is in GiB"
        )


def _spelled(kind: str) -> tuple[float, float, int] | None:
    """Return the size that a name such as 4U8G or 4c8192m says; None if it says none."""
    for first, second, scale in (("u", "g", MB_PER_GB), ("c", "g", MB_PER_GB), ("c", "m", 1)):
        left, mark, right = kind.lower().partition(first)
        cores, memory = number(left), number(right.removesuffix(second))
        if mark and right.endswith(second) and cores and memory and 0 < cores <= MAX_CORES:
            return cores, memory * scale, 0
    return None


def _flavors(table: Table) -> dict[str, tuple[float, float, int]]:
    columns = Columns(table, FLAVOR_COLUMNS, tuple(FLAVOR_COLUMNS))
    names = table.unique(columns.index("flavor"))
    cores = table.reals(columns.index("cores"), 0.001, MAX_CORES).tolist()
    memory = table.reals(columns.index("memory_mb"), 0.0, MAX_MEM_MB).tolist()
    return {name: (c, m, 0) for name, c, m in zip(names, cores, memory, strict=True)}


def _names(
    table: Table, at: Mapping[str, int], arrival: np.ndarray, exits: np.ndarray
) -> list[str]:
    """Return the VMs' names; refuse one that arrives again while it is there."""
    if "id" not in at:
        return [f"row-{line}" for line, _ in table.rows]
    names = table.names(at["id"])
    until: dict[str, int] = {}
    for row in np.argsort(arrival, kind="stable").tolist():
        before = until.get(names[row])
        if before is not None and arrival[row] < exits[before]:
            told = table.texts(at["exit"])[before] if "exit" in at else ""
            how = f"until {told}" if told and not is_missing(told) else "and never leaves"
            table.refuse(
                row, at["id"],
                f"{names[row]!r} is there already, since row {table.rows[before][0]} {how}; give "
                "each stay an id of its own, or correct the times",
            )  # fmt: skip
        until[names[row]] = row
    return names


def _pinned(table: Table, at: Mapping[str, int]) -> np.ndarray:
    for what in ("pinned", "movable"):
        if what in at:
            cells = table.texts(at[what])
            flags = [
                cell != "" and Record(
                    table.place, f"row {line}, column {table.columns[at[what]]!r}", cell
                ).flag() == (what == "pinned")
                for cell, (line, _) in zip(cells, table.rows, strict=True)
            ]  # fmt: skip
            return np.array(flags, np.bool_)
    return np.zeros(0, np.bool_)


def _whole_or(table: Table, column: int, low: int, high: int, empty: int) -> np.ndarray:
    values = table.reals(column, low, high, empty)
    broken = np.flatnonzero(values != np.floor(values))
    if broken.size:
        table.refuse(int(broken[0]), column, f"is {values[broken[0]]:g}, expected a whole number")
    return values.astype(np.int64)


def _listed(table: Table) -> list[GivenHost]:
    columns = Columns(table, HOST_COLUMNS, HOSTS_NEEDED)
    hosts = read_hosts(columns, Reading(), "write one of these")
    for host in hosts:
        if len(host.nodes) > 2:
            host.entry.refuse(f"has {len(host.nodes)} NUMA nodes; give 2, or leave the column out")
    active = [host for host in hosts if host.status == ACTIVE]
    if len(active) < len(hosts):
        note(f"{table.place}: {len(hosts) - len(active)} hosts left out that are not ACTIVE")
    if not active:
        raise InstanceError(f"{table.place}: no host is ACTIVE; there is nothing to place VMs on")
    return [GivenHost(host.name, host.rack, host.nodes) for host in active]
