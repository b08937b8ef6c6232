"""An episode of MallocGame in one array; see envs/packed.py."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..packed import Layout
from .dynamics import State, Static, make_state, reset, step
from .observation import observe

LAYOUT = Layout(Static, State)
read_static, read_state = LAYOUT.reader(Static), LAYOUT.reader(State)


def pack(static: Static) -> np.ndarray:
    """Return a packed array int64 [n] of the program and of the state before any decision."""
    return LAYOUT.pack(static, make_state(static))


def state_in(packed: np.ndarray) -> State:
    """Return the state in a packed array, as views: what compiled code does to one shows in both.

    After an array has been copied or unpickled, take the state from the copy.
    """
    state: State = LAYOUT.view(packed, State)
    return state


@njit(cache=True)
def unpack(packed: np.ndarray) -> tuple[Static, State]:
    """Return Static and State as views, in compiled code whose caller holds `packed`."""
    return read_static(packed), read_state(packed)


@njit(cache=True)
def restart(
    packed: np.ndarray,
    fixed: np.ndarray,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> None:
    """Go back to the start, and observe.

    Args:
        packed: the episode, int64 [n].
        fixed: `fixed_features` of the program, float32 [D, 28].
        decisions: gets the rows of the decisions ahead, float32 [W, 28].
        occupancy: gets the picture of addresses, float32 [PAST + AHEAD, BINS].
        supply: gets the idle time, float32 [SUPPLY].
        globals_: gets the features of the whole, float32 [8].
    """
    static, state = unpack(packed)
    reset(static, state)
    observe(static, state, fixed, decisions, occupancy, supply, globals_)


@njit(cache=True)
def advance(
    packed: np.ndarray,
    fixed: np.ndarray,
    action: int,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> int:
    """Take a legal action, and observe.

    Args:
        packed: the episode, int64 [n].
        fixed: see `restart`, as the arrays after the action.
        action: COPY, NO_COPY or DROP.
        decisions: see `restart`.
        occupancy: see `restart`.
        supply: see `restart`.
        globals_: see `restart`.

    Returns:
        The time saved, ps.
    """
    static, state = unpack(packed)
    saved = step(static, state, action)
    observe(static, state, fixed, decisions, occupancy, supply, globals_)
    return int(saved)
