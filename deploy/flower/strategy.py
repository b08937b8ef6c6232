"""Use any controller or trained agent of federated_lr as a strategy of Flower.

Clients are ordinary Flower ClientApps. The config of a training message holds `lr`, `local_steps`,
`batch_size` and `local_rule`; for FedHyper's local rules, the message also holds the last global
update under "last_update". A client's metrics must hold `lr` (the rate it used), `train_loss` and
`gradient_norm` (at its first local step) beside Flower's own `num-examples`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Policy
from ...core.errors import MissingDependencyError, SettingError
from ...datasets.federated_lr.instance import Terms
from . import MISSING
from .arrays import Layout, MeanOfOthers, layout_of
from .participants import Limits, Participants
from .replies import Answer, alike_metrics, read_answer
from .server import Mean, Others, Server

try:
    from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg, Result
except ImportError as missing:
    raise MissingDependencyError(MISSING) from missing

LAST_UPDATE = "last_update"
NEED_LAST_UPDATE = ("fedhyper", "fedhyper_cosine")
FOLLOW = ("fraction_train", "min_train_nodes")  # options of Flower's that follow from the terms
_LOG = logging.getLogger("flwr.sysopt_gym")  # below Flower's, so that its console shows it


def controller_strategy(
    policy: Policy,
    terms: Terms,
    validate: Callable[[ArrayRecord], tuple[float, float]],
    *,
    local_rules: Collection[str] = ("sgd",),
    buffers: Collection[str | int] = (),
    equal_weights: bool = False,
    limits: Limits | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    **options: Any,
) -> ControllerStrategy:
    """Make a strategy whose learning rates a policy sets, round by round.

    Args:
        policy: a controller, or a trained agent.
        terms: terms of the federation; `start` must get the same number of rounds.
        validate: the model's arrays -> loss and accuracy on rows that the server holds.
        local_rules: local rules that the clients implement, of orders.LOCAL_RULES.
        buffers: arrays that are not weights, by name or by place from 0, beside those that are
            recognized (whole numbers, running statistics of normalization layers): they are
            averaged, and no rate touches them.
        equal_weights: whether every client counts the same; else by its metric `num-examples`, as
            in Flower's strategies.
        limits: how long the run bears with clients that are not there; None for the defaults.
        budget: budget of the policy for the whole run; None for an hour.
        seed: seed of the policy and of the choice of participants.
        **options: keywords of Flower's FedAvg (min_available_nodes, fraction_evaluate, ...), but
            for fraction_train and min_train_nodes, which follow from terms.participants.

    Raises:
        SettingError: an option that follows from the terms.
    """
    settled = [name for name in FOLLOW if name in options]
    if settled:
        raise SettingError(
            f"{', '.join(settled)} follows from the terms; give Terms(clients=..., "
            "participants=...) and leave it out"
        )
    return ControllerStrategy(
        policy,
        terms,
        validate,
        tuple(local_rules),
        tuple(buffers),
        equal_weights,
        limits or Limits(),
        budget or Budget(3600.0),
        seed,
        options,
    )


class ControllerStrategy(FedAvg):
    """Flower's FedAvg with learning rates set by a policy; see controller_strategy.

    Attributes:
        server: the run's server; its `history` is the info that the policy got. None before round
            1.
        arrays: the model so far; None before round 1.
    """

    def __init__(
        self,
        policy: Policy,
        terms: Terms,
        validate: Callable[[ArrayRecord], tuple[float, float]],
        local_rules: tuple[str, ...],
        buffers: tuple[str | int, ...],
        equal_weights: bool,
        limits: Limits,
        budget: Budget,
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(
            **{
                "min_available_nodes": terms.participants,
                "min_evaluate_nodes": min(2, terms.participants),
                **options,
                "fraction_train": terms.participants / terms.clients,
                "min_train_nodes": terms.participants,
            }
        )
        self.server: Server | None = None
        self.arrays: ArrayRecord | None = None
        self._policy, self._terms, self._validate = policy, terms, validate
        self._local_rules, self._buffers, self._equal = local_rules, buffers, equal_weights
        self._limits, self._budget, self._seed = limits, budget, seed
        self._own_metrics = options.get("train_metrics_aggr_fn") is not None

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
            SettingError: num_rounds is another number, or too many rounds in succession had no
                usable answers; `arrays` is the model until then.
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
        if server_round == 1:
            self._begin(arrays)
        elif arrays is self.arrays and self._layout.exact:
            self._sent, self._others = self._running().weights, self._running().others
        else:  # what the clients get is the model as it was rounded, or is the caller's
            self._sent, self._others = self._layout.split(arrays)
        self.arrays = arrays
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
            content[LAST_UPDATE] = ArrayRecord(self._layout.weights(server.last_update))
        return [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN)
            for node in self._participants.to_train(grid, server_round)
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Make the next model as the policy orders.

        Answers that cannot be used (another model, a missing metric, numbers that are not finite)
        are left out with a word.

        Args:
            server_round: number of the round, from 1.
            replies: the participants' messages.

        Returns:
            The model, or None to leave it as it was (too few answers, or training diverged); and
            the participants' mean metrics with `alpha`, `validation_loss` and
            `validation_accuracy`. A round without enough answers is not a step of the policy.

        Raises:
            SettingError: no answer can be used, each for a fault of its client's code; or too many
                rounds in succession had too few.
        """
        server = self._running()
        if server.diverged:
            return None, None
        valid, _ = self._check_and_log_replies(replies, is_train=True, validate=False)
        mean, others = Mean(self._sent), MeanOfOthers(self._others)
        used: list[Answer] = []
        faults: list[str] = []
        empty = 0
        lost: Answer | None = None
        for message in valid:
            try:
                answer = read_answer(message, self._layout, server.beta, self._count_key)
                trained, other = answer.split(self._layout)
            except SettingError as fault:
                faults.append(str(fault))
                _LOG.warning("round %d: %s; it is left out", server_round, fault)
                continue
            if not answer.finite(trained, other, self._others):
                lost = answer
                _LOG.warning(
                    "round %d: client %d returned numbers that are not finite; it is left out",
                    server_round,
                    answer.client,
                )
            elif answer.weight == 0:
                empty += 1
            else:
                mean.add(trained, answer.loss, answer.gradient_norm, answer.weight)
                others.add(other, answer.weight)
                used.append(answer)
        if lost and not used:  # of all clients: this is what divergence looks like
            mean.add(lost.split(self._layout)[0], np.nan, np.nan)
        elif len(used) < self._limits.min_replies:
            if faults and len(faults) == len(valid):
                raise SettingError(f"round {server_round}: no answer can be used: {faults[0]}")
            why = f", {empty} with {self._count_key} 0" if empty else ""
            self._idle(server_round, f"{len(used)} usable answers of {len(valid)}{why}")
            return None, None
        metrics = self._mean_metrics(used or [answer for answer in (lost,) if answer])
        if not server.receive(mean, others.mean() if used else self._others):
            _LOG.warning(
                "round %d: training diverged (alpha %g, lr %g); the model stays as it was and "
                "nobody trains any more",
                server_round,
                server.alpha,
                metrics["lr"],
            )
            return None, metrics
        self._idle_rounds = 0
        metrics["alpha"] = server.alpha
        metrics["validation_loss"], metrics["validation_accuracy"] = server.validation
        self.arrays = self._validated_arrays
        return self.arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Make the evaluation's messages for clients that are connected; waits for nobody.

        Args:
            server_round: number of the round, from 1.
            arrays: the model to evaluate.
            config: further values for the clients.
            grid: Flower's connection to the clients.
        """
        if self.fraction_evaluate == 0.0:
            return []
        config["server-round"] = server_round
        record = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        nodes = self._participants.to_evaluate(
            grid, self.fraction_evaluate, self.min_evaluate_nodes
        )
        return self._construct_messages(record, nodes, MessageType.EVALUATE)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the mean of the evaluating clients' metrics; None if they have no rows.

        Args:
            server_round: number of the round, from 1.
            replies: the clients' messages.
        """
        replies = list(replies)
        try:
            return super().aggregate_evaluate(server_round, replies)
        except ZeroDivisionError:
            _LOG.warning(
                "round %d: clients evaluated no rows (%s is 0)", server_round, self.weighted_by_key
            )
            return None

    def _begin(self, arrays: ArrayRecord) -> None:
        participants, available = self._terms.participants, self.min_available_nodes
        self._participants = Participants(
            participants, max(available, participants), self._limits.patience_s, self._seed
        )
        self._idle_rounds = 0
        self._layout: Layout = layout_of(arrays, self._buffers)
        self._sent, self._others = self._layout.split(arrays)
        self.server = Server(
            self._policy,
            self._terms,
            self._sent,
            self._validated,
            self._budget,
            self._seed,
            self._others,
        )

    @property
    def _count_key(self) -> str | None:
        """Metric that an answer is weighted by; None where all count the same."""
        return None if self._equal else self.weighted_by_key

    def _running(self) -> Server:
        if self.server is None:
            raise SettingError("the strategy has not begun; call start, or configure_train(1, ...)")
        return self.server

    def _idle(self, server_round: int, why: str) -> None:
        """Note a round that is no step of the policy.

        Raises:
            SettingError: there have been too many in succession.
        """
        self._idle_rounds += 1
        _LOG.warning("round %d: %s; the model stays as it was", server_round, why)
        if self._idle_rounds >= self._limits.max_idle_rounds:
            raise SettingError(
                f"round {server_round}: {self._idle_rounds} rounds in succession had too few "
                f"answers, the last one {why}. The model until then is the strategy's `arrays`; "
                "Limits(min_replies, patience_s, max_idle_rounds) say how much a run bears"
            )

    def _mean_metrics(self, answers: list[Answer]) -> MetricRecord:
        """Return the mean of the metrics that all these clients report."""
        contents = alike_metrics(answers, self.weighted_by_key, self._own_metrics)
        return self.train_metrics_aggr_fn(contents, self.weighted_by_key)

    def _validated(self, weights: np.ndarray, others: Others) -> tuple[float, float]:
        arrays = self._validated_arrays = self._layout.record(weights, others)
        # The user's function may take the arrays out of the record it is given.
        return self._validate(ArrayRecord(dict(arrays)))
