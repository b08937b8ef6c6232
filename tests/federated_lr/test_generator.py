"""Partitions, splits, LEAF's synthetic data and learning curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.datasets.federated_lr.generator import PARAMETERS, generate, synthetic
from sysopt_gym.datasets.federated_lr.partition import (
    by_majority,
    federation_of,
    natural,
    partition,
    split,
)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    clients=st.integers(1, 80),
    skew=st.one_of(st.none(), st.floats(1e-3, 1e3)),
    seed=st.integers(0, 99),
)
def test_a_partition_gives_every_row_a_client_and_every_client_a_row(
    labels: list[int], clients: int, skew: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if clients > len(labels):
        with pytest.raises(InstanceError, match=f"set clients to a number from 1 to {len(labels)}"):
            partition("rows", np.array(labels), clients, skew, rng)
        return
    owner = partition("rows", np.array(labels), clients, skew, rng)
    assert owner.dtype == np.int64 and len(owner) == len(labels)
    assert np.array_equal(np.unique(owner), np.arange(clients))


def test_rows_dealt_out_evenly_differ_by_one_at_most() -> None:
    owner = partition("rows", np.zeros(103, np.int64), 10, None, np.random.default_rng(0))
    assert sorted(np.bincount(owner)) == [10] * 7 + [11] * 3


def test_shares_of_a_class_have_the_spread_of_a_dirichlet_distribution() -> None:
    # Of C components Dirichlet(s) each has mean 1/C and variance (C - 1) / (C^2 (C s + 1)).
    clients, skew, rng = 5, 0.5, np.random.default_rng(1)
    labels = np.repeat(np.arange(200), 400)
    owner = partition("rows", labels, clients, skew, rng)
    shares = np.stack([np.bincount(owner[labels == c], minlength=clients) for c in range(200)])
    expected = (clients - 1) / (clients**2 * (clients * skew + 1))
    assert np.var(shares / 400) == pytest.approx(expected, rel=0.1)


def test_clients_are_numbered_by_the_label_most_of_their_rows_have() -> None:
    labels = np.random.default_rng(2).integers(0, 10, 2000)
    owner = partition("rows", labels, 40, 0.2, np.random.default_rng(3))
    majority = [np.bincount(labels[owner == client]).argmax() for client in range(40)]
    assert majority == sorted(majority) and len(set(majority)) > 5


def test_numbering_anew_keeps_rows_together() -> None:
    owner = np.array([0, 0, 1, 1, 2, 2])
    assert by_majority(owner, np.array([2, 2, 0, 0, 1, 1])).tolist() == [2, 2, 0, 0, 1, 1]


def test_groups_are_clients_in_order_of_appearance() -> None:
    assert natural(np.array(["b", "a", "b", "c", "a"])).tolist() == [0, 1, 0, 2, 1]


@given(
    strata=st.lists(st.integers(0, 5), min_size=20, max_size=120),
    held=st.floats(0.01, 0.3),
    seed=st.integers(0, 99),
)
def test_every_row_is_for_one_purpose_and_each_stratum_is_trained_on(
    strata: list[int], held: float, seed: int
) -> None:
    codes = np.unique(strata, return_inverse=True)[1]
    parts = split("rows", codes, held, held, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts)) == list(range(len(strata)))
    train, val, test = parts
    assert len(val) == len(test) == max(1, round(held * len(strata)))
    assert set(codes[train]) == set(codes)


def test_each_class_is_held_out_alike() -> None:
    strata = np.repeat(np.arange(10), [100] * 5 + [40] * 5)
    train, val, test = split("rows", strata, 0.15, 70, np.random.default_rng(4))
    assert len(train) == 700 - 105 - 70
    assert np.abs(np.bincount(strata[val]) - np.repeat([15, 6], 5)).max() <= 1
    assert np.abs(np.bincount(strata[test]) - np.repeat([10, 4], 5)).max() <= 1


def test_too_few_rows_to_hold_any_out_are_refused() -> None:
    with pytest.raises(InstanceError, match=r"lone: holds 3 rows.*give more rows"):
        federation_of("lone", np.ones((3, 2), np.float32), np.array([0, 1, 0]))
    with pytest.raises(InstanceError, match="at least one"):
        federation_of("none", np.ones((0, 2), np.float32), np.zeros(0, np.int64))


@pytest.mark.parametrize("clients", [0, 15])
def test_fewer_samples_than_clients_and_no_clients_are_refused(clients: int) -> None:
    with pytest.raises(InstanceError, match=f"14 rows to train on .* among {clients} clients"):
        federation_of("few", np.ones((20, 2), np.float32), np.arange(20) % 2, clients=clients)


def test_a_client_has_rows_held_out_in_proportion_where_clients_are_given() -> None:
    owner = np.repeat(np.arange(4), 100)
    rows = np.ones((400, 2), np.float32)
    made = federation_of("given", rows, np.arange(400) % 3, owner=owner)
    assert made.clients == made.participants == 4
    assert np.abs(np.bincount(made.owner) - 70).max() <= 1


# LEAF's synthetic data.


def test_variances_of_synthetic_inputs_fall_as_the_index_to_the_power_1_2() -> None:
    drawn = synthetic(1, 8, 3, 0.0, 0.0, 20_000, np.random.default_rng(5))
    expected = np.arange(1, 9) ** -1.2
    assert np.var(drawn.inputs, axis=0) == pytest.approx(expected, rel=0.05)


def test_labels_of_a_synthetic_client_follow_one_linear_model() -> None:
    drawn = synthetic(3, 4, 2, 1.0, 1.0, 80, np.random.default_rng(6))
    for client in range(3):
        mine = drawn.owner == client
        signs = np.where(drawn.labels[mine] == 1, 1.0, -1.0)[:, None]
        rows = np.column_stack([drawn.inputs[mine], np.ones(mine.sum())])
        found = linprog(
            np.zeros(5), -signs * rows, -np.ones(len(rows)), bounds=(None, None), method="highs"
        )
        assert found.success


def test_b_sets_how_far_synthetic_clients_lie_apart() -> None:
    def apart(b: float) -> float:
        drawn = synthetic(200, 100, 2, 0.0, b, 10, np.random.default_rng(7))
        means = [drawn.inputs[drawn.owner == client].mean() for client in range(200)]
        return float(np.std(means))

    assert apart(0.0) < 0.2
    assert apart(2.0) == pytest.approx(2.0, rel=0.15)


def test_a_synthetic_federation_is_drawn_by_its_seed_alone() -> None:
    small = {"clients": "10", "features": "5"}
    assert generate(small, 3).content_hash == generate(small, 3).content_hash
    assert generate(small, 3).content_hash != generate(small, 4).content_hash


def test_parameters_of_the_generator_reach_the_federation() -> None:
    made = generate(
        {"clients": "12", "features": "7", "classes": "4", "rounds": "9", "participants": "3",
         "local_steps": "2", "batch": "6", "alpha": "0.7", "beta": "0.02", "model": "mlp",
         "width": "5", "drift": "2", "stragglers": "0.3"},
        0,
    )  # fmt: skip
    assert (made.clients, made.inputs.shape[1], made.classes) == (12, 7, 4)
    assert (made.rounds, made.participants, made.local_steps, made.batch_size) == (9, 3, 2, 6)
    assert (made.alpha, made.beta, made.drift, made.stragglers) == (0.7, 0.02, 2.0, 0.3)
    assert (made.model, made.width) == ("mlp", 5)


def test_few_clients_all_take_part_where_nothing_else_is_asked_for() -> None:
    assert generate({"clients": "4"}, 0).participants == 4


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"kind": "real"}, "kind='real'; give one of synthetic, curve"),
        ({"clients": "0"}, "clients='0'; give a whole number from 1"),
        ({"classes": "1"}, "classes='1'"),
        ({"a": "-1"}, "a='-1'; give a number from 0 to 10"),
        ({"b": "x"}, "b='x'"),
        ({"clients": "10000", "features": "10000"}, "set fewer rows"),
        ({"model": "cnn"}, "needs images"),
        ({"model": "lstm"}, "are numbers"),
        ({"kind": "curve", "clients": "3"}, "clients='3': a learning curve has no data"),
        ({"kind": "curve", "noise": "0.1"}, "noise='0.1': a learning curve has no data"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(values: dict[str, str], told: str) -> None:
    assert set(values) <= set(PARAMETERS)
    with pytest.raises(SettingError, match=told):
        generate(values, 0)


@pytest.mark.parametrize("seed", range(40))
def test_a_drawn_curve_stays_above_zero_and_leaves_room_to_learn(seed: int) -> None:
    drawn = generate({"kind": "curve"}, seed)
    floor, scale, exponent, annealing, memory, most = drawn.law
    total = most * drawn.rounds
    gained = annealing * most / (1 - memory)  # by annealing all at once from the highest rate
    assert floor + scale * total**-exponent - gained > 0
    slow, fast = (scale * (rate * drawn.rounds) ** -exponent for rate in (0.01 * most, 0.5 * most))
    assert slow > 1.5 * fast > 0.4


def test_rates_of_a_curve_are_drawn_unless_they_are_given() -> None:
    free = [generate({"kind": "curve"}, seed).beta for seed in range(3)]
    assert len(set(free)) == 3
    assert generate({"kind": "curve", "beta": "0.03", "rounds": "12"}, 0).beta == 0.03
