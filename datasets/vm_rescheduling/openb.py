"""Read Alibaba's openb trace (cluster-trace-gpu-v2023), nodes and pods, into a cluster."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import files_in, opened
from ..files import read_file
from ..tables import Table, header_of, read_table
from ..unpacking import GZIP_MAGIC
from .instance import Cluster
from .replay import one_node_cluster

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec",
    "creation_time", "deletion_time", "scheduled_time",
)  # fmt: skip
GPU_MILLI = 1000  # a whole GPU
MAX_CPU, MAX_MEM, MAX_GPUS, MAX_TIME = 10**9, 10**12, 64, 1e15
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
    node_table = _table(nodes, NODE_COLUMNS)
    pod_table = _table(pods, POD_COLUMNS)
    node_ids, pod_ids = node_table.unique("sn"), pod_table.unique("name")
    capacity = np.stack(
        [node_table.wholes("cpu_milli", 1, MAX_CPU), node_table.wholes("memory_mib", 0, MAX_MEM)],
        axis=1,
    )
    demand = np.stack(
        [pod_table.wholes("cpu_milli", 0, MAX_CPU), pod_table.wholes("memory_mib", 0, MAX_MEM)],
        axis=1,
    )
    gpus = pod_table.wholes("num_gpu", 0, MAX_GPUS)
    at = _place(_events(pod_table, time), capacity, demand, node_table, pod_table, gpus)
    running = np.flatnonzero((at >= 0) & (demand[:, 0] > 0))  # a pod without CPU demand takes none
    if running.size == 0:
        when = "" if time is None else f" at time {time:g}; choose another time"
        raise InstanceError(f"{pods}: no pod runs on the nodes of {nodes.name}{when}")
    kinds = [
        f"{cpu}m-{mem}Mi" + (f"-{count}gpu" if count else "")
        for cpu, mem, count in zip(*demand[running].T.tolist(), gpus[running].tolist(), strict=True)
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


def pair_of(path: Path, columns: tuple[str, ...]) -> Path:
    """Find the other file of an openb pair: the only .csv (or .csv.gz) here with these columns.

    If several have them, the one whose name says "default" or "all" is taken.

    Args:
        path: the file that was given.
        columns: columns that the other file must have.

    Raises:
        InstanceError: no such file, or several.
    """
    found = [
        other
        for other in files_in(path.parent)
        if other != path
        and other.name.endswith((".csv", ".csv.gz"))
        and set(columns) <= set(_header(other))
    ]
    default = [other for other in found if "default" in other.stem or "all" in other.stem]
    choice = default if len(default) == 1 else found
    if len(choice) != 1:
        names = f": {', '.join(other.name for other in found)}" if found else ""
        what = "pod list" if columns is POD_COLUMNS else "node list"
        raise InstanceError(
            f"{path}: an openb cluster is a node list and a pod list; {len(found)} files beside it "
            f"can be the {what}{names}; leave exactly one in {path.parent}"
        )
    return choice[0]


def _header(path: Path) -> tuple[str, ...]:
    try:
        with opened(path) as stream:
            packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            stream.seek(0)
            lines = gzip.GzipFile(fileobj=stream) if packed else stream
            return header_of(lines.readline(10_000).decode("utf-8-sig", "replace"))
    except (OSError, EOFError, zlib.error, InstanceError):
        return ()


def _table(path: Path, columns: tuple[str, ...]) -> Table:
    text = read_file(path).text("a CSV file in UTF-8", "utf-8-sig")
    return read_table(str(path), text, columns)


def _events(pods: Table, time: float | None) -> list[tuple[int, bool]]:
    """Return pods in the order in which they arrive (True) and leave (False)."""
    created = pods.reals("creation_time", 0, MAX_TIME)
    deleted = pods.reals("deletion_time", 0, MAX_TIME, empty=MAX_TIME)
    scheduled = pods.reals("scheduled_time", 0, MAX_TIME, empty=np.inf)
    early = np.flatnonzero(np.isfinite(scheduled) & (deleted < scheduled))
    if early.size:
        row = int(early[0])
        pods.refuse(
            row,
            "deletion_time",
            f"is {deleted[row]:g}, before scheduled_time {scheduled[row]:g}; correct one of them",
        )
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
