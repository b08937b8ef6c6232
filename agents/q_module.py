"""Wrap a family's policy network as an RLlib module of Q values over masked actions, for DQN.

The network's logits are the actions' advantages and its value is the state's, so that
Q(s, a) = V(s) + A(s, a) - the mean of A(s, .) over the legal actions (Wang et al. 2016, eq. 9). The
greedy action is then the likeliest of the network as a policy, and a policy trained otherwise is
where DQN may start.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import QNetAPI
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import Tensor

from ..core.errors import SettingError
from .network import MASKED
from .rl_module import NetworkModule, reaching_all

QF_PREDS, QF_NEXT_PREDS = "qf_preds", "qf_next_preds"
QF_TARGET_NEXT_PREDS = "qf_target_next_preds"


class QModule(NetworkModule, QNetAPI):
    """RLlib module that plays epsilon-greedily among the legal actions by Q values.

    `model_config` is NetworkModule's; DQN adds its own settings `double_q`, `dueling`, `epsilon`
    and `num_atoms`. Without `dueling`, the logits themselves are the Q values.
    """

    def setup(self) -> None:
        """Build the family's network.

        Raises:
            SettingError: the algorithm is not DQN, or learns distributions of returns.
        """
        if "double_q" not in self.model_config:
            raise SettingError("QModule serves DQN; give PolicyModule to the other algorithms")
        if self.model_config["num_atoms"] > 1:
            raise SettingError(
                f"num_atoms is {self.model_config['num_atoms']}: QModule predicts mean returns, "
                "no distributions; leave num_atoms at 1"
            )
        super().setup()
        self.epsilon = Scheduler(self.model_config["epsilon"], framework=self.framework)

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the Q values, float32 [B, A]; MASKED for illegal actions.

        Args:
            batch: RLlib's batch of B observations.
        """
        return {QF_PREDS: self._q_values(self.network, batch[Columns.OBS])}

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the Q values of the network's slow copy, float32 [B, A].

        Args:
            batch: RLlib's batch of B observations.
        """
        return {QF_PREDS: self._q_values(self.target, batch[Columns.OBS])}

    def _q_values(self, network: Any, observation: dict[str, Tensor]) -> Tensor:
        encoded = network.encode(observation)
        advantages: Tensor = network.logits(encoded, observation)
        if not self.model_config["dueling"]:
            return advantages
        legal = _legal(advantages)
        mean = (advantages * legal).sum(-1) / legal.sum(-1).clamp(min=1)
        values = advantages + (network.value(encoded) - mean).unsqueeze(-1)
        return torch.where(legal, values, torch.full_like(values, MASKED))

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        with torch.no_grad():
            return {Columns.ACTION_DIST_INPUTS: self.compute_q_values(batch)[QF_PREDS]}

    def _forward_exploration(self, batch: dict[str, Any], t: int, **kwargs: Any) -> dict[str, Any]:
        with torch.no_grad():
            values = self.compute_q_values(batch)[QF_PREDS]
        self.epsilon.update(t)
        legal = _legal(values)
        # A lane that is about to be reset ignores its action, and may have none that is legal.
        choices = (legal | ~legal.any(-1, keepdim=True)).float()
        drawn = torch.multinomial(choices, 1).squeeze(-1)
        explores = torch.rand(len(values), device=values.device) < self.epsilon.get_current_value()
        return {Columns.ACTIONS: torch.where(explores, drawn, values.argmax(-1))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        seen = {Columns.OBS: batch[Columns.OBS]}
        following = {Columns.OBS: batch[Columns.NEXT_OBS]}
        predictions = {
            QF_PREDS: reaching_all(self.compute_q_values(seen)[QF_PREDS], self.network),
            QF_TARGET_NEXT_PREDS: self.forward_target(following)[QF_PREDS],
        }
        if self.model_config["double_q"]:
            with torch.no_grad():
                predictions[QF_NEXT_PREDS] = self.compute_q_values(following)[QF_PREDS]
        return predictions


def _legal(values: Tensor) -> Tensor:
    """Return which actions are legal, bool [B, A]: those whose value is not MASKED."""
    return values > MASKED / 2
