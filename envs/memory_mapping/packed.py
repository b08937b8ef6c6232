"""An episode of MallocGame in one array; see envs/packed.py."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..packed import Layout
from .dynamics import DROP, GOES_ON, OUTCOME, State, Static, make_state, reset, step
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


@njit(cache=True)
def look_lanes(
    packed: np.ndarray, lanes: np.ndarray, scalars: np.ndarray, legal: np.ndarray
) -> None:
    """Note where lanes stand.

    Args:
        packed: an episode a row, int64 [B, n].
        lanes: the rows to look at, int64 [m].
        scalars: gets `State.scalars`, int64 [B, 6].
        legal: gets the mask of actions, int8 [B, 3]; Drop after the end.
    """
    for lane in lanes:
        state = read_state(packed[lane])
        scalars[lane] = state.scalars
        legal[lane] = state.mask
        if state.scalars[OUTCOME] != GOES_ON:
            legal[lane, DROP] = 1


@njit(cache=True)
def advance_lanes(
    packed: np.ndarray,
    lanes: np.ndarray,
    actions: np.ndarray,
    saved: np.ndarray,
    scalars: np.ndarray,
    legal: np.ndarray,
) -> int:
    """Take an action in each of the lanes, if all are legal.

    Args:
        packed: an episode a row, int64 [B, n].
        lanes: the rows that go on, int64 [m].
        actions: int64 [B].
        saved: gets the time saved, ps, int64 [m].
        scalars: see `look_lanes`.
        legal: see `look_lanes`; as it was before the actions.

    Returns:
        -1, or the first lane whose action is not legal; then nothing has changed.
    """
    for lane in lanes:
        action = actions[lane]
        if action < 0 or action >= legal.shape[1] or not legal[lane, action]:
            return int(lane)
    for row in range(len(lanes)):
        lane = lanes[row]
        static, state = unpack(packed[lane])
        saved[row] = step(static, state, actions[lane])
    look_lanes(packed, lanes, scalars, legal)
    return -1


@njit(cache=True)
def observe_lanes(
    packed: np.ndarray,
    fixed: np.ndarray,
    lanes: np.ndarray,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> None:
    """Observe lanes.

    Args:
        packed: an episode a row, int64 [B, n].
        fixed: `fixed_features` of each lane's program, float32 [B, D_max, 28].
        lanes: the rows to observe, int64 [m].
        decisions: as of `restart`, a lane a row: [m, W, 28].
        occupancy: likewise, [m, PAST + AHEAD, BINS].
        supply: likewise, [m, SUPPLY].
        globals_: likewise, [m, 8].
    """
    for row in range(len(lanes)):
        lane = lanes[row]
        static, state = unpack(packed[lane])
        observe(
            static, state, fixed[lane], decisions[row], occupancy[row], supply[row], globals_[row]
        )
