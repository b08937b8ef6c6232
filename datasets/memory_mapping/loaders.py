"""Read users' files into programs: JSON here, HLO in hlo.py, torch.export in torch_export.py.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import load_single
from ..files import NO_SETTINGS, UserFile, naming, read_file
from ..records import Record, parse_json
from .builder import Builder, Use
from .hardware import DEFAULT, Hardware, load_hardware
from .hlo import load_hlo
from .instance import DEAD_ENDS, KIND_NAMES, MAX_BYTES, MAX_SECONDS, PIN_NAMES, Program
from .loops import MAX_REPEAT, Loop, loop_fault, loops_of_repeats
from .packing import is_packing
from .settings import DEFAULT_CAPACITY, read_trips, with_settings

JSON_FORMAT = "sysopt-gym program 1"
# Members by which archives of torch.export are known, of torch from 2.8 and before.
OF_TORCH = ("archive_format", "serialized_exported_program.json")
FORMATS = (
    "scheduled HLO text, program JSON, a torch.export .pt2, or an instance saved by this library"
)


def load_file(
    path: Path, settings: Mapping[str, str] = NO_SETTINGS, capacity: str | None = None
) -> Program:
    """Read the program in a user's file.

    Supported are: scheduled XLA HLO text, plain or gzipped; this library's JSON (the schema is in
    docs/memory_mapping.md); a program saved by torch.export (.pt2, needs torch, and the user's
    `--trust`: torch can run code hidden in such a file); and what this library saved itself (.npz,
    or a .zip set of one instance).

    Args:
        path: the file.
        settings: texts by the names in SETTINGS. Hardware and capacity replace the defaults while
            the program is built, and what a JSON or saved program says; trips are those of loops
            of which the file does not tell how often they run.
        capacity: the setting of this name; None for what the settings say.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, place and remedy.
        SettingError: a setting cannot be used.
        MissingDependencyError: a .pt2 file without torch.
    """
    file = read_file(path)
    if capacity is not None:
        settings = {**settings, "capacity": capacity}
    machine, capacity = settings.get("hardware", DEFAULT), settings.get("capacity")
    if file.is_zip:
        return with_settings(_load_archive(file, machine, capacity, read_trips(settings)), settings)
    text = file.text(FORMATS)
    start = text.lstrip()
    if start.startswith(("{", "[")):
        program = load_json(str(path), file.stem, text, machine, capacity)
    elif is_packing(start):
        raise InstanceError(
            f"{path}: a packing problem (buffers with lifetimes, no instructions), not a program; "
            f"solve it by `python -m sysopt_gym.methods.memory_mapping.packing {path} --out "
            "solution.csv`, or read it with datasets.memory_mapping.packing.load_packing"
        )
    elif "HloModule" in text:
        hardware = load_hardware(machine)
        program = load_hlo(
            str(path), file.stem, text, hardware, capacity or DEFAULT_CAPACITY, read_trips(settings)
        )
    else:
        raise InstanceError(f"{path}: not a known format; give {FORMATS}")
    return with_settings(program, settings)


def _load_archive(file: UserFile, hardware: str, capacity: str | None, trips: int) -> Program:
    if all(name.endswith((".npz", ".npy")) for name in file.members()):
        return load_single(Program, file.path, file.data)
    if not any(name.rsplit("/", 1)[-1] in OF_TORCH for name in file.members()):
        raise InstanceError(f"{file.path}: an archive of no known format; give {FORMATS}")
    from .torch_export import load_pt2

    return load_pt2(file.path, load_hardware(hardware), capacity or DEFAULT_CAPACITY, trips)


def load_json(
    place: str, name: str, text: str, hardware: str = DEFAULT, capacity: str | None = None
) -> Program:
    """Read a program in JSON of the documented schema.

    Args:
        place: the file, for error messages.
        name: name of the program if the document gives none.
        text: the JSON document.
        hardware: profile that gives the times if the document names none.
        capacity: size of fast memory, as in `sizes.read_capacity`; None for the document's, or a
            quarter of the peak.

    Raises:
        InstanceError: names the file, the record and the field.
        SettingError: the capacity cannot be read.
    """
    document = parse_json(place, text).need("format", "tensors", "instrs")
    said = document.get("format").text()
    if said != JSON_FORMAT:
        document.get("format").refuse(f"is {said!r}, expected {JSON_FORMAT!r}")
    machine, stated = _hardware(document, hardware)
    builder = Builder(machine)
    rows = _tensors(document, builder)
    _instrs(document, builder, rows)
    if document.has("name"):
        name = document.get("name").text()
    policy = 0
    if document.has("dead_end"):
        policy = document.get("dead_end").choice(DEAD_ENDS)
    chosen = capacity or stated or DEFAULT_CAPACITY
    with naming(place):
        return builder.build(name, chosen, DEAD_ENDS[policy])


def _hardware(document: Record, hardware: str) -> tuple[Hardware, str | None]:
    """Return the profile with the document's values in place of its own, and the capacity."""
    if not document.has("hw"):
        return load_hardware(hardware), None
    hw = document.get("hw")
    machine = load_hardware(hw.get("profile").text() if hw.has("profile") else hardware)
    fields = {
        "bw_slow": "slow_bw", "bw_fast_r": "fast_read_bw", "bw_fast_w": "fast_write_bw",
        "copy_scale": "copy_scale", "peak_flops": "flops",
    }  # fmt: skip
    stated: dict[str, Any] = {
        ours: hw.get(theirs).real(1e-9, 1e24) for theirs, ours in fields.items() if hw.has(theirs)
    }
    if stated and not hw.has("profile"):
        stated["name"] = "custom"
    if hw.has("align"):
        stated["alignment"] = hw.get("align").whole(1, 2**40)
    return replace(machine, **stated), hw.get("cap").text() if hw.has("cap") else None


def _tensors(document: Record, builder: Builder) -> dict[str, int]:
    tensors = document.get("tensors").items("name", "size", "kind")
    rows: dict[str, int] = {}
    for tensor in tensors:
        name = tensor.get("name").text()
        if name in rows:
            tensor.get("name").refuse(f"{name!r} stands twice; names must be unique")
        pin = tensor.get("pin").choice(PIN_NAMES) if tensor.has("pin") else 0
        rows[name] = builder.tensor(
            name,
            tensor.get("size").whole(0, MAX_BYTES),
            tensor.get("kind").choice(KIND_NAMES),
            pin=pin,
        )
    for row, tensor in enumerate(tensors):
        if tensor.has("alias"):
            builder.aliases[row] = _row(tensor.get("alias"), rows)
    return rows


def _row(record: Record, rows: dict[str, int]) -> int:
    name = record.text()
    if name not in rows:
        record.refuse(f"no tensor {name!r}; add it to tensors or correct the name")
    return rows[name]


def _instrs(document: Record, builder: Builder, rows: dict[str, int]) -> None:
    """Add the instructions, inside the loops that the document states."""
    instrs = document.get("instrs").items("name", "ops")
    beginning: dict[int, list[Loop]] = {}
    for loop in _loops(document, instrs):
        beginning.setdefault(loop.first, []).append(loop)
    opened: list[tuple[int, AbstractContextManager[None]]] = []
    for number, instr in enumerate(instrs):
        for loop in beginning.get(number, ()):
            opened.append((loop.last, builder.loop(loop.trips)))
            opened[-1][1].__enter__()
        _instr(instr, builder, rows)
        while opened and opened[-1][0] == number:
            opened.pop()[1].__exit__(None, None, None)


def _loops(document: Record, instrs: list[Record]) -> list[Loop]:
    """Return the loops, outer ones first: as they are stated, or as `repeat` implies."""
    repeats = [
        instr.get("repeat").whole(1, MAX_REPEAT) if instr.has("repeat") else 1 for instr in instrs
    ]
    if not document.has("loops"):
        with naming(document.file):
            return loops_of_repeats(repeats)
    rows: dict[str, list[int]] = {}
    for row, instr in enumerate(instrs):
        rows.setdefault(instr.get("name").text(), []).append(row)
    trips: dict[tuple[int, int], int] = {}
    for record in document.get("loops").items("first", "last", "trips"):
        first, last = (_place(record.get(end), rows, len(instrs)) for end in ("first", "last"))
        times = trips.get((first, last), 1) * record.get("trips").whole(0, MAX_REPEAT)
        trips[first, last] = min(times, MAX_REPEAT + 1)  # which is refused
    loops = sorted(
        (Loop(*body, times) for body, times in trips.items()),
        key=lambda loop: (loop.first, -loop.last),
    )
    if fault := loop_fault(loops):
        document.get("loops").refuse(fault)
    executions = np.ones(len(instrs), np.int64)
    for loop in loops:
        executions[loop.first : loop.last + 1] *= loop.trips
    for instr, repeat, runs in zip(instrs, repeats, executions.tolist(), strict=True):
        if instr.has("repeat") and repeat != runs:
            instr.get("repeat").refuse(
                f"is {repeat}, but the loops around it make {runs} executions; leave it out, or "
                "correct the loops"
            )
    return loops


def _place(record: Record, rows: Mapping[str, list[int]], count: int) -> int:
    """Return the instruction that a loop's end names, or whose index (from 0) it is.

    Args:
        record: the end.
        rows: the instructions of each name.
        count: number of instructions.
    """
    if not isinstance(record.value, str):
        return record.whole(0, count - 1)
    found = rows.get(record.value, [])
    if len(found) != 1:
        have = "no instruction has" if not found else f"{len(found)} instructions have"
        record.refuse(f"{have} the name {record.value!r}; give the index of one, from 0")
    return found[0]


def _instr(instr: Record, builder: Builder, rows: dict[str, int]) -> None:
    reads: list[Use] = []
    writes: list[Use] = []
    for op in instr.get("ops").items("tensor", "rw"):
        tensor = _row(op.get("tensor"), rows)
        amount = op.get("bytes").whole(0, MAX_BYTES) if op.has("bytes") else -1
        (reads, writes)[op.get("rw").choice(("r", "w"))].append(Use(tensor, amount))
    flops = instr.get("flops").real(0, 1e24) if instr.has("flops") else 0.0
    seconds = instr.get("compute_s").real(0, MAX_SECONDS) if instr.has("compute_s") else None
    builder.instr(instr.get("name").text(), reads, writes, flops, seconds)


def to_json(program: Program) -> str:
    """Convert a program to JSON of the documented schema, which `load_json` reads."""
    tensors = []
    for row, name in enumerate(program.tensor_names):
        tensor: dict[str, Any] = {
            "name": name,
            "size": int(program.tensor_size[row]),
            "kind": KIND_NAMES[program.tensor_kind[row]],
        }
        if program.tensor_alias[row] >= 0:
            tensor["alias"] = program.tensor_names[program.tensor_alias[row]]
        if program.tensor_pin[row]:
            tensor["pin"] = PIN_NAMES[program.tensor_pin[row]]
        tensors.append(tensor)
    instrs = []
    for row, name in enumerate(program.instr_names):
        ops = [
            {
                "tensor": program.tensor_names[program.op_tensor[op]],
                "bytes": int(program.op_bytes[op]),
                "rw": "w" if program.op_write[op] else "r",
            }
            for op in range(int(program.op_start[row]), int(program.op_start[row + 1]))
        ]
        instrs.append(
            {
                "name": name,
                "compute_s": float(program.instr_compute_s[row]),
                "flops": float(program.instr_flops[row]),
                "ops": ops,
            }
        )
    document = {
        "format": JSON_FORMAT,
        "name": program.name,
        "dead_end": program.dead_end,
        "hw": {
            "cap": program.capacity,
            "align": program.alignment,
            "bw_slow": program.slow_bw,
            "bw_fast_r": program.fast_read_bw,
            "bw_fast_w": program.fast_write_bw,
            "copy_scale": program.copy_scale,
        },
        "tensors": tensors,
        "instrs": instrs,
        "loops": [loop._asdict() for loop in program.loops],
    }
    return json.dumps(document, indent=1) + "\n"
