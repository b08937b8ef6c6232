"""Read Alibaba's openb trace (cluster-trace-gpu-v2023), nodes and pods, into a cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ..openb import (
    GPU_MILLI,
    MAX_GPUS,
    MAX_TIME,
    NODE_COLUMNS,
    POD_COLUMNS,
    cpu_and_memory,
    openb_table,
    pod_kind,
    pod_times,
)
from ..tables import Table
from .instance import Cluster
from .replay import one_node_cluster

MOST_TRIES = 5 * 10**9  # events x nodes: each event looks at every node


def load_openb(nodes: Path, pods: Path, time: float | None = None) -> Cluster:
    """Make a cluster of a node list with the pods of a pod list placed on it.

    The trace says neither which node ran a pod nor shows a full cluster: at most 56 of the default
    list's pods run at once, on 1,523 nodes. So, as other users of the trace do, every pod is placed
    in order of creation and none leaves, until the list ends; a pod that fits on no node is left
    out. If a time is given, pods arrive when they were scheduled and leave when they were deleted,
    and the cluster is the one at that time. Each pod goes to the node where it leaves the least
    CPU.

    A cluster here has no GPUs. Pods with GPUs are placed on nodes with enough of them (whole, or a
    share of one; of the models in gpu_spec) and then pinned, so that every plan can be carried out.

    Args:
        nodes: CSV file of the node list.
        pods: CSV file of the pod list.
        time: seconds, as in the trace; None to place all pods.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    node_table = openb_table(nodes, NODE_COLUMNS)
    pod_table = openb_table(pods, POD_COLUMNS)
    node_ids, pod_ids = node_table.unique("sn"), pod_table.unique("name")
    capacity, demand = cpu_and_memory(node_table, 1), cpu_and_memory(pod_table, 0)
    gpus = pod_table.wholes("num_gpu", 0, MAX_GPUS)
    at = _place(_events(pod_table, time), capacity, demand, node_table, pod_table, gpus)
    running = np.flatnonzero((at >= 0) & (demand[:, 0] > 0))  # a pod without CPU demand takes none
    if running.size == 0:
        when = "" if time is None else f" at time {time:g}; choose another time"
        raise InstanceError(f"{pods}: no pod runs on the nodes of {nodes.name}{when}")
    kinds = [
        pod_kind(cpu, mem, count)
        for (cpu, mem), count in zip(demand[running].tolist(), gpus[running].tolist(), strict=True)
    ]
    return one_node_cluster(
        pods.stem if time is None else f"{pods.stem}@{time:g}",
        node_ids,
        capacity,
        [pod_ids[pod] for pod in running],
        demand[running, 0],
        demand[running, 1],
        kinds,
        at[running],
        gpus[running] > 0,
    )


def _events(pods: Table, time: float | None) -> list[tuple[int, bool]]:
    """Return pods in the order in which they arrive (True) and leave (False)."""
    created = pods.reals("creation_time", 0, MAX_TIME)
    scheduled, deleted = pod_times(pods)
    if time is None:
        return [(int(pod), True) for pod in np.argsort(created, kind="stable")]
    came = np.flatnonzero((scheduled <= time) & (scheduled < deleted))
    gone = came[deleted[came] <= time]
    events = [(float(scheduled[pod]), 1, int(pod)) for pod in came]
    events += [(float(deleted[pod]), 0, int(pod)) for pod in gone]
    return [(pod, arrives == 1) for _, arrives, pod in sorted(events)]


def _place(
    events: list[tuple[int, bool]],
    capacity: np.ndarray,
    demand: np.ndarray,
    nodes: Table,
    pods: Table,
    gpus: np.ndarray,
) -> np.ndarray:
    """Place pods event by event; return the node of each at the end, int64 [pods], -1 for none.

    Args:
        events: pod and whether it arrives, in order.
        capacity: int64 [nodes, 2]; millicores and MiB.
        demand: int64 [pods, 2]; millicores and MiB.
        nodes: the node list, for GPUs and their models.
        pods: the pod list, for shares of GPUs and the models allowed.
        gpus: int64 [pods]; GPUs each pod asks for.
    """
    shares = pods.wholes("gpu_milli", 0, GPU_MILLI)
    specs = [set(text.split("|")) if text else set() for text in pods.texts("gpu_spec")]
    models = nodes.texts("model")
    of_models = {
        frozenset(spec): np.array([not spec or model in spec for model in models]) for spec in specs
    }
    counts = nodes.wholes("gpu", 0, MAX_GPUS)
    if len(events) * len(capacity) > MOST_TRIES:
        raise InstanceError(
            f"{pods.place}: {len(events)} arrivals and exits on {len(capacity)} nodes would take "
            "minutes to place; give a part of the trace"
        )
    free = capacity.copy()
    free_gpu = np.where(np.arange(max(counts.max(), 1)) < counts[:, None], GPU_MILLI, -1)
    at = np.full(len(demand), -1, np.int64)
    held: dict[int, np.ndarray] = {}
    for pod, arrives in events:
        share = int(shares[pod]) if gpus[pod] == 1 else GPU_MILLI
        if not arrives:
            node = at[pod]
            if node >= 0:
                free[node] += demand[pod]
                free_gpu[node, held.pop(pod)] += share
                at[pod] = -1
            continue
        fits = (free >= demand[pod]).all(axis=1)
        if gpus[pod]:
            fits &= of_models[frozenset(specs[pod])]
            fits &= (free_gpu >= share).sum(axis=1) >= gpus[pod]
        if not fits.any():
            continue
        node = int(np.where(fits, free[:, 0], np.iinfo(np.int64).max).argmin())
        enough = np.flatnonzero(free_gpu[node] >= share)
        held[pod] = enough[np.argsort(free_gpu[node, enough], kind="stable")[: gpus[pod]]]
        free[node] -= demand[pod]
        free_gpu[node, held[pod]] -= share
        at[pod] = node
    return at
