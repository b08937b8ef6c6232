"""Read public VM traces whole: Huawei-East-1, Azure Packing 2020, and Alibaba's openb pods."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..azure import AZURE_HOST, read_azure
from ..huawei import read_huawei
from ..openb import (
    MAX_GPUS,
    MAX_TIME,
    NODE_COLUMNS,
    POD_COLUMNS,
    cpu_and_memory,
    openb_table,
    pod_kind,
    pod_times,
)
from ..stays import MILLI, HostType, Stays
from .recorded import GivenHost, Recorded

# Servers of VMAgent, whose trace it is: two NUMA nodes of 40 cores and 90 GB.
HUAWEI_HOST, HUAWEI_HOSTS = HostType("server", 40, 90, 2), 100
OPENB_HOST = HostType("node", 96, 384)
DAY_S = 86_400


def huawei_trace(path: Path) -> Recorded:
    """Read a Huawei-East-1 trace; events of one second keep the order of their rows.

    Args:
        path: see `read_huawei`.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    stays = read_huawei(path)
    return Recorded(str(path), path.name.split(".")[0], stays, MILLI, HUAWEI_HOST, pms=HUAWEI_HOSTS)


def azure_trace(path: Path, priority: int | None, host: HostType = AZURE_HOST) -> Recorded:
    """Read an Azure Packing 2020 trace.

    It begins at day 0, with the VMs whose start is before it, and ends with its last arrival: exits
    go on for months.

    Args:
        path: see `read_azure`.
        priority: VMs of larger numbers are left out; None to read all.
        host: size of a whole machine.

    Raises:
        InstanceError: names file, table, row, column and remedy.
    """
    stays, per_core = read_azure(path, host, most_priority=priority)
    stays = dataclasses.replace(stays, start=stays.start * DAY_S, end=stays.end * DAY_S)
    until = float(max(stays.start.max(initial=0.0), 1.0))
    return Recorded(
        str(path), path.name.split(".")[0], stays, per_core, host, begin=0.0, until=until
    )


def openb_trace(nodes: Path, pods: Path) -> Recorded:
    """Read the pods of an openb trace: each is there from when it was scheduled to its deletion.

    GPUs are left out, as everywhere in this library: pods with GPUs may be placed on any node with
    the CPU and memory, and are pinned. Pods that were never scheduled are left out. The trace needs
    a hundredth of the listed nodes: some are taken, unless the user says which hosts.

    Args:
        nodes: CSV file of the node list.
        pods: CSV file of the pod list.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    node_table = openb_table(nodes, NODE_COLUMNS)
    names, capacity = node_table.unique("sn"), cpu_and_memory(node_table, 1)
    listed = [
        GivenHost(name, "", [(cpu / MILLI, mem)])
        for name, (cpu, mem) in zip(names, capacity.tolist(), strict=True)
    ]
    table = openb_table(pods, POD_COLUMNS)
    pod_ids, demand = table.unique("name"), cpu_and_memory(table, 0)
    gpus = table.wholes("num_gpu", 0, MAX_GPUS)
    scheduled, deleted = pod_times(table)
    runs = np.isfinite(scheduled)
    if not runs.any():
        raise InstanceError(f"{pods}: no pod was ever scheduled; there is nothing to place")
    if not runs.all():
        note(f"{pods}: {int((~runs).sum())} pods left out that were never scheduled")
    stays = Stays(
        pod_ids,
        scheduled,
        np.where(deleted == MAX_TIME, math.inf, deleted),
        demand[:, 0],
        demand[:, 1],
        [
            pod_kind(cpu, mem, count)
            for (cpu, mem), count in zip(demand.tolist(), gpus.tolist(), strict=True)
        ],
        np.array([line for line, _ in table.rows], np.int64),
    )
    return Recorded(
        str(pods),
        pods.name.split(".")[0],
        stays,
        MILLI,
        OPENB_HOST,
        listed=listed,
        is_catalogue=True,
        pinned=gpus > 0,
    ).only(runs)
