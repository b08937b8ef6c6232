"""A plan in a compiler engineer's form: use by use, where the buffer is, and what is moved when."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import SolutionError
from ...datasets.memory_mapping.instance import Program, accesses
from .dynamics import (
    ACTION_NAMES,
    COPY_RING,
    COPY_START,
    EVICT_END,
    FINISHED,
    OFFSET,
    OUTCOME,
    State,
    Static,
    make_state,
    make_static,
    play,
)
from .static import FIRST


def carried_out(program: Program, actions: np.ndarray) -> tuple[Static, State]:
    """The program's arrays and the state a whole plan leads to.

    Raises:
        SolutionError: an action is not legal where it stands, or decisions are left.
    """
    static = make_static(program)
    state = make_state(static)
    plan = np.asarray(actions, np.int64).ravel()
    if play(static, state, plan) < len(plan) or state.scalars[OUTCOME] != FINISHED:
        raise SolutionError(
            f"{program.name}: the plan is not legal to its end, so there is no plan to export; "
            "`sysopt-gym validate` says what it breaks"
        )
    return static, state


def export_plan(program: Program, actions: np.ndarray) -> list[dict[str, Any]]:
    """One row a decision, in program order; what rewinds took back is left out.

    Columns: decision; instruction and its index; tensor; bytes; use (read, write); action; offset
    in fast memory and the instructions the copy into it takes (from, to), the instruction by whose
    end a write-back before it is done; all -1 where there is none. A copy is made once each time
    that the instruction after it is reached from before; if that begins a loop, before the loop.

    Raises:
        SolutionError: the plan is not legal.
    """
    static, state = carried_out(program, actions)
    owner = buffer_names(program)
    rows = []
    for decision, action in enumerate(state.actions.tolist()):
        instr = int(static.dec_instr[decision])
        start, evicted, offset = (
            int(state.moves[decision, column]) for column in (COPY_START, EVICT_END, OFFSET)
        )
        rows.append(
            {
                "decision": decision,
                "instruction": program.instr_names[instr],
                "index": instr,
                "buffer": owner[int(static.dec_buffer[decision])],
                "bytes": int(static.buf_size[static.dec_buffer[decision]]),
                "use": "write" if static.dec_writes[decision] else "read",
                "action": ACTION_NAMES[action],
                "offset": offset,
                "copy_from": start,
                "copy_to": copied_before(static, state, decision) - 1 if start >= 0 else -1,
                "written_back_by": evicted,
            }
        )
    return rows


def copied_before(static: Static, state: State, decision: int) -> int:
    """The instruction that a decision's copy ends before: the first of the outermost loop that it
    is made before, or the decision's own.
    """
    ring = int(state.moves[decision, COPY_RING])
    return int(static.rings[ring, FIRST] if ring >= 0 else static.dec_instr[decision])


def buffer_names(program: Program) -> list[str]:
    """The tensor that owns each of Static's buffers' storage."""
    a = accesses(program)
    used = np.unique(a.buffer[a.decides])
    owners = np.flatnonzero(program.tensor_alias < 0)
    by_buffer = {int(a.tensor_buffer[tensor]): program.tensor_names[tensor] for tensor in owners}
    return [by_buffer[int(buffer)] for buffer in used]
