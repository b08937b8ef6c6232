"""The server whose clients are elsewhere: what it tells a controller, and how it obeys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import IllegalActionError, SettingError
from sysopt_gym.datasets.federated_lr.generator import generate
from sysopt_gym.datasets.federated_lr.instance import BETA_RANGE, Federation, Terms, terms_of
from sysopt_gym.deploy.flower import server as server_module
from sysopt_gym.deploy.flower.server import Mean, Others, Server
from sysopt_gym.envs.federated_lr.draws import draw_rounds, first_weights, shelve
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import CHECKPOINTS, SERVER_RULES, order, rate_of
from sysopt_gym.envs.federated_lr.server_rules import server_step

TERMS = Terms(rounds=4, clients=2, participants=2, local_steps=1, batch_size=8, alpha=1.0, beta=0.1)


class Scripted:
    """Gives the orders of a list, one after the other, and remembers what it was shown."""

    def __init__(self, orders: list[Any]) -> None:
        self.orders, self.seen = orders, []

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        self.told = (terms, seed)

    def act(self, observation: Any, info: dict[str, Any]) -> Any:
        self.seen.append((observation, dict(info)))
        return self.orders[len(self.seen) - 1]


def bowl(weights: np.ndarray, others: Others) -> tuple[float, float]:
    """Half the squared distance from the origin, and an accuracy that falls with it."""
    with np.errstate(over="ignore"):
        loss = float(weights @ weights / 2)
    return loss, 1 / (1 + loss)


class Logistic:
    """Multinomial regression on a federation's rows, client by client, written anew."""

    def __init__(self, federation: Federation) -> None:
        self.f, self.features = federation, federation.inputs.shape[1]
        self.size = (self.features + 1) * federation.classes

    def _loss(
        self, weights: np.ndarray, inputs: np.ndarray, labels: np.ndarray
    ) -> tuple[float, np.ndarray, float]:
        """Loss, gradient and accuracy at weights that lie as [classes, features], [classes]."""
        split = self.features * self.f.classes
        logits = inputs @ weights[:split].reshape(self.f.classes, -1).T + weights[split:]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        wanted = np.eye(self.f.classes)[labels]
        error = (p - wanted) / len(labels)
        gradient = np.concatenate([(error.T @ inputs).ravel(), error.sum(axis=0)])
        loss = float(-np.log((p * wanted).sum(axis=1)).mean())
        return loss, gradient, float((logits.argmax(axis=1) == labels).mean())

    def validate(self, weights: np.ndarray, others: Others) -> tuple[float, float]:
        loss, _, accuracy = self._loss(weights, self.f.val_inputs.astype(float), self.f.val_labels)
        return loss, accuracy

    def train(
        self, weights: np.ndarray, rows: np.ndarray, beta: float
    ) -> tuple[np.ndarray, float, float]:
        """Weights after local steps on rows [K, B], first loss and first gradient's norm."""
        now, firsts = weights.copy(), []
        for some in rows:
            loss, gradient, _ = self._loss(
                now, self.f.inputs[some].astype(float), self.f.labels[some]
            )
            firsts.append((loss, float(np.linalg.norm(gradient))))
            now -= beta * gradient
        return now, *firsts[0]


def served(orders: list[Any], weights: Any = (3.0, 4.0)) -> Server:
    return Server(Scripted(orders), TERMS, np.array(weights), bowl, Budget(1.0), 7)


def answer(server: Server, *moves: Any, losses: Any = (2.0, 4.0), norms: Any = (1.0, 3.0)) -> bool:
    """A round whose clients moved as said."""
    sent = server.weights.copy()
    return server.receive(mean_of(sent, sent + np.array(moves), losses, norms))


def mean_of(sent: np.ndarray, trained: Any, losses: Any, norms: Any) -> Mean:
    """A round's mean of clients that count the same."""
    mean = Mean(sent)
    for row in zip(trained, losses, norms, strict=False):
        mean.add(*row)
    return mean


def test_before_the_first_round_the_controller_knows_the_first_model_and_nothing_of_updates() -> (
    None
):
    policy = Scripted([order(1, 0.2)])
    server = Server(policy, TERMS, np.array([3.0, 4.0]), bowl, Budget(1.0), 7)
    ((_, info),) = policy.seen
    assert policy.told == (TERMS, 7)
    assert (info["step"], info["rounds"], info["alpha"], info["beta"]) == (0, 4, 1.0, 0.1)
    assert info["validation_loss"] == info["initial_loss"] == info["train_loss"] == 12.5
    for nothing in ("update_norm", "mean_square_norm", "inner_product", "cosine", "gradient_norm"):
        assert info[nothing] == 0
    assert server.beta == pytest.approx(0.2, rel=2e-6)


def test_a_round_is_told_as_computed_by_hand() -> None:
    server = served([order(1, 0.1), order(0.5, 0.2), order(2, 0.3)])
    answer(server, [-1.0, 0.0], [-1.0, -2.0])
    info = server.history[1]
    assert info["update_norm"] == pytest.approx(math.sqrt(2))  # of the mean, (-1, -1)
    assert info["mean_square_norm"] == pytest.approx((1 + 5) / 2)
    assert (info["train_loss"], info["gradient_norm"]) == (3.0, 2.0)
    assert (info["inner_product"], info["cosine"]) == (0, 0)
    assert info["validation_loss"] == 12.5  # of the model that the round began with
    np.testing.assert_allclose(server.weights, [2.5, 3.5], rtol=1e-5)

    answer(server, [0.0, -2.0], [0.0, -2.0])
    info = server.history[2]
    assert info["inner_product"] == pytest.approx(2.0)  # (0, -2) and (-1, -1), before any rate
    assert info["cosine"] == pytest.approx(1 / math.sqrt(2))
    assert info["alpha"] == pytest.approx(0.5, rel=2e-6)
    assert info["beta"] == pytest.approx(0.2, rel=2e-6)
    np.testing.assert_allclose(server.weights, [2.5, -0.5], rtol=1e-5)


def test_updates_are_from_the_model_as_it_was_sent_in_whatever_precision() -> None:
    server = served([order(1, 0.1)] * 2)
    sent, trained = np.array([3.25, 4.0]), np.array([[3.0, 3.0]])
    server.receive(mean_of(sent, trained, [1.0], [1.0]))
    assert server.history[1]["update_norm"] == pytest.approx(math.hypot(0.25, 1.0))
    np.testing.assert_allclose(server.weights, [3.0, 3.0], rtol=1e-5)


def test_the_rate_for_the_clients_is_of_the_round_to_come() -> None:
    server = served([order(1, 0.1), order(1, 0.2), order(1, 0.3, local="fedhyper")])
    assert (round(server.beta, 5), server.local_rule) == (0.1, "sgd")
    answer(server, [-1.0, 0.0])
    assert round(server.beta, 5) == 0.2
    answer(server, [-1.0, 0.0])
    assert (round(server.beta, 5), server.local_rule) == (0.3, "fedhyper")


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("average", 0.2, 0.4),
        ("momentum", 0.2, 0.1 * (0.9 * 2 + 4)),
        ("adagrad", 0.1 * 2 / 2.001, 0.1 * 4 / (math.sqrt(20) + 1e-3)),
        ("adam", 0.1 * 0.2 / (0.2 + 1e-3), 0.1 * 0.58 / (math.sqrt(0.99 * 0.04 + 0.16) + 1e-3)),
        ("yogi", 0.1 * 0.2 / (0.2 + 1e-3), 0.1 * 0.58 / (math.sqrt(0.04 + 0.16) + 1e-3)),
    ],
)
def test_two_steps_of_every_server_rule_by_hand(rule: str, first: float, second: float) -> None:
    m, v = np.zeros(1), np.zeros(1)
    steps = [server_step(rule, 0.1, np.array([u]), m, v)[0] for u in (2.0, 4.0)]
    assert steps == pytest.approx([first, second], rel=1e-12)


@given(
    rule=st.sampled_from(SERVER_RULES),
    update=hnp.arrays(float, 5, elements=st.floats(-1e3, 1e3)),
)
def test_the_first_step_of_every_rule_goes_where_the_update_points(
    rule: str, update: np.ndarray
) -> None:
    step = server_step(rule, 0.5, update, np.zeros(5), np.zeros(5))
    assert (step * update >= 0).all()
    assert np.isfinite(step).all()


def test_a_kept_model_is_returned_to_with_its_update_and_the_servers_moments() -> None:
    plan = [
        order(1, 0.1),
        order(1, 0.1, "momentum", checkpoint="keep"),
        order(1, 0.1, "momentum"),
        order(0.5, 0.1, "momentum", checkpoint="return"),
    ]
    server = served(plan)
    answer(server, [-1.0, 0.0])
    np.testing.assert_allclose(server.weights, [2.0, 4.0], rtol=1e-5)
    answer(server, [0.0, -1.0])
    np.testing.assert_allclose(server.weights, [1.1, 3.0], rtol=1e-5)
    answer(server, [5.0, 5.0])
    # Back at (3, 4) with (-1, 0) in hand and no momentum, half of it is applied.
    np.testing.assert_allclose(server.weights, [2.5, 4.0], rtol=1e-5)
    np.testing.assert_allclose(server.last_update, [-1.0, 0.0])


def test_a_kept_model_is_returned_to_with_its_other_arrays() -> None:
    plan = [order(1, 0.1), order(1, 0.1, checkpoint="keep"), order(1, 0.1)]
    plan += [order(1, 0.1, checkpoint="return"), order(1, 0.1)]
    seen: list[float] = []

    def validate(weights: np.ndarray, others: Others) -> tuple[float, float]:
        seen.append(float(others["count"]))
        return bowl(weights, others)

    first = {"count": np.array(0.0)}
    weights = np.array([3.0, 4.0])
    server = Server(Scripted(plan), TERMS, weights, validate, Budget(1.0), 7, first)
    for turn in (1.0, 2.0, 3.0, 4.0):
        mean = mean_of(server.weights, [server.weights - 0.1], [1.0], [1.0])
        server.receive(mean, {"count": np.array(turn)})
    # Kept with the update of the first round in hand, and gone back to in the third.
    assert seen == [0.0, 1.0, 2.0, 1.0, 4.0]
    assert server.others["count"] == 4.0


@given(size=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_answers_added_one_by_one_in_pieces_are_their_weighted_mean(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sent, trained = rng.normal(size=size), rng.normal(size=(4, size))
    counts, losses, norms = rng.uniform(0.1, 9.0, (3, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "CHUNK", 7)
        mean = Mean(sent)
        for row in zip(trained, losses, norms, counts, strict=True):
            mean.add(*row)
        np.testing.assert_allclose(
            mean.square / mean.total, np.average(((trained - sent) ** 2).sum(1), weights=counts)
        )
        np.testing.assert_allclose(
            mean.update(), np.average(trained - sent, axis=0, weights=counts), atol=1e-12
        )
    assert mean.loss / mean.total == pytest.approx(np.average(losses, weights=counts))


@pytest.mark.parametrize("order_", [[0, 0, 0, 0, 9], [0, 0, 0], [0.5] * 5, [-1, 0, 0, 0, 0]])
def test_what_is_no_order_is_refused_by_its_step(order_: Any) -> None:
    server = served([order(1, 0.1), np.array(order_)])
    with pytest.raises(IllegalActionError, match=r"step 1: .*orders\.order"):
        answer(server, [-1.0, 0.0])


def test_a_step_that_goes_twenty_times_too_far_up_is_not_taken() -> None:
    server = served([order(1, 0.1), order(100, 0.1)])
    assert not answer(server, [3.0, 4.0])  # to (303, 404)
    assert server.diverged
    np.testing.assert_array_equal(server.weights, [3.0, 4.0])


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e200])
def test_updates_that_are_not_finite_never_reach_the_controller(broken: float) -> None:
    server = served([order(1, 0.1)])
    assert not answer(server, [broken, 0.0])
    assert server.diverged
    assert [info["step"] for info in server.history] == [0]
    np.testing.assert_array_equal(server.weights, [3.0, 4.0])


def test_a_first_model_without_a_finite_loss_is_refused() -> None:
    with pytest.raises(SettingError, match="first model's validation loss is nan"):
        served([order(1, 0.1)], weights=[math.nan, 0.0])


@pytest.mark.parametrize("participants", [1, 3])
def test_a_server_tells_and_does_what_the_environment_does(participants: int) -> None:
    f = generate(
        {"clients": "6", "features": "5", "classes": "3", "rows": "30", "rounds": "12",
         "participants": str(participants), "local_steps": "2", "batch": "4"},
        1,
    )  # fmt: skip
    assert f.model == "logistic"
    rng = np.random.default_rng(participants)
    plan = [
        order(*rng.uniform(0.05, 1.0, 2), SERVER_RULES[s % 5], checkpoint=CHECKPOINTS[s % 3])
        for s in range(13)
    ]
    env = FederatedLREnv([f], form="orders")
    observation, info = env.reset(seed=5)
    rounds = draw_rounds(f, shelve(f.owner), 5)
    policy, model = Scripted(plan), Logistic(f)
    first = first_weights(5, np.full(model.size, 1 / math.sqrt(model.features)))
    server = Server(policy, terms_of(f), first, model.validate, Budget(1.0), 0)
    for s, one in enumerate(plan):
        seen, told = policy.seen[s]
        assert told == pytest.approx(info, rel=1e-9, abs=1e-12), s
        np.testing.assert_allclose(seen["rounds"], observation["rounds"], rtol=1e-4, atol=1e-6)
        observation, _, over, _, info = env.step(one)
        if s < f.rounds:
            beta = rate_of(one[1], BETA_RANGE)
            said = [model.train(server.weights, rows, beta) for rows in rounds.rows[s]]
            assert server.receive(mean_of(server.weights, *zip(*said, strict=True)))
    assert over and not info["diverged"]
    assert server.validation[0] == pytest.approx(info["validation_loss"], rel=1e-9)
