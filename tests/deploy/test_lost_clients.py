"""Clients that vanish, fail, or return what cannot be used; and how much memory they cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flower_clients import Grid, Steady, a_server_app  # noqa: F401
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from sysopt_gym.core.errors import SettingError
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.participants import Limits
from sysopt_gym.deploy.flower.strategy import ControllerStrategy, controller_strategy

ROUNDS, CLIENTS = 6, 5
IMPATIENT = Limits(patience_s=0.0)
Change = Callable[[Message, dict[str, Any], dict[str, Any]], None]


def terms(participants: int = CLIENTS) -> Terms:
    return Terms(ROUNDS, CLIENTS, participants, 1, 1, alpha=1.0, beta=0.1)


def validate(arrays: ArrayRecord) -> tuple[float, float]:
    loss = float((arrays["w"].numpy() ** 2).mean()) + 1.0
    return loss, 1 / loss


def client(change: Change | None = None) -> Callable[[Message], RecordDict]:
    """Goes a fifth of the way to 0 in each of its arrays, changed where wanted."""

    def train(message: Message) -> RecordDict:
        arrays = {name: 0.8 * a.numpy() for name, a in message.content["arrays"].items()}
        rate = message.content["config"].get("lr", 0.1)
        told = {"lr": rate, "train_loss": 1.0, "gradient_norm": 1.0}
        metrics: dict[str, Any] = {"num-examples": 10, **told}
        if change:
            change(message, arrays, metrics)
        record = ArrayRecord({name: Array(np.asarray(a)) for name, a in arrays.items()})
        return RecordDict({"arrays": record, "metrics": MetricRecord(metrics)})

    return train


def first() -> ArrayRecord:
    return ArrayRecord({"w": Array(np.array([3.0, -4.0])), "b": Array(np.array(2.0))})


def run(
    change: Change | None = None,
    *nodes: Iterable[int],
    participants: int = CLIENTS,
    **options: Any,
) -> tuple[ControllerStrategy, Any, Grid]:
    grid = Grid(client(change), *(nodes or (range(CLIENTS),)))
    strategy = controller_strategy(
        Steady(), terms(participants), validate, **{"fraction_evaluate": 0.0, **options}
    )
    return strategy, strategy.start(grid, first()), grid


def of(node: int) -> Callable[[Message], bool]:
    return lambda message: message.metadata.dst_node_id == node


def spoil(arrays: dict[str, Any], metrics: dict[str, Any], how: str) -> None:
    changes: dict[str, Callable[[], Any]] = {
        "nan weight": lambda: arrays.update(w=np.array([np.nan, 1.0])),
        "infinite weight": lambda: arrays.update(b=np.array(np.inf)),
        "nan loss": lambda: metrics.update(train_loss=np.nan),
        "infinite norm": lambda: metrics.update(gradient_norm=np.inf),
        "other shape": lambda: arrays.update(w=np.zeros(3)),
        "a side too many": lambda: arrays.update(b=np.zeros(1)),
        "an array less": lambda: arrays.pop("b"),
        "an array more": lambda: arrays.update(c=np.zeros(2)),
        "text": lambda: arrays.update(w=np.array(["a", "b"])),
        "no loss": lambda: metrics.pop("train_loss"),
        "no count": lambda: metrics.pop("num-examples"),
        "count below 0": lambda: metrics.update({"num-examples": -1}),
        "count nan": lambda: metrics.update({"num-examples": np.nan}),
        "count list": lambda: metrics.update({"num-examples": [1, 2]}),
        "other rate": lambda: metrics.update(lr=0.5),
        "nan rate": lambda: metrics.update(lr=np.nan),
    }
    changes[how]()


HARM = {
    "nan weight": "not finite",
    "infinite weight": "not finite",
    "nan loss": "not finite",
    "infinite norm": "not finite",
    "other shape": "'w' of shape (3,), expected (2,)",
    "a side too many": "'b' of shape (1,), expected ()",
    "an array less": "without b",
    "an array more": "with the unknown c",
    "text": "cannot be averaged",
    "no loss": "reports no train_loss",
    "no count": "reports no num-examples",
    "count below 0": "reports num-examples -1",
    "count nan": "reports num-examples nan",
    "count list": "reports no num-examples",
    "other rate": "used the rate 0.5 and was sent 0.1",
    "nan rate": "used the rate nan",
}


@pytest.mark.parametrize("how", HARM)
def test_a_client_that_returns_what_cannot_be_used_is_left_out_and_named(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        if of(3)(message):
            spoil(arrays, metrics, how)

    strategy, result, _ = run(change)
    assert HARM[how] in caplog.text and "client 3" in caplog.text
    assert sorted(result.train_metrics_clientapp) == list(range(1, ROUNDS + 1))
    np.testing.assert_allclose(result.arrays["w"].numpy(), 0.8**ROUNDS * np.array([3, -4]), 1e-4)
    assert result.arrays["b"].numpy().shape == ()
    assert not strategy.server.diverged


@pytest.mark.parametrize("how", [how for how in HARM if HARM[how] != "not finite"])
def test_a_fault_of_all_clients_ends_the_run_at_once(how: str) -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        spoil(arrays, metrics, how)

    with pytest.raises(SettingError, match="round 1: no answer can be used: ") as error:
        run(change)
    assert HARM[how] in str(error.value)


def test_numbers_that_are_finite_for_no_client_are_divergence() -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        if message.content["config"]["server-round"] == 3:
            arrays["w"] = np.full(2, np.nan)

    strategy, result, grid = run(change)
    assert strategy.server.diverged
    assert [len(sent) for sent in grid.rounds[::2]] == [5, 5, 5, 0, 0, 0]
    np.testing.assert_allclose(result.arrays["w"].numpy(), 0.64 * np.array([3, -4]), 1e-4)


def test_clients_without_examples_do_not_count(caplog: pytest.LogCaptureFixture) -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        if message.metadata.dst_node_id:
            metrics["num-examples"] = 0
            arrays["w"] = np.array([100.0, 100.0])

    _, result, _ = run(change)
    np.testing.assert_allclose(result.arrays["w"].numpy(), 0.8**ROUNDS * np.array([3, -4]), 1e-4)

    with pytest.raises(SettingError, match=r"3 rounds .* 0 usable .* 5 with num-examples 0"):
        run(lambda message, arrays, metrics: metrics.update({"num-examples": 0}))
    assert "round 2: 0 usable answers of 5, 5 with num-examples 0; the model stays" in caplog.text


def test_a_run_goes_on_with_the_clients_that_are_left(caplog: pytest.LogCaptureFixture) -> None:
    strategy, result, grid = run(None, range(5), range(3), limits=IMPATIENT)
    assert [len(sent) for sent in grid.rounds[::2]] == [5, 3, 3, 3, 3, 3]
    assert "round 2: 3 clients are connected, 5 were to train" in caplog.text
    assert len(strategy.server.history) == ROUNDS + 1
    assert sorted(result.train_metrics_clientapp) == list(range(1, ROUNDS + 1))


def test_clients_that_come_back_train_again() -> None:
    away = [range(5), range(3), [], range(4), range(5)]
    _, result, grid = run(None, *away, limits=IMPATIENT)
    assert [len(sent) for sent in grid.rounds[::2]] == [5, 3, 0, 4, 5, 5]
    assert sorted(result.train_metrics_clientapp) == [1, 2, 4, 5, 6]


def test_a_run_whose_clients_have_all_gone_ends_with_the_model_so_far() -> None:
    grid = Grid(client(), range(5), range(5), [])
    strategy = controller_strategy(
        Steady(), terms(), validate, fraction_evaluate=0.0, limits=IMPATIENT
    )
    with pytest.raises(SettingError, match=r"round 5: 3 rounds in succession .* `arrays`"):
        strategy.start(grid, first())
    np.testing.assert_allclose(strategy.arrays["w"].numpy(), 0.64 * np.array([3, -4]), 1e-4)


def test_how_many_must_answer_and_how_often_is_a_setting() -> None:
    nodes = [range(5), range(2)]
    with pytest.raises(SettingError, match=r"round 3: 2 rounds .* 2 usable answers of 2"):
        run(None, *nodes, limits=Limits(min_replies=3, patience_s=0.0, max_idle_rounds=2))
    _, result, _ = run(None, *nodes, limits=Limits(min_replies=2, patience_s=0.0))
    assert len(result.train_metrics_clientapp) == ROUNDS
    patient = Limits(min_replies=3, patience_s=0.0, max_idle_rounds=ROUNDS)
    assert len(run(None, *nodes, limits=patient)[1].train_metrics_clientapp) == 1


@pytest.mark.parametrize(
    "wrong", [{"min_replies": 0}, {"max_idle_rounds": 0}, {"patience_s": -1.0}]
)
def test_limits_that_nothing_can_meet_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="at least 1, and seconds from 0"):
        Limits(**wrong)


def test_a_single_client_trains_and_evaluates() -> None:
    """Flower's own default would wait for a second one to evaluate."""
    grid = Grid(client(), [7])
    strategy = controller_strategy(Steady(), terms(1), validate)
    result = strategy.start(grid, first())
    assert len(result.train_metrics_clientapp) == len(result.evaluate_metrics_clientapp) == ROUNDS


def test_evaluation_waits_for_nobody_and_bears_clients_without_rows() -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        if message.metadata.message_type == "evaluate":
            metrics["num-examples"] = 0

    away = [range(5), range(1)]
    _, result, grid = run(change, *away, limits=IMPATIENT, fraction_evaluate=1.0)
    assert [len(sent) for sent in grid.rounds[1::2]] == [5, 1, 1, 1, 1, 1]
    assert len(result.train_metrics_clientapp) == ROUNDS and not result.evaluate_metrics_clientapp


def test_metrics_that_only_some_clients_report_are_left_out_of_the_means() -> None:
    def change(message: Message, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics["both"] = 2.0
        if message.metadata.dst_node_id == 0:
            metrics["one"], metrics["lengths"] = 5.0, [1.0, 2.0]
        else:
            metrics["lengths"] = [1.0]

    _, result, _ = run(change)
    found = result.train_metrics_clientapp[ROUNDS]
    assert found["both"] == 2.0 and "one" not in found and "lengths" not in found


def peak_of(make: Callable[[], tuple[Any, tuple[int, ...]]], size: int) -> float:
    """Highest memory during a run with ten clients, in models of `size` float32 weights."""
    base = np.zeros(size, np.float32)

    def train(message: Message) -> RecordDict:
        rate = float(message.content["config"].get("lr", 0.1))
        told = {"lr": rate, "train_loss": 1.0, "gradient_norm": 1.0}
        arrays = ArrayRecord({"w": Array(base)})
        return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1, **told})})

    class Short(Grid):
        """Keeps no messages."""

        def send_and_receive(self, messages: Iterable[Message], **_: Any) -> list[Message]:
            return [self.answer(message) for message in messages]

    strategy, rounds = make()
    tracemalloc.start()
    strategy.start(Short(train, range(10)), ArrayRecord({"w": Array(base)}), *rounds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (4 * size)


@pytest.mark.parametrize("rules", [{}, {"server": "adam"}])
def test_a_run_needs_hardly_more_memory_than_flowers_own(rules: dict[str, Any]) -> None:
    ten = Terms(5, 10, 10, 1, 1, alpha=1.0, beta=0.1)
    size = 300_000

    def ours() -> tuple[Any, tuple[int, ...]]:
        policy = Steady(**rules)
        none = {"fraction_evaluate": 0.0}
        return controller_strategy(policy, ten, lambda arrays: (1.0, 0.5), **none), ()

    def flowers() -> tuple[Any, tuple[int, ...]]:
        return FedAvg(fraction_evaluate=0.0, min_available_nodes=10, min_train_nodes=10), (5,)

    assert peak_of(ours, size) < 1.3 * peak_of(flowers, size)
