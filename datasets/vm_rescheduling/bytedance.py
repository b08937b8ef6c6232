"""Read snapshots in VMR2L's JSON schema (ByteDance, EuroSys 2025); see snapshot.schema.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.notes import note
from ..files import listed, naming
from ..host_lists import MAX_CPU, MAX_MEM_MB, Host, Reading
from ..hosts import ACTIVE, MOST_NODES, STATUS_NAMES
from ..records import Record, parse_json
from .assembly import Group, Guest, assemble
from .instance import DEFAULT_TASK, MOST_UNITS, Cluster

MOST_NAMED = 8  # records that a message lists
MEMORY_KEYS = ("memory_huge_total_mb", "memory_total_mb", "total_mem_mb")
RATIOS = ("cpu_allocation_ratio", "ram_allocation_ratio")


def load_bytedance(path: Path, text: str, reading: Reading | None = None) -> Cluster:
    """Read the cluster in a VMR2L/ByteDance JSON snapshot (EuroSys 2025).

    All members of cluster_list become one cluster. Free resources are recomputed from the VMs.
    Deployment sets, pins (allow_migration), host status and racks are kept; a rack id names the
    same rack in every member. The file's numa list, not its type name, says which nodes a VM uses.
    maximum_migration, a limit for the whole file, lowers the default limit of moves; cpu_per_core
    says that the file counts CPU in parts of a core (1000 for millicores). The
    optimization_objective is ignored: the task is set with `--set objective=`.

    May be left out: status (ACTIVE), rack_id (one rack), allow_migration (true), instance_type
    (named by the size), granularity (host), the numa list of a host of one node with node_cpu and
    node_mem_mb, node memory (its share of node_mem_mb), the node of a VM on a host of one node, and
    the numa list of a VM whose type is in vm_type_list and fills its host's nodes evenly.

    Args:
        path: the file, for error messages and the cluster's name.
        text: the JSON document.
        reading: factors of over-commitment, and what other names of statuses mean.

    Raises:
        InstanceError: names the file, the record and the field; of missing fields, all.
    """
    with naming(str(path)):
        return _Snapshot(parse_json(str(path), text), reading or Reading()).cluster(path.stem)


class _Snapshot:
    """A document that is read."""

    def __init__(self, document: Record, reading: Reading) -> None:
        self.document = document
        self.reading = reading
        self.members = document.get("cluster_list").items("host_info", "vm_instance")
        self.hosts = [one for member in self.members for one in member.get("host_info").items()]
        self.vms = [one for member in self.members for one in member.get("vm_instance").items()]
        self.types: dict[str, Record] = {}
        if document.has("vm_type_list"):
            for kind in document.get("vm_type_list").items("vm_type"):
                self.types.setdefault(kind.get("vm_type").text(), kind)
        self.groups = [
            group
            for member in self.members
            if member.has("other_requirement")
            and member.get("other_requirement").has("deployment_set")
            for group in member.get("other_requirement").get("deployment_set").items("data")
        ]

    def cluster(self, name: str) -> Cluster:
        """Return the cluster.

        Args:
            name: its name.
        """
        for what, found in (("hosts", self.hosts), ("VMs", self.vms)):
            if not found:
                self.document.refuse(
                    f"cluster_list holds no {what}; there is nothing to reschedule"
                )
        by_rack = [
            group.has("granularity") and group.get("granularity").choice(("host", "rack")) == 1
            for group in self.groups
        ]
        _refuse_missing(self.document, self._missing(any(by_rack)))
        _rows(self.hosts, "node_id")
        vm_row = _rows(self.vms, "instance_id")
        hosts = [self._host(record) for record in self.hosts]
        nodes = {host.name: len(host.nodes) for host in hosts}
        guests = [self._guest(record, nodes) for record in self.vms]
        groups = [
            Group(rack_wise, _members(group.get("data"), vm_row))
            for rack_wise, group in zip(by_rack, self.groups, strict=True)
        ]
        task: dict[str, int] = {}
        if self.document.has("general_requirement"):
            requirement = self.document.get("general_requirement")
            if requirement.has("maximum_migration"):
                most = requirement.get("maximum_migration").whole(1, 10**12)
                task["mnl"] = min(int(str(DEFAULT_TASK["mnl"])), most)
            if requirement.has("cpu_per_core"):
                task["cpu_per_core"] = requirement.get("cpu_per_core").whole(1, MOST_UNITS)
        self._tell()
        return assemble(name, hosts, guests, groups, self.reading, task)

    def _missing(self, needs_racks: bool) -> list[tuple[Record, list[str]]]:
        """Return the records that lack fields which nothing can take the place of, with these."""
        found: list[tuple[Record, list[str]]] = []
        one_node: set[str] = set()
        for host in self.hosts:
            keys = ["node_id", *["rack_id"] * needs_racks]
            if host.need().has("numa"):
                nodes = host.get("numa").items()
                for node in nodes:
                    lacks = [] if node.need().has("total_cpu") or host.has("node_cpu") else [
                        "total_cpu"
                    ]  # fmt: skip
                    if not (host.has("node_mem_mb") or any(map(node.has, MEMORY_KEYS))):
                        lacks.append(MEMORY_KEYS[0])
                    found.append((node, lacks))
            else:
                nodes = []
                keys += [] if host.has("node_cpu") and host.has("node_mem_mb") else ["numa"]
            if len(nodes) < 2 and host.has("node_id"):
                one_node.add(str(host.value["node_id"]))
            found.append((host, [key for key in keys if key not in host.value]))
        for vm in self.vms:
            lacks = [key for key in ("instance_id", "host_id") if key not in vm.need().value]
            if vm.has("numa"):
                parts = vm.get("numa").items()
                alone = len(parts) == 1 and str(vm.value.get("host_id")) in one_node
                for part in parts:
                    keys = ["cpu", "mem_mb", *["node"] * (not alone)]
                    found.append((part, [key for key in keys if key not in part.need().value]))
            elif self._type_of(vm) is None:
                lacks.append("numa")
            found.append((vm, lacks))
        return [(record, lacks) for record, lacks in found if lacks]

    def _host(self, record: Record) -> Host:
        for key, high in (("node_cpu", MAX_CPU), ("node_mem_mb", MAX_MEM_MB)):
            if record.has(key):
                record.get(key).whole(0, high)
        entries = record.get("numa").items() if record.has("numa") else []
        if record.has("numa") and not entries:
            record.get("numa").refuse("has 0 NUMA nodes; give a host at least one")
        if len(entries) > MOST_NODES:
            record.get("numa").refuse(f"has {len(entries)} NUMA nodes, more than {MOST_NODES}")
        count = max(1, len(entries))
        nodes: dict[int, tuple[int, int]] = {}
        for place, entry in enumerate(entries):
            node = entry.get("node").whole(0, count - 1) if entry.has("node") else place
            if node in nodes:
                (entry.get("node") if entry.has("node") else entry).refuse(
                    f"node {node} stands twice; number the nodes 0 to {count - 1}"
                )
            memory = next((entry.get(key) for key in MEMORY_KEYS if entry.has(key)), None)
            nodes[node] = (
                entry.get("total_cpu").whole(1, MAX_CPU)
                if entry.has("total_cpu")
                else _share(record.get("node_cpu"), count),
                memory.whole(0, MAX_MEM_MB) if memory else _share(record.get("node_mem_mb"), count),
            )
        if not entries:
            nodes[0] = _share(record.get("node_cpu"), 1), _share(record.get("node_mem_mb"), 1)
        status = ACTIVE
        if record.has("status"):
            word = record.get("status").text()
            known = self.reading.status(word)
            if known is None:
                record.get("status").refuse(
                    f"is {word!r}, expected one of {', '.join(STATUS_NAMES)}; say what it means by "
                    f"--set status_names={word}:DISABLED (lets VMs out, none in)"
                )
            status = known
        return Host(
            record,
            record.get("node_id").text(),
            status,
            record.get("rack_id").text() if record.has("rack_id") else "",
            [nodes[node] for node in range(count)],
            (_ratio(record, RATIOS[0]), _ratio(record, RATIOS[1])),
        )

    def _guest(self, record: Record, nodes: Mapping[str, int]) -> Guest:
        host = record.get("host_id").text()
        if host not in nodes:
            record.get("host_id").refuse(
                f"no host {host!r} in any host_info; add the host or remove the VM"
            )
        return Guest(
            record.get("numa") if record.has("numa") else record,
            record.get("instance_id").text(),
            record.get("instance_type").text() if record.has("instance_type") else "",
            host,
            self._parts(record, nodes[host]),
            not record.has("allow_migration") or record.get("allow_migration").flag(),
        )

    def _parts(self, record: Record, nodes: int) -> list[tuple[int, int, int]]:
        if not record.has("numa"):
            return self._parts_by_type(record, nodes)
        parts: list[tuple[int, int, int]] = []
        given = record.get("numa").items()
        if len(given) > MOST_NODES:
            record.get("numa").refuse(f"has {len(given)} NUMA nodes, more than {MOST_NODES}")
        for part in given:
            node = part.get("node").whole(0, MAX_CPU) if part.has("node") else 0
            if any(node == other for other, *_ in parts):
                part.refuse(f"node {node} stands twice; the parts of a VM are on different nodes")
            cpu, memory = part.get("cpu").whole(0, MAX_CPU), part.get("mem_mb")
            parts.append((node, cpu, memory.whole(0, MAX_MEM_MB)))
        if not parts:
            record.get("numa").refuse("has 0 NUMA nodes; a VM uses at least 1")
        return parts

    def _type_of(self, vm: Record) -> Record | None:
        if not (vm.has("instance_type") and self.document.has("vm_type_list")):
            return None
        return self.types.get(vm.get("instance_type").text())

    def _parts_by_type(self, vm: Record, nodes: int) -> list[tuple[int, int, int]]:
        """Return the parts of a VM that its type tells: the same on each node of its host."""
        kind = self._type_of(vm)
        assert kind is not None  # else its numa list was missing
        kind.need("request_cpu", "request_mem_mb")
        count = kind.get("numa").whole(1, 64) if kind.has("numa") else 1
        if count != nodes:
            vm.refuse(
                f"has no numa list, and its type ({count} NUMA node{'s' * (count > 1)}) does not "
                f"say which of its host's {nodes} it is on; add the list"
            )
        cpu, memory = kind.get("request_cpu"), kind.get("request_mem_mb")
        return [(node, _share(cpu, count), _share(memory, count)) for node in range(count)]

    def _tell(self) -> None:
        """Say what was assumed."""
        words = Counter(one.get("status").text() for one in self.hosts if one.has("status"))
        for word, count in words.items():
            status = self.reading.status(word)
            if status is not None and word != STATUS_NAMES[status]:
                note(
                    f"{self.document.file}: status {word!r} ({count} host{'s' * (count > 1)}) is "
                    f"taken as {STATUS_NAMES[status]}; status_names={word}:... says otherwise"
                )
        unset = sum(not one.has("allow_migration") for one in self.vms)
        if unset:
            note(
                f"{self.document.file}: {unset} VM{'s' * (unset > 1)} without allow_migration, "
                "taken as movable"
            )


def _refuse_missing(document: Record, found: list[tuple[Record, list[str]]]) -> None:
    """Name all records that lack fields, in one message.

    Raises:
        InstanceError: a record lacks one.
    """
    if not found:
        return
    texts = [
        f"{record.place}: {listed('field', keys)} {'is' if len(keys) == 1 else 'are'} missing"
        for record, keys in found[:MOST_NAMED]
    ]
    more = len(found) - len(texts)
    rest = f"; and so in {more} more record{'s' * (more > 1)}" if more else ""
    document.refuse(
        "; ".join(texts) + rest + "; add them (`sysopt-gym data template vm_rescheduling` explains "
        "every field)"
    )


def _rows(records: Sequence[Record], key: str) -> dict[str, int]:
    rows: dict[str, int] = {}
    for record in records:
        name = record.get(key).text()
        if name in rows:
            record.get(key).refuse(
                f"{name!r} is the id of {records[rows[name]].place} too; ids must be unique"
            )
        rows[name] = len(rows)
    return rows


def _share(total: Record, count: int) -> int:
    """Return an equal part of a number that stands for all nodes together."""
    value = total.whole(0, MAX_MEM_MB)
    if value % count:
        total.refuse(f"is {value}, which {count} NUMA nodes cannot share; give each node its own")
    return value // count


def _ratio(record: Record, key: str) -> float:
    return record.get(key).real(0.01, 1000) if record.has(key) else 1.0


def _members(data: Record, vm_row: dict[str, int]) -> list[int]:
    rows: dict[int, None] = {}
    for entry in data.items():
        name = entry.text()
        if name not in vm_row:
            entry.refuse(
                f"no VM {name!r} in any vm_instance; correct the deployment set or add the VM"
            )
        if vm_row[name] in rows:
            entry.refuse(f"{name!r} stands twice in this deployment set; remove one")
        rows[vm_row[name]] = None
    return list(rows)
