"""Server of a real federation whose learning rates a controller sets.

The controller gets the observations that the environment would give, and its orders have the
effects they have there; the caller sends the weights to its clients and returns what they trained
(strategy.py does so with Flower).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Policy
from ...core.errors import IllegalActionError, SettingError
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Terms
from ...envs.base import Observation
from ...envs.federated_lr.objective import score
from ...envs.federated_lr.observation import Observer
from ...envs.federated_lr.orders import (
    ALPHA,
    BETA,
    CHECKPOINT,
    KEEP,
    LOCAL,
    LOCAL_RULES,
    RETURN,
    SERVER,
    SERVER_RULES,
    SIZES,
    rate_of,
)
from ...envs.federated_lr.server_rules import server_step
from ...envs.federated_lr.statistics import blank

Validate = Callable[[np.ndarray], tuple[float, float]]
_LANE = np.array([0])


@dataclass(slots=True)
class _Model:
    """State that a checkpoint keeps, float64 [P] each.

    Attributes:
        weights: weights of the model.
        update: mean update of the last round, not applied yet.
        last: the update applied last.
        m, v: the server rule's first and second moments.
    """

    weights: np.ndarray
    update: np.ndarray
    last: np.ndarray
    m: np.ndarray
    v: np.ndarray


class Server:
    """One run of a federation under a controller.

    Attributes:
        history: the info that the controller got at each step; the last entry belongs to the update
            that is not applied yet.
        local_rule: rule of the clients' local steps in the next round.
    """

    def __init__(
        self,
        policy: Policy,
        terms: Terms,
        weights: np.ndarray,
        validate: Validate,
        budget: Budget,
        seed: int,
    ) -> None:
        """Evaluate the first model and ask the controller for its first order.

        Args:
            policy: the controller or agent.
            terms: passed to the policy's `reset`.
            weights: float [P]; weights of the first model.
            validate: weights float64 [P] -> loss and accuracy on rows that the server holds.
            budget: budget of the controller for the whole run.
            seed: seed of the controller.

        Raises:
            SettingError: the first model's loss is not finite.
            IllegalActionError: the controller's first order is malformed.
        """
        self._policy, self._validate = policy, validate
        weights = np.array(weights, np.float64)
        self._now = _Model(weights, *(np.zeros_like(weights) for _ in range(4)))
        self._kept = copy.deepcopy(self._now)
        loss, accuracy = validate(weights)
        if not np.isfinite(loss):
            raise SettingError(
                f"the first model's validation loss is {loss}; give weights it is finite for"
            )
        s = self._statistics = blank(1)
        s.rounds[:], s.alpha[:], s.beta[:] = terms.rounds, terms.alpha, terms.beta
        s.initial_loss[:] = s.validation_loss[:] = s.train_loss[:] = loss
        s.validation_accuracy[:] = accuracy
        self._observer = Observer(1)
        self._observer.begin(s, _LANE)
        self.local_rule = LOCAL_RULES[0]
        self.history: list[dict[str, Any]] = []
        policy.reset(terms, budget, seed)
        self._obey(self._asked())

    @property
    def weights(self) -> np.ndarray:
        """Current weights of the model, float64 [P]."""
        return self._now.weights

    @property
    def last_update(self) -> np.ndarray:
        """Update applied last, which FedHyper's clients need, float64 [P]; 0 at first."""
        return self._now.last

    @property
    def alpha(self) -> float:
        """Server learning rate in the last order."""
        return float(self._statistics.alpha[0])

    @property
    def beta(self) -> float:
        """Client learning rate for the next round."""
        return float(self._statistics.beta[0])

    @property
    def validation(self) -> tuple[float, float]:
        """Current validation loss and accuracy of the model, as the environment reports them."""
        s = self._statistics
        return float(s.validation_loss[0]), float(s.validation_accuracy[0])

    @property
    def diverged(self) -> bool:
        """Whether training has diverged; then it has ended."""
        return bool(self._statistics.diverged[0])

    def receive(
        self,
        sent: np.ndarray,
        trained: np.ndarray,
        losses: np.ndarray,
        gradient_norms: np.ndarray,
    ) -> bool:
        """Process the clients' results of a round: get the controller's order and apply it.

        Args:
            sent: float [P]; the weights that the clients started from.
            trained: float [M, P]; the weights that each of M clients returned.
            losses: float [M]; loss of each client at its first local step.
            gradient_norms: float [M]; gradient norm of each client at its first local step.

        Returns:
            False if training diverged; the model then stays the last one before that.

        Raises:
            IllegalActionError: the controller's order is malformed.
        """
        s, now = self._statistics, self._now
        now.weights = np.array(sent, np.float64)
        s.step += 1
        with np.errstate(over="ignore", invalid="ignore"):
            moved = trained - now.weights
            now.update = moved.mean(axis=0)
            s.trained(
                _LANE,
                np.array([np.mean(losses)]),
                np.array([np.mean(gradient_norms)]),
                np.array([np.linalg.norm(now.update)]),
                np.array([(moved**2).sum(axis=1).mean()]),
                np.array([now.update @ now.last]),
                np.array([np.linalg.norm(now.last)]),
            )
        if self.diverged:
            return False
        self._observer.look(s, _LANE)
        order = self._asked()
        self._obey(order)
        return self._apply(SERVER_RULES[order[SERVER]])

    def _asked(self) -> np.ndarray:
        """Ask the controller for its order at this step.

        Raises:
            IllegalActionError: the order is malformed.
        """
        row = self._statistics.row(0)
        accuracies = [past["validation_accuracy"] for past in (*self.history, row)][2:]
        objective = score("final_accuracy", np.array(accuracies), row["rounds"], 0.0)
        self.history.append(row | {"objective": objective, "feasible": False})
        observation: Observation = {"rounds": self._observer.rounds[0].copy()}
        order = np.asarray(self._policy.act(observation, self.history[-1]))
        whole = order.shape == (len(SIZES),) and order.dtype.kind in "iu"
        if not whole or (order < 0).any() or (order >= SIZES).any():
            raise IllegalActionError(
                f"step {row['step']}: {order.tolist()} is no order; give {len(SIZES)} whole "
                f"numbers from 0, below {SIZES}, as orders.order makes them"
            )
        return order

    def _obey(self, order: np.ndarray) -> None:
        """Set the order's rates and local rule, and save or restore the checkpoint."""
        self._statistics.alpha[:] = rate_of(int(order[ALPHA]), ALPHA_RANGE)
        self._statistics.beta[:] = rate_of(int(order[BETA]), BETA_RANGE)
        self.local_rule = LOCAL_RULES[order[LOCAL]]
        if order[CHECKPOINT] == KEEP:
            self._kept = copy.deepcopy(self._now)
        elif order[CHECKPOINT] == RETURN:
            self._now = copy.deepcopy(self._kept)

    def _apply(self, rule: str) -> bool:
        """Apply the update by a server rule; if the model diverges, leave it and return False."""
        now = self._now
        weights = now.weights + server_step(rule, self.alpha, now.update, now.m, now.v)
        loss, accuracy = self._validate(weights)
        self._statistics.validated(_LANE, np.array([loss]), np.array([accuracy]))
        if self.diverged:
            return False
        now.weights, now.last = weights, now.update
        return True
