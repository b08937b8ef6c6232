"""Wrap a family's policy network as an RLlib module: for PPO, APPO, IMPALA, BC and MARWIL.

RLlib's default catalog refuses observations of several parts and two dimensions, so the module
brings its own network; masks are applied inside it, with a finite minimum. DQN takes QModule, SAC
takes SACModule.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import (
    TARGET_NETWORK_ACTION_DIST_INPUTS,
    InferenceOnlyAPI,
    TargetNetworkAPI,
    ValueFunctionAPI,
)
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor, nn

from ..core.errors import SettingError
from .distributions import Choose, action_inputs, distribution_of, drawn, likeliest, taken
from .recipe import recipe_for
from .room import rows_of_a_pass


def reaching_all(outputs: Tensor, network: nn.Module) -> Tensor:
    """Return outputs whose gradient reaches every parameter of their network, where there are
    several learners; it is 0 where it did not.

    Learners wait for each other's gradient of every parameter, also of one that the loss has no use
    for: the edits of sequences that are constructed, the value in BC, the actions in a critic.

    Args:
        outputs: float32 of any shape.
        network: the network that they come from.
    """
    if not torch.distributed.is_initialized():
        return outputs
    return outputs + 0.0 * sum(part.sum() for part in network.parameters())


class NetworkModule(TorchRLModule, InferenceOnlyAPI, TargetNetworkAPI):
    """Base of the RLlib modules of a recipe's network.

    `model_config` describes the network: "family", "width", and where they are given "recipe" (an
    entry point; "" for the family's own) and "weights" (a state dict to start from). Learners that
    need a slowly following copy of it get one, which env runners do without.
    """

    network: Any
    target: Any

    def setup(self) -> None:
        """Build the family's network for the action space.

        Raises:
            SettingError: the family has no network for such actions.
        """
        family, entry = self.model_config["family"], self.model_config.get("recipe", "")
        recipe = recipe_for(family, entry, self.action_space)
        self.network = recipe.network(int(self.model_config["width"]))
        if self.model_config.get("weights") is not None:
            self.network.load_state_dict(self.model_config["weights"])

    def make_target_networks(self) -> None:
        """Copy the network."""
        self.target = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Return the network and its copy."""
        return [(self.network, self.target)]

    def get_non_inference_attributes(self) -> list[str]:
        """Return what env runners do without: the copy."""
        return ["target"]


class PolicyModule(NetworkModule, ValueFunctionAPI):
    """RLlib module that samples actions by the network's outputs and learns its value."""

    def setup(self) -> None:
        """Build the family's network.

        Raises:
            SettingError: the algorithm learns Q values, or the family has no network for the
                actions.
        """
        if "twin_q" in self.model_config:
            raise SettingError(
                "PolicyModule has no critics; for SAC give RLModuleSpec(module_class="
                "sysopt_gym.agents.sac_module.SACModule, ...)"
            )
        if "double_q" in self.model_config:
            raise SettingError(
                "PolicyModule has no Q values; for DQN give RLModuleSpec(module_class="
                "sysopt_gym.agents.q_module.QModule, ...)"
            )
        super().setup()
        self.action_dist_cls = distribution_of(self.network, self.action_space)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._outputs(batch, drawn)

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._outputs(batch, likeliest)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        encoded = self.network.encode(batch[Columns.OBS])
        outputs = self._outputs(batch, taken(batch), encoded)
        inputs = reaching_all(outputs[Columns.ACTION_DIST_INPUTS], self.network)
        return {Columns.ACTION_DIST_INPUTS: inputs, Columns.EMBEDDINGS: encoded}

    def _outputs(
        self, batch: dict[str, Any], choose: Choose, encoded: Any = None
    ) -> dict[str, Any]:
        """Compute inputs of the action distribution; see `action_inputs`."""
        observation = batch[Columns.OBS]
        encoded = self.network.encode(observation) if encoded is None else encoded
        inputs = action_inputs(self.network, self.action_space, encoded, observation, choose)
        return {Columns.ACTION_DIST_INPUTS: inputs}

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the copy's inputs of the action distribution.

        Args:
            batch: RLlib's batch of B observations.
        """
        observation = batch[Columns.OBS]
        encoded = self.target.encode(observation)
        inputs = action_inputs(self.target, self.action_space, encoded, observation, taken(batch))
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: inputs}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the expected returns, float32 [B].

        Args:
            batch: RLlib's batch of B observations.
            embeddings: their encoding by `_forward_train`, if there is one; else they are encoded
                here, as many at a time as there is room for, and the values, which are then targets
                of learning, have no gradient.
        """
        if embeddings is None:
            return self._values_of(batch[Columns.OBS])
        values: Tensor = self.network.value(embeddings)
        return values

    @torch.no_grad()
    def _values_of(self, observation: dict[str, Tensor]) -> Tensor:
        arrays = list(observation.values())
        count, size = len(arrays[0]), sum(array[:1].nbytes for array in arrays)
        rows = rows_of_a_pass(size)
        values = []
        for first in range(0, count, rows):
            part = {key: array[first : first + rows] for key, array in observation.items()}
            values.append(self.network.value(self.network.encode(part)))
        return torch.cat(values)
