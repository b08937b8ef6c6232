"""Parse XLA HLO text into computations, instructions and shapes, without interpreting them.

Reads what `--xla_dump_hlo_as_text` and `compiled.as_text()` write on CPU, GPU and TPU, and the same
after editing: comments, and instructions that go on over several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...core.errors import InstanceError
from .effort import FOR_EACH, Effort
from .hlo_module import Computation, HloInstr, Module, Shape, integer, item_bits

_HEADER = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*(\(.*\)\s*->.*)?\{$")
_INSTR = re.compile(r"^(ROOT\s+)?%?([\w.\-]+)\s+=\s+(.*)$")
_BEGINS = re.compile(r"(?:ROOT\s+)?%?[\w.\-]+\s+=\s+(?:\(|[a-z]\w*[\[(])")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\](\{[^}]*\})?")
# What is not closed ends with its line, or the text: to look for an end again from every mark would
# take as long as the text is, squared.
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"?')
_SPACE, _PACKED = re.compile(r"S\((\d+)\)"), re.compile(r"E\((\d+)\)")
_ASIDE = re.compile(rf"{_STRING.pattern}|/\*.*?(?:\*/|\Z)|//[^\n]*", re.DOTALL)
# The fewest operands of instructions whose operands are told apart by their position.
_LEAST = {
    "get-tuple-element": 1, "bitcast": 1, "copy": 1, "copy-start": 1, "while": 1, "conditional": 2,
    "dot": 2, "convolution": 2, "reduce": 2, "reduce-window": 2, "select-and-scatter": 3,
    "slice": 1, "dynamic-slice": 1, "dynamic-update-slice": 2, "gather": 2, "scatter": 3,
    "cholesky": 1, "triangular-solve": 2, "fft": 1, "sort": 1, "topk": 1, "send": 1, "recv-done": 1,
    "add-dependency": 1, "domain": 1, "opt-barrier": 1,
}  # fmt: skip
_OPENS, _CLOSES = "([{", ")]}"
MOST_NESTED, MOST_DIMENSIONS = 50, 50  # of tuples and arrays
MOST_LINES = 100  # of a computation's head
MOST_ELEMENTS = 2**100  # products of three such numbers are still floats
_CLOSERS = tuple(_CLOSES)


def parse_module(place: str, text: str) -> Module:
    """Parse an HLO module.

    Args:
        place: the file, for error messages.
        text: HLO text.

    Raises:
        InstanceError: not HLO text, cut off, unscheduled, or with a dynamic shape; names the line.
    """
    lines = _ASIDE.sub(_without_comment, text).splitlines()
    starts = [n for n, line in enumerate(lines) if line.lstrip().startswith("HloModule ")]
    if not starts:
        raise InstanceError(f"{place}: no line starts with HloModule; this is no HLO text")
    if len(starts) > 1:
        raise InstanceError(
            f"{place}: line {starts[1] + 1}: another module begins; give each in a file of its own"
        )
    start = starts[0]
    body = start + 1
    while lines[body - 1].rstrip().endswith(",") and body < len(lines):
        body += 1
    header = " ".join([lines[start].rstrip(), *map(str.strip, lines[start + 1 : body])])
    if "is_scheduled=true" not in header:
        raise InstanceError(
            f"{place}: line {start + 1}: the module is not scheduled (is_scheduled=true is "
            "missing), so there is no program order; dump with --xla_dump_hlo_as_text and take the "
            "file ending in after_optimizations.txt, or `jit(f).lower(...).compile().as_text()`"
        )
    effort = Effort(place)
    computations: dict[str, Computation] = {}
    entry: Computation | None = None
    current: Computation | None = None
    for number, line in _statements(lines, body):
        where = f"{place}: line {number}"
        if current is None:
            match = _HEADER.match(line) if line.endswith("{") else None
            if match:
                current = Computation(match[2], effort)
                computations[current.name] = current
                if match[1]:
                    entry = current
        elif line == "}" or line.startswith("}, execution_thread"):
            if not current.root:
                raise InstanceError(f"{where}: computation {current.name!r} has no ROOT")
            current = None
        else:
            _add(current, where, line)
    if current is not None:
        raise InstanceError(
            f"{place}: ends within computation {current.name!r}; the file is cut off, copy it again"
        )
    if entry is None:
        raise InstanceError(f"{place}: no ENTRY computation; the dump is incomplete")
    effort.most += FOR_EACH * sum(len(one.instrs) for one in computations.values())
    return Module(place, header, computations, entry, effort)


def _without_comment(found: re.Match[str]) -> str:
    """Return a string as it is, and for a comment the line ends in it."""
    return found[0] if found[0].startswith('"') else "\n" * found[0].count("\n")


def _statements(lines: list[str], start: int) -> Iterator[tuple[int, str]]:
    """Yield statements with the number of their first line, each joined to one line.

    A statement goes on where its opcode is to come, it has an open bracket or ends with a comma,
    unless the next line begins an instruction: then it is malformed, and left so.
    """
    number, depth = 0, 0
    parts: list[str] = []
    for at, raw in enumerate(lines[start:], start=start + 1):
        line = raw.strip()
        if not line:
            continue
        if parts and _BEGINS.match(line):
            yield number, " ".join(parts)
            parts = []
        if not parts:
            number, depth = at, 0
        parts.append(line)
        depth += _opened(line)
        if not _goes_on(parts, depth):
            yield number, " ".join(parts)
            parts = []
    if parts:
        yield number, " ".join(parts)


def _opened(line: str) -> int:
    """Return how many more brackets a line opens than it closes, those in strings left out."""
    line = _STRING.sub("", line) if '"' in line else line
    opened, closed = (sum(map(line.count, some)) for some in (_OPENS, _CLOSES))
    return opened - closed


def _goes_on(parts: list[str], depth: int) -> bool:
    """Whether a statement is not complete: its opcode is to come, or a bracket is open.

    Args:
        parts: its lines so far.
        depth: brackets that are open.
    """
    last = parts[-1]
    if last.endswith((",", "=")):
        return True
    if last.endswith("{") and len(parts) < MOST_LINES and _HEADER.match(" ".join(parts)):
        return False
    if depth > 0:
        return True
    statement = " ".join(parts) if last.endswith(_CLOSERS) else ""
    match = _INSTR.match(statement)
    return bool(match and _only_shape(match[3]))


def _only_shape(text: str) -> bool:
    """Whether an instruction's right-hand side has a shape and nothing else."""
    if text.startswith("("):
        end = closing(text[1:])
        return end + 2 == len(text)
    return bool(_ARRAY.fullmatch(text))


def _nested(text: str) -> int:
    """Return how deep brackets are nested in a text."""
    depth = deepest = 0
    for char in text:
        depth += (char in _OPENS) - (char in _CLOSES)
        deepest = max(deepest, depth)
    return deepest


def _add(computation: Computation, where: str, line: str) -> None:
    match = _INSTR.match(line)
    if match is None:
        raise InstanceError(f"{where}: {line[:60]!r} is no HLO instruction; correct or copy again")
    unsaid = re.match(r"tuple\(", match[3])  # hand-written text may leave a tuple's shape out
    shape_text, rest = ("", match[3]) if unsaid else _split_shape(match[3], where)
    opcode, opened, tail = rest.partition("(")
    end = closing(tail) if opened else -1
    if end < 0 or not re.fullmatch(r"[a-z][\w\-]*", opcode.strip()):
        raise InstanceError(f"{where}: {line[:60]!r} has no opcode with operands; copy it again")
    opcode = opcode.strip()
    inside = tail[:end]
    operands: tuple[str, ...] = ()
    if opcode != "constant":
        operands = tuple(part.split()[-1].lstrip("%") for part in _split(inside))
    if unsaid:
        made = [computation.by_name[name].shape for name in operands if name in computation.by_name]
        shape = Shape("", parts=tuple(made))
    else:
        shape = _shape(shape_text, where)
    instr = HloInstr(
        where, match[2], shape, opcode, operands, tail[end + 1 :],
        inside if opcode == "constant" else "",
    )  # fmt: skip
    least = _LEAST.get(opcode.removesuffix("-start"), _LEAST.get(opcode, 0))
    if len(operands) < least:
        instr.refuse(f"needs {least} operands or more, has {len(operands)}")
    for operand in operands if opcode != "parameter" else ():
        if operand not in computation.by_name:
            instr.refuse(f"operand {operand!r} is not made before it; the text is no schedule")
    if instr.name in computation.by_name:
        instr.refuse("the name stands twice in its computation")
    computation.instrs.append(instr)
    computation.by_name[instr.name] = instr
    if match[1]:
        computation.root = instr.name


def _split_shape(text: str, where: str) -> tuple[str, str]:
    """Split an instruction's right-hand side into the text of its shape and the rest."""
    if text.startswith("("):
        end = closing(text[1:])
        if end < 0:
            raise InstanceError(f"{where}: a tuple's shape is not closed; copy the file again")
        return text[: end + 2], text[end + 2 :].lstrip()
    match = _ARRAY.match(text)
    if match is None:
        shape, _, rest = text.partition(" ")
        return shape, rest.lstrip()
    return match[0], text[match.end() :].lstrip()


def closing(text: str) -> int:
    """Return where the bracket that was opened just before the text is closed; -1 if nowhere."""
    depth = 0
    for at, char in enumerate(text):
        if char in _OPENS:
            depth += 1
        elif char in _CLOSES:
            if depth == 0:
                return at
            depth -= 1
    return -1


def _split(text: str) -> list[str]:
    """Split at commas that no bracket encloses; empty parts are dropped."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in _OPENS) - (char in _CLOSES)
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def _shape(text: str, where: str) -> Shape:
    if text.startswith("("):
        if _nested(text) > MOST_NESTED:
            raise InstanceError(
                f"{where}: tuples are nested more than {MOST_NESTED} deep; write them flat"
            )
        parts = _split(text[1:-1])
        return Shape("", parts=tuple(_shape(part.strip(), where) for part in parts))
    if text.startswith("b(") and text.endswith(")"):  # a buffer of the array in brackets
        return _shape(text[2:-1], where)
    match = _ARRAY.match(text)
    if match is None or item_bits(match[1]) is None:
        raise InstanceError(
            f"{where}: {text[:40]!r} is no shape that is known (a type of elements, then sizes, as "
            "f32[8,128]); correct it, or report the type"
        )
    extents = [extent.strip() for extent in match[2].split(",") if extent.strip()]
    if any("<" in extent or "?" in extent for extent in extents):
        raise InstanceError(
            f"{where}: the shape {match[0]} is dynamic, so its size is unknown; compile for fixed "
            "shapes (pad to the bound)"
        )
    if not all(extent.isdecimal() for extent in extents) or len(extents) > MOST_DIMENSIONS:
        raise InstanceError(f"{where}: {match[0][:80]!r} is no shape")
    layout = match[3] or ""
    space, packed = _SPACE.search(layout), _PACKED.search(layout)
    shape = Shape(
        match[1], tuple(map(integer, extents)),
        space=integer(space[1]) if space else 0, packed=integer(packed[1]) if packed else 0,
    )  # fmt: skip
    if max(shape.bytes, shape.elements) > MOST_ELEMENTS:
        raise InstanceError(f"{where}: {match[0][:80]!r} has more elements than can be; correct it")
    return shape
