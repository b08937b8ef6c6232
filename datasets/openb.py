"""Alibaba's openb trace (cluster-trace-gpu-v2023): its list of nodes and its list of pods."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from ..core.errors import InstanceError
from ..core.files import files_in, opened
from .files import read_file
from .tables import Table, header_of, read_table
from .unpacking import GZIP_MAGIC

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec",
    "creation_time", "deletion_time", "scheduled_time",
)  # fmt: skip
GPU_MILLI = 1000  # a whole GPU
MAX_CPU, MAX_MEM, MAX_GPUS, MAX_TIME = 10**9, 10**12, 64, 1e15


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


def openb_table(path: Path, columns: tuple[str, ...]) -> Table:
    """Read a node list or a pod list.

    Args:
        path: CSV file.
        columns: columns that it must have.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    text = read_file(path).text("a CSV file in UTF-8", "utf-8-sig")
    return read_table(str(path), text, columns)


def cpu_and_memory(table: Table, least_cpu: int) -> np.ndarray:
    """Return the millicores and MiB of nodes or pods, int64 [n, 2].

    Args:
        table: the node list or the pod list.
        least_cpu: below which CPU is refused.

    Raises:
        InstanceError: names file, row, column and remedy.
    """
    return np.stack(
        [table.wholes("cpu_milli", least_cpu, MAX_CPU), table.wholes("memory_mib", 0, MAX_MEM)],
        axis=1,
    )


def pod_kind(cpu: int, mem: int, gpus: int) -> str:
    """Name the flavor of a pod.

    Args:
        cpu: millicores.
        mem: MiB.
        gpus: number of GPUs.
    """
    return f"{cpu}m-{mem}Mi" + (f"-{gpus}gpu" if gpus else "")


def pod_times(pods: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return when each pod was scheduled and when it was deleted, float64 [pods] each, in seconds.

    Args:
        pods: the pod list.

    Returns:
        Infinity for a pod that was never scheduled, MAX_TIME for one that was never deleted.

    Raises:
        InstanceError: a pod was deleted before it was scheduled, or a time cannot be read.
    """
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
    return scheduled, deleted
