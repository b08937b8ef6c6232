"""Use any controller or trained agent of federated_lr as a strategy of Flower.

Clients are ordinary Flower ClientApps. The config of a training message holds `lr`, `local_steps`,
`batch_size` and `local_rule`; for FedHyper's local rules, the message also holds the last global
update under "last_update". A client's metrics must hold `lr` (the rate it used), `train_loss` and
`gradient_norm` (at its first local step) beside Flower's own `num-examples`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Policy
from ...core.errors import MissingDependencyError, SettingError
from ...datasets.federated_lr.instance import Terms
from .server import Server

try:
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Message,
        MessageType,
        MetricRecord,
        RecordDict,
    )
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg, Result, Strategy
except ImportError as missing:
    raise MissingDependencyError(
        "a strategy of Flower needs flwr; install it with pip install 'sysopt-gym[flower]' (without"
        " Flower's own extra [simulation], which pins another Ray)"
    ) from missing

LAST_UPDATE = "last_update"
NEED_LAST_UPDATE = ("fedhyper", "fedhyper_cosine")
METRICS = ("lr", "train_loss", "gradient_norm")
SAME = 1e-6  # relative tolerance; a client may store its rate in float32
_LOG = logging.getLogger(__name__)
WAIT_S = 1.0  # pause between checks of which clients are connected


def controller_strategy(
    policy: Policy,
    terms: Terms,
    validate: Callable[[ArrayRecord], tuple[float, float]],
    *,
    local_rules: Collection[str] = ("sgd",),
    buffers: Collection[str] = (),
    budget: Budget | None = None,
    seed: int = 0,
    **options: Any,
) -> Strategy:
    """Make a strategy whose learning rates a policy sets, round by round.

    Args:
        policy: a controller, or a trained agent.
        terms: terms of the federation; `start` must get the same number of rounds.
        validate: the model's arrays -> loss and accuracy on rows that the server holds.
        local_rules: local rules that the clients implement, of orders.LOCAL_RULES.
        buffers: names of arrays that are not weights (BatchNorm's running statistics); like integer
            arrays, they are averaged and are not part of updates and checkpoints.
        budget: budget of the policy for the whole run; None for an hour.
        seed: seed of the policy and of the choice of participants.
        **options: keywords of Flower's FedAvg (min_available_nodes, fraction_evaluate, ...);
            fraction_train and min_train_nodes follow from terms.participants.
    """
    return ControllerStrategy(
        policy,
        terms,
        validate,
        tuple(local_rules),
        frozenset(buffers),
        budget or Budget(3600.0),
        seed,
        options,
    )


class ControllerStrategy(FedAvg):
    """Flower's FedAvg with learning rates set by a policy; see controller_strategy.

    Attributes:
        server: the run's server; its `history` is the info that the policy got. None before round
            1.
    """

    def __init__(
        self,
        policy: Policy,
        terms: Terms,
        validate: Callable[[ArrayRecord], tuple[float, float]],
        local_rules: tuple[str, ...],
        buffers: frozenset[str],
        budget: Budget,
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(
            **{
                "min_available_nodes": terms.participants,
                **options,
                "fraction_train": terms.participants / terms.clients,
                "min_train_nodes": terms.participants,
            }
        )
        self.server: Server | None = None
        self._policy, self._terms, self._validate = policy, terms, validate
        self._local_rules, self._buffers = local_rules, buffers
        self._budget, self._seed = budget, seed
        self._rng = np.random.default_rng(seed)
        self._sent: dict[str, np.ndarray] = {}

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int | None = None,
        *rest: Any,
        **named: Any,
    ) -> Result:
        """Run Flower's `start` for the number of rounds in the terms.

        Args:
            grid: Flower's connection to the clients.
            initial_arrays: the first model.
            num_rounds: None, or the terms' number of rounds.
            *rest: further arguments of Flower's `start`.
            **named: further keywords of Flower's `start`.

        Raises:
            SettingError: num_rounds is another number.
        """
        rounds = self._terms.rounds
        if num_rounds not in (None, rounds):
            raise SettingError(
                f"num_rounds is {num_rounds}, and terms told the controller of {rounds} rounds; "
                f"give Terms(rounds={num_rounds}, ...) or leave num_rounds out"
            )
        return super().start(grid, initial_arrays, rounds, *rest, **named)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Make the participants' messages with their rates; none once training has diverged.

        Args:
            server_round: number of the round, from 1.
            arrays: the model to send.
            config: further values for the clients.
            grid: Flower's connection to the clients.

        Raises:
            SettingError: the policy orders a local rule that the clients do not implement.
        """
        self._sent = {name: array.numpy() for name, array in arrays.items()}
        if server_round == 1:
            self._begin()
        server = self._running()
        if server.diverged:
            return []
        rule = server.local_rule
        if rule not in self._local_rules:
            raise SettingError(
                f"round {server_round}: the controller wants the local rule {rule!r}; clients know "
                f"{', '.join(self._local_rules)}. Choose another controller, or teach the clients "
                "and name the rule in local_rules"
            )
        terms = self._terms
        orders: dict[str, Any] = {
            "server-round": server_round,
            "lr": server.beta,
            "local_steps": terms.local_steps,
            "batch_size": terms.batch_size,
            "local_rule": rule,
        }
        content = RecordDict(
            {
                self.arrayrecord_key: arrays,
                self.configrecord_key: ConfigRecord({**config, **orders}),
            }
        )
        if rule in NEED_LAST_UPDATE:
            content[LAST_UPDATE] = _record(self._shaped(server.last_update))
        return [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN)
            for node in self._sample(grid)
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Make the next model as the policy orders.

        Args:
            server_round: number of the round, from 1.
            replies: the participants' messages.

        Returns:
            The model, or None to leave it as it was (no replies, or training diverged); and the
            participants' mean metrics with `alpha`, `validation_loss` and `validation_accuracy`. A
            round without replies is not a step of the policy.

        Raises:
            SettingError: a client's reply lacks a metric or an array, or it used another rate.
        """
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        if not valid:
            return None, None
        server = self._running()
        answers = [self._read(message, server.beta) for message in valid]
        trained = np.stack([self._flat(arrays) for arrays, _ in answers])
        losses, norms = (
            np.array([metrics[name] for _, metrics in answers])
            for name in ("train_loss", "gradient_norm")
        )
        metrics = self.train_metrics_aggr_fn(
            [message.content for message in valid], self.weighted_by_key
        )
        arrays_before = self._sent
        self._sent = {
            name: array if self._is_weight(name) else _mean(name, array, answers)
            for name, array in arrays_before.items()
        }
        if not server.receive(self._flat(arrays_before), trained, losses, norms):
            _LOG.warning(
                "round %d: training diverged (alpha %g, lr %g); the model stays as it was and "
                "nobody trains any more",
                server_round,
                server.alpha,
                answers[0][1]["lr"],
            )
            return None, metrics
        metrics["alpha"] = server.alpha
        metrics["validation_loss"], metrics["validation_accuracy"] = server.validation
        return _record(self._sent | self._shaped(server.weights)), metrics

    def _begin(self) -> None:
        self._rng = np.random.default_rng(self._seed)
        self.server = Server(
            self._policy,
            self._terms,
            self._flat(self._sent),
            self._validated,
            self._budget,
            self._seed,
        )

    def _running(self) -> Server:
        if self.server is None:
            raise SettingError("the strategy has not begun; call start, or configure_train(1, ...)")
        return self.server

    def _sample(self, grid: Grid) -> list[int]:
        """Choose the round's participants, once enough clients are connected."""
        needed = max(self.min_available_nodes, self._terms.participants)
        while len(nodes := sorted(grid.get_node_ids())) < needed:
            time.sleep(WAIT_S)
        chosen = self._rng.choice(len(nodes), self._terms.participants, replace=False)
        return [nodes[row] for row in chosen]

    def _read(
        self, message: Message, beta: float
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the arrays and metrics of a client's reply; `beta` is the rate it was sent."""
        client = f"client {message.metadata.src_node_id}"
        (record,) = message.content.array_records.values()
        (metrics,) = message.content.metric_records.values()
        lacking = [name for name in METRICS if not isinstance(metrics.get(name), int | float)]
        if lacking:
            raise SettingError(
                f"{client} reports no {', '.join(lacking)}; let it put {', '.join(METRICS)} into "
                "its metrics: the rate used, and loss and norm of the gradient at its first local "
                "step"
            )
        numbers = {name: float(cast(float, metrics[name])) for name in METRICS}
        if not abs(numbers["lr"] - beta) <= SAME * beta:
            raise SettingError(
                f"{client} used the rate {numbers['lr']:g} and was sent {beta:g}; let it read "
                'config["lr"] in every round'
            )
        arrays = {name: array.numpy() for name, array in record.items()}
        shapes, expected = ({n: a.shape for n, a in kept.items()} for kept in (arrays, self._sent))
        if shapes != expected:
            raise SettingError(
                f"{client} returned arrays {shapes}, expected {expected}; let it return the model "
                "that it was sent, trained"
            )
        return arrays, numbers

    def _validated(self, weights: np.ndarray) -> tuple[float, float]:
        return self._validate(_record(self._sent | self._shaped(weights)))

    def _is_weight(self, name: str) -> bool:
        return name not in self._buffers and self._sent[name].dtype.kind == "f"

    def _flat(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Concatenate the weights among the arrays, float64 [P]."""
        parts = [arrays[name].ravel() for name in self._sent if self._is_weight(name)]
        return np.concatenate(parts).astype(np.float64)

    def _shaped(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Split weights [P] into the model's arrays, in their own precision."""
        shaped, at = {}, 0
        for name, array in self._sent.items():
            if self._is_weight(name):
                part = flat[at : at + array.size]
                shaped[name] = part.reshape(array.shape).astype(array.dtype)
                at += array.size
        return shaped


def _mean(
    name: str, like: np.ndarray, answers: list[tuple[dict[str, np.ndarray], dict[str, float]]]
) -> np.ndarray:
    """Average a buffer over the clients, in the type of the array sent."""
    mean = np.mean([arrays[name] for arrays, _ in answers], axis=0)
    whole = like.dtype.kind != "f"
    return np.asarray(np.rint(mean) if whole else mean).astype(like.dtype)


def _record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in arrays.items()})
