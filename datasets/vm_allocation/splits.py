"""Named instance sets of VM allocation: data centers whose worlds are drawn by seed, and traces."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ...core.notes import InputNote
from ..sets import Embedded, Public, Sets
from .generator import generate
from .instance import DataCenter
from .traces import openb_trace
from .windows import Window, data_center

# Each split has its own streams, so that no two share a world.
FIRST_STREAM = {
    "medium-95:train": 100_000, "medium-95:val": 200_000, "medium-95:test": 300_000,
    "loads:test": 400_000, "sizes:test": 500_000, "laws:test": 600_000, "shift:test": 700_000,
    "owners:test": 800_000, "days:test": 900_000, "small:train": 1_000_000, "small:val": 1_100_000,
}  # fmt: skip
OPENB_SOURCE = (
    "https://github.com/alibaba/clusterdata (cluster-trace-gpu-v2023, for research and study)"
)
OPENB_DAYS = (125, 128, 131, 134, 137, 140, 143, 146)  # of the trace, on which windows begin
OPENB_HOURS = 72.0
_OWNERS = {"batch_mean": "3", "sets": "0.3", "pinned": "0.4", "day": "0.3"}
_PARAMETERS: Mapping[str, list[dict[str, str]]] = {
    "medium-95:train": [{}] * 8,
    "medium-95:val": [{}] * 4,
    "medium-95:test": [{}] * 12,
    "loads:test": [{"load": load} for load in ("0.85", "0.9", "0.95", "1.0")],
    "sizes:test": [{"pms": pms} for pms in ("50", "100", "200", "500", "1000")],
    "laws:test": [{"law": law} for law in ("classes", "short", "cloud")],
    "shift:test": [{"mix": "small"}, {"mix": "large"}, {"mix": "large", "day": "0.5"}],
    "owners:test": [_OWNERS, _OWNERS | {"law": "classes"}],
    "days:test": [{}] * 4,
    "small:train": [{"pms": pms} for pms in ("20", "30", "40", "50")] * 2,
    "small:val": [{"pms": pms} for pms in ("20", "40")],
}
_HOURS = {
    "days:test": 24.0,
    "small:train": 24.0,
    "small:val": 24.0,
}  # of sets that are not played for the usual time


def split_instances(name: str) -> Iterator[DataCenter]:
    """Generate the instances of an embedded split.

    Args:
        name: name of the split, a key of FIRST_STREAM.
    """
    for row, parameters in enumerate(_PARAMETERS[name]):
        center = generate(parameters, FIRST_STREAM[name] + row)
        hours = _HOURS.get(name, center.horizon_h)
        yield dataclasses.replace(center, name=f"{name}/{row}", horizon_h=hours)


def openb_windows(pods: Path, nodes: Path) -> list[DataCenter]:
    """Return the windows of openb that were chosen beforehand: 72 hours each, one after the other.

    Nine of ten pods of the trace came in its last 35 days. The first window begins ten days into
    these, so that each has a week before it, to which its process is fitted. Its hosts are taken
    from the node list so that the pods of the 72 hours before it hold about .95 of their CPU. A
    window starts with the pods that a replay by best fit of all that came before has on them, the
    same for every policy.

    Args:
        pods: the pod list.
        nodes: the node list.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)  # what they say is documented
        trace = openb_trace(nodes, pods)
        windows = (
            Window(24.0 * day, OPENB_HOURS, is_replayed=True)  # the same start for all
            for day in OPENB_DAYS
        )
        return [
            dataclasses.replace(data_center(trace, window), name=f"openb/{row}")
            for row, window in enumerate(windows)
        ]


def _embedded(name: str, about: str) -> Embedded[DataCenter]:
    return Embedded(name, about, len(_PARAMETERS[name]), partial(split_instances, name))


SETS: Sets[DataCenter] = Sets(
    DataCenter,
    [
        _embedded(
            "medium-95:train", "8 data centers of 100 PMs at load .95, 72 hours, for training"
        ),
        _embedded("medium-95:val", "4 such data centers for choosing between models"),
        _embedded("medium-95:test", "12 such data centers for the final figures"),
        _embedded("days:test", "4 such data centers for 24 hours, which are quickly played"),
        _embedded(
            "small:train", "8 data centers of 20 to 50 PMs for 24 hours, for training networks"
        ),
        _embedded("small:val", "2 such data centers for choosing between networks"),
        _embedded("loads:test", "loads of .85, .9, .95 and 1.0, 100 PMs"),
        _embedded("sizes:test", "50, 100, 200, 500 and 1,000 PMs at load .95"),
        _embedded("laws:test", "lifetimes of three classes, and of two published shapes"),
        _embedded("shift:test", "more small VMs, more large ones, and those with a daily rhythm"),
        _embedded("owners:test", "owners' batches, deployment sets, pinned VMs, a daily rhythm"),
        Public(
            "openb",
            "8 windows of 72 hours of Alibaba's pods, days 125 to 149, on 5 or 6 nodes (load "
            ".95 in the 72 hours before), begun by a replay by best fit (needs the data folder)",
            ("vm/openb_pod_list_default.csv", "vm/openb_node_list_all_node.csv"),
            OPENB_SOURCE,
            openb_windows,
        ),
    ],
    Path(__file__).parent / "embedded",
)
