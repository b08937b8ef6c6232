"""An episode in one array, so that a step is one compiled call of few arguments; see
envs/packed.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ..packed import Layout
from .dynamics import (
    CHARGED,
    CHOOSE,
    CHOSEN,
    ENDED,
    N_LEFT,
    NO_ONE,
    PHASE,
    PLACE,
    REJECTED,
    REQUEST,
    SEND,
    State,
    Static,
    act,
    walk,
)
from .observation import observe, observe_vms

LAYOUT = Layout(Static, State)
read_static, read_state = LAYOUT.reader(Static), LAYOUT.reader(State)


class Seen(NamedTuple):
    """What an agent sees, kept up to date from step to step.

    Attributes:
        pms: float32 [P_max, 23].
        request: float32 [13].
        clock: float32 [8].
        mask: int8 [N].
    """

    pms: np.ndarray
    request: np.ndarray
    clock: np.ndarray
    mask: np.ndarray


@njit(cache=True)
def begin(packed: np.ndarray) -> bool:
    """Go on to the first decision of an episode that has been packed at its start.

    Args:
        packed: the episode, int64 [n].

    Returns:
        Whether there is nothing to decide.
    """
    static, state = read_static(packed), read_state(packed)
    walk(static, state)
    return bool(state.numbers[PHASE] > SEND)


@njit(cache=True)
def play(packed: np.ndarray, action: int) -> tuple[int, int]:
    """Take an action.

    Args:
        packed: the episode, int64 [n].
        action: see `dynamics.act`.

    Returns:
        ILLEGAL, GOES_ON or ENDED; the CPU times seconds rejected since the action before, or since
        the start.
    """
    static, state = read_static(packed), read_state(packed)
    outcome = act(static, state, action)
    n = state.numbers
    rejected = n[REJECTED] - n[CHARGED]
    n[CHARGED] = n[REJECTED]
    return outcome, rejected


@njit(cache=True)
def look(
    packed: np.ndarray, pms: np.ndarray, request: np.ndarray, clock: np.ndarray, mask: np.ndarray
) -> int:
    """Bring what is seen up to date.

    Args:
        packed: the episode, int64 [n].
        pms: see Seen; written to, as the others.
        request: see Seen.
        clock: see Seen.
        mask: see Seen.

    Returns:
        Whose turn it is, one of dynamics.PHASES.
    """
    static, state = read_static(packed), read_state(packed)
    observe(static, state, pms, request, clock, mask)
    return int(state.numbers[PHASE])


@njit(cache=True)
def play_lanes(
    packed: np.ndarray,
    lanes: np.ndarray,
    actions: np.ndarray,
    masks: np.ndarray,
    rejected: np.ndarray,
    ended: np.ndarray,
) -> int:
    """Take an action in each of the lanes, if all are legal.

    Args:
        packed: the episodes, int64 [B, n].
        lanes: the lanes that go on, int64 [m].
        actions: int64 [B].
        masks: int8 [B, N]; legal actions.
        rejected: float64 [m]; CPU times seconds rejected, written to.
        ended: bool [m], written to.

    Returns:
        A lane whose action is not legal, in which case nothing has changed; -1 if all are.
    """
    for lane in lanes:
        action = actions[lane]
        if action < 0 or action >= masks.shape[1] or not masks[lane, action]:
            return int(lane)
    for row in range(len(lanes)):
        lane = lanes[row]
        outcome, rejected[row] = play(packed[lane], actions[lane])
        ended[row] = outcome == ENDED
    return -1


@njit(cache=True)
def look_at_lanes(
    packed: np.ndarray,
    lanes: np.ndarray,
    pms: np.ndarray,
    request: np.ndarray,
    clock: np.ndarray,
    masks: np.ndarray,
) -> None:
    """Bring what is seen in lanes up to date.

    Args:
        packed: the episodes, int64 [B, n].
        lanes: int64 [m].
        pms: see Seen; written to, as the others, each with the lane first.
        request: see Seen.
        clock: see Seen.
        masks: see Seen.
    """
    for lane in lanes:
        look(packed[lane], pms[lane], request[lane], clock[lane], masks[lane])


@njit(cache=True)
def seen_flavor(packed: np.ndarray) -> int:
    """Return the flavor of the request, or of the VM chosen; NO_ONE for none.

    Args:
        packed: the episode, int64 [n].
    """
    static, state = read_static(packed), read_state(packed)
    n = state.numbers
    if n[PHASE] == PLACE:
        return int(static.flavor[n[REQUEST]])
    return int(static.flavor[state.slots[n[CHOSEN]]]) if n[PHASE] == SEND else NO_ONE


@njit(cache=True)
def look_at_vms(
    packed: np.ndarray, mask: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray, vm_flavor: np.ndarray
) -> None:
    """Write the rows of VMs, if one is to be chosen or has been.

    Args:
        packed: the episode, int64 [n].
        mask: int8 [N]; legal actions.
        vms: see `observation.observe_vms`; written to, as the others.
        vm_pm: see there.
        vm_flavor: see there.
    """
    static, state = read_static(packed), read_state(packed)
    if CHOOSE <= state.numbers[PHASE] <= SEND:
        observe_vms(static, state, mask, vms, vm_pm, vm_flavor)


def static_in(packed: np.ndarray) -> Static:
    """Return what no action changes of a packed episode, int64 [n], as views."""
    static: Static = LAYOUT.view(packed, Static)
    return static


def state_in(packed: np.ndarray) -> State:
    """Return the state in a packed episode, int64 [n], as views: what compiled code does to one
    shows in both.
    """
    state: State = LAYOUT.view(packed, State)
    return state


def left_in(state: State) -> tuple[int, ...]:
    """Return the requests that left since the last action.

    Args:
        state: the present one.
    """
    return tuple(state.left[: state.numbers[N_LEFT]].tolist())
