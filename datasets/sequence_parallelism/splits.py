"""Named instance sets of sequence parallelism: drawn batches of three shapes, shipped as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ..sets import Drawn, Embedded, Sets
from .generator import ORDERS, generate
from .instance import TrainingBatch

# Each split has its own range of seeds, so that no two share a batch.
FIRST_SEED = {
    "wiki-192k:train": 100_000, "wiki-192k:val": 200_000, "wiki-192k:test": 300_000,
    "crawl-192k:test": 400_000, "github-192k:test": 500_000, "wiki-384k:test": 600_000,
    "small:train": 700_000, "small:val": 800_000, "small:test": 900_000,
    "mixed:train": 1_000_000, "mixed:val": 1_100_000,
    "stream:test": 1_200_000,
}  # fmt: skip
# The clusters that a set's batches take in turn. Of 32 devices and of 16 the context is what fits.
_LARGE = [{"model": "7B"}, {"model": "13B"}, {"model": "30B"}]
_SMALLER = [
    {"model": "7B", "devices": "32", "context": "128K"},
    {"model": "7B", "devices": "16", "context": "128K"},
]
_192K = [*_LARGE, _SMALLER[0], {"model": "7B"}, _SMALLER[1]]
_384K = [one | {"context": "384K"} for one in _LARGE]
_TINY = [
    {"devices": devices, "context": "32K", "sequences": sequences, "shape": shape}
    for devices, sequences, shape in (
        ("8", "24", "wiki"), ("16", "32", "crawl"), ("8", "16", "github"), ("16", "48", "wiki"),
    )
]  # fmt: skip
_MIXED = [
    one | {"shape": shape, "sequences": sequences}
    for one, shape, sequences in zip(
        _192K * 3, ("wiki", "crawl", "github", "wiki", "crawl") * 4, ("256", "128", "512") * 6,
        strict=False,
    )
]  # fmt: skip
_STREAMS = [
    {"steps": "8", "shape": shape, "order": order}
    for order in ORDERS
    for shape in ("wiki", "crawl")
]
_CLUSTERS: Mapping[str, list[dict[str, str]]] = {
    "wiki-192k": _192K,
    "crawl-192k": [one | {"shape": "crawl"} for one in _192K],
    "github-192k": [one | {"shape": "github"} for one in _192K],
    "wiki-384k": _384K,
    "small": _TINY,
    "mixed": _MIXED,
    "stream": _STREAMS,
}


def split_instances(name: str) -> Iterator[TrainingBatch]:
    """Generate the endless sequence whose first instances are a split.

    Args:
        name: name of the split, a key of FIRST_SEED.
    """
    clusters, row = _CLUSTERS[name.partition(":")[0]], 0
    while True:
        batch = generate(clusters[row % len(clusters)], FIRST_SEED[name] + row)
        yield dataclasses.replace(batch, name=f"{name}/{row}")
        row += 1


def _embedded(name: str, size: int, about: str) -> Embedded[TrainingBatch]:
    return Embedded(name, f"{size} {about}", size, partial(split_instances, name))


def _drawn(name: str, size: int, about: str) -> Drawn[TrainingBatch]:
    def draw() -> Iterator[TrainingBatch]:
        return (batch for batch, _ in zip(split_instances(name), range(size), strict=False))

    return Drawn(name, f"{size} {about}", draw)


SETS: Sets[TrainingBatch] = Sets(
    TrainingBatch,
    [
        _embedded(
            "wiki-192k:train", 24, "batches of 512 as long as Wikipedia's, 7B to 30B on 16 to 64 "
            "devices, for training",
        ),
        _embedded("wiki-192k:val", 6, "such batches for choosing between models"),
        _embedded("wiki-192k:test", 12, "such batches for the final figures"),
        _embedded("crawl-192k:test", 6, "batches of 512 with a heavier tail (CommonCrawl's shape)"),
        _embedded("github-192k:test", 6, "batches of 512 with the heaviest tail (GitHub's shape)"),
        _embedded("wiki-384k:test", 6, "batches of 512 with contexts up to 384K, on 64 devices"),
        _embedded("small:train", 24, "batches of 16 to 48 on 8 and 16 devices, for training"),
        _embedded("small:val", 8, "small batches for choosing between models"),
        _embedded("small:test", 12, "small batches for the final figures"),
        _drawn(
            "mixed:train", 180, "batches of 128 to 512 of all shapes and clusters, for training"
        ),
        _drawn("mixed:val", 18, "such batches for choosing between models"),
        _drawn("stream:test", 6, "streams of 8 training steps, some in shards or with a drift"),
    ],
    Path(__file__).parent / "embedded",
)  # fmt: skip
