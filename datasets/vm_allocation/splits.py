"""Named instance sets of VM allocation: data centers whose worlds are drawn by seed, and traces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ..sets import Embedded, Sets
from .generator import generate
from .instance import DataCenter

# Each split has its own streams, so that no two share a world.
FIRST_STREAM = {
    "medium-95:train": 100_000, "medium-95:val": 200_000, "medium-95:test": 300_000,
    "loads:test": 400_000, "sizes:test": 500_000, "laws:test": 600_000, "shift:test": 700_000,
    "owners:test": 800_000,
}  # fmt: skip
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
}


def split_instances(name: str) -> Iterator[DataCenter]:
    """Generate the instances of an embedded split.

    Args:
        name: name of the split, a key of FIRST_STREAM.
    """
    for row, parameters in enumerate(_PARAMETERS[name]):
        center = generate(parameters, FIRST_STREAM[name] + row)
        yield dataclasses.replace(center, name=f"{name}/{row}")


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
        _embedded("loads:test", "loads of .85, .9, .95 and 1.0, 100 PMs"),
        _embedded("sizes:test", "50, 100, 200, 500 and 1,000 PMs at load .95"),
        _embedded("laws:test", "lifetimes of three classes, and of two published shapes"),
        _embedded("shift:test", "more small VMs, more large ones, and those with a daily rhythm"),
        _embedded("owners:test", "owners' batches, deployment sets, pinned VMs, a daily rhythm"),
    ],
    Path(__file__).parent / "embedded",
)
