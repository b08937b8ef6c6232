"""The player of policies whose recipe names no agent: the likeliest legal action, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.budget import Budget
from ..core.errors import CheckpointError
from ..core.registry import load_problem
from .batches import stack
from .checkpoints import Policy, default_form, kept_by_content, open_policy
from .recurrent.policy import begin, recall

open_once = kept_by_content(open_policy)


class LikeliestActions:
    """Plays a policy closed loop, in the environment whose actions are the rows of a plan.

    A policy of another form of the environment needs an agent of its own, which turns what the
    network says into such actions: `Recipe.player` names it.

    Args:
        policy: the folder of the policy, see checkpoints.save_policy.
    """

    def __init__(self, policy: Path) -> None:
        torch.set_num_threads(1)
        self.network: Any = open_once(policy).network.eval()

    def reset(self, instance: Any, budget: Budget, seed: int) -> None:
        """Begin an episode.

        Args:
            instance: not read; observations tell everything.
            budget: not read; an action takes milliseconds.
            seed: not read; the same observations give the same actions.
        """
        self.state = begin(self.network)

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the action whose logit is the highest.

        Args:
            observation: the environment's, with "action_mask".
            info: not read.
        """
        obs = stack([dict(observation)])
        with torch.inference_mode():
            encoded, self.state = recall(self.network, self.network.encode(obs), self.state)
            return int(self.network.logits(encoded, obs).argmax())


def check_playable(folder: Path, policy: Policy) -> None:
    """Refuse policies that LikeliestActions cannot play.

    Args:
        folder: the policy's, for error messages.
        policy: the policy.

    Raises:
        CheckpointError: it acts in another form of the environment than plans are in, or its
            network has no logits.
    """
    family = policy.card.family
    arguments = load_problem(family).env_arguments
    planned = arguments.get("form", default_form(family))
    if policy.form != planned:
        raise CheckpointError(
            f"{folder}: a policy that acts in form {policy.form} of {family}, which no agent turns "
            f"into plans; train one in form {planned}, or name an agent in Recipe.player"
        )
    if not hasattr(policy.network, "encode") or not hasattr(policy.network, "logits"):
        raise CheckpointError(
            f"{folder}: {type(policy.network).__name__} has no encode and logits; name the agent "
            "that plays such policies in Recipe.player"
        )
