"""Convert listings of OpenStack to a cluster file of vm_rescheduling.

    openstack --os-compute-api-version 2.87 hypervisor list --long -f json > hypervisors.json
    openstack server list --all-projects --long -f json > servers.json
    openstack flavor list --all --long -f json > flavors.json
    openstack compute service list --service nova-compute -f json > services.json
    openstack server group list --all-projects --long -f json > groups.json
    python openstack_cluster.py hypervisors.json servers.json flavors.json \
        --services services.json --groups groups.json --out cluster.json

(From version 2.88 of the compute API on, hypervisors do not tell their size.) A hypervisor is a
host of one NUMA node, for the listings do not say which nodes a server is on. Its CPU and memory
are sold by `--cpu-ratio` and `--ram-ratio`, which are in nova.conf. One whose service is disabled
lets servers out and none in; one that is down, neither. A server counts by its flavor wherever it
has a host, running or shut off; one in the middle of a task, or in an error, is pinned. Server
groups of (soft) anti-affinity are deployment sets.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from listings import ListingError, note, read, refuse, write

HYPERVISORS = "openstack --os-compute-api-version 2.87 hypervisor list --long -f json"
SERVERS = "openstack server list --all-projects --long -f json"
FLAVORS = "openstack flavor list --all --long -f json"
SERVICES = "openstack compute service list --service nova-compute -f json"
GROUPS = "openstack server group list --all-projects --long -f json"
MOVABLE = ("ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF")
NOTHING = (None, "", "None", "-")


def rows(path: Path, command: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of a listing, each with its place.

    Args:
        path: the file.
        command: what prints such a listing.
    """
    found = read(path, command)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        refuse(str(path), f"is no list of rows; write it by `{command} > {path}`")
    return [(f"{path}: row {at}", row) for at, row in enumerate(found)]


def cell(place: str, row: dict[str, Any], command: str, *names: str) -> Any:
    """Return the first of a row's columns that is there.

    Args:
        place: where the row stands.
        row: the row.
        command: what prints such a listing.
        *names: what the column is called, in one version or another.
    """
    for name in names:
        if name in row:
            return row[name]
    refuse(place, f"has no column {' or '.join(map(repr, names))}; list them by `{command}`")


def whole(place: str, row: dict[str, Any], command: str, *names: str) -> int:
    """Return a column as a whole number; see cell.

    Args:
        place: where the row stands.
        row: the row.
        command: what prints such a listing.
        *names: what the column is called.
    """
    value = cell(place, row, command, *names)
    try:
        return int(str(value))
    except ValueError:
        refuse(f"{place}, {names[0]!r}", f"is {value!r}, expected a whole number")


def hosts_of(
    hypervisors: Path, services: Path | None, ratios: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the hypervisors as hosts.

    Args:
        hypervisors: the listing.
        services: the listing of compute services, if there is one.
        ratios: factors by which CPU and memory are sold.
    """
    disabled = set()
    if services is not None:
        for place, row in rows(services, SERVICES):
            if str(cell(place, row, SERVICES, "Status")).lower() == "disabled":
                disabled.add(str(cell(place, row, SERVICES, "Host")))
    found, sizeless = [], 0
    for place, row in rows(hypervisors, HYPERVISORS):
        name = str(cell(place, row, HYPERVISORS, "Hypervisor Hostname"))
        cpu = whole(place, row, HYPERVISORS, "vCPUs", "VCPUs")
        memory = whole(place, row, HYPERVISORS, "Memory MB")
        if not cpu or not memory:
            sizeless += 1  # such as bare metal that is in use
            continue
        closed = disabled & {name, name.partition(".")[0]}
        is_up = str(row.get("State", "up")).lower() == "up"
        found.append(
            {
                "node_id": name,
                "status": "OUTAGE" if not is_up else "DISABLED" if closed else "ACTIVE",
                "node_cpu": cpu,
                "node_mem_mb": memory,
                "cpu_allocation_ratio": ratios[0],
                "ram_allocation_ratio": ratios[1],
            }
        )
    if sizeless:
        note(f"{hypervisors}: {sizeless} without CPU or memory, left out")
    if not found:
        refuse(str(hypervisors), f"lists no hypervisor; list them by `{HYPERVISORS}`")
    return found


def flavors_of(path: Path) -> dict[str, tuple[int, int]]:
    """Return CPU and memory in MB of each flavor, by its name and by its id.

    Args:
        path: the listing.
    """
    sizes = {}
    for place, row in rows(path, FLAVORS):
        size = whole(place, row, FLAVORS, "VCPUs"), whole(place, row, FLAVORS, "RAM")
        sizes[str(cell(place, row, FLAVORS, "Name"))] = size
        sizes.setdefault(str(cell(place, row, FLAVORS, "ID")), size)
    return sizes


def groups_of(path: Path, known: set[str]) -> list[dict[str, Any]]:
    """Return server groups of anti-affinity as deployment sets.

    Args:
        path: the listing.
        known: ids of the servers that are converted.
    """
    sets = []
    for place, row in rows(path, GROUPS):
        policy = str(cell(place, row, GROUPS, "Policy", "Policies"))
        members = cell(place, row, GROUPS, "Members")
        if isinstance(members, str):
            members = members.split(",")
        members = [one for one in (str(member).strip() for member in members) if one in known]
        if "anti-affinity" in policy and len(members) > 1:
            sets.append({"granularity": "host", "data": members})
    return sets


def convert(
    hypervisors: Path,
    servers: Path,
    flavors: Path,
    services: Path | None = None,
    groups: Path | None = None,
    ratios: tuple[float, float] = (1.0, 1.0),
) -> dict[str, Any]:
    """Return a cluster file's document.

    Args:
        hypervisors: the listing of hypervisors.
        servers: the listing of servers.
        flavors: the listing of flavors.
        services: the listing of compute services.
        groups: the listing of server groups.
        ratios: factors by which CPU and memory are sold.
    """
    hosts, sizes = hosts_of(hypervisors, services, ratios), flavors_of(flavors)
    # Listings name a host in full, or by its first part.
    called = {host["node_id"]: host["node_id"] for host in hosts}
    short = Counter(name.partition(".")[0] for name in list(called))
    called |= {n.partition(".")[0]: n for n in list(called) if short[n.partition(".")[0]] == 1}
    vms, homeless, busy, used = [], 0, 0, Counter()
    for place, row in rows(servers, SERVERS):
        where = cell(place, row, SERVERS, "Host", "Hypervisor Hostname", "OS-EXT-SRV-ATTR:host")
        if where in NOTHING:
            homeless += 1
            continue
        if str(where) not in called:
            refuse(
                f"{place}, 'Host'",
                f"is {where!r}, which is not in {hypervisors}; list both at one time",
            )
        kind = str(cell(place, row, SERVERS, "Flavor Name", "Flavor", "Flavor ID"))
        if kind not in sizes:
            refuse(
                f"{place}, flavor",
                f"is {kind!r}, which is not in {flavors}; if it was deleted, add a row of ID, "
                "Name, VCPUs and RAM (MB) to that file",
            )
        cpu, memory = sizes[kind]
        host = called[str(where)]
        used[host] += cpu
        movable = str(row.get("Status")) in MOVABLE and row.get("Task State") in NOTHING
        busy += not movable
        vms.append(
            {
                "instance_id": str(cell(place, row, SERVERS, "ID")),
                "instance_type": kind,
                "host_id": host,
                "allow_migration": movable,
                "numa": [{"node": 0, "cpu": cpu, "mem_mb": memory}],
            }
        )
    for one in hosts:
        sold = one["node_cpu"] * ratios[0]
        if used[one["node_id"]] > sold:
            refuse(
                str(hypervisors),
                f"servers on {one['node_id']!r} have {used[one['node_id']]} vCPUs, and it has "
                f"{sold:g}; give the cpu_allocation_ratio of nova.conf by --cpu-ratio",
            )
    if homeless:
        note(f"{servers}: {homeless} without a host (shelved, or not built), left out")
    if busy:
        note(f"{servers}: {busy} neither running, paused nor shut off, or in a task; pinned")
    if not vms:
        refuse(str(servers), f"no server has a host; an administrator sees them: `{SERVERS}`")
    sets = groups_of(groups, {vm["instance_id"] for vm in vms}) if groups else []
    member = {"cluster_name": "openstack", "host_info": hosts, "vm_instance": vms}
    return {"cluster_list": [member | {"other_requirement": {"deployment_set": sets}}]}


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hypervisors", type=Path, help=f"from `{HYPERVISORS}`")
    parser.add_argument("servers", type=Path, help=f"from `{SERVERS}`")
    parser.add_argument("flavors", type=Path, help=f"from `{FLAVORS}`")
    parser.add_argument("--services", type=Path, help=f"from `{SERVICES}`")
    parser.add_argument("--groups", type=Path, help=f"from `{GROUPS}`")
    parser.add_argument("--cpu-ratio", type=float, default=1.0, help="cpu_allocation_ratio")
    parser.add_argument("--ram-ratio", type=float, default=1.0, help="ram_allocation_ratio")
    parser.add_argument("--out", type=Path, default=Path("cluster.json"))
    words = parser.parse_args()
    ratios = words.cpu_ratio, words.ram_ratio
    try:
        document = convert(
            words.hypervisors, words.servers, words.flavors, words.services, words.groups, ratios
        )
        write(document, words.out)
    except ListingError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
