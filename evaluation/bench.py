"""Run the throughput benchmarks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.contracts import Throughput
from ..core.errors import InstanceError
from ..core.files import write_bytes
from ..core.lookup import check_name, resolve
from ..core.registry import BENCHMARKS, family_names, load_problem
from .conditions import conditions


def measure(names: Sequence[str], tell: Callable[[str], None]) -> dict[str, list[Throughput]]:
    """Measure the speeds of families and of the library's other benchmarks.

    Args:
        names: families and entries of registry.BENCHMARKS; empty for all whose public data are
            present.
        tell: called with a line of text before each benchmark, and for each that is skipped.

    Returns:
        Name of each family or benchmark -> its speeds.

    Raises:
        UnknownNameError: a name is neither a family's nor a benchmark's.
        InstanceError: the data of a benchmark in `names` are missing.
    """
    there = [*family_names(), *BENCHMARKS]
    found: dict[str, list[Throughput]] = {}
    for name in [check_name(name, there, "family or benchmark") for name in names] or there:
        place = BENCHMARKS[name] if name in BENCHMARKS else load_problem(name).benchmark
        found[name] = []
        if not place:
            continue
        tell(f"measuring {name} ...")
        try:
            found[name] += resolve(place)()
        except InstanceError as error:
            if names:
                raise
            tell(f"{name} is left out: {error}")
    return found


def write_json(found: dict[str, list[Throughput]], path: Path) -> None:
    """Write the speeds with the conditions they were measured under.

    Args:
        found: name of each family or benchmark -> its speeds.
        path: the file.

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
