"""Named instance sets: the public snapshots, and the embedded splits with how they were made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import write_bytes
from ...core.instance import load_archive, save_archive
from ..sets import data_folder, members
from .generator import generate
from .instance import Cluster
from .loaders import load_file

EMBEDDED = Path(__file__).parent / "embedded"

SETS: Mapping[str, str] = {
    "bytedance-medium": "public snapshot of 279 PMs and 2,089 VMs (needs the data folder)",
    "bytedance-large": "public snapshot of 1,176 PMs and 4,546 VMs (needs the data folder)",
    "lookalike:train": "32 look-alikes of Medium, 279 PMs, MNL 50, for training",
    "lookalike:val": "8 look-alikes of Medium for choosing between models",
    "lookalike:test": "8 look-alikes of Medium for the final figures",
    "small:train": "64 clusters of 12 to 40 PMs, MNL 5 to 10, for training",
    "small:val": "16 small clusters for choosing between models",
    "small:test": "16 small clusters for the final figures",
    "constrained:train": "16 look-alikes of Medium with pins and deployment sets, for training",
    "constrained:val": "4 constrained look-alikes for choosing between models",
    "constrained:test": "4 constrained look-alikes for the final figures",
    "constrained-small:test": "8 clusters of 30 to 60 PMs with pins and deployment sets",
}

DATA_FILES = {
    "bytedance-medium": "vm/bytedance-medium.json",
    "bytedance-large": "vm/bytedance-large.json",
}
SOURCE = "https://github.com/bytedance/DRL-based-VM-Rescheduling (Apache-2.0)"

# Every split draws from seeds of its own; the splits never meet.
FIRST_SEED = {name: 100_000 * (1 + row) for row, name in enumerate(SETS) if name not in DATA_FILES}
SIZES = {
    "lookalike:train": 32, "lookalike:val": 8, "lookalike:test": 8,
    "small:train": 64, "small:val": 16, "small:test": 16,
    "constrained:train": 16, "constrained:val": 4, "constrained:test": 4,
    "constrained-small:test": 8,
}  # fmt: skip
UTILIZATION_RANGE = (0.900, 0.915)
FRAGMENT_RANGE = (0.51, 0.61)


def load_set(name: str) -> list[Cluster]:
    """The instances of a set; "SET/3" is a list of its instance 3 alone.

    Raises:
        UnknownNameError: no such set, or no such instance in it.
        InstanceError: the set's file is not in the data folder.
    """
    return members(name, SETS, "vm_rescheduling instance set", _load)


def _load(name: str) -> Sequence[Cluster]:
    return [_public(name)] if name in DATA_FILES else _embedded(name)


def _public(name: str) -> Cluster:
    path = data_folder() / DATA_FILES[name]
    if not path.is_file():
        raise InstanceError(
            f"{name}: no file {path}; put {path.name} of {SOURCE} there, or set SYSOPT_DATA to the "
            f"folder that holds {DATA_FILES[name]}"
        )
    return load_file(path)


@cache
def _embedded(name: str) -> tuple[Cluster, ...]:
    return tuple(load_archive(Cluster, EMBEDDED / archive_name(name)))


def archive_name(name: str) -> str:
    """File name of an embedded split."""
    return name.replace(":", "-") + ".zip"


def make_splits(folder: Path = EMBEDDED) -> None:
    """Makes every embedded split again, and hashes.json with the content hash of each instance.

    Raises:
        OutputError: the folder cannot be written.
    """
    hashes = {}
    for name, size in SIZES.items():
        draws = split_instances(name)
        instances = [next(draws) for _ in range(size)]
        save_archive(instances, folder / archive_name(name))
        hashes[name] = [instance.content_hash for instance in instances]
    write_bytes(folder / "hashes.json", (json.dumps(hashes, indent=1) + "\n").encode())


def split_instances(name: str) -> Iterator[Cluster]:
    """The endless sequence whose first `SIZES[name]` instances are the embedded split."""
    draw = _DRAWS[name.partition(":")[0]]
    kept = 0
    for seed in count(FIRST_SEED[name]):
        cluster = draw(seed)
        if cluster is not None:
            yield dataclasses.replace(cluster, name=f"{name}/{kept}")
            kept += 1


def utilization(cluster: Cluster) -> float:
    """Fraction of the CPU of all hosts that is in use."""
    return float(1 - cluster.free()[0].sum() / cluster.numa_cpu.sum())


def fragment_rate(cluster: Cluster) -> float:
    """16-core fragment rate of the cluster as it stands, all hosts ACTIVE."""
    free = cluster.free()[0]
    return float((free % cluster.fragment_unit).sum() / max(free.sum(), 1))


def _within_published_range(cluster: Cluster) -> bool:
    low, high = UTILIZATION_RANGE
    low_rate, high_rate = FRAGMENT_RANGE
    return low <= utilization(cluster) <= high and low_rate <= fragment_rate(cluster) <= high_rate


def _lookalike(seed: int) -> Cluster | None:
    cluster = generate({}, seed)
    return cluster if _within_published_range(cluster) else None


def _constrained(seed: int) -> Cluster | None:
    cluster = generate({"sets": "120", "rack_sets": "10", "pinned": "0.05"}, seed)
    return cluster if _within_published_range(cluster) else None


def _small(seed: int) -> Cluster | None:
    rng = np.random.default_rng([seed, 0x5A11])
    pms, mnl = int(rng.integers(12, 41)), int(rng.integers(5, 11))
    return _or_none({"pms": str(pms), "exits": f"{rng.uniform(0.02, 0.08):.4f}"}, seed, mnl)


def _constrained_small(seed: int) -> Cluster | None:
    rng = np.random.default_rng([seed, 0xC511])
    pms, mnl = int(rng.integers(30, 61)), int(rng.integers(5, 11))
    parameters = {
        "pms": str(pms),
        "exits": f"{rng.uniform(0.02, 0.08):.4f}",
        "sets": str(pms // 2),
        "rack_sets": "3",
        "pinned": "0.05",
    }
    return _or_none(parameters, seed, mnl)


def _or_none(parameters: Mapping[str, str], seed: int, mnl: int) -> Cluster | None:
    """The cluster, or None where the mix of VMs found no placement or left nothing to improve."""
    try:
        cluster = dataclasses.replace(generate(parameters, seed), mnl=mnl)
    except InstanceError:
        return None
    return cluster if fragment_rate(cluster) > 0.3 else None


_DRAWS: Mapping[str, Callable[[int], Cluster | None]] = {
    "lookalike": _lookalike,
    "small": _small,
    "constrained": _constrained,
    "constrained-small": _constrained_small,
}
