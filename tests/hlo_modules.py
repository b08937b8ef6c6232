"""Small HLO modules for tests, and what a loaded program says about its operands."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.hardware import load_hardware
from sysopt_gym.datasets.memory_mapping.hlo import load_hlo
from sysopt_gym.datasets.memory_mapping.instance import Program, accesses

KIB = 1024
A, SMALL = "f32[64,64]{1,0}", "f32[8,64]{1,0}"  # 16 KiB, 2 KiB


def module(entry: str, *computations: str, header: str = "") -> str:
    """Return a module's text; `entry` and computations are instructions, one a line."""
    texts = [
        f"{name} {{\n{text}\n}}\n" for name, _, text in (c.partition(":") for c in computations)
    ]
    return (
        f"HloModule m, is_scheduled=true{header}\n\n{''.join(texts)}\nENTRY main {{\n{entry}\n}}\n"
    )


def load(text: str, trips: int = 1) -> Program:
    """Load a module's text without its notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)
        return load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1GiB", trips)


class Moved(NamedTuple):
    """Bytes of an instruction's operands, by name."""

    reads: dict[str, int]
    writes: dict[str, int]


def moved(p: Program, instr: str) -> Moved:
    """Return the bytes of an instruction's operands."""
    row = p.instr_names.index(instr)
    ops = range(int(p.op_start[row]), int(p.op_start[row + 1]))
    bytes_of: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for op in ops:
        bytes_of[bool(p.op_write[op])][p.tensor_names[p.op_tensor[op]]] = int(p.op_bytes[op])
    return Moved(bytes_of[False], bytes_of[True])


def shares(p: Program, one: str, other: str) -> bool:
    """Whether two tensors share storage."""
    buffer = accesses(p).tensor_buffer
    return bool(buffer[p.tensor_names.index(one)] == buffer[p.tensor_names.index(other)])
