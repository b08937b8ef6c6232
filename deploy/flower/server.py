"""Server of a real federation whose learning rates a controller sets.

The controller gets the observations that the environment would give, and its orders have the
effects they have there; the caller sends the weights to its clients and adds up what they trained
(strategy.py does so with Flower). Vectors of weights are float32 where the model is; what is
summed over them is summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    SIZES,
    rate_of,
    server_of,
)
from ...envs.federated_lr.server_rules import server_step
from ...envs.federated_lr.statistics import blank

Others = Mapping[str, np.ndarray]  # arrays of a model that are no weights, by name
Validate = Callable[[np.ndarray, Others], tuple[float, float]]
CHUNK = 1 << 18  # numbers stepped or summed at a time, so that no second model is needed for it
_LANE = np.array([0])


@dataclass(slots=True)
class Mean:
    """Weighted mean of a round's answers, to which the clients' are added one after the other.

    Attributes:
        sent: weights that the clients started from, [P].
        count: answers so far; total: the sum of their weights.
        moved: weighted sum of the clients' updates, [P]; None at first.
        square: weighted sum of these updates' squared norms.
        loss, gradient_norm: weighted sums of what clients report of their first local step.
    """

    sent: np.ndarray
    count: int = 0
    total: float = 0.0
    moved: np.ndarray | None = None
    square: float = 0.0
    loss: float = 0.0
    gradient_norm: float = 0.0

    def add(
        self, trained: np.ndarray, loss: float, gradient_norm: float, weight: float = 1.0
    ) -> None:
        """Add an answer.

        Args:
            trained: the weights that the client returned, [P].
            loss: of the client at its first local step.
            gradient_norm: the same.
            weight: of the answer in the mean; above 0.
        """
        self.count += 1
        self.total += weight
        self.loss += weight * loss
        self.gradient_norm += weight * gradient_norm
        if self.moved is None:
            self.moved = np.zeros_like(self.sent)
        with np.errstate(over="ignore", invalid="ignore"):
            for some in _chunks(len(self.sent)):
                moved = np.subtract(trained[some], self.sent[some], dtype=self.sent.dtype)
                self.square += weight * _dot(moved, moved)
                self.moved[some] += weight * moved

    def update(self) -> np.ndarray:
        """Return the mean update, [P]; the sum is used up."""
        assert self.moved is not None
        with np.errstate(over="ignore", invalid="ignore"):
            self.moved /= self.total
        return self.moved


@dataclass(slots=True)
class _Model:
    """State that a checkpoint keeps.

    Vectors are replaced, never changed in place, but for the moments.

    Attributes:
        weights: weights of the model, [P].
        update: mean update of the last round, not applied yet, [P]; None before the first.
        last: the update applied last, [P]; None before the first.
        m, v: the server rule's first and second moments, [P]; None before a rule needs them.
        others: the model's other arrays, by name.
    """

    weights: np.ndarray
    update: np.ndarray | None = None
    last: np.ndarray | None = None
    m: np.ndarray | None = None
    v: np.ndarray | None = None
    others: Others = field(default_factory=dict)

    def copy(self) -> _Model:
        """Return a copy whose moments are its own."""
        m, v = (None if part is None else part.copy() for part in (self.m, self.v))
        return replace(self, m=m, v=v)


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
        others: Others | None = None,
    ) -> None:
        """Evaluate the first model and ask the controller for its first order.

        Args:
            policy: the controller or agent.
            terms: passed to the policy's `reset`.
            weights: float32 or float64 [P]; weights of the first model.
            validate: weights [P] and other arrays -> loss and accuracy on rows that the server
                holds.
            budget: budget of the controller for the whole run.
            seed: seed of the controller.
            others: the first model's other arrays, by name.

        Raises:
            SettingError: the first model's loss is not finite.
            IllegalActionError: the controller's first order is malformed.
        """
        self._policy, self._validate = policy, validate
        self._now = _Model(np.asarray(weights), others=others or {})
        self._kept = self._now.copy()
        loss, accuracy = validate(self._now.weights, self._now.others)
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
        """Current weights of the model, [P]."""
        return self._now.weights

    @property
    def others(self) -> Others:
        """The model's other arrays now, by name."""
        return self._now.others

    @property
    def last_update(self) -> np.ndarray:
        """Update applied last, which FedHyper's clients need, [P]; 0 at first."""
        return np.zeros_like(self.weights) if self._now.last is None else self._now.last

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

    def receive(self, answers: Mean, others: Others | None = None) -> bool:
        """Process the clients' results of a round: get the controller's order and apply it.

        Args:
            answers: the round's mean, of at least one client.
            others: mean of the model's other arrays, by name.

        Returns:
            False if training diverged; the model then stays the last one before that.

        Raises:
            IllegalActionError: the controller's order is malformed.
        """
        s, now = self._statistics, self._now
        s.step += 1
        update = answers.update()
        products = [0.0, 0.0, 0.0]
        with np.errstate(over="ignore", invalid="ignore"):
            products[0] = _dot(update, update)
            if now.last is not None:
                products[1:] = _dot(update, now.last), _dot(now.last, now.last)
            square, inner, last_square = (np.array([number]) for number in products)
            total = answers.total
            s.trained(
                _LANE,
                np.array([answers.loss / total]),
                np.array([answers.gradient_norm / total]),
                np.sqrt(square),
                np.array([answers.square / total]),
                inner,
                np.sqrt(last_square),
            )
        if self.diverged:
            return False
        now.weights, now.update, now.others = answers.sent, update, others or {}
        self._observer.look(s, _LANE)
        order = self._asked()
        self._obey(order)
        return self._apply(*server_of(int(order[SERVER])))

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
            self._kept = self._now.copy()
        elif order[CHECKPOINT] == RETURN:
            self._now = self._kept.copy()

    def _apply(self, rule: str, tau: float) -> bool:
        """Apply the update by a server rule; if the model diverges, leave it and return False."""
        now, turn = self._now, int(self._statistics.step[0])
        update = np.zeros_like(now.weights) if now.update is None else now.update
        if rule != "average":
            now.m = np.zeros_like(update) if now.m is None else now.m
            now.v = np.zeros_like(update) if now.v is None else now.v
        weights = np.empty_like(now.weights)
        with np.errstate(over="ignore", invalid="ignore"):
            for some in _chunks(len(weights)):
                m, v = (None if part is None else part[some] for part in (now.m, now.v))
                step = server_step(rule, self.alpha, update[some], m, v, tau, turn)
                weights[some] = now.weights[some] + step
        loss, accuracy = self._validate(weights, now.others)
        self._statistics.validated(_LANE, np.array([loss]), np.array([accuracy]))
        if self.diverged:
            return False
        now.weights, now.last = weights, update
        return True


def _chunks(size: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, size, CHUNK)]


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Return the inner product of two vectors [P], summed in float64."""
    return sum(float(a[some].astype(np.float64) @ b[some]) for some in _chunks(len(a)))
