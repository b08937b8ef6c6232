"""Federated training, many lanes at once: each lane is a federation trained plainly, one client
after the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.federated_lr.instance import CURVE, MODELS, Federation, terms_of
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.draws import draw_rounds, shelve
from sysopt_gym.envs.federated_lr.orders import LOCAL_RULES, SERVER_RULES, constant, order
from sysopt_gym.envs.federated_lr.training import Training
from sysopt_gym.envs.federated_lr.validate import _Training

World = Callable[..., Federation]
GOLDEN = Path(__file__).parent / "golden" / "traces.json"
SEEDS = st.integers(0, 10**6)
trained = pytest.mark.parametrize("model", [model for model in MODELS if model != CURVE])


def train(federations: list[Federation], orders: np.ndarray, seeds: list[int]) -> Training:
    """Train federations by orders int64 [steps, E, 5]."""
    lanes = Training(federations)
    for lane, (federation, seed) in enumerate(zip(federations, seeds, strict=True)):
        lanes.begin(lane, federation, seed)
    for row in orders:
        lanes.step(row)
    return lanes


def orders_of(seed: int, steps: int, lanes: int, checkpoints: bool = True) -> np.ndarray:
    """Random orders at sane rates, int64 [steps, lanes, 5]."""
    rng = np.random.default_rng(seed)
    kinds = ("go_on", "go_on", "keep", "return") if checkpoints else ("go_on",)

    def draw() -> np.ndarray:
        names = (str(rng.choice(some)) for some in (SERVER_RULES, LOCAL_RULES, kinds))
        return order(float(rng.uniform(0.02, 0.5)), float(rng.uniform(0.01, 0.1)), *names)

    return np.array([[draw() for _ in range(lanes)] for _ in range(steps)])


def assert_as_plain(lanes: Training, lane: int, plain: _Training) -> None:
    """What the lane's server knows is what the plain loop has."""
    s, f = lanes.statistics, plain.f
    assert s.diverged[lane] == plain.diverged
    if plain.diverged:
        return
    loss, _, accuracy = plain.task(plain.w, f.val_inputs, f.val_labels)
    assert s.validation_loss[lane] == pytest.approx(loss, rel=1e-9)
    assert s.validation_accuracy[lane] == accuracy
    if s.step[lane] <= f.rounds:
        assert s.update_norm[lane] == pytest.approx(np.linalg.norm(plain.update), rel=1e-8)
        inner = float(plain.update @ plain.last)
        assert s.inner_product[lane] == pytest.approx(inner, rel=1e-7, abs=1e-12)


@trained
@given(seed=SEEDS)
@settings(max_examples=4, deadline=None)
def test_lanes_are_federations_trained_plainly_under_any_rules(
    world: World, model: str, seed: int
) -> None:
    """Each lane has orders, a seed and a course of its own."""
    federations = [world(model, stragglers=0.3), world(model, 1, drift=2.0, rounds=6)]
    plain = [_Training(f, seed + lane) for lane, f in enumerate(federations)]
    lanes = train(federations, np.empty((0, 2, 5)), [seed, seed + 1])
    for row in orders_of(seed, 6, 2):
        going = np.flatnonzero(~lanes.statistics.diverged)
        lanes.step(row[going], going)
        for lane in going.tolist():
            plain[lane].obey(row[lane].tolist())
            assert_as_plain(lanes, lane, plain[lane])


@pytest.mark.parametrize("local", LOCAL_RULES)
@pytest.mark.parametrize("server", SERVER_RULES)
def test_every_pair_of_rules_trains_as_the_plain_loop(
    world: World, server: str, local: str
) -> None:
    f = world("mlp", stragglers=0.5)
    rows = [order(0.1, 0.05, server, local)] * (f.rounds + 1)
    lanes, plain = train([f], np.array(rows)[:, None], [7]), _Training(f, 7)
    for row in rows:
        plain.obey(row.tolist())
    assert_as_plain(lanes, 0, plain)
    assert lanes.statistics.validation_loss[0] != lanes.statistics.initial_loss[0]


@trained
def test_a_lane_does_not_feel_its_neighbors(world: World, model: str) -> None:
    federations = [world(model, number) for number in range(3)]
    orders = orders_of(1, 6, 3)
    together = train(federations, orders, [4, 5, 6]).statistics
    for lane, f in enumerate(federations):
        alone = train([f], orders[:, lane : lane + 1], [4 + lane]).statistics.row(0)
        assert together.row(lane) == pytest.approx(alone, rel=1e-9, abs=1e-12)


def test_a_lane_may_wait_while_others_go_on_or_begin_anew(world: World) -> None:
    f = world()
    orders = orders_of(2, 4, 1, checkpoints=False)
    lanes = train([f, f, f], np.empty((0, 3, 5)), [0, 0, 3])
    for row in orders:
        lanes.step(row, np.array([0]))
    lanes.begin(2, f, 0)
    for row in orders:
        lanes.step(np.repeat(row, 2, axis=0), np.array([1, 2]))
    first, second, third = (lanes.statistics.row(lane) for lane in range(3))
    assert first == pytest.approx(second, rel=1e-9)
    assert first == pytest.approx(third, rel=1e-9)


def test_orders_are_of_the_lanes_as_named_in_whatever_order(world: World) -> None:
    federations, orders = [world(), world(seed=1), world(seed=2)], orders_of(3, 4, 3)
    straight = train(federations, orders, [0, 1, 2]).statistics
    turned = train(federations, np.empty((0, 3, 5)), [0, 1, 2])
    for row in orders:
        turned.step(row[[2, 0, 1]], np.array([2, 0, 1]))
    for lane in range(3):
        assert turned.statistics.row(lane) == pytest.approx(straight.row(lane), rel=1e-9)


def test_the_first_order_moves_nothing_and_its_beta_is_the_first_rounds(world: World) -> None:
    f = world()
    orders = np.array([[order(100.0, 0.05), order(0.01, 0.1)]])
    s = train([f, f], orders, [0, 0]).statistics
    assert (s.validation_loss == s.initial_loss).all() and (s.inner_product == 0).all()
    assert s.train_loss[0] == s.train_loss[1], "the first local step is at the first model"
    assert 1.5 < s.update_norm[1] / s.update_norm[0] < 2.5


def test_statistics_of_a_round_by_hand(world: World) -> None:
    """One local step of all rows that a client has: everything is known from the slopes."""
    f = world(local_steps=1, participants=2)
    lanes, plain = train([f], np.array([[order(1.0, 0.2)]]), [9]), _Training(f, 9)
    draws = draw_rounds(f, shelve(f.owner), 9)
    found = [plain.task(plain.w, f.inputs[r], f.labels[r])[:2] for r in draws.rows[0, :, 0]]
    losses, slopes = (np.array(part) for part in zip(*found, strict=True))
    row = lanes.statistics.row(0)
    assert row["train_loss"] == pytest.approx(losses.mean())
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm(slopes, axis=1).mean())
    assert row["update_norm"] == pytest.approx(0.2 * np.linalg.norm(slopes.mean(0)))
    assert row["mean_square_norm"] == pytest.approx(0.04 * (slopes**2).sum(1).mean())


def test_the_first_step_of_fedadam_by_hand(world: World) -> None:
    f = world()
    lanes, plain = train([f], np.array([[order(1.0, 0.1)]] * 1), [0]), _Training(f, 0)
    plain.obey(order(1.0, 0.1).tolist())
    update = plain.update
    lanes.step(order(0.01, 0.1, "adam")[None])
    moved = plain.w + 0.01 * 0.1 * update / (np.sqrt(0.01 * update**2) + 1e-3)
    loss = plain.task(moved, f.val_inputs, f.val_labels)[0]
    assert lanes.statistics.validation_loss[0] == pytest.approx(loss, rel=1e-5)


def test_a_checkpoint_brings_back_the_model_its_update_and_the_moments(world: World) -> None:
    f = world(rounds=8)
    start = [order(0.3, 0.1, "momentum")] * 3
    wild = [order(0.3, 0.1, "momentum", checkpoint="keep"), order(5.0, 1.0), order(5.0, 1.0)]
    back = order(0.7, 0.1, "momentum", checkpoint="return")
    straight = train([f], np.array([*start, order(0.7, 0.1, "momentum")])[:, None], [1]).statistics
    returned = train([f], np.array([*start, *wild, back])[:, None], [1]).statistics
    assert returned.validation_loss[0] == pytest.approx(straight.validation_loss[0], rel=1e-12)
    assert returned.step[0] == straight.step[0] + 3, "the rounds spent are spent"


def test_a_checkpoint_that_was_never_made_is_the_start(world: World) -> None:
    f = world()
    rows = [*[order(1.0, 0.1)] * 3, order(1.0, 0.1, checkpoint="return")]
    s = train([f], np.array(rows)[:, None], [1]).statistics
    assert s.validation_loss[0] == pytest.approx(s.initial_loss[0], rel=1e-12)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_a_fork_goes_its_own_way_from_the_same_state(world: World, seed: int) -> None:
    orders = orders_of(seed, 6, 1)
    whole = train([world()], orders, [seed]).statistics.row(0)
    lanes = train([world()], orders[:3], [seed])
    twin = lanes.fork()
    for _ in range(3):
        twin.step(order(3.0, 1.0)[None])
    for row in orders[3:]:
        lanes.step(row)
    assert lanes.statistics.row(0) == pytest.approx(whole, rel=1e-12)


@given(seed=SEEDS, stragglers=st.sampled_from([0.0, 0.4, 1.0]))
@settings(max_examples=20, deadline=None)
def test_what_chance_decides_is_of_the_seed_alone_and_in_bounds(
    world: World, seed: int, stragglers: float
) -> None:
    f = world(stragglers=stragglers)
    shelf = shelve(f.owner)
    draws = draw_rounds(f, shelf, seed)
    rates = dataclasses.replace(f, alpha=3.0, beta=1e-3)
    assert all(map(np.array_equal, draws, draw_rounds(rates, shelf, seed)))
    assert not np.array_equal(draws.rows, draw_rounds(f, shelf, seed + 1).rows)
    assert all(len(set(row)) == f.participants for row in draws.clients.tolist())
    assert (f.owner[draws.rows] == draws.clients[:, :, None, None]).all()
    assert draws.steps.min() >= 1 and draws.steps.max() <= f.local_steps
    if not stragglers:
        assert (draws.steps == f.local_steps).all()


def test_stragglers_move_less_and_change_nothing_else(world: World) -> None:
    keen, late = world(rounds=30), world(rounds=30, stragglers=1.0)
    both = [draw_rounds(f, shelve(f.owner), 3) for f in (keen, late)]
    assert np.array_equal(both[0].rows, both[1].rows)
    counts = np.bincount(both[1].steps.ravel(), minlength=5)[1:]
    assert (counts > 0).all(), "from one step to all"
    rows = np.array([[order(1.0, 1e-3)] * 2])
    s = train([keen, late], rows, [3, 3]).statistics
    assert s.mean_square_norm[1] < s.mean_square_norm[0] and s.train_loss[0] == s.train_loss[1]


def test_drift_decides_who_is_there_and_without_it_all_come_alike(world: World) -> None:
    shelf = shelve(np.arange(30) % 10)
    still = world(rounds=2000, owner=np.arange(30) % 10)
    counts = np.bincount(draw_rounds(still, shelf, 0).clients.ravel())
    assert counts == pytest.approx(np.full(10, 600), rel=0.1)
    clients = draw_rounds(dataclasses.replace(still, drift=100.0), shelf, 0).clients
    phase = np.arange(2000)[:, None] / 2000 - np.arange(10) / 10
    likely = np.argsort(-np.cos(2 * np.pi * phase), axis=1)
    # Whoever is most likely comes, and nobody of the least likely half ever does.
    assert (clients == likely[:, :1]).any(axis=1).all()
    assert not (clients[:, :, None] == likely[:, None, 6:]).any()


@trained
def test_absurd_rates_diverge_and_leave_numbers_finite(world: World, model: str) -> None:
    f = world(model, rounds=12)
    pairs = [(server, "sgd") for server in SERVER_RULES]
    for server, local in [*pairs, *(("average", local) for local in LOCAL_RULES)]:
        lanes = train([f], np.empty((0, 1, 5)), [0])
        s = lanes.statistics
        while s.step[0] <= f.rounds and not s.diverged[0]:
            lanes.step(order(1e2, 1e1, server, local)[None])
            assert all(np.isfinite(value) for value in s.row(0).values()), (server, local)
        assert s.validation_loss[0] <= 20 * s.initial_loss[0]
        if (server, local) == ("average", "sgd"):
            assert s.diverged[0]


def test_a_lane_diverges_where_its_loss_is_twenty_times_the_first(world: World) -> None:
    s = train([world()], np.array([[order(1.0, 0.1)], [order(100.0, 0.1)]]), [0]).statistics
    first = s.initial_loss[0]
    s.diverged[0] = False
    for loss, diverged in ((19.99 * first, False), (20.01 * first, True), (np.nan, True)):
        s.diverged[0] = False
        s.validated(np.array([0]), np.array([loss]), np.array([0.5]))
        assert s.diverged[0] == diverged
        assert s.validation_accuracy[0] == (0.0 if diverged else 0.5)
        assert s.validation_loss[0] == (20 * first if diverged else loss)


def test_federations_that_differ_in_validation_labels_alone_are_told_apart(world: World) -> None:
    f = world()
    other = dataclasses.replace(f, val_labels=(f.val_labels + 1) % f.classes)
    orders = orders_of(0, 3, 1, checkpoints=False)
    s = train([f, other], np.repeat(orders, 2, axis=1), [0, 0]).statistics
    alone = train([other], orders, [0]).statistics
    assert s.validation_loss[1] == pytest.approx(alone.validation_loss[0], rel=1e-12)
    assert s.validation_loss[1] != s.validation_loss[0]


def test_a_federation_that_came_after_another_was_forgotten_is_not_taken_for_it(
    world: World,
) -> None:
    lanes = Training([world()])
    for number in range(20):
        f = world("logistic", number)
        lanes.begin(0, f, 0)
        expected = train([f], np.empty((0, 1, 5)), [0]).statistics
        assert lanes.statistics.initial_loss[0] == expected.initial_loss[0]
        del f, expected


@pytest.mark.parametrize("changes", [{"participants": 2}, {"local_steps": 3}, {"batch_size": 5},
                                     {"model": "mlp", "width": 3}])  # fmt: skip
def test_lanes_that_cannot_be_computed_as_one_are_refused(
    world: World, changes: dict[str, Any]
) -> None:
    with pytest.raises(InstanceError, match="play it apart"):
        Training([world(), world(**changes)])
    lanes = Training([world()])
    with pytest.raises(InstanceError, match="must be alike"):
        lanes.begin(0, world(**changes), 0)


@pytest.mark.parametrize("row", [0, 3])
def test_a_trace_is_the_recorded_one(row: int) -> None:
    f = SETS.load("small:test")[row]
    lanes, trace = train([f], np.empty((0, 1, 5)), [0]), []
    for step in constant(terms_of(f)):
        lanes.step(step[None])
        trace.append({k: round(float(v), 6) + 0.0 for k, v in lanes.statistics.row(0).items()})
    assert lanes.statistics.validation_loss[0] < lanes.statistics.initial_loss[0]
    digest = hashlib.sha256(json.dumps(trace, sort_keys=True).encode()).hexdigest()[:16]
    assert {f.name: digest}.items() <= json.loads(GOLDEN.read_text()).items(), (
        f"the dynamics have changed ({digest}); if that was meant, raise the environment's "
        f"version and record it in {GOLDEN.name}"
    )
