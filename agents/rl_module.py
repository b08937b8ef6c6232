"""Wrap a family's policy network as an RLlib module, for PPO and its like.

RLlib's default catalog refuses observations of several parts and two dimensions, so the module
brings its own network; masks are applied inside it, with a finite minimum.
"""

from __future__ import annotations

from typing import Any

from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from .recipe import load_recipe


class PolicyModule(TorchRLModule, ValueFunctionAPI):
    """RLlib module of a recipe's network.

    `model_config` describes the network: "family", "width", and where they are given "recipe" (an
    entry point; "" for the family's own) and "weights" (a state dict to start from).
    """

    def setup(self) -> None:
        """Build the family's network."""
        recipe = load_recipe(self.model_config["family"], self.model_config.get("recipe", ""))
        self.network = recipe.network(int(self.model_config["width"]))
        if self.model_config.get("weights") is not None:
            self.network.load_state_dict(self.model_config["weights"])

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        observation = batch[Columns.OBS]
        encoded = self.network.encode(observation)
        return {
            Columns.ACTION_DIST_INPUTS: self.network.logits(encoded, observation),
        }

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        observation = batch[Columns.OBS]
        encoded = self.network.encode(observation)
        return {
            Columns.ACTION_DIST_INPUTS: self.network.logits(encoded, observation),
            Columns.EMBEDDINGS: encoded,
        }

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the expected returns, float32 [B].

        Args:
            batch: RLlib's batch of B observations.
            embeddings: their encoding by `_forward_train`, if there is one; else they are encoded
                here.
        """
        if embeddings is None:
            embeddings = self.network.encode(batch[Columns.OBS])
        values: Tensor = self.network.value(embeddings)
        return values
