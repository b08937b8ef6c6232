"""How the time to load programs grows with their length.

    python -m sysopt_gym.benchmarks.program_files --sizes 500 5000 50000

Scheduled HLO text of several shapes is written and loaded, and saved and loaded as an archive; a
function of JAX is traced. In CPU seconds; the last column is the exponent of the growth.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.notes import InputNote
from ..datasets.memory_mapping.hardware import DEFAULT, load_hardware
from ..datasets.memory_mapping.hlo import load_hlo
from ..datasets.memory_mapping.instance import Program
from ..datasets.memory_mapping.jax_trace import program_of_function
from .scale import exponent

CAPACITY = "1MiB"
ARRAY = "f32[64,64]{1,0}"
STATE = f"(s32[], {ARRAY})"
STEPS = 8  # instructions of a loop's body on its array


def train_step(count: int) -> str:
    """Write a module in which every value of the first half is used again, in reverse."""
    half, last, lines = count // 2, "p", [f"%p = {ARRAY} parameter(0)"]
    for row in range(half):
        lines.append(f"%f{row} = {ARRAY} add(%{last}, %p)")
        last = f"f{row}"
    for row in reversed(range(half)):
        lines.append(f"%b{row} = {ARRAY} multiply(%{last}, %f{row})")
        last = f"b{row}"
    return _module([*lines, f"ROOT %out = {ARRAY} negate(%{last})"])


def fusions(count: int) -> str:
    """Write a module of fusions, one after the other."""
    lines, computations, last = [f"%p = {ARRAY} parameter(0)"], [], "p"
    for row in range(count):
        body = [
            f"%x.{row} = {ARRAY} parameter(0)",
            f"%y.{row} = {ARRAY} parameter(1)",
            f"%s.{row} = {ARRAY} add(%x.{row}, %y.{row})",
            f"ROOT %t.{row} = {ARRAY} multiply(%s.{row}, %y.{row})",
        ]
        computations.append(_computation(f"%fused{row}", body))
        lines.append(f"%a{row} = {ARRAY} fusion(%{last}, %p), kind=kLoop, calls=%fused{row}")
        last = f"a{row}"
    return _module([*lines, f"ROOT %out = {ARRAY} negate(%{last})"], computations)


def loops(count: int) -> str:
    """Write a module of while loops, one after the other."""
    lines, computations = [f"%p = {ARRAY} parameter(0)", "%zero = s32[] constant(0)"], []
    last = "p"
    for row in range(count // (STEPS + 1)):
        condition = [
            f"%c.{row} = {STATE} parameter(0)",
            f"%at.{row} = s32[] get-tuple-element(%c.{row}), index=0",
            f"%end.{row} = s32[] constant(4)",
            f"ROOT %less.{row} = pred[] compare(%at.{row}, %end.{row}), direction=LT",
        ]
        body = [
            f"%b.{row} = {STATE} parameter(0)",
            f"%now.{row} = s32[] get-tuple-element(%b.{row}), index=0",
            f"%one.{row} = s32[] constant(1)",
            f"%then.{row} = s32[] add(%now.{row}, %one.{row})",
            f"%v0.{row} = {ARRAY} get-tuple-element(%b.{row}), index=1",
            *(
                f"%v{step + 1}.{row} = {ARRAY} add(%v{step}.{row}, %v0.{row})"
                for step in range(STEPS)
            ),
            f"ROOT %r.{row} = {STATE} tuple(%then.{row}, %v{STEPS}.{row})",
        ]
        computations += [
            _computation(f"%condition{row}", condition),
            _computation(f"%body{row}", body),
        ]
        lines += [
            f"%t{row} = {STATE} tuple(%zero, %{last})",
            f"%w{row} = {STATE} while(%t{row}), condition=%condition{row}, body=%body{row}",
            f"%e{row} = {ARRAY} get-tuple-element(%w{row}), index=1",
        ]
        last = f"e{row}"
    return _module([*lines, f"ROOT %out = {ARRAY} negate(%{last})"], computations)


def _computation(name: str, lines: Sequence[str]) -> str:
    return f"{name} {{\n" + "\n".join(lines) + "\n}\n"


def _module(lines: Sequence[str], computations: Sequence[str] = ()) -> str:
    return "\n".join(
        ["HloModule written, is_scheduled=true", *computations, _computation("ENTRY %main", lines)]
    )


def of_text(write: Callable[[int], str], count: int) -> tuple[Program, float]:
    """Write a module of so many instructions; return it loaded, and the CPU seconds it took."""
    text, hardware = write(count), load_hardware(DEFAULT)
    began = time.process_time()
    program = load_hlo("written.txt", "written", text, hardware, CAPACITY)
    return program, time.process_time() - began


def of_jax(count: int) -> tuple[Program, float]:
    """Trace a function of so many operations; return the program, and the CPU seconds it took."""
    jax = importlib.import_module("jax")

    def forward_and_back(x: Any) -> Any:
        values = [x]
        for _ in range(count // 2):
            values.append(values[-1] @ x)
        result = values[-1]
        for value in reversed(values[1:]):
            result = result * value
        return result

    array = jax.ShapeDtypeStruct((64, 64), "float32")
    began = time.process_time()
    program = program_of_function(forward_and_back, array, capacity=CAPACITY)
    return program, time.process_time() - began


def of_archive(count: int) -> tuple[Program, float]:
    """Save a train step of so many instructions; return it loaded, and the CPU seconds it took."""
    program, _ = of_text(train_step, count)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "program.npz")
        program.save(file)
        began = time.process_time()
        return Program.load(file), time.process_time() - began


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[500, 5000, 50_000])
    sizes = parser.parse_args().sizes
    kinds: dict[str, Callable[[int], tuple[Program, float]]] = {
        "HLO text, train step": lambda count: of_text(train_step, count),
        "HLO text, fusions": lambda count: of_text(fusions, count),
        "HLO text, loops": lambda count: of_text(loops, count),
        "archive, train step": of_archive,
        "JAX function": of_jax,
    }
    print(f"| instructions | {' | '.join(f'{size:,}' for size in sizes)} | exponent |")
    print("|---|" + "---:|" * (len(sizes) + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)
        for name, load in kinds.items():
            load(20)  # what is imported or compiled once
            seconds = [load(size)[1] for size in sizes]
            cells = " | ".join(f"{spent:.2f} s" for spent in seconds)
            print(f"| {name} | {cells} | {exponent(sizes, seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
