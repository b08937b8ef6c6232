"""Labels that change their meaning over the rounds: alike in training, validation and test rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World as Seed
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.federated_lr.concepts import concept_of, draw_changes, labels_of
from sysopt_gym.datasets.federated_lr.instance import CURVE, MODELS, Federation, make_federation
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import order
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.training import Training
from sysopt_gym.envs.federated_lr.validate import validate
from sysopt_gym.envs.federated_lr.vector_env import FederatedLRVectorEnv
from sysopt_gym.evaluation.judge import judge

World = Callable[..., Federation]
REVERSED = np.array([[3, 2, 1, 0]])
KEEN = order(1.0, 0.3)


def changing(world: World, model: str, seed: int, count: int = 3) -> Federation:
    """A small federation of 8 rounds whose labels change."""
    changes = draw_changes(count, 4, np.random.default_rng(seed))
    return world(model, seed, rounds=8, objective="area_under_curve", drift=2.0, **changes)


def play(f: Federation, plan: np.ndarray, seed: int = 0) -> list[float]:
    """Return the validation accuracies of all steps."""
    env = FederatedLREnv(f, form="orders")
    env.reset(seed=seed)
    return [env.step(row)[4]["validation_accuracy"] for row in plan]


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(2, 12))
def test_changes_are_in_order_within_the_run_and_move_half_of_the_classes(
    seed: int, count: int, classes: int
) -> None:
    drawn = draw_changes(count, classes, np.random.default_rng(seed))
    assert (np.diff(drawn["changes"]) >= 0).all()
    assert drawn["changes"].min() >= 0.1 and drawn["changes"].max() <= 0.9
    before = np.arange(classes)
    for meant in drawn["relabel"]:
        assert sorted(meant) == list(range(classes))
        assert np.count_nonzero(meant != before) == max(2, round(classes / 2))
        before = meant


@pytest.mark.parametrize("model", [model for model in MODELS if model != CURVE])
@given(seed=st.integers(0, 10**6), count=st.integers(0, 4))
@settings(max_examples=4, deadline=None)
def test_the_validator_agrees_with_the_environment(
    world: World, model: str, seed: int, count: int
) -> None:
    f = changing(world, model, seed, count)
    rng = np.random.default_rng(seed)
    kinds = ("go_on", "go_on", "keep", "return")
    plan = np.array([
        order(float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.01, 0.3)), checkpoint=str(kind))
        for kind in rng.choice(kinds, 9)
    ])  # fmt: skip
    assert judge(PROBLEM, f, plan, Seed(seed)).feasible


def test_a_round_has_the_labels_of_the_last_change_that_has_begun(world: World) -> None:
    f = world(rounds=8, changes=np.array([0.25, 0.3, 0.9]), relabel=np.repeat(REVERSED, 3, 0))
    assert [concept_of(f, place) for place in range(8)] == [0, 0, 1, 2, 2, 2, 2, 2]
    first, then = labels_of(f, 0), labels_of(f, 1)
    assert first.train is f.labels and first.test is f.test_labels
    assert all(np.array_equal(a, 3 - b) for a, b in zip(first, then, strict=True))
    assert labels_of(f, 1).train is then.train


def test_the_first_round_with_new_labels_is_validated_and_tested_by_them(world: World) -> None:
    """What was learned of the old labels fails on the new ones, and is learned anew."""
    still = world(rounds=20, val_inputs=world().inputs, val_labels=world().labels)
    f = dataclasses.replace(still, changes=np.array([0.5]), relabel=REVERSED)
    plan = np.tile(KEEN, (21, 1))
    as_ever, changed = play(still, plan), play(f, plan)
    assert changed[:11] == as_ever[:11]
    assert changed[11] < as_ever[11] - 0.2 and changed[20] > changed[11] + 0.1
    swapped = dataclasses.replace(f, test_inputs=f.val_inputs, test_labels=f.val_labels)
    found = validate(dataclasses.replace(swapped, objective="area_under_curve"), plan, Seed(0))
    assert found.objective == found.replayed == pytest.approx(np.mean(changed[1:]))


def test_of_reversed_labels_from_the_start_only_names_differ(world: World) -> None:
    f = world(rounds=6, changes=np.array([1e-9]), relabel=REVERSED)
    lanes = Training([f, dataclasses.replace(f, **{
        name: 3 - getattr(f, name) for name in ("labels", "val_labels", "test_labels")
    }, changes=np.zeros(0), relabel=np.zeros((0, 4), np.int64))])  # fmt: skip
    for lane in range(2):
        lanes.begin(lane, lanes.federations[lane], 3)
    for _ in range(2):
        lanes.step(np.array([KEEN, KEEN]))
    # The first round has the old labels; from the second on they are the same.
    everyone = np.arange(2)
    first, second = (lanes.accuracies(one, everyone) for one in lanes.federations)
    assert not np.array_equal(first, second)
    lanes.step(np.array([KEEN, KEEN]))
    first, second = (lanes.accuracies(one, everyone) for one in lanes.federations)
    assert np.array_equal(first, second)


def test_lanes_are_single_environments(world: World) -> None:
    federations = [changing(world, "mlp", seed) for seed in range(3)]
    together = FederatedLRVectorEnv(3, federations, form="continuous")
    for seed in range(3):
        seen, info = together.reset(seed=seed)
        apart = [FederatedLREnv(federations, form="continuous") for _ in range(3)]
        for lane, env in enumerate(apart):
            env.reset(seed=seed + lane)
        for _ in range(8):
            seen, *_, info = together.step(np.full((3, 2), 0.1, np.float32))
            for lane, env in enumerate(apart):
                one, *_, told = env.step(np.full(2, 0.1, np.float32))
                assert np.allclose(one["rounds"], seen["rounds"][lane], atol=1e-5)
                assert info["objective"][lane] == pytest.approx(told["objective"])


def test_a_drawn_future_holds_no_change_that_has_not_come(world: World) -> None:
    f = world(rounds=8, changes=np.array([0.5]), relabel=REVERSED)
    still = dataclasses.replace(f, changes=np.zeros(0), relabel=np.zeros((0, 4), np.int64))
    found = []
    for one in (f, still):
        lanes = Training([one])
        lanes.begin(0, one, 0)
        for _ in range(3):
            lanes.step(KEEN[None])
        twin = lanes.fork()
        twin.draw_future(7)
        for _ in range(6):
            twin.step(KEEN[None])
            lanes.step(KEEN[None])
        found.append((twin.statistics.row(0), lanes.statistics.row(0)))
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]


def test_changes_go_into_files_and_hashes_and_their_absence_does_not(
    world: World, tmp_path: Path
) -> None:
    still, f = world("mlp", 0, rounds=8), changing(world, "mlp", 0)
    f.save(tmp_path / "one.npz")
    again = Federation.load(tmp_path / "one.npz")
    assert again.content_hash == f.content_hash and np.array_equal(again.relabel, f.relabel)
    bare = dataclasses.replace(
        f, changes=np.zeros(0), relabel=np.zeros((0, 4), np.int64), drift=0.0,
        objective="final_accuracy",
    )  # fmt: skip
    assert bare.content_hash == still.content_hash


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"changes": np.array([0.0])}, "a change comes after the first round"),
        ({"changes": np.array([1.5])}, r"changes\[0\] is 1.5"),
        ({"changes": np.array([0.5, 0.2]), "relabel": np.repeat(REVERSED, 2, 0)}, "ascending"),
        ({"changes": np.array([0.5, 0.6])}, "relabel has shape"),
        ({"relabel": np.array([[0, 1, 1, 3]])}, "give each label once"),
        ({"relabel": np.array([[0, 1, 2, 4]])}, r"relabel\[0, 3\] is 4"),
    ],
)
def test_changes_that_cannot_be_are_refused(world: World, changed: object, told: str) -> None:
    fields = {"changes": np.array([0.5]), "relabel": REVERSED} | dict(changed)  # type: ignore[call-overload]
    with pytest.raises(InstanceError, match=told):
        world(**fields)


def test_a_learning_curve_has_no_labels_to_change() -> None:
    law = np.array([0.3, 0.6, 0.5, 0.05, 0.8, 0.5])
    with pytest.raises(InstanceError, match="learning curves have none"):
        make_federation(
            "curve", model=CURVE, law=law, classes=4, changes=np.array([0.5]), relabel=REVERSED
        )
