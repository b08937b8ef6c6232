"""Read users' files into clusters: VMR2L/ByteDance JSON here, event traces in traces.py.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import load_single
from ..files import NO_SETTINGS, naming, read_file
from ..records import Record, parse_json
from .instance import DEFAULT_TASK, STATUS_NAMES, Cluster
from .settings import with_settings
from .traces import SQLITE_MAGIC, load_azure, load_csv

FORMATS = (
    "VMR2L JSON, an Alibaba openb or Huawei-East-1 CSV, an Azure Packing sqlite file, or an "
    "instance saved by this library"
)
HOST_FIELDS = ("node_id", "status", "rack_id", "numa")
VM_FIELDS = ("instance_id", "instance_type", "host_id", "numa", "allow_migration")
MAX_CPU, MAX_MEM_MB = 10**9, 10**12


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Cluster:
    """Read the cluster in a user's file.

    Supported are: a snapshot in VMR2L's JSON schema; either file of an Alibaba openb pair (the
    other one is found beside it); a Huawei-East-1 event trace (CSV) or an Azure Packing 2020 trace
    (sqlite), replayed to the time with the most running VMs; and what this library saved itself
    (.npz, or a .zip set of one instance). `load_openb`, `load_huawei` and `load_azure` in traces.py
    accept another time and host type.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, record, field and
            remedy.
        SettingError: a setting cannot be used.
    """
    return with_settings(_read(path), settings)


def _read(path: Path) -> Cluster:
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read ({error.strerror})") from error
    if head == SQLITE_MAGIC:
        return load_azure(path)
    file = read_file(path, "split the snapshot by cluster")
    if file.data.startswith(SQLITE_MAGIC):
        return load_azure(path)
    if file.is_zip:
        return load_single(Cluster, path, file.data)
    text = file.text(FORMATS)
    if text.lstrip()[:1] in ("{", "["):
        return load_bytedance(path, text)
    if "," in text.partition("\n")[0]:
        return load_csv(path, text)
    raise InstanceError(f"{path}: not a known format; give {FORMATS}")


def load_bytedance(path: Path, text: str) -> Cluster:
    """Read the cluster in a VMR2L/ByteDance JSON snapshot (EuroSys 2025).

    All members of cluster_list become one cluster. Free resources are recomputed from the VMs.
    Deployment sets, pins (allow_migration), host status and racks are kept; a rack id names the
    same rack in every member. The file's numa list, not its type name, says whether a VM uses one
    node or two. maximum_migration, a limit for the whole file, lowers the default limit of moves.
    The optimization_objective and the list of available types are ignored: the task is set with
    `--set objective=`.

    Args:
        path: the file, for error messages and the cluster's name.
        text: the JSON document.

    Raises:
        InstanceError: names the file, the record and the field.
    """
    with naming(str(path)):
        return _cluster(parse_json(str(path), text), path.stem)


def _cluster(document: Record, name: str) -> Cluster:
    members = document.get("cluster_list").items("host_info", "vm_instance")
    hosts = [host for member in members for host in member.get("host_info").items(*HOST_FIELDS)]
    vms = [vm for member in members for vm in member.get("vm_instance").items(*VM_FIELDS)]
    if not hosts:
        document.refuse("cluster_list holds no hosts; there is nothing to reschedule")
    if not vms:
        document.refuse("cluster_list holds no VMs; there is nothing to reschedule")
    pm_row = _rows(hosts, "node_id")
    vm_row = _rows(vms, "instance_id")
    numa_cpu, numa_mem = _nodes_of_hosts(hosts)
    flavors: dict[tuple[str, int, int, int], int] = {}
    placed = [_vm(vm, flavors, pm_row, numa_cpu) for vm in vms]
    sets = [
        (entry.get("granularity").choice(("host", "rack")), _members(entry.get("data"), vm_row))
        for member in members
        if member.has("other_requirement") and member.get("other_requirement").has("deployment_set")
        for entry in member.get("other_requirement")
        .get("deployment_set")
        .items("granularity", "data")
    ]
    racks: dict[str, int] = {}
    pm_rack = [racks.setdefault(host.get("rack_id").text(), len(racks)) for host in hosts]
    task = dict(DEFAULT_TASK)
    if document.has("general_requirement"):
        requirement = document.get("general_requirement")
        if requirement.has("maximum_migration"):
            most = requirement.get("maximum_migration").whole(1, 10**12)
            task["mnl"] = min(int(task["mnl"]), most)  # type: ignore[call-overload]
    return Cluster(
        name=name,
        pm_ids=tuple(pm_row),
        pm_status=np.array([host.get("status").choice(STATUS_NAMES) for host in hosts], np.int8),
        pm_rack=np.array(pm_rack, np.int64),
        numa_cpu=numa_cpu,
        numa_mem=numa_mem,
        flavor_names=tuple(key[0] for key in flavors),
        flavor_cpu=np.array([key[1] for key in flavors], np.int64),
        flavor_mem=np.array([key[2] for key in flavors], np.int64),
        flavor_nodes=np.array([key[3] for key in flavors], np.int64),
        vm_ids=tuple(vm_row),
        vm_flavor=np.array([vm[0] for vm in placed], np.int64),
        vm_pm=np.array([vm[1] for vm in placed], np.int64),
        vm_numa=np.array([vm[2] for vm in placed], np.int64),
        vm_pinned=np.array([not vm.get("allow_migration").flag() for vm in vms], np.bool_),
        set_start=np.concatenate([[0], np.cumsum([len(rows) for _, rows in sets])]).astype(
            np.int64
        ),
        set_vms=np.array([row for _, rows in sets for row in rows], np.int64),
        set_by_rack=np.array([by_rack == 1 for by_rack, _ in sets], np.bool_),
        **task,  # type: ignore[arg-type]
    )


def _rows(records: list[Record], key: str) -> dict[str, int]:
    rows: dict[str, int] = {}
    for record in records:
        name = record.get(key).text()
        if name in rows:
            record.get(key).refuse(
                f"{name!r} is the id of {records[rows[name]].place} too; ids must be unique"
            )
        rows[name] = len(rows)
    return rows


def _nodes_of_hosts(hosts: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Return CPU (cores) and memory (MB) of each NUMA node, both int64 [P, 2]."""
    cpu = np.zeros((len(hosts), 2), np.int64)
    mem = np.zeros((len(hosts), 2), np.int64)
    for row, host in enumerate(hosts):
        nodes = host.get("numa").items()
        if len(nodes) not in (1, 2):
            host.get("numa").refuse(f"has {len(nodes)} NUMA nodes; 1 or 2 are supported")
        for key, high in (("node_cpu", MAX_CPU), ("node_mem_mb", MAX_MEM_MB)):
            if host.has(key):
                host.get(key).whole(0, high)
        seen: set[int] = set()
        for entry in nodes:
            entry.need("node", "total_cpu", "memory_huge_total_mb")
            node = entry.get("node").whole(0, len(nodes) - 1)
            if node in seen:
                entry.get("node").refuse(f"node {node} stands twice; number the nodes 0 and 1")
            seen.add(node)
            cpu[row, node] = entry.get("total_cpu").whole(1, MAX_CPU)
            mem[row, node] = entry.get("memory_huge_total_mb").whole(0, MAX_MEM_MB)
    return cpu, mem


def _vm(
    vm: Record,
    flavors: dict[tuple[str, int, int, int], int],
    pm_row: dict[str, int],
    numa_cpu: np.ndarray,
) -> tuple[int, int, int]:
    """Return flavor, host and node of one VM; add its flavor to `flavors` if it is new."""
    host = vm.get("host_id").text()
    if host not in pm_row:
        vm.get("host_id").refuse(
            f"no host {host!r} in any host_info; add the host or remove the VM"
        )
    parts = [
        (
            part.get("node").whole(0, 1),
            part.get("cpu").whole(1, MAX_CPU),
            part.get("mem_mb").whole(0, MAX_MEM_MB),
        )
        for part in vm.get("numa").items("node", "cpu", "mem_mb")
    ]
    if len(parts) not in (1, 2):
        vm.get("numa").refuse(f"has {len(parts)} NUMA nodes; a VM uses 1 or 2")
    if len(parts) == 2:
        if parts[0][0] == parts[1][0]:
            vm.get("numa").refuse(f"node {parts[0][0]} stands twice; a VM's halves are on 0 and 1")
        if parts[0][1:] != parts[1][1:]:
            vm.get("numa").refuse(
                f"the halves differ ({parts[0][1]} cores and {parts[0][2]} MB against "
                f"{parts[1][1]} and {parts[1][2]}); only VMs with equal halves are supported"
            )
    row = pm_row[host]
    for node, *_ in parts:
        if numa_cpu[row, node] == 0:
            vm.get("numa").refuse(f"host {host!r} has no NUMA node {node}")
    key = (vm.get("instance_type").text(), parts[0][1], parts[0][2], len(parts))
    flavor = flavors.setdefault(key, len(flavors))
    return flavor, row, parts[0][0] if len(parts) == 1 else 0


def _members(data: Record, vm_row: dict[str, int]) -> list[int]:
    rows: list[int] = []
    for entry in data.items():
        name = entry.text()
        if name not in vm_row:
            entry.refuse(
                f"no VM {name!r} in any vm_instance; correct the deployment set or add the VM"
            )
        if vm_row[name] in rows:
            entry.refuse(f"{name!r} stands twice in this deployment set; remove one")
        rows.append(vm_row[name])
    return rows
