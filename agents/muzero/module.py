"""MuZero as an RLlib module: it acts by searching, and unrolls its dynamics to be trained.

RLlib's environment runner asks a module for the actions of all its environments at once, and keeps
whatever else the module says of them; so the batched search sits here, and vectorized and remote
self-play, metrics and evaluation are RLlib's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from ...core.errors import SettingError
from ...core.lookup import resolve
from .forest import SearchSettings
from .games import POLICY, VALUE
from .networks import Network, Observation, Scalars, Support
from .planning import Planner
from .search import Found

ROOT_VALUES, REWARDS, POLICIES = "muzero_values", "muzero_rewards", "muzero_policies"


class MuZeroModule(TorchRLModule):
    """RLlib module that acts by searching; `model_config` is what MuZeroConfig includes in it.

    Attributes:
        network: a networks.Network.
        value_support, reward_support: networks.Support of values and rewards.
        planner: searches, with its memory.
        scalars: the network with numbers for its values and rewards.
        simulators: returns the environments to search in, one for each row of a batch; None to
            search in latent states.
        rng: source of the exploration noise.
    """

    def setup(self) -> None:
        """Build the network and the planner.

        Raises:
            SettingError: the actions of the environment are not discrete.
        """
        config = self.model_config
        spaces = self.observation_space, self.action_space
        check_actions(spaces[1])
        self.value_support = Support(*config["value_support"])
        self.reward_support = Support(*config["reward_support"])
        factory = config["network"]
        make = resolve(factory) if isinstance(factory, str) else factory
        supports = self.value_support, self.reward_support
        self.network: Network = make(
            spaces[0], int(spaces[1].n), *supports, **config["network_config"]
        )
        self.planner = Planner(SearchSettings(**config["search"]))
        self.scalars = Scalars(self.network, self.value_support, self.reward_support)
        self.simulators: Callable[[], Sequence[Any]] | None = None
        self.rng = np.random.default_rng(config["seed"])

    def search(self, observation: Observation, explore: bool, simulated: bool = True) -> Found:
        """Search from a batch of observations.

        Args:
            observation: tensors [B, ...]; may have an "action_mask", [B, A].
            explore: whether to add Gumbel noise.
            simulated: False if the observations are not those of the environments that `simulators`
                returns; the search is then in latent states.
        """
        simulators = self.simulators() if self.simulators is not None and simulated else None
        return self.planner.plan(
            self.scalars, observation, self.rng if explore else None, simulators
        )

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        """Search, and return actions int64 [B], improved policies float32 [B, A] and values float32
        [B].
        """
        found = self.search(batch[Columns.OBS], explore)
        return {
            Columns.ACTIONS: torch.from_numpy(found.action),
            POLICY: torch.from_numpy(found.policy),
            VALUE: torch.from_numpy(found.value.astype(np.float32)),
        }

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, explore=True)

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, explore=False)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Unroll K actions, int64 [B, K], from B observations.

        Returns:
            Logits of values [B, K+1, bins], of rewards [B, K, bins] and of policies [B, K+1, A].
        """
        root = self.network.initial(batch[Columns.OBS])
        latent, values, policies, rewards = root.latent, [root.value], [root.logits], []
        for action in batch["actions"].unbind(1):
            step = self.network.recurrent(latent, action)
            # Half of the gradient, so that its size does not grow with the length of the unroll
            # (MuZero, appendix G).
            latent = 0.5 * step.latent + 0.5 * step.latent.detach()
            values.append(step.value)
            policies.append(step.logits)
            rewards.append(step.reward)
        bins = self.reward_support.bins
        empty = root.value.new_zeros(len(root.value), 0, bins)
        return {
            ROOT_VALUES: torch.stack(values, 1),
            POLICIES: torch.stack(policies, 1),
            REWARDS: torch.stack(rewards, 1) if rewards else empty,
        }


def check_actions(space: gym.Space[Any]) -> None:
    """Refuse an action space that MuZero cannot search in.

    Args:
        space: actions of an environment.

    Raises:
        SettingError: the actions are not discrete.
    """
    if not isinstance(space, gym.spaces.Discrete):
        raise SettingError(
            f"MuZero plays environments of Discrete actions; this one's are {space}. Choose a "
            'form of it with discrete actions (a grid for rates, plies for moves), or "sac" or '
            '"ppo" for continuous ones'
        )
