"""The strategy of Flower, with clients in this process; see test_flower_run.py for a real run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flower_clients import Grid, Steady, a_server_app  # noqa: F401
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    Strategy,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import MissingDependencyError, SettingError
from sysopt_gym.core.registry import contender_names, load_contender
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.strategy import controller_strategy
from sysopt_gym.envs.federated_lr.orders import LOCAL_RULES
from sysopt_gym.solvers.federated_lr import fixed

TERMS = Terms(rounds=3, clients=3, participants=3, local_steps=2, batch_size=8, alpha=1.0, beta=0.1)
TARGETS = np.array([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0], [0.0, -2.0, 2.0]])  # one a client
Client = Callable[[Message], dict[str, Any]]


def descend(message: Message) -> dict[str, Any]:
    """A client that goes towards its own target, as it is told."""
    config = message.content["config"]
    weights = {name: array.numpy() for name, array in message.content["arrays"].items()}
    w = weights["w"].copy()
    goal = TARGETS[message.metadata.dst_node_id]
    first = w - goal
    for _ in range(int(config.get("local_steps", 2))):
        w -= config.get("lr", 0.1) * (w - goal)
    return {
        "arrays": {**weights, "w": w},
        "metrics": {
            "num-examples": 10,
            "lr": config.get("lr", 0.1),
            "train_loss": float(first @ first / 2),
            "gradient_norm": float(np.linalg.norm(first)),
        },
    }


class LocalGrid(Grid):
    """Hands messages to a client function that returns plain dicts."""

    def __init__(self, client: Client = descend, nodes: int = 3) -> None:
        super().__init__(lambda message: self.packed(client(message)), range(nodes))

    def packed(self, said: dict[str, Any]) -> RecordDict | str:
        if "error" in said:
            return str(said["error"])
        arrays = ArrayRecord({n: Array(np.asarray(a)) for n, a in said["arrays"].items()})
        return RecordDict({"arrays": arrays, "metrics": MetricRecord(said["metrics"])})


def validate(arrays: ArrayRecord) -> tuple[float, float]:
    w = arrays["w"].numpy().astype(float)
    with np.errstate(over="ignore"):
        loss = float(((w - TARGETS) ** 2).mean())
    return loss, 1 / (1 + loss)


def first_model(**more: np.ndarray) -> ArrayRecord:
    arrays = {"w": np.array([5.0, -5.0, 5.0]), **more}
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def strategy(policy: Any = None, **options: Any) -> Any:
    options = {"fraction_evaluate": 0.0, **options}
    terms = options.pop("terms", TERMS)
    return controller_strategy(policy or Steady(), terms, validate, **options)


def changed(**metrics: Any) -> Client:
    """A client whose metrics differ in this; None leaves one out."""

    def client(message: Message) -> dict[str, Any]:
        said = descend(message)
        merged = said["metrics"] | metrics
        return said | {"metrics": {k: v for k, v in merged.items() if v is not None}}

    return client


def weights_after(strategy: Strategy, rounds: int = 3) -> np.ndarray:
    return strategy.start(LocalGrid(), first_model(), rounds).arrays["w"].numpy()


LONG = 50
FLOWERS = {"fraction_evaluate": 0.0, "min_available_nodes": 3, "min_train_nodes": 3}
ETA = {"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
SAME_AS_FLOWER: dict[str, tuple[Any, Callable[[], Strategy]]] = {
    "fedavg": (fixed.fedavg(), lambda: FedAvg(**FLOWERS)),
    "fedavgm": (
        fixed.fedavgm(),
        lambda: FedAvgM(server_learning_rate=1.0, server_momentum=0.9, **FLOWERS),
    ),
    "fedadagrad": (fixed.fedadagrad(), lambda: FedAdagrad(**FLOWERS)),
    "fedadam": (fixed.fedadam_flower(), lambda: FedAdam(**FLOWERS)),
    "fedyogi": (fixed.fedyogi_flower(), lambda: FedYogi(**FLOWERS)),
    "fedadagrad, settings": (
        fixed.fedadagrad(eta=1.0, tau=1e-2), lambda: FedAdagrad(eta=1.0, tau=1e-2, **FLOWERS)
    ),
    "fedadam, settings": (
        fixed.fedadam_flower(eta=0.01, tau=1e-9), lambda: FedAdam(eta=0.01, tau=1e-9, **FLOWERS)
    ),
    "fedyogi, settings": (
        fixed.fedyogi(tau=1e-5), lambda: FedYogi(eta=0.1, tau=1e-5, **FLOWERS)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_AS_FLOWER)
@pytest.mark.parametrize("counts", [(10, 10, 10), (10, 3, 1000)])
def test_every_server_rule_is_flowers_own_strategy_to_the_last_digits(
    name: str, counts: tuple[int, int, int]
) -> None:
    """Over fifty rounds, with clients of the same and of different sizes."""

    def client(message: Message) -> dict[str, Any]:
        said = descend(message)
        said["metrics"]["num-examples"] = counts[message.metadata.dst_node_id]
        return said

    policy, flowers = SAME_AS_FLOWER[name]
    terms = Terms(LONG, 3, 3, local_steps=2, batch_size=8, alpha=1.0, beta=0.1)
    ours, theirs = (
        one.start(LocalGrid(client), first_model(), LONG).arrays["w"].numpy()
        for one in (strategy(policy, terms=terms), flowers())
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert abs(theirs - first_model()["w"].numpy()).max() > 0.1, "it moved"


def test_clients_count_the_same_where_that_is_wanted() -> None:
    def client(message: Message) -> dict[str, Any]:
        said = descend(message)
        said["metrics"]["num-examples"] = [1, 1, 1000][message.metadata.dst_node_id]
        return said

    def after(counted: Client, **options: Any) -> np.ndarray:
        result = strategy(**options).start(LocalGrid(counted), first_model())
        return result.arrays["w"].numpy()

    plain = after(descend)
    assert abs(plain - after(client)).max() > 0.1
    np.testing.assert_array_equal(plain, after(client, equal_weights=True))
    uncounted = changed(**{"num-examples": None})
    np.testing.assert_array_equal(plain, after(uncounted, equal_weights=True))
    with pytest.raises(SettingError, match="reports no num-examples"):
        after(uncounted)


@given(counts=st.lists(st.integers(0, 10**6), min_size=3, max_size=3).filter(any))
@settings(max_examples=20)
def test_losses_and_updates_are_means_by_the_number_of_examples(counts: list[int]) -> None:
    def client(message: Message) -> dict[str, Any]:
        node = message.metadata.dst_node_id
        w = message.content["arrays"]["w"].numpy() + [1.0, 10.0, 100.0][node]
        told = {"lr": message.content["config"]["lr"], "gradient_norm": 1.0}
        metrics = {"num-examples": counts[node], "train_loss": float(node), **told}
        return {"arrays": {"w": w}, "metrics": metrics}

    terms = Terms(1, 3, 3, local_steps=2, batch_size=8, alpha=1.0, beta=0.1)
    controlled = controller_strategy(Steady(), terms, lambda a: (1.0, 0.5), fraction_evaluate=0.0)
    result = controlled.start(LocalGrid(client), first_model())
    shares = np.array(counts) / sum(counts)
    moved = result.arrays["w"].numpy() - first_model()["w"].numpy()
    np.testing.assert_allclose(moved, np.full(3, shares @ [1.0, 10.0, 100.0]))
    history = controlled.server.history[1]
    assert history["train_loss"] == pytest.approx(shares @ [0.0, 1.0, 2.0])
    assert history["mean_square_norm"] == pytest.approx(3 * shares @ [1.0, 100.0, 10_000.0])
    assert result.train_metrics_clientapp[1]["train_loss"] == pytest.approx(history["train_loss"])


@pytest.mark.parametrize("option", ["fraction_train", "min_train_nodes"])
def test_an_option_of_flower_that_follows_from_the_terms_is_refused(option: str) -> None:
    with pytest.raises(SettingError, match=f"{option} follows from the terms"):
        strategy(**{option: 1})


def test_clients_are_sent_the_orders_of_the_round_beside_the_users_own_config() -> None:
    grid, config = LocalGrid(), ConfigRecord({"depth": 3})
    strategy().start(grid, first_model(), train_config=config)
    sent = [message.content["config"] for message in grid.rounds[0]]
    assert len(sent) == 3
    for record in sent:
        assert record["lr"] == pytest.approx(0.1, rel=2e-6)
        assert (record["local_steps"], record["batch_size"]) == (2, 8)
        assert (record["local_rule"], record["server-round"], record["depth"]) == ("sgd", 1, 3)
    assert dict(config) == {"depth": 3}


def test_the_result_tells_the_servers_rate_and_loss_of_every_round() -> None:
    controlled = strategy(Steady(1.0, 0.5, 2.0, 1.0))
    result = controlled.start(LocalGrid(), first_model())
    metrics = result.train_metrics_clientapp
    assert [metrics[t]["alpha"] for t in (1, 2, 3)] == pytest.approx([0.5, 2.0, 1.0], rel=2e-6)
    losses = [metrics[t]["validation_loss"] for t in (1, 2, 3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == validate(result.arrays)[0]


def test_a_strategy_begins_anew_with_every_run() -> None:
    controlled = strategy(Steady(0.1, server="adagrad"))
    np.testing.assert_array_equal(weights_after(controlled), weights_after(controlled))


def test_participants_are_drawn_by_the_seed() -> None:
    few = Terms(
        rounds=20, clients=9, participants=2, local_steps=1, batch_size=1, alpha=1.0, beta=0.1
    )

    def still(message: Message) -> dict[str, Any]:
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        rate = message.content["config"]["lr"]
        return {
            "arrays": arrays,
            "metrics": {"num-examples": 1, "lr": rate, "train_loss": 1.0, "gradient_norm": 1.0},
        }

    def drawn(seed: int) -> list[list[int]]:
        grid = LocalGrid(still, nodes=9)
        strategy(terms=few, seed=seed).start(grid, first_model())
        return [[m.metadata.dst_node_id for m in sent] for sent in grid.rounds if sent]

    rounds = drawn(1)
    assert rounds == drawn(1) != drawn(2)
    assert all(len(set(sent)) == 2 for sent in rounds)
    assert {node for sent in rounds for node in sent} == set(range(9))


def test_arrays_that_are_no_weights_are_averaged_and_no_rate_touches_them() -> None:
    def client(message: Message) -> dict[str, Any]:
        said = descend(message)
        number = message.metadata.dst_node_id
        said["arrays"]["running"] = np.full(2, float(number))
        said["arrays"]["batches"] = np.array(4 + 10 * number)
        return said

    more = {"running": np.zeros(2), "batches": np.array(0)}
    one = Terms(
        rounds=1, clients=3, participants=3, local_steps=2, batch_size=8, alpha=1.0, beta=0.1
    )
    controlled = strategy(Steady(0.5), terms=one, buffers=("running",))
    result = controlled.start(LocalGrid(client), first_model(**more))
    np.testing.assert_array_equal(result.arrays["running"].numpy(), [1.0, 1.0])
    assert result.arrays["batches"].numpy() == 14
    assert controlled.server.weights.shape == (3,)


def test_a_model_keeps_its_precision() -> None:
    first = first_model(w=np.array([5.0, -5.0, 5.0], np.float32))
    assert strategy().start(LocalGrid(), first).arrays["w"].numpy().dtype == np.float32


@pytest.mark.parametrize("name", contender_names("federated_lr", "solver", "player"))
def test_every_registered_controller_leads_a_run_of_flower(name: str) -> None:
    policy = load_contender("federated_lr", name).object()
    controlled = strategy(policy, local_rules=LOCAL_RULES, seed=1)
    result = controlled.start(LocalGrid(), first_model())
    assert [info["step"] for info in controlled.server.history] == [0, 1, 2, 3]
    assert validate(result.arrays)[0] < validate(first_model())[0]


def test_a_client_that_ignores_its_rate_is_found_out() -> None:
    with pytest.raises(SettingError, match=r"client \d used the rate 0.3 and was sent 0.1"):
        strategy().start(LocalGrid(changed(lr=0.3)), first_model())


def test_a_client_that_does_not_report_is_told_what_is_missing() -> None:
    with pytest.raises(SettingError, match="reports no train_loss, gradient_norm"):
        strategy().start(LocalGrid(changed(train_loss=None, gradient_norm=None)), first_model())


def test_a_client_that_returns_another_model_is_refused() -> None:
    def client(message: Message) -> dict[str, Any]:
        return descend(message) | {"arrays": {"w": np.zeros(2)}}

    with pytest.raises(SettingError, match=r"another model, .*\(2,\), expected \(3,\)"):
        strategy().start(LocalGrid(client), first_model())


def test_a_local_rule_that_clients_do_not_know_is_refused_before_they_are_asked() -> None:
    grid = LocalGrid()
    with pytest.raises(SettingError, match=r"round 1: .*'prodigy'; clients know sgd"):
        strategy(Steady(local="prodigy")).start(grid, first_model())
    assert grid.rounds == []


def test_fedhypers_clients_are_sent_the_last_global_update() -> None:
    grid = LocalGrid()
    controlled = strategy(Steady(0.5, local="fedhyper"), local_rules=("sgd", "fedhyper"))
    controlled.start(grid, first_model())
    sent = [messages[0].content for messages in grid.rounds if messages]
    trends = [content["last_update"]["w"].numpy() for content in sent]
    models = [content["arrays"]["w"].numpy() for content in sent]
    np.testing.assert_array_equal(trends[0], np.zeros(3))
    np.testing.assert_allclose(models[1] - models[0], 0.5 * trends[1], rtol=1e-5)
    np.testing.assert_allclose(models[2] - models[1], 0.5 * trends[2], rtol=1e-5)


def test_a_run_of_another_length_than_the_controller_was_told_is_refused() -> None:
    with pytest.raises(SettingError, match=r"num_rounds is 5, .* of 3 rounds"):
        strategy().start(LocalGrid(), first_model(), num_rounds=5)


def test_a_client_that_fails_is_left_out_of_the_mean() -> None:
    def client(message: Message) -> dict[str, Any]:
        return {"error": "gone"} if message.metadata.dst_node_id == 0 else descend(message)

    controlled = strategy()
    controlled.start(LocalGrid(client), first_model())
    first = TARGETS[1:] - np.array([5.0, -5.0, 5.0])
    expected = np.linalg.norm(((1 - 0.9**2) * first).mean(axis=0))
    assert controlled.server.history[1]["update_norm"] == pytest.approx(expected, rel=1e-5)


def test_a_round_that_nobody_answers_is_no_step_of_the_controller() -> None:
    def client(message: Message) -> dict[str, Any]:
        silent = message.content["config"]["server-round"] == 2
        return {"error": "gone"} if silent else descend(message)

    controlled = strategy()
    result = controlled.start(LocalGrid(client), first_model())
    assert [info["step"] for info in controlled.server.history] == [0, 1, 2]
    assert sorted(result.train_metrics_clientapp) == [1, 3]


def test_after_divergence_nobody_trains_and_the_last_sane_model_is_the_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    grid = LocalGrid()
    controlled = strategy(Steady(1.0, 1.0, 100.0))
    result = controlled.start(grid, first_model())
    assert "round 2: training diverged (alpha 100" in caplog.text
    assert [len(sent) for sent in grid.rounds[::2]] == [3, 3, 0]
    once = result.train_metrics_clientapp[1]["validation_loss"]
    assert validate(result.arrays)[0] == once


def test_without_flwr_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "sysopt_gym.deploy.flower.strategy"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flwr.app", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sysopt-gym\[flower\]'"):
        importlib.import_module(name)
