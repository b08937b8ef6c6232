"""Runs the throughput benchmarks. Uses core."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.contracts import Throughput
from ..core.instance import write_bytes
from ..core.registry import BENCHMARKS, FAMILIES, known, load_problem, resolve
from .conditions import conditions


def measure(names: Sequence[str], started: Callable[[str], None]) -> dict[str, list[Throughput]]:
    """The benchmarks of families, and those with names of their own; all if none is given.

    Args:
        names: families and entries of registry.BENCHMARKS.
        started: is told the name of each benchmark before it runs.

    Raises:
        UnknownNameError: neither a family nor a benchmark.
    """
    there = [*FAMILIES, *BENCHMARKS]
    found: dict[str, list[Throughput]] = {}
    for name in [known(name, there, "family or benchmark") for name in names] or there:
        own = {name: BENCHMARKS[name]} if name in BENCHMARKS else load_problem(name).benchmarks
        found[name] = []
        for label, entry in own.items():
            started(label)
            found[name] += list(resolve(entry)())
    return found


def write_json(found: dict[str, list[Throughput]], path: Path) -> None:
    """Writes the speeds with the conditions they were measured under.

    Raises:
        OutputError: the file cannot be written.
    """
    rows: list[dict[str, Any]] = [
        {"family": family} | dataclasses.asdict(speed) | {"ratio": speed.ratio}
        for family, speeds in found.items()
        for speed in speeds
    ]
    document = {"conditions": conditions(), "throughput": rows}
    write_bytes(path, (json.dumps(document, indent=1) + "\n").encode())
