"""From hosts and VMs as a file gives them to a Cluster: what every reader of snapshots shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import InstanceError
from ..host_lists import Entry, Host, Reading
from .instance import DEFAULT_TASK, Cluster
from .places import places_of

NO_TASK: Mapping[str, int] = {}  # fields that a file sets


@dataclass(frozen=True, slots=True)
class Guest:
    """A VM of a file.

    Attributes:
        entry: where it stands.
        name: its id.
        kind: name of its flavor; empty to name it by its size.
        host: id of its host.
        parts: NUMA node, CPU (cores) and memory (MB) of each part.
        movable: whether it may be moved.
    """

    entry: Entry
    name: str
    kind: str
    host: str
    parts: Sequence[tuple[int, int, int]]
    movable: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A deployment set.

    Attributes:
        by_rack: whether its VMs are kept apart by rack, or else by host.
        members: index of each VM.
    """

    by_rack: bool
    members: Sequence[int]


def assemble(
    name: str,
    hosts: Sequence[Host],
    guests: Sequence[Guest],
    groups: Sequence[Group],
    reading: Reading,
    task: Mapping[str, int] = NO_TASK,
) -> Cluster:
    """Make a cluster.

    Args:
        name: its name.
        hosts: with different ids, at least one.
        guests: with different ids, at least one.
        groups: deployment sets, by index into `guests`.
        reading: factors of over-commitment.
        task: fields of the cluster that the file sets otherwise than DEFAULT_TASK.

    Raises:
        InstanceError: names the entry that is wrong.
    """
    width = max(2, *(len(host.nodes) for host in hosts))
    numa_cpu, numa_mem = _capacities(hosts, width, reading)
    row = {host.name: at for at, host in enumerate(hosts)}
    flavors: dict[tuple[str, tuple[tuple[int, int], ...]], int] = {}
    placed = []
    numbers: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}  # of places, by equal parts
    for guest in guests:
        if guest.host not in row:
            guest.entry.refuse(
                f"no host {guest.host!r} among the hosts; add the host or remove the VM"
            )
        on = hosts[row[guest.host]]
        for node, *_ in guest.parts:
            if node >= len(on.nodes):
                guest.entry.refuse(f"host {guest.host!r} has no NUMA node {node}")
        # Larger parts first, equal ones by their node: VMs that are alike get one flavor.
        parts = sorted(guest.parts, key=lambda part: (-part[1], -part[2], part[0]))
        sizes = tuple((cpu, mem) for _, cpu, mem in parts)
        alike = tuple(map(sizes.index, sizes))
        if alike not in numbers:
            try:
                places = places_of(sizes, width)
            except InstanceError as error:
                guest.entry.refuse(str(error))
            numbers[alike] = {nodes: number for number, nodes in enumerate(places)}
        place = numbers[alike][tuple(node for node, *_ in parts)]
        key = (guest.kind or _size_name(sizes), sizes)
        placed.append((flavors.setdefault(key, len(flavors)), row[guest.host], place))
    flavor, host, place_numbers = np.array(placed, np.int64).T
    table = _parts_table([sizes for _, sizes in flavors])
    racks: dict[str, int] = {}
    optional: dict[str, np.ndarray] = {}
    if any(len(set(sizes)) > 1 for _, sizes in flavors):
        optional |= {"part_cpu": table[0], "part_mem": table[1]}
    if reading.overcommit not in (None, (1.0, 1.0)):
        optional["overcommit"] = np.array(reading.overcommit)
    return Cluster(
        name=name,
        pm_ids=tuple(row),
        pm_status=np.array([one.status for one in hosts], np.int8),
        pm_rack=np.array([racks.setdefault(one.rack, len(racks)) for one in hosts], np.int64),
        numa_cpu=numa_cpu,
        numa_mem=numa_mem,
        flavor_names=tuple(kind for kind, _ in flavors),
        flavor_cpu=table[0].max(axis=1),
        flavor_mem=table[1].max(axis=1),
        flavor_nodes=np.array([len(sizes) for _, sizes in flavors], np.int64),
        vm_ids=tuple(guest.name for guest in guests),
        vm_flavor=flavor,
        vm_pm=host,
        vm_numa=place_numbers,
        vm_pinned=np.array([not guest.movable for guest in guests], np.bool_),
        set_start=np.concatenate([[0], np.cumsum([len(one.members) for one in groups])]).astype(
            np.int64
        ),
        set_vms=np.array([vm for one in groups for vm in one.members], np.int64),
        set_by_rack=np.array([one.by_rack for one in groups], np.bool_),
        **optional,  # type: ignore[arg-type]
        **{**DEFAULT_TASK, **task},  # type: ignore[arg-type]
    )


def _capacities(
    hosts: Sequence[Host], width: int, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """Return CPU (cores) and memory (MB) of each NUMA node, both int64 [P, width]."""
    given = np.zeros((2, len(hosts), width), np.int64)
    for at, host in enumerate(hosts):
        given[:, at, : len(host.nodes)] = np.array(host.nodes, np.int64).T
    factors = np.array([reading.overcommit or host.sold_by for host in hosts])
    cpu, mem = np.floor(given * factors.T[:, :, None] + 1e-6).astype(np.int64)
    return cpu, mem


def _size_name(sizes: tuple[tuple[int, int], ...]) -> str:
    return "+".join(f"{cpu}c{mem}m" for cpu, mem in sizes)


def _parts_table(flavors: list[tuple[tuple[int, int], ...]]) -> np.ndarray:
    """Return CPU and memory of each part of each flavor, int64 [2, K, C]; 0 beyond its parts."""
    table = np.zeros((2, len(flavors), max(map(len, flavors))), np.int64)
    for row, sizes in enumerate(flavors):
        table[:, row, : len(sizes)] = np.array(sizes).T
    return table
