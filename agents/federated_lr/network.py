"""The networks of federated_lr: two layers over the features of the last rounds.

They have `encode`, `logits` and `value`, as every family's network does, and `order`: what a server
is told by the likeliest action. Features have no unit, so one network serves any data and model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...envs.federated_lr.forms import order_of
from ...envs.federated_lr.grid import ACTIONS, STAY, mask_of
from ...envs.federated_lr.observation import FEATURES, HISTORY
from ...envs.federated_lr.orders import CHECKPOINTS, GO_ON, LOCAL_RULES, SERVER_RULES, SIZES
from ..network import ContextPolicy, Encoded, Observation
from ..recurrent.cell import State
from ..recurrent.gru import GRU
from ..recurrent.policy import recall

STAY_LOGIT = 2.0  # of the action that changes nothing in an untrained network; others' is about 0
FIRST_LOG_SCALE = -1.0  # of the logarithms of factors in an untrained network
# Outputs of OrderPolicy: means and log scales of both rates, then logits of the rules.
ORDER_PARTS = (4, len(SERVER_RULES), len(LOCAL_RULES), len(CHECKPOINTS))


class RatePolicy(ContextPolicy):
    """Policy and value over observations of sysopt/FederatedLR-v0 (its docstring has shapes), for
    actions of form grid.

    Args:
        width: units of both hidden layers.
    """

    FORM = "grid"
    OUTPUTS = ACTIONS

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.rounds = nn.Linear(HISTORY * len(FEATURES), width)
        self.context = nn.Linear(width, width)
        self.scores = nn.Linear(width, self.OUTPUTS)
        self.worth = nn.Linear(width, 1)
        with torch.no_grad():
            self.scores.weight *= 0.1
            self.scores.bias.zero_()
            self._begin_unchanged(self.scores.bias)

    @staticmethod
    def _begin_unchanged(bias: Tensor) -> None:
        """Let an untrained network leave the rates mostly as they are."""
        bias[STAY] = STAY_LOGIT

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations; "rounds" is float32 [B, 4, 16]."""
        seen = torch.tanh(self.rounds(obs["rounds"].float().flatten(1)))
        return Encoded(torch.tanh(self.context(seen)))

    def order(
        self, rounds: np.ndarray, alpha: float, beta: float, server: str, state: State
    ) -> np.ndarray:
        """Return the order of the likeliest action, int64 [5].

        Args:
            rounds: float32 [4, 16], as observed.
            alpha: the server's rate now.
            beta: the clients' rate now.
            server: the rule that alpha is the rate of; orders name theirs.
            state: of the memory, see recurrent.policy.begin; it is brought up to date.
        """
        action = self.likeliest(rounds, mask_of(alpha, beta), state)
        return order_of(self.FORM, action, alpha, beta, server, "policy")

    def likeliest(self, rounds: np.ndarray, mask: np.ndarray, state: State) -> Any:
        """Return the likeliest action of the form.

        Args:
            rounds: float32 [4, 16], as observed.
            mask: int8 [25]; of the actions of form grid.
            state: of the memory; it is brought up to date.
        """
        obs = {
            "rounds": torch.from_numpy(rounds[None]),
            "action_mask": torch.from_numpy(mask[None]),
        }
        with torch.inference_mode():
            encoded, after = recall(self, self.encode(obs), state)
            logits = self.logits(encoded, obs)[0]
        state.update(after)
        return self._likeliest(logits)

    @staticmethod
    def _likeliest(logits: Tensor) -> Any:
        """Return the likeliest action of the form, from the outputs for one observation."""
        return int(logits.argmax())


class RecurrentRatePolicy(RatePolicy):
    """The same with a memory of the whole episode beside the last steps; see recurrent.policy.

    Args:
        width: units of both hidden layers and of the memory.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        self.memory = GRU(width)


class LogRatePolicy(RatePolicy):
    """The same for actions of form continuous: tanh of normal variables.

    `logits` are two means and two logarithms of scales, see distributions.SquashedGaussian.
    """

    FORM = "continuous"
    OUTPUTS = 4

    @staticmethod
    def _begin_unchanged(bias: Tensor) -> None:
        bias[2:] = FIRST_LOG_SCALE

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Return means and logarithms of scales, float32 [B, 4]."""
        outputs: Tensor = self.scores(encoded.context)
        return outputs

    @staticmethod
    def _likeliest(logits: Tensor) -> np.ndarray:
        action: np.ndarray = torch.tanh(logits[:2]).numpy()
        return action


class OrderPolicy(LogRatePolicy):
    """The same for actions of form orders, whose rates are absolute.

    `logits` are what distribution.OrderDistribution is made of; server rules have their usual tau.
    """

    FORM = "orders"
    OUTPUTS = sum(ORDER_PARTS)
    distribution = ".agents.federated_lr.distribution:OrderDistribution"

    @staticmethod
    def _begin_unchanged(bias: Tensor) -> None:
        bias[2:4] = FIRST_LOG_SCALE
        bias[-len(CHECKPOINTS) + GO_ON] = STAY_LOGIT

    @staticmethod
    def _likeliest(logits: Tensor) -> np.ndarray:
        rates, *rules = torch.split(logits, list(ORDER_PARTS))
        codes = [int(code) for code in codes_of(torch.tanh(rates[:2]))]
        return np.array(codes + [int(rule.argmax()) for rule in rules], np.int64)


def codes_of(squashed: Tensor) -> Tensor:
    """Return the codes of both rates, int64 [..., 2], whose logarithms lie that far in their
    ranges.

    Args:
        squashed: float32 [..., 2] in -1..1, from the least rate to the greatest.
    """
    most = torch.tensor(SIZES[:2], dtype=torch.float64, device=squashed.device) - 1
    return ((squashed.double() + 1) / 2 * most).round().long()


def squashed_of(codes: Tensor) -> Tensor:
    """Return how far codes of both rates lie in their ranges, float32 [..., 2]; see `codes_of`."""
    most = torch.tensor(SIZES[:2], dtype=torch.float64, device=codes.device) - 1
    return (codes.double() / most * 2 - 1).float()
