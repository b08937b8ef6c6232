"""Compare the memory-mapping solvers on neural networks.

    python -m sysopt_gym.benchmarks.memory_models --seconds 20 --out results/models

Every contender plays every program of PROGRAMS as in `sysopt-gym compare`; the report is in the
folder. The table has speed-ups over all tensors in slow memory and, in brackets, those of a
prototype of this project, whose solvers played other imports of similar models on the same hardware
figures.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..core.files import write_bytes
from ..evaluation.comparison import Request, compare
from ..evaluation.conditions import conditions
from ..evaluation.table import Scored
from .models import import_model

CONTENDERS = (
    "xla_msa", "greedy", "threshold", "local_search", "beam", "milp", "portfolio", "alphazero",
    "agent",
)  # fmt: skip
BOUND = "bound"
# (model, MiB of fast memory) -> the prototype's figures: a simplified XLA, the better of two
# greedies, thresholds and local search, a mixed-integer program's plan and its bound.
PROGRAMS: dict[tuple[str, int], dict[str, float]] = {
    ("unet", 1): {"xla_msa": 1.110, "greedy": 1.234, "local_search": 1.291, "milp": 1.291,
                  BOUND: 1.306},
    ("unet", 2): {"xla_msa": 1.312, "greedy": 1.397, "local_search": 1.444, "milp": 1.444,
                  BOUND: 1.490},
    ("resnet18", 4): {"xla_msa": 1.481, "greedy": 1.534, "local_search": 1.534, "milp": 1.534,
                      BOUND: 1.554},
    ("gpt2_x4", 8): {"xla_msa": 1.180, "greedy": 1.180, "local_search": 1.180, "milp": 1.180,
                     BOUND: 1.187},
    ("moe", 2): {"xla_msa": 1.180, "greedy": 1.230, "local_search": 1.277, "milp": 1.315,
                 BOUND: 1.356},
    ("alphatensor", 1): {"xla_msa": 1.073, "greedy": 1.177, "local_search": 1.188, "milp": 1.178,
                         BOUND: 1.215},
    ("alphatensor", 4): {"xla_msa": 1.377, "greedy": 1.514, "local_search": 1.592, BOUND: 1.685},
}  # fmt: skip


def figures(rows: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return one entry per program: its name, speed-ups by contender, and the prototype's.

    Args:
        rows: rows of the comparison.
    """
    found = []
    for (model, mebibytes), prototype in PROGRAMS.items():
        name = label(model, mebibytes)
        own = [row for row in rows if row.instance == name]
        speedups: dict[str, float | None]
        speedups = {row.contender: row.objective for row in own if row.feasible}
        speedups[BOUND] = own[0].proven_bound
        found.append({"program": name, "speedup": speedups, "prototype": prototype})
    return found


def label(model: str, mebibytes: int) -> str:
    """Return the name of a program.

    Args:
        model: name of the model.
        mebibytes: capacity of fast memory, MiB.
    """
    return f"{model} @ {mebibytes} MiB"


def table_of(found: Sequence[dict[str, Any]]) -> Table:
    """Make the table: contenders in rows, programs in columns.

    Args:
        found: entries of `figures`.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("speed-up", no_wrap=True)
    for entry in found:
        table.add_column(entry["program"].replace(" @ ", "\n"), overflow="fold")
    for name in (*CONTENDERS, BOUND):
        cells = []
        for entry in found:
            own, other = entry["speedup"].get(name), entry["prototype"].get(name)
            text = "failed" if own is None else f"{own:.3f}"
            cells.append(text if other is None else f"{text}\n({other:.3f})")
        table.add_row(name, *cells)
    return table


def main(
    seconds: Annotated[float, typer.Option(help="wall-clock seconds per plan")] = 20.0,
    out: Annotated[Path, typer.Option(help="folder for the report")] = Path("results/models"),
    json_file: Annotated[Path | None, typer.Option("--json", help="write the table here")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue where it stopped")] = False,
) -> None:
    """Compare all contenders on the programs, and print the table."""
    programs = [
        import_model(model, f"{mebibytes}MiB", label(model, mebibytes))
        for model, mebibytes in PROGRAMS
    ]
    command = ["python", "-m", "sysopt_gym.benchmarks.memory_models", *sys.argv[1:]]
    request = Request(
        families=["memory_mapping"],
        instances=programs,
        contenders=CONTENDERS,
        budget_s=seconds,
        command=shlex.join(command),
    )
    found = figures(compare(request, out, resume))
    Console().print(table_of(found))
    if json_file is not None:
        document = {"conditions": conditions(), "budget_s": seconds, "programs": found}
        write_bytes(json_file, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
