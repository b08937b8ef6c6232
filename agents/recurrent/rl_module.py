"""The RLlib module of a policy network with a memory, for PPO.

RLlib hands each lane its state, the initial one where an episode begins, keeps the states with the
episode, and cuts it into rows of at most `max_seq_len` steps to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ..distributions import Choose, action_inputs, taken
from ..rl_module import PolicyModule, reaching_all
from .policy import begin, recall


class RecurrentModule(PolicyModule):
    """PolicyModule whose batches are rows of steps: observations are [B, T, ...], states [B, ...].

    A row has its padding last, where it changes nothing that comes before it.
    """

    def get_initial_state(self) -> dict[str, Tensor]:
        """Return the state in which an episode begins, without lanes."""
        return {key: part[0].detach() for key, part in begin(self.network).items()}

    def _rows(self, batch: dict[str, Any]) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """Return the encodings of B * T steps with their memory, the observations of these, and the
        state after them.
        """
        steps = {key: part.flatten(0, 1) for key, part in batch[Columns.OBS].items()}
        encoded, state = recall(self.network, self.network.encode(steps), batch[Columns.STATE_IN])
        return encoded, steps, state

    def _outputs(
        self, batch: dict[str, Any], choose: Choose, encoded: Any = None
    ) -> dict[str, Any]:
        """Compute inputs of the action distribution, [B, T, ...], and the state after the rows."""
        encoded, steps, state = self._rows(batch)
        inputs = action_inputs(self.network, self.action_space, encoded, steps, choose)
        return {
            Columns.ACTION_DIST_INPUTS: _in_rows(inputs, state),
            Columns.STATE_OUT: state,
            Columns.EMBEDDINGS: encoded,
        }

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _without_encodings(super()._forward_exploration(batch))

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _without_encodings(super()._forward_inference(batch))

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        outputs = self._outputs(batch, taken(batch))
        inputs = reaching_all(outputs[Columns.ACTION_DIST_INPUTS], self.network)
        return outputs | {Columns.ACTION_DIST_INPUTS: inputs}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the expected returns, float32 [B, T].

        Args:
            batch: RLlib's batch of B rows.
            embeddings: their encoding by `_forward_train`, if there is one; else they are encoded
                here, and the values, which are then targets of learning, have no gradient.
        """
        state = batch[Columns.STATE_IN]
        if embeddings is None:
            with torch.no_grad():
                return _in_rows(self.network.value(self._rows(batch)[0]), state)
        return _in_rows(self.network.value(embeddings), state)


def _in_rows(steps: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Give what is computed for B * T steps the shape [B, T, ...]."""
    rows: Tensor = steps.unflatten(0, (len(next(iter(state.values()))), -1))
    return rows


def _without_encodings(outputs: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the records of play have no use for."""
    del outputs[Columns.EMBEDDINGS]
    return outputs


def module_of(network: Mapping[str, Any]) -> type[PolicyModule]:
    """Return the class of the module of a described network; see policy.in_rows."""
    return RecurrentModule if "max_seq_len" in network else PolicyModule
