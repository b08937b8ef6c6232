"""Read scheduled XLA HLO text into programs.

A fusion is one instruction; calls, asynchronous computations and the bodies of loops are laid out
in place, of a conditional's branches the one that takes longest. Bitcasts, tuples and copies of an
earlier memory-space assignment are not instructions. The text also says which tensors share
storage: donated arguments, loop state, updates in place. Arrays in the host's memory are pinned:
the device's copies to and from them are instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...core.errors import InstanceError
from ..files import naming
from .builder import Builder
from .hardware import Hardware
from .hlo_async import without_starts
from .hlo_lowering import Lowering
from .hlo_module import Module, integer
from .hlo_text import closing, parse_module
from .hlo_values import Value, leaves, part_of
from .instance import ARG, OUT, TMP, Program
from .settings import DEFAULT_CAPACITY


def load_hlo(
    place: str,
    name: str,
    text: str,
    hardware: Hardware,
    capacity: str = DEFAULT_CAPACITY,
    unknown_trips: int = 1,
) -> Program:
    """Make a program of a module's entry computation.

    FLOPs are counted for products, convolutions, reductions, elementwise operations and known
    library functions; other instructions take no time to compute. Sizes are without padding. What
    the text does not tell is said in a note.

    Args:
        place: the file, for error messages.
        name: name of the program.
        text: scheduled HLO text.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        unknown_trips: how often a loop runs if the text does not tell.

    Raises:
        InstanceError: malformed, cut off, unscheduled, a dynamic shape, or nothing to decide; names
            the file and the line.
        SettingError: the capacity cannot be read.
    """
    try:
        return _program(parse_module(place, text), name, hardware, capacity, unknown_trips)
    except RecursionError:
        raise InstanceError(f"{place}: computations are nested too deep; inline some") from None


def _program(
    module: Module, name: str, hardware: Hardware, capacity: str, unknown_trips: int
) -> Program:
    without_starts(module)
    lowering = Lowering(module, Builder(hardware), unknown_trips)
    arguments: dict[int, Value] = {}
    for instr in module.entry.instrs:
        if instr.opcode == "parameter":
            arguments[instr.parameter] = lowering.fresh(instr, instr.name, instr.shape, ARG)
    ordered = [arguments[k] for k in sorted(arguments)]
    result = lowering.run(module.entry, ordered)
    builder = lowering.builder
    for tensor in leaves(result):
        if builder.kinds[tensor] == TMP:
            builder.kinds[tensor] = OUT
    for output, argument in _donated(module, result, ordered):
        lowering.alias(output, argument)
    lowering.tell()
    with naming(module.place):
        return builder.build(name, capacity)


def _donated(module: Module, result: Value, arguments: list[Value]) -> Iterator[tuple[int, int]]:
    """Yield outputs and the arguments whose storage they take (the header's input_output_alias)."""
    _, found, text = module.header.partition("input_output_alias={")
    text = text[: closing(text)] if found else ""
    for entry in re.finditer(r"{([\d, ]*)}:\s*\((\d+),\s*{([\d, ]*)}", text):
        output = part_of(result, _path(entry[1]))
        argument = part_of(arguments, _path(f"{entry[2]},{entry[3]}"))
        if isinstance(output, int) and isinstance(argument, int):
            yield output, argument


def _path(text: str) -> tuple[int, ...]:
    return tuple(integer(number.strip()) for number in text.split(",") if number.strip())
