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
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.envs.federated_lr.orders import SERVER_RULES, order
from sysopt_gym.envs.federated_lr.server import Server, server_step

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


def bowl(weights: np.ndarray) -> tuple[float, float]:
    """Half the squared distance from the origin, and an accuracy that falls with it."""
    with np.errstate(over="ignore"):
        loss = float(weights @ weights / 2)
    return loss, 1 / (1 + loss)


def served(orders: list[Any], weights: Any = (3.0, 4.0), **more: Any) -> Server:
    return Server(Scripted(orders), TERMS, np.array(weights), bowl, Budget(1.0), 7, **more)


def answer(server: Server, *moves: Any, losses: Any = (2.0, 4.0), norms: Any = (1.0, 3.0)) -> bool:
    """A round whose clients moved as said."""
    sent = server.weights.copy()
    return server.receive(sent, sent + np.array(moves), np.array(losses), np.array(norms))


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


def test_an_agent_is_shown_what_the_history_is_observed_as() -> None:
    policy = Scripted([order(1, 0.1)] * 2)
    server = Server(
        policy, TERMS, np.array([3.0, 4.0]), bowl, Budget(1.0), 0, lambda history: len(history)
    )
    answer(server, [-1.0, 0.0])
    assert [observation for observation, _ in policy.seen] == [1, 2]
