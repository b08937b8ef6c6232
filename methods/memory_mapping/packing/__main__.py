"""Pack the buffers of a minimalloc CSV from a shell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ....core.budget import Budget
from ....core.errors import SysOptError
from ....core.notes import told_to
from ....datasets.memory_mapping.packing import FREE, load_packing
from . import pack, warm_up, write_solution


def main(
    file: Annotated[
        Path,
        typer.Argument(
            help="id,lower,upper,size and, if need be, alignment,gaps,offset; NAME.BYTES.csv is "
            "packed within BYTES"
        ),
    ],
    seconds: Annotated[float, typer.Option(help="wall-clock seconds to spend at most")] = 60.0,
    out: Annotated[
        Path | None, typer.Option(help="write id,lower,upper,size,offset to this CSV")
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(min=0, help="in place of the file name's; 0: as low as possible"),
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="offsets in the file are a solution, not given")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the search's random orders")] = 0,
) -> None:
    """Give each buffer an offset, so that buffers alive at once never overlap.

    A buffer is alive at lower <= t < upper but for its gaps. An offset in the file is where the
    buffer has to lie. The exit code is 0 if offsets are found, and 1 if none
    exist within the capacity (infeasible) or the time was too short to tell (gave up).

    Example: `python -m sysopt_gym.methods.memory_mapping.packing A.1048576.csv --out solution.csv`
    """
    try:
        with told_to(lambda told: typer.echo(f"note: {told}", err=True)):
            problem = load_packing(file)
        if capacity is not None:
            problem = replace(problem, capacity=capacity)
        if free:
            problem = replace(problem, offset=np.full(len(problem.ids), FREE))
        warm_up()
        packed = pack(problem, Budget(seconds), seed)
        good = packed.status in ("optimal", "feasible")
        if good and out is not None:
            write_solution(problem, packed, out)
    except SysOptError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    within = f", within {problem.capacity}" if problem.capacity else ""
    given = int((problem.offset != FREE).sum())
    if given:
        within += f", {given} of {len(problem.ids)} offsets as the file gives them"
    typer.echo(
        f"{problem.name}: {packed.status}{within}; height {packed.height}, "
        f"none is below {packed.bound}"
    )
    if not good:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
