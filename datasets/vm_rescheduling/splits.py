"""Named instance sets of VM rescheduling: public snapshots, and embedded splits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ..hosts import MEDIUM_PMS
from ..sets import Drawn, Embedded, Public, Sets
from .generator import generate
from .instance import Cluster
from .loaders import load_file

SOURCE = "https://github.com/bytedance/DRL-based-VM-Rescheduling (Apache-2.0)"
# Each split has its own range of seeds, so that no two share an instance.
FIRST_SEED = {
    "lookalike:train": 300_000, "lookalike:val": 400_000, "lookalike:test": 500_000,
    "small:train": 600_000, "small:val": 700_000, "small:test": 800_000,
    "constrained:train": 900_000, "constrained:val": 1_000_000, "constrained:test": 1_100_000,
    "constrained-small:test": 1_200_000, "huge:test": 1_300_000,
    "mixes:train": 1_700_000, "mixes:val": 1_800_000, "mixes:test": 1_900_000,
    "rates:train": 1_400_000, "rates:val": 1_500_000, "rates:test": 1_600_000,
}  # fmt: skip
HUGE = ((3_000, 50), (10_000, 500), (30_000, 500), (30_000, 5_000))  # PMs and MNL of each cluster
UTILIZATION_RANGE = (0.900, 0.915)
FRAGMENT_RANGE = (0.51, 0.61)


def split_instances(name: str) -> Iterator[Cluster]:
    """Generate the endless sequence whose first instances are an embedded split.

    Args:
        name: name of the split, a key of FIRST_SEED.
    """
    draw = _DRAWS[name.partition(":")[0]]
    kept = 0
    for seed in count(FIRST_SEED[name]):
        cluster = draw(seed)
        if cluster is not None:
            yield dataclasses.replace(cluster, name=f"{name}/{kept}")
            kept += 1


def utilization(cluster: Cluster) -> float:
    """Return the fraction of all hosts' CPU that is in use."""
    return float(1 - cluster.free()[0].sum() / cluster.numa_cpu.sum())


def fragment_rate(cluster: Cluster) -> float:
    """Return the 16-core fragment rate of a cluster whose hosts are all ACTIVE."""
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


def _huge() -> Iterator[Cluster]:
    for row, (pms, mnl) in enumerate(HUGE):
        cluster = generate({"pms": str(pms)}, FIRST_SEED["huge:test"] + row)
        yield dataclasses.replace(cluster, name=f"huge:test/{row}", mnl=mnl)


def _rates(name: str, size: int) -> Iterator[Cluster]:
    """Generate clusters that begin at fragment rates from .5 to 1, evenly.

    Those for training have 20 to 140 PMs and an MNL of 8 to 25, the others Medium's size and MNL.
    """
    for row in range(size):
        seed = FIRST_SEED[name] + row
        rng = np.random.default_rng([seed, 0x4A7E])
        pms, mnl = _size(name, rng)
        rate = 0.5 + 0.5 * (row + 0.5) / size
        exits = rng.uniform(0.0, 0.08)
        parameters = {"pms": str(pms), "exits": f"{exits:.4f}", "rate": f"{rate:.4f}"}
        cluster = generate(parameters, seed)
        yield dataclasses.replace(cluster, name=f"{name}/{row}", mnl=mnl)


def _size(name: str, rng: np.random.Generator) -> tuple[int, int]:
    """Return PMs and MNL of a cluster: drawn for training, Medium's otherwise."""
    drawn = int(rng.integers(20, 141)), int(rng.integers(8, 26))
    return drawn if name.endswith(":train") else (MEDIUM_PMS, 50)


def _mixes(name: str, size: int) -> Iterator[Cluster]:
    """Generate clusters of many mixes of VMs, filled by arrivals, at fragment rates from .5 to 1.

    Their sizes and MNL are those of `rates`.
    """
    seed = FIRST_SEED[name]
    for row in range(size):
        rng = np.random.default_rng([FIRST_SEED[name] + row, 0x317E])
        pms, mnl = _size(name, rng)
        parameters = {
            "pms": str(pms), "exits": f"{rng.uniform(0.0, 0.08):.4f}",
            "mix": f"{rng.uniform(0.0, 1.5):.4f}", "arrivals": f"{rng.uniform(0.0, 2.0):.4f}",
            "rate": f"{0.5 + 0.5 * (row + 0.5) / size:.4f}",
        }  # fmt: skip
        cluster = None
        while cluster is None:  # some mixes find no placement
            with contextlib.suppress(InstanceError):
                cluster = generate(parameters, seed)
            seed += 1
        yield dataclasses.replace(cluster, name=f"{name}/{row}", mnl=mnl)


def _or_none(parameters: Mapping[str, str], seed: int, mnl: int) -> Cluster | None:
    """Generate a cluster; return None if its VMs find no placement or little can be improved."""
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


def _public(name: str, about: str) -> Public[Cluster]:
    return Public(name, about, (f"vm/{name}.json",), SOURCE, lambda path: [load_file(path)])


def _embedded(name: str, size: int, about: str) -> Embedded[Cluster]:
    return Embedded(name, about, size, partial(split_instances, name))


SETS: Sets[Cluster] = Sets(
    Cluster,
    [
        _public(
            "bytedance-medium", "public snapshot of 279 PMs and 2,089 VMs (needs the data folder)"
        ),
        _public(
            "bytedance-large", "public snapshot of 1,176 PMs and 4,546 VMs (needs the data folder)"
        ),
        _embedded("lookalike:train", 32, "32 look-alikes of Medium, 279 PMs, MNL 50, for training"),
        _embedded("lookalike:val", 8, "8 look-alikes of Medium for choosing between models"),
        _embedded("lookalike:test", 8, "8 look-alikes of Medium for the final figures"),
        _embedded("small:train", 64, "64 clusters of 12 to 40 PMs, MNL 5 to 10, for training"),
        _embedded("small:val", 16, "16 small clusters for choosing between models"),
        _embedded("small:test", 16, "16 small clusters for the final figures"),
        _embedded(
            "constrained:train", 16,
            "16 look-alikes of Medium with pins and deployment sets, for training",
        ),
        _embedded("constrained:val", 4, "4 constrained look-alikes for choosing between models"),
        _embedded("constrained:test", 4, "4 constrained look-alikes for the final figures"),
        _embedded(
            "constrained-small:test", 8,
            "8 clusters of 30 to 60 PMs with pins and deployment sets",
        ),
        *(
            Drawn(
                name, f"{size} clusters that begin at fragment rates from .5 to 1, {use}",
                partial(_rates, name, size),
            )
            for name, size, use in (
                ("rates:train", 96, "20 to 140 PMs, for training"),
                ("rates:val", 8, "of Medium's size, for choosing between models"),
                ("rates:test", 8, "of Medium's size, for the final figures"),
            )
        ),
        *(
            Drawn(
                name, f"{size} clusters of other mixes of VMs, at rates from .5 to 1, {use}",
                partial(_mixes, name, size),
            )
            for name, size, use in (
                ("mixes:train", 192, "20 to 140 PMs, for training"),
                ("mixes:val", 16, "of Medium's size, for choosing between models"),
                ("mixes:test", 16, "of Medium's size, for the final figures"),
            )
        ),
        Drawn(
            "huge:test",
            "4 clusters of 3,000 to 30,000 PMs (217,000 VMs), MNL 50 to 5,000, generated on demand",
            _huge,
        ),
    ],
    Path(__file__).parent / "embedded",
)  # fmt: skip
