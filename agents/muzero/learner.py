"""Compute MuZero's loss in an RLlib learner."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.metrics import TD_ERROR_KEY
from torch import Tensor

from ..network import MASKED
from .module import POLICIES, REWARDS, ROOT_VALUES, MuZeroModule
from .networks import mask_of


class MuZeroLearner(TorchLearner):
    """Learner of MuZero: cross-entropy of policies to the searches', of values and rewards to
    targets.
    """

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        """Return the mean loss over the batch, weighted; log the values' errors as new priorities.

        Args:
            module_id: the module in RLlib's MultiRLModule.
            config: the MuZeroConfig.
            batch: tensors of replay.batch_of: observations of B steps, their targets and weights.
            fwd_out: logits of MuZeroModule._forward_train: values [B, K+1, bins], rewards [B, K,
                bins] and policies [B, K+1, A].

        Returns:
            float32 [].
        """
        module = self.module[module_id].unwrapped()
        losses = losses_of(module, config.value_coeff, batch, fwd_out)
        weights = batch["weights"]
        total: Tensor = (weights * torch.stack(list(losses.values())).sum(0)).mean()
        with torch.no_grad():
            guess = module.value_support.expected(fwd_out[ROOT_VALUES][:, 0])
            error = (guess - batch["values"][:, 0]).abs()
            target = batch["policies"][:, 0]
            entropy = -(target * target.clamp(min=1e-12).log()).sum(-1).mean()
        self.metrics.log_value((module_id, TD_ERROR_KEY), error, reduce="item_series")
        logged = {key: loss.mean() for key, loss in losses.items()}
        logged |= {"value_error": error.mean(), "target_entropy": entropy}
        self.metrics.log_dict(logged, key=module_id, window=1)
        return total


def losses_of(
    module: MuZeroModule,
    value_coeff: float,
    batch: dict[str, Any],
    fwd_out: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the parts of the loss of each step learned from, by name, float32 [B].

    Args:
        module: the module that computed `fwd_out`.
        value_coeff: weight of the value's part.
        batch: tensors of replay.batch_of: observations of B steps, and their targets.
        fwd_out: logits of MuZeroModule._forward_train.
    """
    policies = fwd_out[POLICIES]
    legal = mask_of(batch[Columns.OBS])
    if legal is not None:
        # Only the first observation has a mask; the latent states after it learn theirs.
        first = policies[:, :1].masked_fill(~legal.unsqueeze(1), MASKED)
        policies = torch.cat([first, policies[:, 1:]], dim=1)
    by_policy = -(batch["policies"] * policies.log_softmax(-1)).sum(-1) * batch["policy_mask"]
    by_value = module.value_support.loss(fwd_out[ROOT_VALUES], batch["values"])
    by_value = by_value * batch["value_mask"]
    by_reward = module.reward_support.loss(fwd_out[REWARDS], batch["rewards"])
    by_reward = by_reward * batch["reward_mask"]
    unrolled = max(1, batch["actions"].shape[1])
    return {
        "policy_loss": _over_steps(by_policy, unrolled),
        "value_loss": value_coeff * _over_steps(by_value, unrolled),
        "reward_loss": by_reward.sum(1) / unrolled,
    }


def _over_steps(losses: Tensor, unrolled: int) -> Tensor:
    """Add the mean of the later steps' losses to the first's (MuZero, appendix G).

    Args:
        losses: float32 [B, K+1].
        unrolled: K, or 1 if K is 0.

    Returns:
        float32 [B].
    """
    return losses[:, 0] + losses[:, 1:].sum(1) / unrolled
