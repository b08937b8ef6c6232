"""Lay out loops of HLO: each part of the state keeps its buffer from trip to trip.

XLA's own modules have the copies that this needs. Where text of another hand lacks them, they are
added: before the loop if the state that it changes is used afterwards, and at the end of the body
if the old state is read after the new one is made.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .hlo_module import Computation, HloInstr
from .hlo_time import is_free
from .hlo_values import Uses, Value, leaves, origin, part_of
from .instance import CONST, SMALLEST_BYTES

if TYPE_CHECKING:
    from .hlo_lowering import Lowering, Scope

Path = tuple[int, ...]


def lower_loop(lowering: Lowering, scope: Scope, instr: HloInstr, state: Value) -> Value:
    """Emit a loop and return its state after it.

    Args:
        lowering: what emits instructions.
        scope: the computation that the loop is in.
        instr: the while instruction.
        state: its state before.
    """
    module, builder = lowering.module, lowering.builder
    trips = lowering.trips(scope.computation, instr)
    if not trips:
        return state
    body, condition = (module[instr.computation(key)] for key in ("body", "condition"))
    parameter = next((i.name for i in body.instrs if i.opcode == "parameter"), "")
    uses, changed = Uses(body), []
    for path, _ in instr.shape.leaves():
        made = origin(body, body.root, path)
        if made != (parameter, path):
            changed.append((path, made[0]))
    state = _own_state(lowering, scope, instr.name, state, [path for path, _ in changed])
    with builder.loop(trips):
        if _is_large(condition):
            lowering.run(condition, [state])
        first_new = len(builder.names)
        result = lowering.run(body, [state])
        for path, maker in changed:
            new, old = part_of(result, path), part_of(state, path)
            if not isinstance(new, int) or not isinstance(old, int):
                continue
            root = lowering.builder.root(new)
            small = builder.sizes[old] < SMALLEST_BYTES
            if root == lowering.builder.root(old) or (small and root < first_new):
                continue
            late = uses.after(uses.position.get(maker, -1), parameter, path)
            shared = root >= first_new and (small or not late) and lowering.alias(new, old)
            if not shared and not small:
                lowering.module.effort.spend(_parts(result))
                result = _replaced(result, path, _copy(lowering, f"{instr.name}.next", new, old))
    return result


def _own_state(
    lowering: Lowering, scope: Scope, name: str, state: Value, changed: list[Path]
) -> Value:
    """Copy the parts of a loop's state that it changes although they are needed otherwise."""
    builder = lowering.builder
    counts = Counter(lowering.builder.root(tensor) for tensor in leaves(state))
    for path in changed:
        old = part_of(state, path)
        if not isinstance(old, int) or builder.sizes[old] < SMALLEST_BYTES:
            continue
        root = lowering.builder.root(old)
        if (
            scope.used_later(old)
            or root in lowering.kept
            or counts[root] > 1
            or builder.kinds[root] == CONST
        ):
            lowering.module.effort.spend(_parts(state))
            state = _replaced(state, path, _copy(lowering, f"{name}.state", old))
    return state


def _copy(lowering: Lowering, name: str, tensor: int, storage: int | None = None) -> int:
    """Emit a copy of a tensor to new storage, or to another tensor's; return its result."""
    copied = lowering.like(name, tensor)
    if storage is not None:
        lowering.alias(copied, storage)
    lowering.builder.instr(name, [tensor], [copied])
    return copied


def _replaced(value: Value, path: Path, tensor: int) -> Value:
    """Return a value with another tensor at a path."""
    if not path or not isinstance(value, list):
        return tensor
    return [
        _replaced(part, path[1:], tensor) if k == path[0] else part for k, part in enumerate(value)
    ]


def _parts(value: Value) -> int:
    return len(value) if isinstance(value, list) else 1


def _is_large(condition: Computation) -> bool:
    """Whether a loop's condition works on arrays that count, not only on scalars."""
    made = condition.by_name
    return any(
        shape.bytes >= SMALLEST_BYTES
        for instr in condition.instrs
        if not is_free(condition, instr)
        for shape in [instr.shape, *(made[o].shape for o in instr.operands if o in made)]
    )
