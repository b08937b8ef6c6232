"""RLlib's soft actor-critic with a family's network as its actor, for continuous actions.

Both critics are networks of the same kind, whose context is read beside the action.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor, nn

from ..core.errors import SettingError
from .distributions import SquashedGaussian
from .recipe import recipe_for
from .rl_module import reaching_all


class SACModule(DefaultSACTorchRLModule):
    """RLlib module of a recipe's network, for SAC.

    `model_config` is that of rl_module.PolicyModule. Losses, targets and sampling are RLlib's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the module without RLlib's catalog, which refuses observations of several parts."""
        kwargs.pop("catalog_class", None)
        TorchRLModule.__init__(self, *args, **kwargs)

    def setup(self) -> None:
        """Build actor and critics.

        Raises:
            SettingError: actions are not continuous, or the algorithm is not SAC.
        """
        config = self.model_config
        if "twin_q" not in config:
            raise SettingError(
                "SACModule has an actor and critics for SAC; for other algorithms give "
                "RLModuleSpec(module_class=sysopt_gym.agents.rl_module.PolicyModule, ...)"
            )
        recipe = recipe_for(config["family"], config.get("recipe", ""), self.action_space)
        width, self.twin_q = int(config["width"]), bool(config["twin_q"])
        self.action_dist_cls = SquashedGaussian
        actor = recipe.network(width)
        if config.get("weights") is not None:
            actor.load_state_dict(config["weights"])
        self.pi_encoder, self.pi = _Actor(actor), nn.Identity()
        if self.inference_only:
            return
        size = int(self.action_space.shape[0])
        self.qf_encoder, self.qf = _Critic(recipe.network(width)), _head(width, size)
        if self.twin_q:
            self.qf_twin_encoder = _Critic(recipe.network(width))
            self.qf_twin = _head(width, size)

    @property
    def network(self) -> nn.Module:
        """The actor: the family's network."""
        actor: nn.Module = self.pi_encoder.network
        return actor


class _Actor(nn.Module):
    """Encoder in RLlib's sense whose output are the inputs of the action distribution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        observation = batch[Columns.OBS]
        encoded = self.network.encode(observation)
        inputs = self.network.logits(encoded, observation)
        return {ENCODER_OUT: reaching_all(inputs, self.network)}


class _Critic(nn.Module):
    """Encoder in RLlib's sense of observations and actions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        context = reaching_all(self.network.encode(batch[Columns.OBS]).context, self.network)
        return {ENCODER_OUT: torch.cat([context, batch[Columns.ACTIONS]], dim=-1)}


def _head(width: int, size: int) -> nn.Module:
    """Make a critic's layers on a context of `width` and an action of `size` numbers."""
    return nn.Sequential(nn.Linear(width + size, width), nn.ReLU(), nn.Linear(width, 1))
