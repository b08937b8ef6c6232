"""Policy networks with a memory: what the memory gives is added to the context of an encoding.

Such a network has a `memory`, a Cell as wide as its contexts; `encode`, `logits` and `value` are
those of any policy network, and `recall` stands between them. Without a `memory` nothing happens
here, so that one code plays both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import SettingError
from .cell import Rows, State

TRAINED_BY = ("ppo",)  # algorithms that hand out and keep states; those of agents.algorithms
MAX_SEQ_LEN = 32  # steps of a row, through which gradients flow back


def begin(network: Any, lanes: int = 1) -> State:
    """Return the state in which an episode begins; {} of a network without a memory.

    Args:
        network: a policy network.
        lanes: number of lanes, B.
    """
    memory = getattr(network, "memory", None)
    state: State = {} if memory is None else memory.initial_state(lanes)
    return state


def recall(network: Any, encoded: Any, state: State, rows: Rows | None = None) -> tuple[Any, State]:
    """Add to encodings what the memory says of the episode so far.

    Args:
        network: a policy network.
        encoded: encodings of B rows of T steps, B * T of them; "context" is float32 [B * T, width].
        state: of the B lanes, see `begin`; it is not changed.
        rows: where episodes begin and padding does; None for nowhere.

    Returns:
        The encodings, and the state after the last step.
    """
    if not state:
        return encoded, state
    lanes = len(next(iter(state.values())))
    context = encoded.context.unflatten(0, (lanes, -1))
    if rows is None and context.shape[1] == 1:
        said, state = network.memory.step(context[:, 0], state)
    else:
        said, state = network.memory(context, state, rows)
        said = said.flatten(0, 1)
    return encoded._replace(context=encoded.context + said), state


def in_rows(stage: str, network: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add to the description of a network with a memory how long rows of steps are.

    Args:
        stage: name of the algorithm.
        network: description of the network, see rl_module.NetworkModule.

    Raises:
        SettingError: the algorithm does not train such networks.
    """
    if stage not in TRAINED_BY:
        raise SettingError(f"{stage}: trains no network with a memory; {TRAINED_BY[0]} does")
    return {**network, "max_seq_len": MAX_SEQ_LEN}
