"""Runs the families' throughput benchmarks. Uses core."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.contracts import Throughput
from ..core.instance import write_bytes
from ..core.registry import load_problem, resolve
from .conditions import conditions


def measure(families: Sequence[str], started: Callable[[str], None]) -> dict[str, list[Throughput]]:
    """Every benchmark of the families, by family; `started` is told the name of each before it
    runs.
    """
    found: dict[str, list[Throughput]] = {}
    for family in families:
        speeds: list[Throughput] = []
        for name, entry in load_problem(family).benchmarks.items():
            started(name)
            speeds += list(resolve(entry)())
        found[family] = speeds
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
